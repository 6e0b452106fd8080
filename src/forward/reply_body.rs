//! A server's body on its way to the client, through hyper.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::request_body::RequestBody;
use crate::config::model::KeepAlive;
use crate::http::body::BodyError;
use crate::lifecycle::drain;
use crate::limits::StreamPermit;
use crate::net::ServerAddr;
use crate::observe::access::{End, RequestRecord, StreamRecord};
use crate::stream::{AfterFall, Expired, Lifetime, cut_short};
use crate::upstream::http1::ReplyError;
use crate::upstream::pool::{Pools, keep_alive_limit};
use crate::upstream::{Lease, Reply, Upstream};

/// Where a connection goes when its response has ended.
pub(super) struct Home {
    pools: Rc<Pools>,
    lease: Lease,
    limits: KeepAlive,
    said: Option<Duration>,
}

impl Home {
    /// The pool of the server of `lease`, which said in `headers` how long it keeps an idle connection.
    pub(super) fn new(
        pools: &Rc<Pools>,
        upstream: &Upstream,
        lease: Lease,
        headers: &HeaderMap,
    ) -> Self {
        Self {
            pools: pools.clone(),
            lease,
            limits: upstream.config().keep_alive,
            said: keep_alive_limit(headers),
        }
    }

    pub(super) fn server(&self) -> &ServerAddr {
        self.lease.addr()
    }

    /// The place at the server, for a stream that takes the connection along.
    pub(super) fn into_lease(self) -> Lease {
        self.lease
    }
}

/// Whose bytes are counted.
pub(super) enum Record {
    /// Access records are off.
    Off,
    Request(RequestRecord),
    Stream(StreamRecord),
}

impl Record {
    pub(super) fn of(record: Option<RequestRecord>) -> Self {
        record.map_or(Self::Off, Self::Request)
    }

    fn count(&mut self, bytes: usize) {
        match self {
            Self::Off => {}
            Self::Request(record) => record.bytes_out += bytes as u64,
            Self::Stream(record) => record.bytes_out += bytes as u64,
        }
    }

    /// The record is written when it is dropped, by whoever drops it.
    fn close(&mut self, end: End, silence: Duration) {
        match std::mem::replace(self, Self::Off) {
            Self::Off => {}
            Self::Request(record) => record.ended(end),
            Self::Stream(record) => record.close(end, silence),
        }
    }
}

/// The body. It ends with an error, so that the client sees it cut, when the server breaks off or is silent for too long.
pub(super) struct ReplyBody {
    reply: Option<Reply<RequestBody<Incoming>>>,
    life: Lifetime,
    home: Home,
    record: Record,
    /// When a long stream is to end before its time, and why; `None`: a body that a drain waits for.
    ending: Option<Pin<Box<dyn Future<Output = End>>>>,
    /// What is told at the next poll.
    failed: Option<BodyError>,
}

#[derive(Debug, thiserror::Error)]
#[error("the server was silent for too long within the body")]
struct TooSilent;

impl ReplyBody {
    pub(super) fn new(
        reply: Reply<RequestBody<Incoming>>,
        life: Lifetime,
        home: Home,
        record: Record,
    ) -> Self {
        let mut body = Self {
            reply: Some(reply),
            life,
            home,
            record,
            ending: None,
            failed: None,
        };
        body.settle();
        body
    }

    /// The same for a long stream, which a drain ends, or its server's fall; `permit` is its place on the route.
    pub(super) fn ended_by(
        mut self,
        guard: drain::Guard,
        after_fall: AfterFall,
        permit: StreamPermit,
    ) -> Self {
        let fell = self.home.lease.fell();
        let ending = async move {
            let _held = permit;
            cut_short(&guard, fell, after_fall).await
        };
        self.ending = Some(Box::pin(ending));
        self
    }

    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.ending
            .as_mut()
            .map_or(Poll::Pending, |ending| ending.as_mut().poll(cx))
    }

    /// Without more from the server: its time is over, or the stream is to end before its time.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(end) = self.poll_ending(cx) {
            self.reply = None;
            self.record.close(end, self.life.silence());
            return Poll::Ready(None);
        }
        match self.life.poll_expired(cx) {
            Poll::Ready(Expired::Idle) => self.fail(cx, End::Idle, TooSilent),
            Poll::Ready(Expired::Age) => self.fail(cx, End::Age, TooSilent),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Gives the connection back as soon as nothing more comes on it.
    fn settle(&mut self) {
        let Some(reply) = self
            .reply
            .take_if(|reply| reply.is_ended() && reply.is_sent())
        else {
            return;
        };
        if let Some(connection) = reply.reusable() {
            let Home {
                pools,
                lease,
                limits,
                said,
            } = &self.home;
            pools.keep(lease.endpoint().id(), connection, limits, *said);
        }
        self.record.close(End::Backend, Duration::ZERO);
    }

    /// Ends the body with an error, at the next poll only: hyper drops what it has not written yet when it hears of one,
    /// and a client should get all that its server sent before it broke off, the head above all.
    fn fail(
        &mut self,
        cx: &Context<'_>,
        end: End,
        error: impl Into<BodyError>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.reply = None;
        self.record.close(end, self.life.silence());
        self.failed = Some(error.into());
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.get_mut();
        if let Some(error) = body.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let Some(reply) = &mut body.reply else {
            return Poll::Ready(None);
        };
        match reply.poll_piece(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                body.life.touch();
                body.record.count(frame.data_ref().map_or(0, Bytes::len));
                body.settle();
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let end = match &error {
                    ReplyError::Request(_) => End::Client,
                    _servers => End::BackendFailed,
                };
                body.fail(cx, end, error)
            }
            Poll::Ready(None) => {
                body.settle();
                Poll::Ready(None)
            }
            Poll::Pending => body.poll_over(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failed.is_none() && self.reply.as_ref().is_none_or(Reply::is_ended)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.reply {
            Some(reply) => reply.size_hint(),
            None if self.failed.is_some() => SizeHint::default(),
            None => SizeHint::with_exact(0),
        }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        // Dropped before its end: the client has left. What ended before has closed its record already.
        let end = if self.is_end_stream() {
            End::Backend
        } else {
            End::Client
        };
        self.record.close(end, self.life.silence());
    }
}

//! A server's body on its way to the client, through hyper.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::request_body::RequestBody;
use crate::config::model::KeepAlive;
use crate::http::body::BodyError;
use crate::observe::access::{End, RequestRecord};
use crate::stream::{Expired, Lifetime};
use crate::upstream::http1::ReplyError;
use crate::upstream::pool::{Pools, keep_alive_limit};
use crate::upstream::{EndpointId, Lease, Reply, Upstream};

/// Where a connection goes when its response has ended.
pub(super) struct Home {
    pools: Rc<Pools>,
    server: EndpointId,
    limits: KeepAlive,
    said: Option<Duration>,
}

impl Home {
    /// The pool of the server of `lease`, which said in `headers` how long it keeps an idle connection.
    pub(super) fn new(
        pools: &Rc<Pools>,
        upstream: &Upstream,
        lease: &Lease,
        headers: &HeaderMap,
    ) -> Self {
        Self {
            pools: pools.clone(),
            server: lease.endpoint().id(),
            limits: upstream.config().keep_alive,
            said: keep_alive_limit(headers),
        }
    }

    /// Takes back the connection of `reply` if nothing more comes on it. True: it has.
    pub(super) fn settle(&self, reply: &mut Option<ServerReply>) -> bool {
        let Some(ended) = reply.take_if(|reply| reply.is_ended() && reply.is_sent()) else {
            return false;
        };
        if let Some(connection) = ended.reusable() {
            self.pools
                .keep(self.server, connection, &self.limits, self.said);
        }
        true
    }
}

/// What follows the head of a server's response.
pub(super) type ServerReply = Reply<RequestBody<Incoming>>;

/// The body. It ends with an error, so that the client sees it cut, when the server breaks off or is silent for too long.
pub(super) struct ReplyBody {
    reply: Option<ServerReply>,
    life: Lifetime,
    home: Home,
    /// `None`: access records are off, or it is written.
    record: Option<Box<RequestRecord>>,
    /// Its place at the server.
    _lease: Lease,
    /// What is told at the next poll.
    failed: Option<BodyError>,
}

#[derive(Debug, thiserror::Error)]
#[error("the server was silent for too long within the body")]
struct TooSilent;

impl ReplyBody {
    pub(super) fn new(
        reply: ServerReply,
        life: Lifetime,
        (home, lease): (Home, Lease),
        record: Option<RequestRecord>,
    ) -> Self {
        let mut body = Self {
            reply: Some(reply),
            life,
            home,
            record: record.map(Box::new),
            _lease: lease,
            failed: None,
        };
        body.settle();
        body
    }

    /// Gives the connection back as soon as nothing more comes on it.
    fn settle(&mut self) {
        if self.home.settle(&mut self.reply) {
            self.close(End::Backend);
        }
    }

    fn close(&mut self, end: End) {
        self.record
            .take()
            .into_iter()
            .for_each(|record| record.ended(end));
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
        self.close(end);
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
                if let Some(record) = &mut body.record {
                    record.bytes_out += frame.data_ref().map_or(0, Bytes::len) as u64;
                }
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
            Poll::Pending => match ready!(body.life.poll_expired(cx)) {
                Expired::Idle => body.fail(cx, End::Idle, TooSilent),
                Expired::Age => body.fail(cx, End::Age, TooSilent),
            },
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
        self.close(end);
    }
}

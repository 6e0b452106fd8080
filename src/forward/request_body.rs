//! The client's body on its way to a server: counted, and held to its limits.
//!
//! **A slow body is judged by its pace, never by its length in time.** Only the time counts in which the client is
//! waited for: a server that takes the body slowly is not the client's fault. The pace counts no more once the
//! response has begun, for then both sides talk at their leisure, and the response's own clocks have the say.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::config::model::BodyPace;
use crate::http::body::BodyError;
use crate::http::trailers;
use crate::respond::fields;

/// What is wrong with a client's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// The client broke off, or its framing is broken.
    #[error("the request's body broke off")]
    BrokeOff,
    /// It goes beyond the limit.
    #[error("the request's body is longer than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// It comes too slowly.
    #[error("the request's body comes with less than {rate} bytes a second")]
    TooSlow {
        /// The least rate, in bytes a second.
        rate: u64,
    },
}

/// What a body is held to.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimits {
    /// Bytes at most.
    pub(super) size: Option<u64>,
    /// The least pace.
    pub(super) pace: Option<BodyPace>,
}

impl BodyLimits {
    /// Calls of gRPC are conversations: their bodies pause for as long as they like.
    pub(super) fn without_pace_of_conversations(mut self, headers: &HeaderMap) -> Self {
        let is_grpc = headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        if is_grpc {
            self.pace = None;
        }
        self
    }
}

/// What both ends of a body know: the one that reads it and the one that waits for the response. An HTTP/2 client tells
/// nobody why a body failed, so the fault is left here.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch(Rc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    fault: Cell<Option<BodyFault>>,
    answered: Cell<bool>,
}

impl Watch {
    /// What is wrong with the body, if anything is.
    pub(super) fn fault(&self) -> Option<BodyFault> {
        self.0.fault.get()
    }

    /// The response has begun.
    pub(super) fn answered(&self) {
        self.0.answered.set(true);
    }
}

/// A request's body. It ends with a [`BodyFault`] when it breaks off or passes a limit.
#[derive(Debug)]
pub(super) struct RequestBody<B> {
    inner: B,
    limits: BodyLimits,
    watch: Watch,
    /// What a client may say behind the body as little as before it: a backend may read trailers as fields of the head.
    ruled: Vec<HeaderName>,
    received: u64,
    /// How long the client was waited for, up to `waiting`.
    waited: Duration,
    /// Since when it is waited for now.
    waiting: Option<Instant>,
    /// Made when it is first waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> RequestBody<B> {
    /// `ruled` are the fields that do not come from the client.
    pub(super) fn new(inner: B, limits: BodyLimits, watch: Watch, ruled: Vec<HeaderName>) -> Self {
        Self {
            inner,
            limits,
            watch,
            ruled,
            received: 0,
            waited: Duration::ZERO,
            waiting: None,
            timer: None,
        }
    }

    fn fail(&self, fault: BodyFault) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        self.watch.0.fault.set(Some(fault));
        Poll::Ready(Some(Err(fault)))
    }

    fn received(&mut self, bytes: usize) -> Option<BodyFault> {
        if let Some(since) = self.waiting.take() {
            self.waited += since.elapsed();
        }
        self.received += bytes as u64;
        let limit = self.limits.size?;
        (self.received > limit).then_some(BodyFault::TooLarge { limit })
    }

    /// A piece as the server gets it.
    fn pass(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match trailers::without_forbidden(frame).into_trailers() {
            Ok(mut fields) => {
                fields::remove_alike(&mut fields, self.ruled.iter());
                Frame::trailers(fields)
            }
            Err(data) => data,
        }
    }

    /// Ready when the client has used up its time: the grace, and what its bytes have earned.
    fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<BodyFault> {
        let Some(pace) = self.limits.pace else {
            return Poll::Pending;
        };
        let since = *self.waiting.get_or_insert_with(Instant::now);
        loop {
            if self.watch.0.answered.get() {
                return Poll::Pending;
            }
            let earned = Duration::from_secs(self.received / pace.rate.get());
            let due = since + (pace.grace + earned).saturating_sub(self.waited);
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            if timer.deadline() != due {
                timer.as_mut().reset(due);
            }
            std::task::ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(BodyFault::TooSlow {
                    rate: pace.rate.get(),
                });
            }
        }
    }
}

impl<B> Body for RequestBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BodyError>,
{
    type Data = Bytes;
    type Error = BodyFault;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let body = self.get_mut();
        match Pin::new(&mut body.inner).poll_frame(cx) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Err(_broken))) => body.fail(BodyFault::BrokeOff),
            Poll::Ready(Some(Ok(frame))) => {
                match body.received(frame.data_ref().map_or(0, Bytes::len)) {
                    Some(fault) => body.fail(fault),
                    None => Poll::Ready(Some(Ok(body.pass(frame)))),
                }
            }
            Poll::Pending => match body.poll_too_slow(cx) {
                Poll::Ready(fault) => body.fail(fault),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::num::NonZeroU64;

    use tokio::sync::mpsc;

    use super::*;

    /// A body whose frames a test sends.
    struct Sent(mpsc::Receiver<&'static [u8]>);

    impl Body for Sent {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0
                .poll_recv(cx)
                .map(|data| data.map(|data| Ok(Frame::data(Bytes::from_static(data)))))
        }
    }

    fn body(limits: BodyLimits) -> (mpsc::Sender<&'static [u8]>, RequestBody<Sent>, Watch) {
        let (frames, sent) = mpsc::channel(8);
        let watch = Watch::default();
        (
            frames,
            RequestBody::new(Sent(sent), limits, watch.clone(), Vec::new()),
            watch,
        )
    }

    async fn next(body: &mut RequestBody<Sent>) -> Option<Result<usize, BodyFault>> {
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await?;
        Some(frame.map(|frame| frame.data_ref().map_or(0, Bytes::len)))
    }

    fn pace(rate: u64, grace: u64) -> BodyLimits {
        BodyLimits {
            size: None,
            pace: Some(BodyPace {
                rate: NonZeroU64::new(rate).unwrap(),
                grace: Duration::from_secs(grace),
            }),
        }
    }

    #[tokio::test]
    async fn a_body_beyond_its_size_fails_while_it_streams() {
        let limits = BodyLimits {
            size: Some(5),
            pace: None,
        };
        let (frames, mut body, watch) = body(limits);
        frames.send(b"12345").await.unwrap();
        frames.send(b"6").await.unwrap();
        assert_eq!(next(&mut body).await, Some(Ok(5)));
        let fault = BodyFault::TooLarge { limit: 5 };
        assert_eq!(next(&mut body).await, Some(Err(fault)));
        assert_eq!(watch.fault(), Some(fault));
    }

    #[test]
    fn what_rules_say_is_not_said_behind_the_body() {
        let name = HeaderName::from_static;
        let limits = BodyLimits {
            size: None,
            pace: None,
        };
        let (_frames, sent) = mpsc::channel(1);
        let ruled = vec![name("x-user")];
        let body = RequestBody::new(Sent(sent), limits, Watch::default(), ruled);
        let mut trailers = HeaderMap::new();
        for field in ["x-user", "x_user", "x-real-ip", "x-sum"] {
            trailers.append(name(field), "admin".parse().unwrap());
        }
        let left = body.pass(Frame::trailers(trailers)).into_trailers();
        let left: Vec<_> = left.unwrap().keys().map(ToString::to_string).collect();
        assert_eq!(left, ["x-sum"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_sends_nothing_is_borne_for_the_grace() {
        let (_frames, mut body, _watch) = body(pace(10, 20));
        let begun = Instant::now();
        let fault = BodyFault::TooSlow { rate: 10 };
        assert_eq!(next(&mut body).await, Some(Err(fault)));
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_secs(20) && waited < Duration::from_secs(21));
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_earn_time_and_time_with_the_server_is_free() {
        let (frames, mut body, _watch) = body(pace(10, 20));
        // Nobody waits for the client here: its server is slow.
        tokio::time::advance(Duration::from_secs(1000)).await;
        frames.send(&[0; 300]).await.unwrap();
        assert_eq!(next(&mut body).await, Some(Ok(300)));
        tokio::time::advance(Duration::from_secs(1000)).await;
        let begun = Instant::now();
        assert!(next(&mut body).await.unwrap().is_err());
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_secs(50) && waited < Duration::from_secs(51));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_whose_response_has_begun_may_pause() {
        let (_frames, mut body, watch) = body(pace(10, 20));
        watch.answered();
        let waited = tokio::time::timeout(Duration::from_secs(1000), next(&mut body)).await;
        assert!(waited.is_err());
    }
}

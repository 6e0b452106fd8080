//! A stream as a body that hyper writes: for a client of HTTP/2, or one that still sends its request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::flow::Flow;
use super::{Opening, Over, Step};
use crate::http::body::BodyError;
use crate::lifecycle::scratch;

/// The body. It ends with an error, so that the client sees it cut, when the stream is not ended in order.
pub struct EventBody {
    flow: Flow,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// It has broken off, which is told at the next poll only: hyper drops what it has not written yet when it hears of it,
    /// and a client should get all that its server sent, the head above all.
    Breaking,
    Over,
}

#[derive(Debug, thiserror::Error)]
#[error("the stream broke off")]
struct BrokeOff;

impl EventBody {
    /// A stream whose head hyper writes.
    #[must_use]
    pub fn new(opening: Opening) -> Self {
        Self {
            flow: Flow::new(opening),
            state: State::Open,
        }
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.get_mut();
        match body.state {
            State::Open => {}
            State::Breaking => {
                body.state = State::Over;
                let fault = body.flow.take_fault();
                let error = fault.map_or_else(|| BrokeOff.into(), |fault| BodyError::from(*fault));
                return Poll::Ready(Some(Err(error)));
            }
            State::Over => return Poll::Ready(None),
        }
        let frame = scratch::with_frame(|out| {
            Poll::Ready(match ready!(body.flow.poll(cx, out)) {
                Step::Written => Ok(Frame::data(Bytes::copy_from_slice(out))),
                Step::Bytes(data) => Ok(Frame::data(data)),
                Step::Trailers(fields) => Ok(Frame::trailers(*fields)),
                Step::Over(over) => Err(over),
            })
        });
        match ready!(frame) {
            Ok(frame) => Poll::Ready(Some(Ok(frame))),
            Err(Over::Whole) => {
                body.state = State::Over;
                Poll::Ready(None)
            }
            Err(Over::Broken) => {
                body.state = State::Breaking;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Over
    }
}

impl Drop for EventBody {
    fn drop(&mut self) {
        self.flow.dropped();
    }
}

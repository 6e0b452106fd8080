//! What follows the head of a response.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::Place;
use super::exchange::Leaving;
use crate::http::trailers;
use crate::upstream::http1::ReplyError;

/// The rest of a response: data and trailers as they come. Dropping it resets the stream unless both sides have ended it.
pub struct Reply {
    body: Incoming,
    request: Leaving,
    _place: Rc<Place>,
}

impl Reply {
    pub(super) fn new(body: Incoming, request: Leaving, place: Rc<Place>) -> Self {
        Self {
            body,
            request,
            _place: place,
        }
    }

    /// Whether the whole request is on its way.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.request.0.done.get()
    }

    /// Whether nothing more comes.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The next piece of the body.
    pub fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        let next = Pin::new(&mut self.body).poll_frame(cx);
        let next = next.map_ok(trailers::without_forbidden);
        next.map_err(|error| match self.request.0.fault.take() {
            Some(fault) => ReplyError::Request(fault),
            None => ReplyError::Http2(error),
        })
    }

    /// What is known of the body's length.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

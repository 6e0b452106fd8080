//! What follows the head of a response, whichever version of HTTP it comes in.

use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::http1::{self, ReplyError, Socket};
use super::http2;

/// The rest of a response. As a body it gives data as it comes.
pub enum Reply<B> {
    /// Over a connection of its own.
    Http1(Box<http1::Reply<B>>),
    /// Over a stream within a connection.
    Http2(http2::Reply),
}

impl<B> Reply<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Whether the request was sent whole.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        match self {
            Self::Http1(reply) => reply.is_sent(),
            Self::Http2(reply) => reply.is_sent(),
        }
    }

    /// Whether nothing more comes.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        match self {
            Self::Http1(reply) => reply.is_ended(),
            Self::Http2(reply) => reply.is_ended(),
        }
    }

    /// The whole body, where it has come with the head and the request was sent.
    #[must_use]
    pub fn take_whole(&mut self) -> Option<Bytes> {
        match self {
            Self::Http1(reply) => reply.take_whole(),
            Self::Http2(_) => None,
        }
    }

    /// Whether the socket can be taken for a stream: it is the response's own, and the request was sent whole.
    #[must_use]
    pub fn has_socket(&self) -> bool {
        matches!(self, Self::Http1(reply) if reply.is_sent())
    }

    /// The bare socket, for a long stream.
    ///
    /// # Errors
    /// The response as it was, where its socket is shared with others.
    pub fn into_socket(self) -> Result<Socket, Self> {
        match self {
            Self::Http1(reply) => Ok(reply.into_socket()),
            Self::Http2(_) => Err(self),
        }
    }

    /// The connection, if it can take another request by itself: one of HTTP/2 is shared all the time.
    #[must_use]
    pub fn reusable(self) -> Option<http1::Connection> {
        match self {
            Self::Http1(reply) => reply.reusable(),
            Self::Http2(_) => None,
        }
    }

    /// The next piece of the body.
    pub fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        match self {
            Self::Http1(reply) => reply.poll_piece(cx),
            Self::Http2(reply) => reply.poll_piece(cx),
        }
    }

    /// What is known of the body's length.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        match self {
            Self::Http1(reply) => reply.size_hint(),
            Self::Http2(reply) => reply.size_hint(),
        }
    }
}

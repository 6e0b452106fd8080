//! The request on its way to the server: its head, then its body, framed as the head says.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body;
use tokio::io::AsyncWrite;

use super::exchange::ExchangeError;
use super::head::Framing;
use crate::http::chunked;
use crate::tls::ServerStream;

/// A request that is being written.
pub(super) struct Upload<B> {
    body: Option<B>,
    state: State,
    /// Framing that goes before `data`: the head, a chunk's size, the last chunk.
    before: Vec<u8>,
    data: Bytes,
    after: &'static [u8],
    /// Bytes of the body that the client gave.
    sent: u64,
    /// Bytes that the server took, framing and all.
    written: u64,
}

/// When a request's body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendBody {
    /// With the head.
    AtOnce,
    /// Once the server asks for it, or has had time to: the head has `Expect: 100-continue` (RFC 9110 §10.1.1).
    WhenAsked,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The head goes out; the body waits for the server's word.
    Unasked(Framing),
    Body(Framing),
    /// What is held is the last of it.
    Last,
    Done,
    /// The server takes no more; it may still answer.
    Refused,
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// `head` is written as it is; `framing` is what it says of `body`.
    pub(super) fn new(head: Vec<u8>, framing: Framing, body: Option<B>, send: SendBody) -> Self {
        let state = if body.is_none() || framing == Framing::Empty {
            State::Last
        } else if send == SendBody::WhenAsked {
            State::Unasked(framing)
        } else {
            State::Body(framing)
        };
        Self {
            body,
            state,
            before: head,
            data: Bytes::new(),
            after: b"",
            sent: 0,
            written: 0,
        }
    }

    /// Whether the request was written whole.
    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the server has not said yet that it wants the body.
    pub(super) fn is_unasked(&self) -> bool {
        matches!(self.state, State::Unasked(_))
    }

    /// Sends the body now.
    pub(super) fn proceed(&mut self) {
        if let State::Unasked(framing) = self.state {
            self.state = State::Body(framing);
        }
    }

    /// The server has answered without asking for the body: it is not sent any more.
    pub(super) fn refuse_unasked(&mut self) {
        if self.is_unasked() {
            self.state = State::Refused;
        }
    }

    /// Whether a byte of the body was asked for: then the request cannot be sent again.
    pub(super) fn has_begun(&self) -> bool {
        self.sent > 0
    }

    /// Bytes that the server took.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Writes on. Ready when all is written, or when the server takes no more (it may have answered already).
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut ServerStream,
    ) -> Poll<Result<(), ExchangeError>> {
        loop {
            if matches!(self.state, State::Done | State::Refused) {
                return Poll::Ready(Ok(()));
            }
            if let Err(_broken) = ready!(self.poll_write(cx, stream)) {
                self.state = State::Refused;
                return Poll::Ready(Ok(()));
            }
            match self.state {
                State::Unasked(_) => return Poll::Pending,
                State::Body(framing) => ready!(self.poll_next(cx, framing))?,
                _written => self.state = State::Done,
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut ServerStream,
    ) -> Poll<io::Result<()>> {
        loop {
            let slices = [
                IoSlice::new(&self.before),
                IoSlice::new(&self.data),
                IoSlice::new(self.after),
            ];
            if slices.iter().all(|slice| slice.is_empty()) {
                return Poll::Ready(Ok(()));
            }
            // A request without a body is one slice, and a plain write costs the kernel less.
            let written = if self.data.is_empty() && self.after.is_empty() {
                ready!(Pin::new(&mut *stream).poll_write(cx, &self.before))?
            } else {
                ready!(Pin::new(&mut *stream).poll_write_vectored(cx, &slices))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(written);
        }
    }

    fn advance(&mut self, written: usize) {
        self.written += written as u64;
        let before = written.min(self.before.len());
        self.before.drain(..before);
        let data = (written - before).min(self.data.len());
        self.data.advance(data);
        self.after = &self.after[written - before - data..];
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        framing: Framing,
    ) -> Poll<Result<(), ExchangeError>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(self.end(framing, None));
        };
        let frame = match ready!(Pin::new(body).poll_frame(cx)) {
            None => return Poll::Ready(self.end(framing, None)),
            Some(Err(error)) => return Poll::Ready(Err(ExchangeError::Client(error.into()))),
            Some(Ok(frame)) => frame,
        };
        match frame.into_data() {
            Ok(data) => {
                self.data(framing, data);
                Poll::Ready(Ok(()))
            }
            Err(frame) => Poll::Ready(match frame.into_trailers() {
                Ok(trailers) => self.end(framing, Some(&trailers)),
                Err(_unknown) => Ok(()),
            }),
        }
    }

    fn data(&mut self, framing: Framing, data: Bytes) {
        self.sent += data.len() as u64;
        // A chunk of no bytes would be the last.
        if framing == Framing::Chunked && !data.is_empty() {
            chunked::head(data.len(), &mut self.before);
            self.after = chunked::TAIL;
        }
        self.data = data;
    }

    fn end(&mut self, framing: Framing, trailers: Option<&HeaderMap>) -> Result<(), ExchangeError> {
        self.state = State::Last;
        match (framing, trailers) {
            (Framing::Length(length), _) if length != self.sent => Err(ExchangeError::BodyTooShort),
            (Framing::Chunked, Some(trailers)) => {
                chunked::trailer_section(trailers, &mut self.before);
                Ok(())
            }
            (Framing::Chunked, None) => {
                self.before.extend_from_slice(chunked::LAST);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

//! A client's HTTP/1.1 connection, as hyper may see it.
//!
//! Owns what was read and is not passed on yet, and tells the connection's [`Activity`] what its owner must know: when a
//! head began, that one is refused, whether the socket took what hyper wrote. Invariants: hyper gets whole heads that
//! passed [`Inbound`], and their bodies, one request at a time: hyper does not read while bytes lie before it that it cannot
//! use yet, and would not see the client leave. After a refused head it gets nothing more, not even the connection's end, for
//! the owner has the last word. No more is kept than one head and one read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::idle::Activity;
use crate::http::inbound::{Bounds, Halt, Inbound, Outline};
use crate::tls::ClientStream;

/// How much is read at once behind a half head.
const READ: usize = 4 * 1024;

/// A connection under watch.
pub(super) struct Watched {
    stream: ClientStream,
    activity: Rc<Activity>,
    inbound: Inbound,
    /// So many bytes are kept before the socket is left alone.
    most_held: usize,
    /// Passed, and on its way to hyper.
    passed: BytesMut,
    /// Read, and not passed.
    held: BytesMut,
    halt: Option<Halt>,
}

impl Watched {
    pub(super) fn new(stream: ClientStream, activity: Rc<Activity>, bounds: Bounds) -> Self {
        Self {
            stream,
            activity,
            inbound: Inbound::new(bounds),
            most_held: bounds.size,
            passed: BytesMut::new(),
            held: BytesMut::new(),
            halt: None,
        }
    }

    /// What is known of the request whose head is not whole or is refused.
    pub(super) fn outline(&self) -> Outline {
        self.inbound.outline(&self.held)
    }

    /// The connection, and what came behind the bytes that hyper has.
    pub(super) fn into_parts(self) -> (ClientStream, Bytes) {
        let mut rest = self.passed;
        rest.extend_from_slice(&self.held);
        (self.stream, rest.freeze())
    }

    fn written<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.activity.wrote(written.is_ready());
        written
    }

    /// Judges what came anew; so much of `input` is passed.
    fn judge(&mut self, input: &[u8]) -> usize {
        let (passed, halt) = self.inbound.follow(input);
        self.halt = halt;
        self.activity.passed(self.inbound.heads());
        self.activity
            .head(self.inbound.is_within_head(&input[passed..]));
        if let Some(Halt::Refused(fault)) = halt {
            self.activity.refuse(fault);
        }
        passed
    }

    /// Judges what is held, and passes of it what may be passed.
    fn judge_held(&mut self) {
        let held = std::mem::take(&mut self.held);
        let passed = self.judge(&held);
        self.held = held;
        self.passed = self.held.split_to(passed);
        if self.held.is_empty() {
            // A silent connection holds no buffer.
            self.held = BytesMut::new();
        }
    }

    /// Reads into hyper's own buffer, and keeps what may not be passed. False: nothing is passed.
    fn poll_read_through(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() == before {
            return Poll::Ready(Ok(true));
        }
        let passed = self.judge(&buf.filled()[before..]);
        self.held
            .extend_from_slice(&buf.filled()[before + passed..]);
        buf.set_filled(before + passed);
        Poll::Ready(Ok(passed > 0))
    }

    /// Reads behind what is held. False: the client has ended its direction.
    fn poll_read_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.is_full() {
            return Poll::Pending;
        }
        let mut space = [0; READ];
        let mut read = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
        if read.filled().is_empty() {
            return Poll::Ready(Ok(false));
        }
        self.held.extend_from_slice(read.filled());
        self.judge_held();
        Poll::Ready(Ok(true))
    }

    /// What is to be done about the bytes that may not be passed. Pending: nothing, for now.
    fn poll_halt(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        match self.halt {
            None | Some(Halt::Partial) => Poll::Ready(Ok(())),
            Some(Halt::Refused(_)) => Poll::Pending,
            // A broken body is the request's own affair: hyper ends the body with this error.
            Some(Halt::Broken(error)) => {
                Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)))
            }
            Some(Halt::Unanswered | Halt::Undecided) if self.activity.all_answered() => {
                self.inbound.resume();
                self.judge_held();
                if self.passed.is_empty() {
                    return self.poll_halt(cx);
                }
                Poll::Ready(Ok(()))
            }
            Some(Halt::Unanswered | Halt::Undecided) => {
                if !self.held.is_empty() {
                    self.activity.wake_when_answered(cx.waker());
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    /// What comes behind a request under way is read only to see the client leave.
    fn is_full(&self) -> bool {
        let waits = matches!(self.halt, Some(Halt::Unanswered | Halt::Undecided));
        waits && self.held.len() >= self.most_held
    }

    /// What the end of the client's direction is to hyper. What was sent ahead of an upgrade belongs to the protocol that
    /// may come, which has its own way to end.
    fn end(&self) -> Poll<io::Result<()>> {
        if self.halt == Some(Halt::Undecided) {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.passed.is_empty() {
                let length = self.passed.len().min(buf.remaining());
                buf.put_slice(&self.passed.split_to(length));
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_halt(cx))?;
            if !self.passed.is_empty() {
                continue;
            }
            if self.held.is_empty() {
                if ready!(self.poll_read_through(cx, buf))? {
                    return Poll::Ready(Ok(()));
                }
            } else if !ready!(self.poll_read_behind(cx))? {
                return self.end();
            }
        }
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

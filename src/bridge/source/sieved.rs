//! A connection to a WebSocket feed with the [`Sieve`] in front of what is read from it.
//!
//! Invariant: after a fault of the feed's, which is told once, what still comes is thrown away until the connection
//! ends, so that the Close that it is owed is not lost to a reset.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::lifecycle::scratch;
use crate::tls::ServerStream;
use crate::upstream::http1::Socket;
use crate::websocket::sieve::{Sieve, SieveFault};

/// So many bytes are made ready before they are read.
const ENOUGH: usize = 16 * 1024;

/// A feed's connection after its handshake.
pub(super) struct Sieved {
    stream: ServerStream,
    sieve: Sieve,
    /// What was read and is not yet sieved.
    unread: Bytes,
    /// What is sieved and not yet given, from `given` on.
    ready: Vec<u8>,
    given: usize,
    state: State,
    has_heard: bool,
}

enum State {
    Sound,
    /// To be told once what is ready was given.
    Faulty(SieveFault),
    Lost,
}

impl Sieved {
    pub(super) fn new(socket: Socket, sieve: Sieve) -> Self {
        Self {
            stream: socket.stream,
            sieve,
            unread: socket.early,
            ready: Vec::new(),
            given: 0,
            state: State::Sound,
            has_heard: false,
        }
    }

    /// Whether anything came since this was asked last: a part of a long message shows that the feed lives.
    pub(super) fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.has_heard)
    }

    fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = &self.ready[self.given..];
        let count = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..count]);
        self.given += count;
        if self.given < self.ready.len() {
            return;
        }
        self.given = 0;
        self.ready.clear();
        self.ready.shrink_to(ENOUGH);
    }

    fn sieve(&mut self) {
        let mut input = &self.unread[..];
        if let Err(fault) = self.sieve.push(&mut input, &mut self.ready, ENOUGH) {
            self.state = State::Faulty(fault);
        }
        let taken = self.unread.len() - input.len();
        self.unread.advance(taken);
    }

    /// Reads what is there; false: the connection has ended.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        scratch::with(|buffer| {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            let mut input = buffer.filled();
            let has_come = !input.is_empty();
            self.has_heard |= has_come;
            if matches!(self.state, State::Lost) {
                return Poll::Ready(Ok(has_come));
            }
            if let Err(fault) = self.sieve.push(&mut input, &mut self.ready, ENOUGH) {
                self.state = State::Faulty(fault);
                return Poll::Ready(Ok(has_come));
            }
            self.unread = Bytes::copy_from_slice(input);
            Poll::Ready(Ok(has_come))
        })
    }
}

impl AsyncRead for Sieved {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.given < this.ready.len() {
                this.give(buffer);
                return Poll::Ready(Ok(()));
            }
            if let State::Faulty(fault) = this.state {
                this.state = State::Lost;
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
            }
            if matches!(this.state, State::Sound) {
                this.sieve();
                if !this.ready.is_empty() || matches!(this.state, State::Faulty(_)) {
                    continue;
                }
            }
            if !ready!(this.poll_more(cx))? && this.ready.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Sieved {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

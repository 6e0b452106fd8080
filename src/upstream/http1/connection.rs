//! One connection to a server.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes};
use tokio::io::AsyncRead;
use tokio::time::Instant;
use tokio_util::io::poll_read_buf;

use crate::lifecycle::scratch;
use crate::tls::ServerStream;

/// From so many bytes on, what is read is passed on without a copy, and holds the whole buffer that it stands in until it was
/// sent: a quarter of it, so that a client that takes nothing makes no more of its body than four times as much.
const WITHOUT_COPY: usize = scratch::SIZE / 4;

/// A connection to a server, idle or in use. While it waits it holds no buffer.
#[derive(Debug)]
pub struct Connection {
    pub(super) stream: ServerStream,
    /// Read, but not taken yet.
    pub(super) unread: Bytes,
    /// Whether an exchange has ended on it before this one.
    pub(super) reused: bool,
    /// Exchanges that have ended on it.
    pub(super) requests: u64,
    pub(super) born: Instant,
    pub(super) single: bool,
}

impl Connection {
    /// A fresh connection.
    #[must_use]
    pub fn new(stream: impl Into<ServerStream>) -> Self {
        Self {
            stream: stream.into(),
            unread: Bytes::new(),
            reused: false,
            requests: 0,
            born: Instant::now(),
            single: false,
        }
    }

    /// A fresh connection for one request only.
    #[must_use]
    pub fn single(stream: impl Into<ServerStream>) -> Self {
        Self {
            single: true,
            ..Self::new(stream)
        }
    }

    /// When it was opened.
    #[must_use]
    pub fn born(&self) -> Instant {
        self.born
    }

    /// How many requests were answered on it.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Whether it is for one request only.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.single
    }

    /// Whether an idle connection is still good: nothing was sent on it, no end and no bytes that nobody asked for.
    #[must_use]
    pub fn is_quiet(&mut self) -> bool {
        self.unread.is_empty() && self.stream.is_quiet()
    }

    /// What came next, `most` bytes of it at most. None is the end.
    pub(super) fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
    ) -> Poll<io::Result<Bytes>> {
        if !self.unread.is_empty() {
            let length = most.min(self.unread.len());
            return Poll::Ready(Ok(self.unread.split_to(length)));
        }
        scratch::with_kept(|buffer| {
            let mut room = buffer.limit(most);
            let read = ready!(poll_read_buf(Pin::new(&mut self.stream), cx, &mut room))?;
            if read >= WITHOUT_COPY {
                return Poll::Ready(Ok(buffer.split().freeze()));
            }
            let copy = Bytes::copy_from_slice(buffer);
            buffer.clear();
            Poll::Ready(Ok(copy))
        })
    }

    /// Lends what came next to `take`, which says how much of it it took; the rest is kept. An empty slice is the end.
    pub(super) fn poll_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&[u8]) -> (usize, R),
    ) -> Poll<io::Result<R>> {
        if !self.unread.is_empty() {
            let (taken, result) = take(&self.unread);
            self.unread.advance(taken);
            return Poll::Ready(Ok(result));
        }
        scratch::with(|buffer| {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
            let (taken, result) = take(buffer.filled());
            let rest = &buffer.filled()[taken..];
            self.unread = if rest.is_empty() {
                Bytes::new()
            } else {
                Bytes::copy_from_slice(rest)
            };
            Poll::Ready(Ok(result))
        })
    }
}

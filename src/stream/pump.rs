//! The copy loop, one direction of it.
//!
//! **It keeps nothing**: bytes are read into the worker's scratch buffer and written at once; only what the other
//! side did not take is copied to the heap, and freed when it was written. Nothing more is read until then: that is
//! the back-pressure. So an idle stream holds no buffer, and a stuck one at most one scratch buffer a direction.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::lifecycle::scratch;

/// Which side broke. How it broke tells nobody more: a reset is a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    /// The side that is read from.
    Source,
    /// The side that is written to.
    Sink,
}

/// What is on its way to a sink.
#[derive(Default)]
pub(super) struct Outflow {
    kept: Bytes,
    unflushed: bool,
}

impl Outflow {
    /// `early` goes out first.
    #[must_use]
    pub(super) fn new(early: Bytes) -> Self {
        Self {
            kept: early,
            unflushed: false,
        }
    }

    /// Writes what was kept. Ready when nothing is on its way any more, so that there is room for more.
    pub(super) fn poll_clear<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
    ) -> Poll<io::Result<()>> {
        while !self.kept.is_empty() {
            let written = ready!(Pin::new(&mut *sink).poll_write(cx, &self.kept))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.kept.advance(written);
        }
        // An advanced `Bytes` still holds its whole allocation.
        self.kept = Bytes::new();
        if self.unflushed {
            ready!(Pin::new(sink).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes `data`, and keeps what the sink does not take now. To be called when [`Outflow::poll_clear`] was ready.
    ///
    /// # Errors
    /// Those of the sink.
    pub(super) fn write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
        data: &[u8],
    ) -> io::Result<()> {
        debug_assert!(self.kept.is_empty(), "what is kept goes first");
        let mut rest = data;
        while !rest.is_empty() {
            match Pin::new(&mut *sink).poll_write(cx, rest)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(written) => rest = &rest[written..],
                Poll::Pending => {
                    self.kept = Bytes::copy_from_slice(rest);
                    break;
                }
            }
            self.unflushed = true;
        }
        Ok(())
    }
}

/// One direction of a tunnel: everything from a source to a sink, the end of the one as the end of the other.
pub(super) struct Pipe {
    outflow: Outflow,
    state: State,
    moved: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The source has ended, the sink has not been told yet.
    Ending,
    Ended,
}

impl Pipe {
    /// `early` was read from the source before and goes out first.
    #[must_use]
    pub(super) fn new(early: Bytes) -> Self {
        Self {
            moved: early.len() as u64,
            outflow: Outflow::new(early),
            state: State::Open,
        }
    }

    /// Bytes that came from the source.
    #[must_use]
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Copies on. Ready when the source has ended and the sink was told so.
    ///
    /// # Errors
    /// [`Broken`], with its side.
    pub(super) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
    ) -> Poll<Result<(), Broken>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            if self.state == State::Ended {
                return Poll::Ready(Ok(()));
            }
            ready!(self.outflow.poll_clear(cx, sink)).map_err(|_broken| Broken::Sink)?;
            if self.state == State::Ending {
                ready!(Pin::new(&mut *sink).poll_shutdown(cx)).map_err(|_broken| Broken::Sink)?;
                self.state = State::Ended;
                continue;
            }
            ready!(self.poll_move(cx, source, sink))?;
        }
    }

    fn poll_move<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
    ) -> Poll<Result<(), Broken>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        scratch::with(|buffer| {
            match ready!(Pin::new(source).poll_read(cx, buffer)) {
                Ok(()) => {}
                // A TLS peer that left without close_notify: an end all the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(_broken) => return Poll::Ready(Err(Broken::Source)),
            }
            let data = buffer.filled();
            if data.is_empty() {
                self.state = State::Ending;
                return Poll::Ready(Ok(()));
            }
            self.moved += data.len() as u64;
            Poll::Ready(
                self.outflow
                    .write(cx, sink, data)
                    .map_err(|_broken| Broken::Sink),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn all_bytes_and_the_end_reach_a_slow_sink() {
        let (mut from, mut source) = duplex(1 << 20);
        let (mut sink, mut to) = duplex(7);
        let sent: Vec<u8> = (0..200_000u32).map(|i| i as u8).collect();
        from.write_all(&sent).await.unwrap();
        drop(from);
        let mut pipe = Pipe::new(Bytes::from_static(b"early "));
        let mut received = Vec::new();
        let copy = poll_fn(|cx| pipe.poll(cx, &mut source, &mut sink));
        let (copied, read) = tokio::join!(copy, to.read_to_end(&mut received));
        copied.unwrap();
        read.unwrap();
        assert_eq!(&received[..6], b"early ");
        assert!(received[6..] == sent[..]);
        assert_eq!(pipe.moved(), 200_006);
    }

    #[tokio::test]
    async fn a_sink_that_is_gone_is_told_apart_from_a_source_that_is_gone() {
        let (mut from, mut source) = duplex(64);
        let (mut sink, to) = duplex(64);
        drop(to);
        from.write_all(b"x").await.unwrap();
        let mut pipe = Pipe::new(Bytes::new());
        let broken = poll_fn(|cx| pipe.poll(cx, &mut source, &mut sink))
            .await
            .unwrap_err();
        assert!(matches!(broken, Broken::Sink));
    }
}

//! What is on its way to a sink.
//!
//! **It keeps nothing**: bytes are read into the worker's scratch buffer and written at once; only what the other
//! side did not take is copied to the heap, and freed when it was written. Nothing more is read until then: that is
//! the back-pressure. So an idle stream holds no buffer, and a stuck one at most one scratch buffer a direction, and
//! a frame or two of streamgate's own.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;

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

    /// Whether something waits for the sink to take it.
    #[must_use]
    pub(super) fn is_blocked(&self) -> bool {
        !self.kept.is_empty()
    }

    /// Writes `data`, and keeps what the sink does not take now. To be called when [`Outflow::poll_clear`] was ready,
    /// or after it with a little more.
    ///
    /// # Errors
    /// Those of the sink.
    pub(super) fn write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
        data: &[u8],
    ) -> io::Result<()> {
        if !self.kept.is_empty() {
            self.kept = [&self.kept[..], data].concat().into();
            return Ok(());
        }
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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_a_sink_does_not_take_is_kept_in_order() {
        let (mut sink, mut to) = duplex(4);
        let mut outflow = Outflow::new(Bytes::from_static(b"early "));
        poll_fn(|cx| {
            assert!(outflow.poll_clear(cx, &mut sink).is_pending());
            outflow.write(cx, &mut sink, b"and ").unwrap();
            outflow.write(cx, &mut sink, b"late").unwrap();
            Poll::Ready(())
        })
        .await;
        assert!(outflow.is_blocked());
        let mut received = [0; 14];
        let clear = poll_fn(|cx| outflow.poll_clear(cx, &mut sink));
        let (cleared, read) = tokio::join!(clear, to.read_exact(&mut received));
        cleared.unwrap();
        read.unwrap();
        assert_eq!(&received, b"early and late");
    }
}

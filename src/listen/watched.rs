//! A client's connection that remembers what its owner must know: whether hyper's last write was refused, and since
//! when bytes lie there that are no request yet.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::idle::Activity;
use crate::tls::ClientStream;

/// A connection under watch.
pub(super) struct Watched {
    pub(super) stream: ClientStream,
    activity: Rc<Activity>,
    write_refused: Rc<Cell<bool>>,
}

/// The owner's view of it.
#[derive(Clone, Default)]
pub(super) struct WriteWatch(Rc<Cell<bool>>);

impl WriteWatch {
    /// Whether hyper holds bytes that the socket did not take. hyper writes until its buffer is empty or the socket
    /// refuses, each time it is polled: so if the last write was not refused, nothing is left in it.
    pub(super) fn is_behind(&self) -> bool {
        self.0.get()
    }
}

impl Watched {
    pub(super) fn new(stream: ClientStream, activity: Rc<Activity>, writes: &WriteWatch) -> Self {
        Self {
            stream,
            activity,
            write_refused: writes.0.clone(),
        }
    }

    fn written<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.write_refused.set(written.is_pending());
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.activity.received();
        }
        Poll::Ready(Ok(()))
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

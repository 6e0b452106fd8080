//! One stream of an HTTP/2 connection that has become a tunnel (RFC 8441), as bytes.
//!
//! hyper gives such a stream as two halves: what is read, and a task that writes. Owns what lies between them and hyper does
//! not tell: that the client has reset the stream, and that we want to. Invariants: END_STREAM is sent only for an end that
//! was asked for ([`AsyncWrite::poll_shutdown`]), a stream that is dropped before is reset with CANCEL (RFC 8441 §5); and a
//! stream that its client has reset never reads as one that it has ended.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What both halves of a stream know of each other.
#[derive(Default)]
pub struct Halves {
    /// hyper's task has ended: all was sent, or nothing can be.
    over: Cell<bool>,
    /// The stream is to be reset.
    cut: Cell<bool>,
    reader: Cell<Option<Waker>>,
    sender: Cell<Option<Waker>>,
    held: RefCell<Option<Box<dyn Any>>>,
}

impl Halves {
    /// Keeps `held` until the stream is dropped.
    pub fn hold(&self, held: impl Any) {
        self.held.replace(Some(Box::new(held)));
    }

    /// Runs hyper's task, which sends the stream's bytes, until it ends or the stream is to be reset.
    pub async fn send(self: Rc<Self>, task: impl Future<Output = ()>) {
        let mut task = Box::pin(task);
        poll_fn(|cx| {
            if self.cut.get() || task.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            self.sender.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        // A task that is dropped unfinished leaves its stream open: h2 resets it when the other half is dropped too.
        drop(task);
        self.over.set(true);
        wake(&self.reader);
    }
}

fn wake(waker: &Cell<Option<Waker>>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

/// How far the client's direction has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inward {
    Open,
    /// Nothing more comes; whether it was ended or reset is known after the other half's turn.
    Silent,
    Ended,
}

/// The stream, for whoever reads and writes it.
pub struct Http2Stream {
    /// `None`: the client had left before the stream began.
    io: Option<TokioIo<Upgraded>>,
    halves: Rc<Halves>,
    inward: Inward,
    /// Whether the end of our direction was asked for.
    is_shut: bool,
}

impl Http2Stream {
    /// A stream of which hyper sends the bytes under [`Halves::send`]. Without `upgraded` it is one that the client has
    /// reset already.
    #[must_use]
    pub fn new(upgraded: Option<Upgraded>, halves: Rc<Halves>) -> Self {
        Self {
            io: upgraded.map(TokioIo::new),
            halves,
            inward: Inward::Open,
            is_shut: false,
        }
    }

    /// Ready when the client has reset the stream, or its connection has ended, before our direction did.
    pub fn poll_reset(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.is_reset() {
            return Poll::Ready(());
        }
        self.halves.reader.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn is_reset(&self) -> bool {
        self.io.is_none() || self.halves.over.get() && !self.is_shut
    }

    /// The stream as hyper has it, unless it was reset.
    fn sound(&mut self, cx: &Context<'_>) -> io::Result<Pin<&mut TokioIo<Upgraded>>> {
        if self.poll_reset(cx).is_ready() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        self.io
            .as_mut()
            .map(Pin::new)
            .ok_or_else(|| io::ErrorKind::ConnectionReset.into())
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if self.inward == Inward::Open {
            let before = buf.filled().len();
            ready!(self.sound(cx)?.poll_read(cx, buf))?;
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            // hyper reads RST_STREAM with CANCEL as an end. Its task was woken by that frame too, and will have ended once
            // it has had its turn: tasks of a worker run in the order in which they were woken.
            self.inward = Inward::Silent;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.inward == Inward::Silent && self.is_reset() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.inward = Inward::Ended;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sound(cx)?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sound(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = self.sound(cx)?;
        let shut = stream.poll_shutdown(cx);
        self.is_shut = true;
        shut
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        self.halves.cut.set(true);
        wake(&self.halves.sender);
        self.halves.held.take();
    }
}

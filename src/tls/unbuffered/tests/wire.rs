//! A socket by hand: it gives and takes in the portions that it is told.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::*;

/// Both ends of it; a clone is the same one.
#[derive(Clone, Default)]
pub(super) struct Wire(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    from_client: VecDeque<u8>,
    sent: Vec<u8>,
    /// Bytes that a read gives, a write takes; again and again from the front. Zero: not now.
    gives: Portions,
    takes: Portions,
    has_ended: bool,
    was_shut: bool,
    is_stuck: bool,
}

#[derive(Default)]
struct Portions {
    sizes: Vec<usize>,
    next: usize,
}

impl Portions {
    fn next(&mut self) -> usize {
        let Some(size) = self.sizes.get(self.next % self.sizes.len().max(1)) else {
            return usize::MAX;
        };
        self.next += 1;
        *size
    }
}

impl Wire {
    pub(super) fn new(gives: &[usize], takes: &[usize]) -> Self {
        let wire = Self::default();
        wire.0.borrow_mut().gives.sizes = gives.to_vec();
        wire.0.borrow_mut().takes.sizes = takes.to_vec();
        wire
    }

    /// Where the client writes.
    pub(super) fn incoming(&self) -> impl Write + '_ {
        FromClient(self)
    }

    /// What has been sent to the client, since this was asked last.
    pub(super) fn take_sent(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().sent)
    }

    pub(super) fn is_drained(&self) -> bool {
        let state = self.0.borrow();
        state.from_client.is_empty() && !state.has_ended
    }

    /// The client ends its direction.
    pub(super) fn end(&self) {
        self.0.borrow_mut().has_ended = true;
    }

    /// From now on nothing is taken.
    pub(super) fn stick(&self, is_stuck: bool) {
        self.0.borrow_mut().is_stuck = is_stuck;
    }

    pub(super) fn was_shut(&self) -> bool {
        self.0.borrow().was_shut
    }
}

struct FromClient<'a>(&'a Wire);

impl Write for FromClient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.borrow_mut().from_client.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        if state.from_client.is_empty() {
            return if state.has_ended {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            };
        }
        let given = state.gives.next();
        if given == 0 {
            return Poll::Pending;
        }
        let length = given.min(buf.remaining()).min(state.from_client.len());
        assert_ne!(length, 0, "a read without room");
        let bytes: Vec<_> = state.from_client.drain(..length).collect();
        buf.put_slice(&bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.borrow_mut();
        assert!(!state.was_shut, "a write after the end");
        let taken = if state.is_stuck {
            0
        } else {
            state.takes.next().min(bytes.len())
        };
        if taken == 0 {
            return Poll::Pending;
        }
        state.sent.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().was_shut = true;
        Poll::Ready(Ok(()))
    }
}

//! A subscriber with a stream of its own, an event stream or a WebSocket: the writing, which the sweep and the
//! subscriber's task share.
//!
//! The sweep writes as long as the socket takes all; when it does not, the subscriber is *stalled* and its own task
//! ([`super::task`]) goes on from the same byte.
//!
//! Invariant: whatever is written of our own (a heartbeat, a status, a frame, the last chunk) starts at an event's border.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::bridge::counts::{GapReason, Word};
use crate::bridge::log::{Filter, Form};
use crate::bridge::map::Upstream;
use crate::observe::access::{End, StreamRecord};
use crate::tls::ClientStream;

use super::clock::Signs;
use super::dialogue::Dialogue;
pub(super) use super::position::Position;
use super::prelude::{self, Prelude};
use super::sweep::Visit;

/// A subscriber has nothing to say. One that sends more than this is not one.
const UNASKED: u64 = 64 * 1024;

/// The part of a subscriber that the sweep shares with its task.
pub(super) struct Subscriber {
    pub(super) stream: ClientStream,
    pub(super) form: Form,
    pub(super) position: Position,
    /// The rest of what was begun to be written.
    pub(super) rest: Bytes,
    is_unflushed: bool,
    /// When the first of the events came that the socket has not taken yet.
    on_its_way: Option<Instant>,
    /// Since when the socket takes nothing; then the own task writes.
    pub(super) stalled: Option<Instant>,
    pub(super) waker: Option<Waker>,
    pub(super) end: Option<End>,
    pub(super) written: Instant,
    /// Bytes of the response's head that are not written yet: the record counts what follows it.
    pub(super) unsent_head: usize,
    pub(super) record: StreamRecord,
    /// `None`: an event stream, whose client has nothing to say.
    pub(super) dialogue: Option<Box<Dialogue>>,
}

impl Subscriber {
    /// A subscriber whose position is not known yet, left alone by the sweep.
    pub(super) fn new(
        stream: ClientStream,
        form: Form,
        filter: Option<Arc<Filter>>,
        record: StreamRecord,
    ) -> Self {
        let now = Instant::now();
        Self {
            stream,
            form,
            position: Position::unknown(filter),
            rest: Bytes::new(),
            is_unflushed: false,
            on_its_way: None,
            stalled: Some(now),
            waker: None,
            end: None,
            written: now,
            unsent_head: 0,
            record,
            dialogue: None,
        }
    }

    /// It begins as its prelude says.
    pub(super) fn begin(&mut self, opened: &Prelude) {
        self.position.begin(opened);
        if let Some(reason) = opened.gap {
            self.record.gap(reason);
        }
    }

    /// The sweep's visit.
    pub(super) fn visit(&mut self, cx: &mut Context<'_>, visit: &mut Visit<'_>) {
        if self.end.is_some() {
            return;
        }
        if self.stalled.is_some() {
            if self.position.is_slow(visit)
                && let Err(end) = self.position.fall_back(visit)
            {
                self.leave(end);
            }
            return;
        }
        let advanced = match self.own_waker() {
            Some(waker) => self.poll_advance(&mut Context::from_waker(&waker), visit),
            None => self.poll_advance(cx, visit),
        };
        match advanced {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(end)) => self.leave(end),
            Poll::Pending => self.wake(),
        }
    }

    /// Its task's waker, where the stream keeps the waker of whoever wrote last, also to tell of a reset: HTTP/2.
    fn own_waker(&self) -> Option<Waker> {
        match self.stream {
            ClientStream::Http2(_) => self.waker.clone(),
            ClientStream::Clear(_) | ClientStream::Tls(_) => None,
        }
    }

    fn leave(&mut self, end: End) {
        self.end = Some(end);
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Writes until the client has everything, and then is not stalled; pending, it is.
    pub(super) fn poll_advance(
        &mut self,
        cx: &mut Context<'_>,
        visit: &mut Visit<'_>,
    ) -> Poll<Result<(), End>> {
        let advanced = self.poll_write_all(cx, visit);
        if advanced.is_pending() {
            self.stalled.get_or_insert(visit.now);
        } else {
            self.stalled = None;
        }
        advanced
    }

    fn poll_write_all(
        &mut self,
        cx: &mut Context<'_>,
        visit: &mut Visit<'_>,
    ) -> Poll<Result<(), End>> {
        loop {
            ready!(self.poll_rest(cx, visit.now)).map_err(|_broken| End::Client)?;
            if let Some(came) = self.on_its_way.take() {
                self.record.delayed(came.elapsed());
            }
            if let Some(dialogue) = &mut self.dialogue
                && dialogue.has_answers()
            {
                self.rest = dialogue.take_answers();
                continue;
            }
            if self.position.owes_status(visit.upstream, visit.view) {
                self.rest = prelude::status(visit.upstream, self.form);
                self.position.told = visit.upstream;
                continue;
            }
            if let Some(gap) = self.position.take_gap() {
                self.record.gap(GapReason::from(gap.0).label());
                self.rest = prelude::gap(visit.channel, gap, self.form);
                continue;
            }
            if self.position.is_at_head(visit.view) {
                self.position.note_caught_up();
                return Poll::Ready(match visit.upstream {
                    Upstream::Gone => Err(End::BackendFailed),
                    _ => Ok(()),
                });
            }
            let piece = self.position.piece(visit.view, visit.ranges, self.form);
            let Some(piece) = piece else {
                self.position.fall_back(visit)?;
                continue;
            };
            let step = piece.step;
            if piece.bytes.is_empty() {
                self.position.pass(step);
                continue;
            }
            let stream = Pin::new(&mut self.stream);
            let count =
                ready!(stream.poll_write(cx, piece.bytes)).map_err(|_broken| End::Client)?;
            if count < piece.bytes.len() {
                self.rest = piece.rest(count);
            }
            // What is replayed has waited for its client, and not been delayed.
            self.on_its_way = self.position.has_caught_up().then_some(step.came);
            self.position.pass(step);
            self.record.sent_messages(self.position.take_given());
            self.note_written(count, visit.now);
        }
    }

    /// Writes the rest of what was begun, and flushes: TLS may hold sealed records back.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<io::Result<()>> {
        while !self.rest.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.rest.advance(count);
            self.note_written(count, now);
        }
        if self.rest.is_empty() {
            // A large event that was written is not kept for the one byte range that is empty now.
            self.rest = Bytes::new();
        }
        if self.is_unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn note_written(&mut self, count: usize, now: Instant) {
        let head = count.min(self.unsent_head);
        self.unsent_head -= head;
        self.record.sent(count - head);
        self.written = now;
        self.is_unflushed = true;
        // Progress: the time without any begins anew.
        self.stalled = self.stalled.map(|_since| now);
    }

    /// Whether something of our own waits for a border.
    pub(super) fn has_answers(&self) -> bool {
        self.dialogue
            .as_ref()
            .is_some_and(|dialogue| dialogue.has_answers())
    }

    /// What the clock is to know.
    pub(super) fn signs(&self) -> Signs {
        Signs {
            written: self.written,
            stalled: self.stalled,
            ping: self
                .dialogue
                .as_ref()
                .and_then(|dialogue| dialogue.liveness()),
        }
    }

    /// Hears the client. Ready when it has left, or is to be left.
    pub(super) fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        match &mut self.dialogue {
            None => self.poll_left(cx).map(|()| End::Client),
            Some(dialogue) => {
                let record = &mut self.record;
                let heard = dialogue.poll(&mut self.stream, cx, |count| record.received(count));
                record.received_messages(dialogue.take_messages());
                heard
            }
        }
    }

    /// Ready when the client has left. What it sends is read and dropped.
    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [MaybeUninit::uninit(); 1024];
        loop {
            let mut read = ReadBuf::uninit(&mut scratch);
            if ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read)).is_err() {
                return Poll::Ready(());
            }
            let count = read.filled().len();
            self.record.received(count);
            if count == 0 || self.record.moved().bytes_in > UNASKED {
                return Poll::Ready(());
            }
        }
    }
}

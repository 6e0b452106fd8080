//! A subscriber over HTTP/1.1: its socket, which the sweep and its own task share.
//!
//! The sweep writes as long as the socket takes all; when it does not, the subscriber is *stalled* and its own task
//! goes on from the same byte. The task also sees the client leave, sends heartbeats and ends the subscription.
//!
//! Invariant: whatever is written of our own (a heartbeat, a status, the last chunk) starts at an event's border.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};

use crate::bridge::Bridge;
use crate::bridge::log::{Filter, Form, View};
use crate::bridge::map::Upstream;
use crate::config::model::Slow;
use crate::observe::access::{End, Kind, StreamRecord};
use crate::stream::Taken;
use crate::tls::ClientStream;

use super::Plan;
use super::clock::{Clock, Tick};
use super::prelude;
use super::sweep::{Member, Seat, Visit};

/// What an end of ours may take: the rest of an event, the last words, the connection's shutdown.
const FAREWELL: Duration = Duration::from_secs(5);
/// A subscriber has nothing to say. One that sends more than this is not one.
const UNASKED: u64 = 64 * 1024;
/// The kernel wakes us only when less than this is unsent, so that a slow client's lag stays in the log, where it costs
/// nothing, and not in the kernel, once for each client.
const UNSENT: u32 = 16 * 1024;
/// For the same reason the kernel's buffer does not grow to its usual megabytes. It still holds a burst over a long way
/// (128 KiB each round trip).
const SEND_BUFFER: usize = 128 * 1024;

/// Where a subscriber stands.
#[derive(Debug)]
pub(super) struct Position {
    /// The next event it gets.
    pub(super) next: u64,
    /// What it knows of the feed.
    pub(super) told: Upstream,
    /// Whether it was ever at the head: until then it replays, and being behind is not being slow.
    pub(super) has_caught_up: bool,
    /// Which events it gets. Default: all.
    pub(super) filter: Option<Arc<Filter>>,
    /// Whether it has passed over events that the client was not given, so that the client's cursor is behind.
    pub(super) owes_id: bool,
}

impl Position {
    /// One that is not known yet.
    pub(super) fn unknown(filter: Option<Arc<Filter>>) -> Self {
        Self {
            next: 0,
            told: Upstream::Connecting,
            has_caught_up: false,
            filter,
            owes_id: false,
        }
    }

    /// The place right behind the last event, if the client's cursor is to be moved there by a heartbeat.
    pub(super) fn take_owed(&mut self) -> Option<u64> {
        std::mem::take(&mut self.owes_id).then(|| self.next - 1)
    }

    /// Whether a status is to be told now. That the feed is up comes before its new events, that it is lost after the
    /// last ones.
    pub(super) fn owes_status(&self, upstream: Upstream, view: &View) -> bool {
        let is_news = self.told != upstream && upstream != Upstream::Gone;
        is_news && (upstream == Upstream::Up || self.next >= view.head())
    }

    /// Whether it is further behind than `slow` allows, or than the log reaches.
    pub(super) fn is_slow(&self, view: &View, slow: &Slow) -> bool {
        let behind = view.head().saturating_sub(self.next);
        let is_over = || behind > slow.events || view.bytes_behind(self.next) > slow.bytes;
        behind > 0 && (self.next < view.floor() || (self.has_caught_up && is_over()))
    }
}

/// The part of a subscriber that the sweep shares with its task.
pub(super) struct Subscriber {
    stream: ClientStream,
    form: Form,
    position: Position,
    /// The rest of what was begun to be written.
    rest: Bytes,
    is_unflushed: bool,
    /// When the first of the events came that the socket has not taken yet.
    on_its_way: Option<Instant>,
    /// Since when the socket takes nothing; then the own task writes.
    stalled: Option<Instant>,
    waker: Option<Waker>,
    end: Option<End>,
    written: Instant,
    /// Bytes of the response's head that are not written yet: the record counts what follows it.
    unsent_head: usize,
    record: StreamRecord,
}

impl Subscriber {
    /// A subscriber whose position is not known yet, left alone by the sweep.
    fn new(
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
        }
    }

    /// The sweep's visit.
    pub(super) fn visit(&mut self, cx: &mut Context<'_>, visit: &mut Visit<'_>, slow: &Slow) {
        if self.end.is_some() {
            return;
        }
        if self.stalled.is_some() {
            if self.position.is_slow(visit.view, slow) {
                self.leave(End::Slow);
            }
            return;
        }
        match self.poll_advance(cx, visit) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(end)) => self.leave(end),
            Poll::Pending => self.wake(),
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
    fn poll_advance(
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
            if self.position.owes_status(visit.upstream, visit.view) {
                self.rest = prelude::status(visit.upstream, self.form);
                self.position.told = visit.upstream;
                continue;
            }
            let next = self.position.next;
            if next >= visit.view.head() {
                self.position.has_caught_up = true;
                return Poll::Ready(match visit.upstream {
                    Upstream::Gone => Err(End::BackendFailed),
                    _ => Ok(()),
                });
            }
            let filter = self.position.filter.as_ref();
            let Some(piece) = visit.ranges.piece(visit.view, next, self.form, filter) else {
                return Poll::Ready(Err(End::Slow));
            };
            self.position.owes_id = piece.passed_over;
            if piece.bytes.is_empty() {
                self.position.next = piece.next;
                continue;
            }
            let stream = Pin::new(&mut self.stream);
            let count =
                ready!(stream.poll_write(cx, piece.bytes)).map_err(|_broken| End::Client)?;
            if count < piece.bytes.len() {
                self.rest = piece.rest(count);
            }
            // What is replayed has waited for its client, and not been delayed.
            self.on_its_way = self.position.has_caught_up.then_some(piece.came);
            self.position.next = piece.next;
            self.record.sent_messages(piece.next - next);
            self.note_written(count, visit.now);
        }
    }

    /// Writes the rest of what was begun, and flushes: TLS may hold sealed records back.
    fn poll_rest(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<io::Result<()>> {
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

/// A subscriber's own task.
struct Task {
    shared: Rc<RefCell<Subscriber>>,
    seat: Seat,
    clock: Clock,
}

/// A subscription's whole life on the client's socket, its response's head included. What it begins with is put
/// together before the future is made, so that the future stays small: there is one for each client.
pub(super) fn run(plan: Plan, taken: Taken) -> impl Future<Output = ()> + use<> {
    let Plan {
        subscription,
        bridge,
        cursor,
        form,
        filter,
        client,
        id,
        route,
        version,
        fields,
    } = plan;
    let config = bridge.config();
    let channel = subscription.channel();
    tune(&taken.stream);
    let mut head = Vec::with_capacity(512);
    prelude::head(&id, form, &fields, &mut head);
    let record = StreamRecord::open(
        id,
        Kind::Subscription,
        route,
        client,
        channel.name(),
        version,
    );
    let subscriber = Subscriber::new(taken.stream, form, filter, record);
    let shared = Rc::new(RefCell::new(subscriber));
    // First the seat, then the position: what is appended in between is seen by the one or the other. No sweep runs
    // before this task is left, so none sees the position that is not there yet.
    let member = Member::Socket(shared.clone());
    let seat = Seat::take(channel, config.slow, member, &taken.guard);
    let opened = prelude::prelude(channel, config, cursor, form);
    {
        let mut subscriber = shared.borrow_mut();
        subscriber.position.next = opened.next;
        subscriber.position.told = opened.told;
        subscriber.unsent_head = head.len();
        head.extend_from_slice(&opened.first);
        subscriber.rest = head.into();
    }
    let clock = Clock::new(config, taken.guard.clone());
    let stall = config.slow.stall;
    let mut task = Task {
        shared,
        seat,
        clock,
    };
    async move {
        let end = match task.write_prelude(opened.second, stall).await {
            Ok(()) => poll_fn(|cx| task.poll(cx)).await,
            Err(end) => end,
        };
        task.finish(end, &bridge).await;
        // The channel and the drain are held until the very end.
        drop((subscription, taken.guard));
    }
}

/// Failing to set these changes only how much the kernel holds.
fn tune(stream: &ClientStream) {
    let Some(tcp) = stream.tcp() else {
        return;
    };
    let socket = SockRef::from(tcp);
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
}

impl Task {
    /// The first write, and then the second is laid ready.
    async fn write_prelude(&mut self, second: Bytes, limit: Duration) -> Result<(), End> {
        let shared = &self.shared;
        let first = poll_fn(|cx| shared.borrow_mut().poll_rest(cx, Instant::now()));
        // Boxed, as all that is rare: room for a timer is not to be kept in each subscriber's future.
        match Box::pin(timeout(limit, first)).await {
            Ok(Ok(())) => {}
            Ok(Err(_broken)) => return Err(End::Client),
            Err(_elapsed) => return Err(End::Slow),
        }
        shared.borrow_mut().rest = second;
        Ok(())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let mut subscriber = self.shared.borrow_mut();
        let subscriber = &mut *subscriber;
        if let Some(end) = subscriber.end {
            return Poll::Ready(end);
        }
        if subscriber.poll_left(cx).is_ready() {
            return Poll::Ready(End::Client);
        }
        loop {
            if subscriber.stalled.is_some() || !subscriber.rest.is_empty() {
                let advanced = self.seat.visit(|visit| subscriber.poll_advance(cx, visit));
                if let Poll::Ready(Err(end)) = advanced {
                    return Poll::Ready(end);
                }
            }
            let due = self.clock.poll(cx, subscriber.written, subscriber.stalled);
            match due {
                Poll::Ready(Tick::End(end)) => return Poll::Ready(end),
                Poll::Ready(Tick::Heartbeat) => {
                    let owed = subscriber.position.take_owed();
                    let id = owed.map(|seq| self.seat.channel().id(seq));
                    subscriber.rest = prelude::heartbeat(subscriber.form, id);
                    subscriber.record.heartbeat();
                }
                Poll::Pending => break,
            }
        }
        match &mut subscriber.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            empty => *empty = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Ends the subscription. An end of ours comes at an event's border, with the last chunk; a client that is slow
    /// gets nothing more, and sees that the response was cut.
    async fn finish(self, end: End, bridge: &Arc<Bridge>) {
        // From here on the sweep does not know it any more.
        drop((self.seat, self.clock));
        let silence = self.shared.borrow().written.elapsed();
        if matches!(end, End::Age | End::Drain | End::BackendFailed) {
            let farewell = farewell(&self.shared, bridge);
            // A client that does not take it in time, or has left, is gone anyway.
            let _: Result<io::Result<()>, _> = Box::pin(timeout(FAREWELL, farewell)).await;
        }
        if let Some(subscriber) = Rc::into_inner(self.shared) {
            subscriber.into_inner().record.close(end, silence);
        }
    }
}

async fn farewell(shared: &RefCell<Subscriber>, bridge: &Arc<Bridge>) -> io::Result<()> {
    poll_fn(|cx| shared.borrow_mut().poll_rest(cx, Instant::now())).await?;
    let form = shared.borrow().form;
    shared.borrow_mut().rest = prelude::closing(bridge, form);
    poll_fn(|cx| shared.borrow_mut().poll_rest(cx, Instant::now())).await?;
    poll_fn(|cx| Pin::new(&mut shared.borrow_mut().stream).poll_shutdown(cx)).await
}

//! A subscriber over HTTP/2: a body that reads the same log, woken by the sweep.
//!
//! HTTP/2's own flow control holds it: while the client's window is closed, the body is asked for one piece more, at most a
//! heartbeat on a quiet feed, and then not polled, so that a slow client costs nothing but its position. The sweep finds it
//! slow by the same rules as a socket, and looks at it from time to time where the feed is quiet. What becomes due
//! meanwhile, an age or a drain, is said once the window opens, or the stall ends it.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::Frame;
use tokio::time::Instant;

use crate::bridge::log::Form;
use crate::bridge::map::Upstream;
use crate::bridge::{Bridge, Subscription};
use crate::http::body::BodyError;
use crate::lifecycle::drain;
use crate::observe::access::{End, Kind, StreamRecord};
use crate::observe::streams::Row;

use super::Plan;
use super::clock::{Clock, Signs, Tick};
use super::outside::Outside;
use super::parting::Parting;
use super::prelude;
use super::sse::Position;
use super::sweep::{Member, Seat, Visit};

/// Aborts the stream: the client resumes from its cursor.
#[derive(Debug, thiserror::Error)]
#[error("the client is too slow")]
struct TooSlow;

/// The part of a body that the sweep shares with it.
pub(super) struct Reader {
    pub(super) position: Position,
    /// Since when there is something that was not asked for.
    since: Option<Instant>,
    /// Since when the client's window takes no more: the body was not polled since it gave something out.
    given: Option<Instant>,
    waker: Option<Waker>,
    is_slow: bool,
    /// Released when the client is found slow: the body itself may stay for as long as the client's window is closed.
    subscription: Option<Subscription>,
    /// What its stream is listed by.
    pub(super) row: Rc<Row>,
}

impl Reader {
    /// The sweep's visit.
    pub(super) fn visit(&mut self, visit: &Visit<'_>) {
        let position = &mut self.position;
        let is_behind = !position.is_at_head(visit.view);
        let has_news = is_behind || position.owes_status(visit.upstream, visit.view);
        let has_news = has_news || visit.upstream == Upstream::Gone;
        let since = match has_news {
            true => Some(*self.since.get_or_insert(visit.now)),
            false => self.given,
        };
        let Some(since) = since.filter(|_| !self.is_slow) else {
            return;
        };
        let is_stalled = visit.now.saturating_duration_since(since) >= visit.slow.stall;
        if is_stalled {
            visit.channel.counts().slow_stalled.add();
        }
        if is_stalled || (position.is_slow(visit) && position.fall_back(visit).is_err()) {
            self.is_slow = true;
            self.subscription = None;
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn next(&mut self, visit: &mut Visit<'_>) -> Next {
        self.since = None;
        let position = &mut self.position;
        if position.owes_status(visit.upstream, visit.view) {
            position.told = visit.upstream;
            return Next::Bytes(prelude::status(visit.upstream, Form::SsePlain));
        }
        if let Some(gap) = position.take_gap() {
            return Next::Bytes(prelude::gap(visit.channel, gap, Form::SsePlain));
        }
        while !position.is_at_head(visit.view) {
            let piece = position.piece(visit.view, visit.ranges, Form::SsePlain);
            let Some(piece) = piece else {
                match position.fall_back(visit) {
                    Ok(()) => return self.next(visit),
                    Err(end) => return Next::End(end),
                }
            };
            position.pass(piece.step);
            if piece.step.has_forgotten {
                return self.next(visit);
            }
            if !piece.bytes.is_empty() {
                return Next::Bytes(piece.rest(0));
            }
        }
        position.note_caught_up();
        match visit.upstream {
            Upstream::Gone => Next::End(End::BackendFailed),
            _ => Next::Nothing,
        }
    }
}

enum Next {
    Bytes(Bytes),
    Nothing,
    End(End),
}

/// The body of a subscription's response.
pub(super) struct EventBody {
    bridge: Arc<Bridge>,
    shared: Rc<RefCell<Reader>>,
    seat: Seat,
    clock: Clock,
    /// The prelude's two parts, each as long as it was not given out.
    prelude: [Bytes; 2],
    written: Instant,
    /// `None`: the body is over.
    record: Option<StreamRecord>,
    guard: drain::Guard,
}

impl EventBody {
    /// A subscription that begins now.
    pub(super) fn new(plan: Plan, guard: drain::Guard) -> Self {
        let Plan {
            subscription,
            bridge,
            cursor,
            filter,
            client,
            id,
            route,
            version,
            losses,
            ..
        } = plan;
        let (config, channel) = (bridge.config().clone(), subscription.channel().clone());
        let taken_over = subscription.taken_over();
        let mut record = StreamRecord::open(
            id,
            Kind::Subscription,
            route,
            (client, losses.user()),
            channel.name(),
            version,
        );
        // As in `sse::run`: the seat before the position, and no `.await` between them.
        let shared = Rc::new(RefCell::new(Reader {
            position: Position::unknown(filter),
            since: None,
            given: None,
            waker: None,
            is_slow: false,
            subscription: Some(subscription),
            row: record.row().clone(),
        }));
        let seat = Seat::take(&channel, config.slow, Member::Body(shared.clone()), &guard);
        let opened = prelude::prelude(&channel, &config, cursor, Form::SsePlain);
        {
            let mut reader = shared.borrow_mut();
            reader.position.begin(&opened);
        }
        opened.gap.into_iter().for_each(|reason| record.gap(reason));
        Self {
            shared,
            seat,
            clock: Clock::new(
                &config,
                Outside::new(guard.clone(), &bridge, &losses),
                taken_over,
            ),
            prelude: [opened.first, opened.second],
            written: Instant::now(),
            record: Some(record),
            guard,
            bridge,
        }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if let Some(part) = self.prelude.iter_mut().find(|part| !part.is_empty()) {
            return Poll::Ready(Next::Bytes(std::mem::take(part)));
        }
        if let Some(record) = &self.record
            && let Poll::Ready(end) = record.poll_end(cx)
        {
            return Poll::Ready(Next::End(end));
        }
        let mut reader = self.shared.borrow_mut();
        reader.given = None;
        if reader.is_slow {
            return Poll::Ready(Next::End(End::Slow));
        }
        let next = self.seat.visit(|visit| reader.next(visit));
        if let Some(record) = &mut self.record {
            record.sent_messages(reader.position.take_given());
        }
        if !matches!(next, Next::Nothing) {
            return Poll::Ready(next);
        }
        let signs = Signs {
            written: self.written,
            stalled: None,
            ping: None,
        };
        match self.clock.poll(cx, signs) {
            Poll::Ready(Tick::Heartbeat) => {
                if let Some(record) = &mut self.record {
                    record.heartbeat();
                }
                let owed = reader.position.take_owed();
                let id = owed.map(|seq| self.seat.channel().id(seq));
                Poll::Ready(Next::Bytes(prelude::heartbeat(
                    self.bridge.config(),
                    Form::SsePlain,
                    id,
                )))
            }
            Poll::Ready(Tick::End(end)) => Poll::Ready(Next::End(end)),
            Poll::Ready(Tick::Ping) | Poll::Pending => {
                reader.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn close(&mut self, end: End) {
        if let Some(record) = self.record.take() {
            record.close(end, self.written.elapsed());
        }
    }

    fn give(&mut self, bytes: Bytes) -> Frame<Bytes> {
        self.written = Instant::now();
        self.shared.borrow_mut().given = Some(self.written);
        if let Some(record) = &mut self.record {
            record.sent(bytes.len());
        }
        Frame::data(bytes)
    }
}

impl http_body::Body for EventBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let body = self.get_mut();
        if body.record.is_none() {
            return Poll::Ready(None);
        }
        let frame = match std::task::ready!(body.poll_next(cx)) {
            Next::Bytes(bytes) => Ok(body.give(bytes)),
            Next::Nothing => return Poll::Pending,
            Next::End(End::Slow) => {
                body.close(End::Slow);
                Err(TooSlow.into())
            }
            Next::End(end) => {
                let parting = Parting::new(&body.bridge, body.seat.channel(), end);
                let (end, words) = (parting.end, parting.words(Form::SsePlain));
                let frame = body.give(words);
                body.close(end);
                Ok(frame)
            }
        };
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        self.record.is_none()
    }
}

impl Drop for EventBody {
    fn drop(&mut self) {
        // At a drain's deadline connections are dropped with all their streams; then the record says that it was cut.
        if !self.guard.is_draining() {
            self.close(End::Client);
        }
    }
}

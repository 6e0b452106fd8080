//! How events reach a worker's subscribers: one task a worker and channel writes to all of them.
//!
//! After a wake-up of the feed the sweep visits every subscriber and writes what it is behind directly to its socket,
//! with no task switch and no timer in between. Whoever's socket is full is left to its own task, which waits for the
//! socket, catches up and then leaves the writing to the sweep again.
//!
//! Invariant: a subscriber that is not stalled is at the head of the log as the last sweep saw it, or a wake-up is
//! pending. No borrow of a subscriber is held across an `.await`.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use slab::Slab;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use crate::bridge::channel::Channel;
use crate::bridge::log::View;
use crate::bridge::map::Upstream;
use crate::config::model::Slow;
use crate::lifecycle::{drain, tasks};
use crate::observe::metrics::LagSample;
use crate::observe::streams::Row;

use super::body::Reader;
use super::gather::Ranges;
use super::position::Position;
use super::sse::Subscriber;
use super::whereabouts::Whereabouts;

/// A sweep starts no sooner than this after the one before it: a flood is written in batches (2.3 times less CPU per
/// event at 400 events a second and 500 subscribers), a quiet feed is not delayed.
const GATHER: Duration = Duration::from_millis(5);
/// Subscribers that are visited before other tasks of the worker have their turn.
const SLICE: usize = 64;

/// On a quiet feed bodies are looked at no more often.
const LOOK: Duration = Duration::from_millis(500);

/// How far subscribers are behind is looked at no more often.
const SAMPLE: Duration = Duration::from_secs(1);

/// A subscriber as the sweep sees it.
pub(super) enum Member {
    /// The sweep writes to its socket.
    Socket(Rc<RefCell<Subscriber>>),
    /// The sweep wakes its body, inside HTTP/2.
    Body(Rc<RefCell<Reader>>),
    /// The sweep wakes a long poll.
    Poll(Rc<Notify>),
}

/// What a visit needs to know.
pub(super) struct Visit<'a> {
    pub(super) view: &'a View,
    pub(super) upstream: Upstream,
    pub(super) ranges: &'a mut Ranges,
    pub(super) now: Instant,
    pub(super) channel: &'a Channel,
    pub(super) slow: Slow,
}

/// One worker's subscribers of one channel.
pub(super) struct Roster {
    channel: Arc<Channel>,
    slow: Slow,
    waker: Arc<Notify>,
    members: RefCell<Slab<Member>>,
    ranges: RefCell<Ranges>,
    is_closed: Cell<bool>,
    lags: LagSample,
    /// Whether the sweep that is under way samples them.
    is_sampling: Cell<bool>,
}

thread_local! {
    /// By the channel's address, which the roster keeps from being used again.
    static ROSTERS: RefCell<HashMap<usize, Rc<Roster>>> = RefCell::default();
}

/// A member's place; dropping it removes the member.
pub(super) struct Seat {
    roster: Rc<Roster>,
    place: usize,
}

impl Seat {
    /// Joins this worker's subscribers of `channel`. From here on, whatever is appended leads to a visit.
    pub(super) fn take(
        channel: &Arc<Channel>,
        slow: Slow,
        member: Member,
        guard: &drain::Guard,
    ) -> Self {
        let roster = ROSTERS.with_borrow_mut(|rosters| {
            let roster = rosters.entry(address(channel)).or_insert_with(|| {
                let roster = Roster::open(channel.clone(), slow);
                // The sweep's slices bound its turns. tokio's own budget would make a write look blocked after 128.
                let sweep = tokio::task::unconstrained(sweep(roster.clone(), guard.clone()));
                drop(tasks::spawn(sweep));
                roster
            });
            roster.clone()
        });
        let place = roster.members.borrow_mut().insert(member);
        Self { roster, place }
    }

    /// The channel whose events it gets.
    pub(super) fn channel(&self) -> &Arc<Channel> {
        &self.roster.channel
    }

    /// Runs `act` with what a visit needs, as it is now.
    pub(super) fn visit<T>(&self, act: impl FnOnce(&mut Visit<'_>) -> T) -> T {
        let channel = &self.roster.channel;
        act(&mut Visit {
            upstream: channel.upstream(),
            view: &channel.log().view(),
            ranges: &mut self.roster.ranges.borrow_mut(),
            now: Instant::now(),
            channel,
            slow: self.roster.slow,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut members = self.roster.members.borrow_mut();
        // Dropped after the borrow: a member may hold whatever its own drop may reach.
        let _member = members.try_remove(self.place);
        let is_empty = members.is_empty();
        drop(members);
        if is_empty {
            self.roster.close();
        }
    }
}

fn address(channel: &Arc<Channel>) -> usize {
    Arc::as_ptr(channel).addr()
}

impl Roster {
    fn open(channel: Arc<Channel>, slow: Slow) -> Rc<Self> {
        let waker = Arc::new(Notify::new());
        channel.enlist(&waker);
        Rc::new(Self {
            channel,
            slow,
            waker,
            members: RefCell::default(),
            ranges: RefCell::default(),
            is_closed: Cell::new(false),
            lags: LagSample::default(),
            is_sampling: Cell::new(false),
        })
    }

    /// The last member has left: the sweep ends, and a new member finds a new roster.
    fn close(&self) {
        // While the thread ends there is no registry any more, and nothing to remove.
        let _ = ROSTERS.try_with(|rosters| rosters.borrow_mut().remove(&address(&self.channel)));
        self.channel.delist(&self.waker);
        self.is_closed.set(true);
        self.waker.notify_one();
    }

    /// Visits the members from `place` on, and returns where to go on.
    fn visit_slice(&self, view: &View, place: usize) -> Option<usize> {
        let members = self.members.borrow();
        let mut visit = Visit {
            view,
            // Read anew for each slice: a member's own task may have told it something newer meanwhile.
            upstream: self.channel.upstream(),
            ranges: &mut self.ranges.borrow_mut(),
            now: Instant::now(),
            channel: &self.channel,
            slow: self.slow,
        };
        let mut cx = Context::from_waker(Waker::noop());
        let end = (place + SLICE).min(members.capacity());
        for member in (place..end).filter_map(|place| members.get(place)) {
            match member {
                Member::Socket(socket) => {
                    let socket = &mut *socket.borrow_mut();
                    socket.visit(&mut cx, &mut visit);
                    self.sample(&socket.position, &visit);
                }
                Member::Body(body) => {
                    let body = &mut *body.borrow_mut();
                    body.visit(&visit);
                    self.sample(&body.position, &visit);
                }
                Member::Poll(poll) => poll.notify_one(),
            }
        }
        (end < members.capacity()).then_some(end)
    }

    /// Looks at the bodies, none of which can tell by itself that its client takes nothing.
    fn look_at_bodies(&self) {
        let members = self.members.borrow();
        let visit = Visit {
            view: &self.channel.log().view(),
            upstream: self.channel.upstream(),
            ranges: &mut self.ranges.borrow_mut(),
            now: Instant::now(),
            channel: &self.channel,
            slow: self.slow,
        };
        for (_place, member) in members.iter() {
            if let Member::Body(body) = member {
                body.borrow_mut().visit(&visit);
            }
        }
        visit.ranges.clear();
    }

    fn sample(&self, position: &Position, visit: &Visit<'_>) {
        if self.is_sampling.get()
            && let Some(lag) = position.lag(visit.view, visit.now)
        {
            self.lags.observe(lag);
        }
    }
}

/// Shows each subscriber of this worker that has a row to `look`, which must begin and end none. Where one stands is found
/// out only for those of whom `look` asks it.
pub(super) fn each_member(mut look: impl FnMut(&Rc<Row>, &dyn Fn() -> Whereabouts)) {
    ROSTERS.with_borrow(|rosters| {
        for roster in rosters.values() {
            let (channel, now) = (&roster.channel, Instant::now());
            let view = channel.log().view();
            let mut show = |row: &Rc<Row>, position: &Position| {
                look(row, &|| Whereabouts {
                    cursor: position.last().map(|last| channel.id(last)),
                    lag: position.lag(&view, now),
                });
            };
            for (_place, member) in roster.members.borrow().iter() {
                match member {
                    Member::Socket(socket) => {
                        let socket = socket.borrow();
                        show(socket.record.row(), &socket.position);
                    }
                    Member::Body(body) => {
                        let body = body.borrow();
                        show(&body.row, &body.position);
                    }
                    Member::Poll(_) => {}
                }
            }
        }
    });
}

async fn sweep(roster: Rc<Roster>, _guard: drain::Guard) {
    let (mut last, mut sampled): (Option<Instant>, Option<Instant>) = (None, None);
    let look = (roster.slow.stall / 2).max(LOOK);
    loop {
        if timeout(look, roster.waker.notified()).await.is_err() {
            roster.look_at_bodies();
            continue;
        }
        if let Some(last) = last
            && last.elapsed() < GATHER
        {
            sleep_until(last + GATHER).await;
        }
        if roster.is_closed.get() {
            return;
        }
        let now = Instant::now();
        last = Some(now);
        let is_sample = sampled.is_none_or(|sampled| now >= sampled + SAMPLE);
        if is_sample {
            sampled = Some(now);
        }
        roster.is_sampling.set(is_sample);
        let view = roster.channel.log().view();
        let mut place = Some(0);
        while let Some(from) = place {
            place = roster.visit_slice(&view, from);
            if place.is_some() {
                tokio::task::yield_now().await;
            }
        }
        roster.lags.add_to(&roster.channel.counts().lag);
        roster.ranges.borrow_mut().clear();
    }
}

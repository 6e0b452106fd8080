//! A long poll: for clients whose network breaks streams.
//!
//! `GET` with `Accept: application/json` and `?after=` answers at once with what follows that cursor, else as soon as
//! something does, or after `wait` seconds with nothing. Whoever has no cursor is told one at once. A feed that is down is
//! no fault of the answer: it is 200, and what there is.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::bridge::channel::Channel;
use crate::bridge::cursor::{Cursor, FinalId, Gap, resolve};
use crate::bridge::log::{Filter, Form, Newest, View};
use crate::bridge::map::{self, Upstream};
use crate::bridge::session::{Ending, Session};
use crate::bridge::{Bridge, Subscription};
use crate::config::model::Verdict;
use crate::http::body::Body;
use crate::http::problem::Problem;
use crate::lifecycle::drain;

use super::sweep::{Member, Seat};

/// How long a poll waits that does not say.
const WAIT: Duration = Duration::from_secs(25);
/// No poll waits longer: whatever stands between would take it for dead.
const LONGEST: u64 = 30;
/// Events of one answer.
const EVENTS: usize = 1_000;
/// Bytes of one answer's events; a larger one comes alone.
const BYTES: usize = 1 << 20;

/// What a poll asks for.
pub(super) struct Question {
    pub(super) cursor: Cursor,
    pub(super) filter: Option<Arc<Filter>>,
    pub(super) wait: Duration,
}

/// The `wait` of a query, in whole seconds.
///
/// # Errors
/// It is no number up to 30.
pub(super) fn wait(query: Option<&str>) -> Result<Duration, Problem> {
    let mut pairs = query.unwrap_or_default().split('&');
    let Some(value) = pairs.find_map(|pair| pair.strip_prefix("wait=")) else {
        return Ok(WAIT);
    };
    let seconds: Option<u64> = value.parse().ok();
    seconds
        .filter(|seconds| *seconds <= LONGEST)
        .map(Duration::from_secs)
        .ok_or(Problem::BadRequest(
            "`wait` is a number of seconds from 0 to 30",
        ))
}

/// Answers one poll. It counts as a subscriber until then.
///
/// # Cancel safety
/// Dropping it gives the poll up; nothing is lost, for the client has its cursor.
pub(super) async fn answer(
    bridge: &Bridge,
    subscription: Subscription,
    question: Question,
    guard: &drain::Guard,
) -> Response<Body> {
    let (config, channel) = (bridge.config(), subscription.channel());
    let waker = Rc::new(Notify::new());
    // First the seat, then the look into the log: what comes in between is seen by the one or the other.
    let seat = Seat::take(channel, config.slow, Member::Poll(waker.clone()), guard);
    let deadline = Instant::now() + question.wait;
    let mut cursor = question.cursor;
    let mut is_last = cursor == Cursor::Absent;
    let mut is_over = false;
    loop {
        let upstream = channel.upstream();
        let view = channel.log().view();
        let opening = resolve(cursor, channel.epoch(), &view, config.start, config.on_gap);
        let filter = question.filter.as_deref();
        let found = match view.newest().filter(|_newest| opening.is_snapshot) {
            Some(newest) => Found::newest(newest, opening.next, filter),
            None => Found::after(&view, opening.next, filter),
        };
        is_last |= opening.gap.is_some() || upstream == Upstream::Gone;
        if is_last || found.count > 0 {
            drop(seat);
            if let Some(gap) = opening.gap {
                channel.counts().gaps.add(gap.into());
            }
            let cursor = match is_over {
                // Else the two would take the session over from one another for ever.
                true => FinalId {
                    id: channel.id(found.next - 1),
                    verdict: Verdict::Done,
                }
                .to_string(),
                false => found.cursor(channel, upstream),
            };
            return found.response(channel, &cursor, opening.gap, upstream);
        }
        // What a filter holds back is not looked at twice.
        cursor = Cursor::Behind(channel.id(found.next - 1));
        drop(view);
        let is_due = async {
            tokio::select! {
                () = sleep_until(deadline) => false,
                _drain_deadline = guard.draining() => false,
                () = taken_over(&subscription) => true,
            }
        };
        tokio::select! {
            () = waker.notified() => {}
            lost = is_due => (is_last, is_over) = (true, lost),
        }
    }
}

/// Ready when another client has taken the session over.
async fn taken_over(subscription: &Subscription) {
    match subscription.taken_over() {
        Some(happening) => happening.await,
        None => std::future::pending().await,
    }
}

/// Events, put together.
struct Found {
    objects: Vec<u8>,
    count: usize,
    /// The event after them.
    next: u64,
}

impl Found {
    /// What is newest for each key: as much as the snapshot's own caps allow. What follows it comes with the next poll.
    fn newest(newest: &Newest, from: u64, filter: Option<&Filter>) -> Self {
        let mut objects = Vec::new();
        let (mut from, mut count) = (from, 0);
        loop {
            let cut = newest.cut(from, BYTES);
            for (_seq, event) in &cut.events {
                let is_wanted = filter.is_none_or(|filter| filter.lets_pass(event));
                let object = event.form(Form::Json);
                if !is_wanted || object.is_empty() {
                    continue;
                }
                if count > 0 {
                    objects.push(b',');
                }
                objects.extend_from_slice(object);
                count += 1;
            }
            if cut.is_last {
                // Not the view's head: what the snapshot has not seen yet is still to come.
                return Self {
                    objects,
                    count,
                    next: cut.next,
                };
            }
            from = cut.next;
        }
    }

    fn after(view: &View, from: u64, filter: Option<&Filter>) -> Self {
        let (mut objects, mut count, mut next) = (Vec::new(), 0, from);
        while count < EVENTS
            && let Some(event) = view.event(next)
        {
            let is_wanted = filter.is_none_or(|filter| filter.lets_pass(event));
            let object = if is_wanted {
                event.form(Form::Json)
            } else {
                &[]
            };
            if count > 0 && objects.len() + object.len() > BYTES {
                break;
            }
            next += 1;
            if object.is_empty() {
                continue;
            }
            if count > 0 {
                objects.push(b',');
            }
            objects.extend_from_slice(object);
            count += 1;
        }
        Self {
            objects,
            count,
            next,
        }
    }

    /// Where the next poll goes on. That a session is over for good is said by the cursor, once it has all events.
    fn cursor(&self, channel: &Channel, upstream: Upstream) -> String {
        let id = channel.id(self.next - 1);
        let ending = channel.session().and_then(Session::ending);
        match ending {
            Some(Ending::Final { verdict, .. })
                if upstream == Upstream::Gone && self.next == channel.log().view().head() =>
            {
                FinalId { id, verdict }.to_string()
            }
            _ => id.to_string(),
        }
    }

    fn response(
        self,
        channel: &Channel,
        cursor: &str,
        gap: Option<Gap>,
        upstream: Upstream,
    ) -> Response<Body> {
        let name = serde_json::to_string(&**channel.name()).expect("a string is JSON");
        let gap = gap.map_or("null".to_owned(), map::gap_payload);
        let session = match channel.session() {
            Some(session) => format!(r#","session":"{}""#, session.id()),
            None => String::new(),
        };
        let state = word(upstream);
        let head = format!(
            r#"{{"channel":{name},"cursor":"{cursor}","gap":{gap},"upstream":"{state}"{session},"events":["#
        );
        let mut body = head.into_bytes();
        body.extend_from_slice(&self.objects);
        body.extend_from_slice(b"]}");
        response(body.into())
    }
}

/// Where the feed stands, as `streamgate.status` says it.
fn word(upstream: Upstream) -> &'static str {
    match upstream {
        Upstream::Connecting => "connecting",
        Upstream::Up => "up",
        Upstream::Ended => "ended",
        Upstream::Reconnecting | Upstream::Gone => "reconnecting",
    }
}

/// The response of a poll with this body.
pub(super) fn response(body: Bytes) -> Response<Body> {
    let mut response = Response::new(body.into());
    let fields = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store, no-transform"),
    ];
    for (name, value) in fields {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

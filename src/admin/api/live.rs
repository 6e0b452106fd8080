//! `/api/live`: the process's numbers once a second, as an event stream, with those of the last ten minutes.
//!
//! The recorder takes them on the admin's own thread, whether anybody follows or not, so that whoever comes sees what was.
//! A follower that does not take its events misses some and gets what is in the history when it does: nothing is queued for
//! it. Invariants: no more than [`FOLLOWERS`] follow, none for longer than [`LONGEST`], and none
//! by a token that is not in force any more.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream;
use http::header::HeaderMap;
use http::{HeaderValue, StatusCode};
use http_body::Frame;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use super::moment::rfc3339;
use crate::admin::State;
use crate::admin::answer::{Answered, Refusal, pieces};
use crate::config::model::Secret;
use crate::observe::access::Kind;
use crate::observe::metrics::{CLASSES, Totals};
use crate::sse::encode;

/// Points that are kept: ten minutes.
const POINTS: usize = 600;

/// How often one is taken.
const PACE: Duration = Duration::from_secs(1);

/// Who may follow at the same time; a connection each, and others want some too.
const FOLLOWERS: usize = 16;

/// How long one follows before it has to come back: one that takes nothing does not keep its place for ever.
pub(in crate::admin) const LONGEST: Duration = Duration::from_secs(3600);

/// Before the end, so that a follower hears of it in order.
const ENDS_AFTER: Duration = Duration::from_secs(3500);

/// What the process was like at a moment.
#[derive(Debug, Clone, Copy)]
struct Point {
    /// Seconds of the recorder; never used twice.
    number: u64,
    at: SystemTime,
    totals: Totals,
    connections: usize,
    is_draining: bool,
}

/// The last points, and who follows.
pub(in crate::admin) struct History {
    points: RefCell<VecDeque<Point>>,
    /// The newest point's number, and how many reloads there were.
    news: watch::Sender<News>,
    followers: Cell<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct News {
    point: u64,
    reloads: u64,
}

impl Default for History {
    fn default() -> Self {
        Self {
            points: RefCell::default(),
            news: watch::Sender::new(News::default()),
            followers: Cell::new(0),
        }
    }
}

impl History {
    /// A reload has been done, or refused.
    pub(in crate::admin) fn reloaded(&self) {
        self.news.send_modify(|news| news.reloads += 1);
    }

    fn take(&self, point: Point) {
        let mut points = self.points.borrow_mut();
        if points.len() == POINTS {
            points.pop_front();
        }
        points.push_back(point);
        self.news.send_modify(|news| news.point = point.number);
    }

    /// The points behind this one.
    fn since(&self, number: u64) -> Vec<Point> {
        let points = self.points.borrow();
        let fresh = points.iter().filter(|point| point.number > number);
        fresh.copied().collect()
    }
}

/// Takes a point each second, until the process ends.
pub(in crate::admin) async fn record(state: Rc<State>) {
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut number = 0;
    loop {
        tokio::select! {
            _now = ticks.tick() => {}
            () = state.over.cancelled() => return,
        }
        number += 1;
        state.history.take(Point {
            number,
            at: SystemTime::now(),
            totals: state.shown.metrics.totals(),
            connections: state.shown.permits.in_use(),
            is_draining: state.draining.get(),
        });
    }
}

/// One who follows. Dropped, its place is free again.
struct Follower {
    state: Rc<State>,
    news: watch::Receiver<News>,
    /// The last point that it was given; `None`: it is to get the history first.
    given: Option<u64>,
    reloads: u64,
    /// The token that was in force when it was let in; with another one it has to ask again.
    token: Option<Secret>,
    end: Instant,
}

impl Drop for Follower {
    fn drop(&mut self) {
        let followers = &self.state.history.followers;
        followers.set(followers.get() - 1);
    }
}

/// `GET /api/live`
pub(super) fn follow(headers: &HeaderMap, state: &Rc<State>) -> Answered {
    let history = &state.history;
    if history.followers.get() >= FOLLOWERS {
        let why = format!("{FOLLOWERS} follow already");
        let later = HeaderValue::from_static("10");
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why)
            .with(http::header::RETRY_AFTER, later));
    }
    history.followers.set(history.followers.get() + 1);
    let news = history.news.subscribe();
    let now = *news.borrow();
    let follower = Follower {
        given: last_seen(headers, now.point),
        reloads: now.reloads,
        news,
        token: token_of(state),
        state: state.clone(),
        end: Instant::now() + ENDS_AFTER,
    };
    let events = stream::unfold(follower, |mut follower: Follower| async move {
        let events = follower.next().await?;
        let frame = Frame::data(Bytes::from(events));
        Some((Ok::<_, Infallible>(frame), follower))
    });
    Ok(pieces("text/event-stream", Box::pin(events)))
}

fn token_of(state: &State) -> Option<Secret> {
    state.shown.shared.load().config.admin.token.clone()
}

/// The point that the client has seen last, if this process has told it: a number of the process before it may be ahead of all.
fn last_seen(headers: &HeaderMap, newest: u64) -> Option<u64> {
    let seen: u64 = headers.get("last-event-id")?.to_str().ok()?.parse().ok()?;
    (seen <= newest).then_some(seen)
}

impl Follower {
    /// The next events; `None`: it is to come back for more.
    async fn next(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let Some(given) = self.given else {
            encode::retry(1_000, &mut out);
            self.history(0, &mut out);
            return Some(out);
        };
        loop {
            let news = *self.news.borrow_and_update();
            if token_of(&self.state) != self.token {
                return None;
            }
            if news.reloads > self.reloads {
                self.reloads = news.reloads;
                if let Some(last) = &*self.state.last.borrow() {
                    event("reload", None, last.trim_ascii(), &mut out);
                }
            }
            match self.state.history.since(given)[..] {
                [] => {}
                [point] => {
                    self.given = Some(point.number);
                    let json = point.json().to_string();
                    event("status", Some(point.number), json.as_bytes(), &mut out);
                }
                // It has missed some, and comes back for them, or was slow.
                [..] => self.history(given, &mut out),
            }
            if !out.is_empty() {
                return Some(out);
            }
            // The sender lives as long as the state does.
            timeout_at(self.end, self.news.changed()).await.ok()?.ok()?;
        }
    }

    fn history(&mut self, behind: u64, out: &mut Vec<u8>) {
        let points = self.state.history.since(behind);
        let last = points.last().map_or(behind, |point| point.number);
        self.given = Some(last);
        let all: Vec<_> = points.iter().map(Point::json).collect();
        let json = json!({ "points": all }).to_string();
        event("history", Some(last), json.as_bytes(), out);
    }
}

impl Point {
    fn json(&self) -> Value {
        let totals = &self.totals;
        json!({
            "t": rfc3339(self.at),
            "requests": totals.requests,
            "requests_by_class": classes(totals),
            "connections": self.connections,
            "streams": kinds(totals),
            "bytes_in": totals.bytes_in,
            "bytes_out": totals.bytes_out,
            "state": word(self.is_draining),
        })
    }
}

/// Whether the process drains, in a word.
pub(in crate::admin) fn word(is_draining: bool) -> &'static str {
    if is_draining { "draining" } else { "serving" }
}

/// Requests by the class of their response.
pub(super) fn classes(totals: &Totals) -> Value {
    named(CLASSES.into_iter().zip(totals.by_class))
}

/// Live streams by kind, in the words of the metrics.
pub(super) fn kinds(totals: &Totals) -> Value {
    named(Kind::ALL.map(Kind::label).into_iter().zip(totals.streams))
}

fn named(counts: impl Iterator<Item = (&'static str, u64)>) -> Value {
    let members = counts.map(|(name, count)| (name.to_owned(), count.into()));
    members.collect::<Map<_, _>>().into()
}

/// One event; the data is one line.
fn event(name: &str, id: Option<u64>, data: &[u8], out: &mut Vec<u8>) {
    if let Some(id) = id {
        out.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    out.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(number: u64) -> Point {
        Point {
            number,
            at: SystemTime::UNIX_EPOCH,
            totals: Totals::default(),
            connections: 0,
            is_draining: false,
        }
    }

    #[test]
    fn ten_minutes_are_kept() {
        let history = History::default();
        (1..=POINTS as u64 + 5).for_each(|number| history.take(point(number)));
        let all = history.since(0);
        assert_eq!((all.len(), all[0].number), (POINTS, 6));
        assert_eq!(history.since(POINTS as u64 + 4).len(), 1);
        assert_eq!(history.news.borrow().point, POINTS as u64 + 5);
    }

    #[test]
    fn only_what_this_process_has_told_was_seen() {
        let seen = |id: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("last-event-id", HeaderValue::from_static(id));
            last_seen(&headers, 10)
        };
        assert_eq!(last_seen(&HeaderMap::new(), 10), None);
        assert_eq!(seen("7"), Some(7));
        assert_eq!(seen("10"), Some(10));
        assert_eq!(seen("11"), None);
        assert_eq!(seen("an id"), None);
    }

    #[test]
    fn a_point_is_told_in_the_words_of_the_metrics() {
        let mut totals = Totals::default();
        (totals.requests, totals.by_class[1], totals.streams[0]) = (3, 2, 7);
        let json = Point {
            totals,
            is_draining: true,
            ..point(1)
        }
        .json();
        assert_eq!(json["t"], "1970-01-01T00:00:00.000Z");
        assert_eq!(json["requests_by_class"]["2xx"], 2);
        assert_eq!(json["streams"]["tunnel"], 7);
        assert_eq!(json["state"], "draining");
    }
}

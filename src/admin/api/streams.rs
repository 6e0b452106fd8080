//! `/api/streams`: the live streams of all workers, page by page, and their end.
//!
//! Each worker is asked for its own page, and the pages are put together here. A worker that is too busy to answer is named
//! in the answer, which then is not all there is.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt;
use http::{StatusCode, Uri};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::admin::State;
use crate::admin::answer::{Answered, Refusal, json, json_with};
use crate::bridge::endpoint::{Whereabouts, whereabouts};
use crate::lifecycle::errand::PATIENCE;
use crate::lifecycle::{drain, tasks};
use crate::observe::access::Kind;
use crate::observe::streams::{self, Mark, Query, Row};

use super::moment::rfc3339;
use super::params::Params;

/// Streams of one page, unless the request says.
const PAGE: usize = 100;

/// The most that it may say.
const LONGEST_PAGE: usize = 1_000;

/// Lists at the same time: each has every worker go through all of its streams.
pub(in crate::admin) const LISTS: usize = 2;

/// The longest time over which streams are ended.
const LONGEST_DRAIN: Duration = Duration::from_secs(600);

/// One worker's page.
struct Page {
    total: usize,
    matched: usize,
    streams: Vec<Shown>,
}

/// A stream as it is shown.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(skip)]
    mark: Mark,
    id: Box<str>,
    kind: &'static str,
    route: Box<str>,
    client: String,
    user: Option<Box<str>>,
    backend: Box<str>,
    opened: String,
    age_seconds: f64,
    idle_seconds: f64,
    bytes_in: u64,
    bytes_out: u64,
    messages_in: u64,
    messages_out: u64,
    worker: usize,
    cursor: Option<String>,
    lag_seconds: Option<f64>,
}

/// `GET /api/streams`
pub(super) async fn list(uri: &Uri, state: &State) -> Answered {
    let mut params = Params::of(uri)?;
    let query = params.query()?;
    let limit = params.number("limit", LONGEST_PAGE)?.unwrap_or(PAGE);
    let after = params.take("after");
    params.end()?;
    let (began, _) = state.began;
    let after = after.map(|text| read_mark(&text, began)).transpose()?;
    // It waits for the lists before it as long as for a worker.
    let turn = timeout(PATIENCE, state.lists.acquire()).await;
    let Ok(Ok(_turn)) = turn else {
        return Err(absent());
    };
    let crew = state.crew.borrow().clone();
    // One more than is shown: then it is known whether there is another page.
    let asked = crew.ask(move |worker, _guard| page(worker, &query, after.as_ref(), limit + 1));
    let (mut total, mut matched, mut absent) = (0, 0, Vec::new());
    let mut shown = Vec::new();
    for (worker, page) in asked.await.into_iter().enumerate() {
        match page {
            Some(page) => {
                total += page.total;
                matched += page.matched;
                shown.extend(page.streams);
            }
            None => absent.push(worker),
        }
    }
    shown.sort_by(|one, other| one.mark.cmp(&other.mark));
    let is_more = shown.len() > limit;
    shown.truncate(limit);
    let last = shown.last().filter(|_| is_more);
    let next = last.map(|last| write_mark(&last.mark, began));
    Ok(json(&json!({
        "total": total,
        "matched": matched,
        "streams": shown,
        "next": next,
        "workers_absent": absent,
    })))
}

/// `DELETE /api/streams/ID`
pub(super) async fn close(id: &str, state: &State) -> Answered {
    let crew = state.crew.borrow().clone();
    let name: Box<str> = id.into();
    let ended = crew.ask(move |_worker, _guard| streams::end(&name)).await;
    let closed: usize = ended.iter().flatten().sum();
    if closed > 0 {
        tracing::info!(id, closed, "closed by the operator");
        return Ok(json(&json!({"closed": closed})));
    }
    if ended.contains(&None) {
        return Err(absent());
    }
    let why = "no stream of this id lives";
    Err(Refusal::new(StatusCode::NOT_FOUND, why))
}

/// `POST /api/streams/drain`
pub(super) async fn drain(uri: &Uri, state: &State) -> Answered {
    let mut params = Params::of(uri)?;
    params.none_empty()?;
    let over = params.time("over", LONGEST_DRAIN)?.unwrap_or_default();
    if params.take("q").is_some() {
        let why = "`q` searches and does not choose: streams are ended by exact filters";
        return Err(Refusal::bad_request(why));
    }
    let query = params.query()?;
    params.end()?;
    if query.is_all() {
        let why = "at least one of `route`, `kind`, `client`, `user` and `backend` says which streams are to end";
        return Err(Refusal::bad_request(why));
    }
    let crew = state.crew.borrow().clone();
    let told = query.clone();
    let asked = crew.ask(move |_worker, guard| begin_end(&query, over, guard));
    let counts = asked.await;
    let closing: usize = counts.iter().flatten().sum();
    if counts.iter().all(Option::is_none) {
        return Err(absent());
    }
    tracing::info!(query = ?told, closing, ?over, "the operator ends streams");
    let absent: Vec<_> = (0..counts.len())
        .filter(|worker| counts[*worker].is_none())
        .collect();
    let told = json!({"closing": closing, "workers_absent": absent});
    Ok(json_with(StatusCode::ACCEPTED, &told))
}

/// On a worker: begins to end its streams, and returns how many there are. A drain of the whole process changes nothing: its
/// streams may live until its deadline, and these are to end before.
fn begin_end(query: &Query, over: Duration, guard: &drain::Guard) -> usize {
    let (count, telling) = streams::end_spread(query, over);
    let mut telling = Box::pin(telling);
    // What is due at once is told before anything is answered.
    if telling.as_mut().now_or_never().is_none() {
        let guard = guard.clone();
        drop(tasks::spawn(async move {
            telling.await;
            drop(guard);
        }));
    }
    count
}

fn absent() -> Refusal {
    let why = "the workers are too busy to answer: try again";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why)
}

/// On a worker: its page.
fn page(worker: usize, query: &Query, after: Option<&Mark>, limit: usize) -> Page {
    let selection = streams::select(query, after, limit);
    let is_subscriber = |row: &&Rc<Row>| row.kind == Kind::Subscription;
    let wanted: Vec<_> = selection.rows.iter().filter(is_subscriber).collect();
    let places = whereabouts(wanted.into_iter());
    let now = (Instant::now(), SystemTime::now());
    let shown = selection
        .rows
        .iter()
        .map(|row| Shown::of(row, worker, now, &places));
    Page {
        total: selection.total,
        matched: selection.matched,
        streams: shown.collect(),
    }
}

impl Shown {
    fn of(
        row: &Rc<Row>,
        worker: usize,
        (now, time): (Instant, SystemTime),
        places: &HashMap<*const Row, Whereabouts>,
    ) -> Self {
        let age = now.saturating_duration_since(row.opened);
        let moved = row.moved();
        let place = places.get(&Rc::as_ptr(row));
        let id: Box<str> = row.id.as_str().into();
        Self {
            mark: Mark {
                opened: row.opened,
                id: id.clone(),
            },
            id,
            kind: row.kind.label(),
            route: (*row.route).into(),
            client: row.client.to_string(),
            user: row.user.as_deref().map(Into::into),
            backend: row.backend.clone(),
            opened: rfc3339(time.checked_sub(age).unwrap_or(time)),
            age_seconds: age.as_secs_f64(),
            idle_seconds: row.silence().min(age).as_secs_f64(),
            bytes_in: moved.bytes_in,
            bytes_out: moved.bytes_out,
            messages_in: moved.messages_in,
            messages_out: moved.messages_out,
            worker,
            cursor: place.and_then(|place| place.cursor.map(|id| id.to_string())),
            lag_seconds: place.and_then(|place| place.lag.map(|lag| lag.as_secs_f64())),
        }
    }
}

/// What the next page is asked for by: nanoseconds since the start, and the id.
fn write_mark(mark: &Mark, began: Instant) -> String {
    let since = mark.opened.saturating_duration_since(began).as_nanos();
    format!("{since}.{}", mark.id)
}

fn read_mark(text: &str, began: Instant) -> Result<Mark, Refusal> {
    let mark = text.split_once('.').and_then(|(since, id)| {
        let opened = began.checked_add(Duration::from_nanos(since.parse().ok()?))?;
        let id = id.into();
        Some(Mark { opened, id })
    });
    let why = "`after` is what a page before this one has as `next`";
    mark.ok_or_else(|| Refusal::bad_request(why))
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use http::Version;
    use tokio::task::LocalSet;

    use super::*;
    use crate::lifecycle::drain::Trigger;
    use crate::net::ClientAddr;
    use crate::observe::access::{RequestId, StreamRecord};

    #[tokio::test(start_paused = true)]
    async fn streams_are_told_to_end_in_the_process_s_own_drain_too() {
        let open = |id: &str| {
            let client = ClientAddr("192.0.2.1:5".parse().unwrap());
            let id = RequestId::told(id.as_bytes()).unwrap();
            StreamRecord::open(
                id,
                Kind::Tunnel,
                "/ws".into(),
                client,
                &"app",
                Version::HTTP_11,
            )
        };
        let streams = ["one", "two", "three", "four"].map(open);
        let told = || {
            let mut cx = Context::from_waker(Waker::noop());
            let is_told = |it: &&StreamRecord| it.poll_end(&mut cx).is_ready();
            streams.iter().filter(is_told).count()
        };
        let trigger = Trigger::new();
        let guard = trigger.guard();
        trigger.begin(Instant::now() + Duration::from_secs(60));
        LocalSet::new()
            .run_until(async {
                let over = Duration::from_secs(4);
                assert_eq!(begin_end(&Query::default(), over, &guard), 4);
                assert_eq!(told(), 1);
                tokio::time::sleep(over).await;
                assert_eq!(told(), 4);
            })
            .await;
        // At once is before the answer.
        let late = open("late");
        assert_eq!(begin_end(&Query::default(), Duration::ZERO, &guard), 5);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(late.poll_end(&mut cx).is_ready());
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let began = Instant::now();
        let mark = Mark {
            opened: began + Duration::from_nanos(1_234_567_890_123),
            id: "an.id-with/everything".into(),
        };
        let written = write_mark(&mark, began);
        assert_eq!(written, "1234567890123.an.id-with/everything");
        assert_eq!(read_mark(&written, began).unwrap(), mark);
        for wrong in ["", "an id", ".id", "-1.id", "1", "99999999999999999999.id"] {
            assert!(read_mark(wrong, began).is_err(), "{wrong}");
        }
    }
}

//! An event stream, opened as an `EventSource` opens it, and measured.
//!
//! Owns what is seen of it, and no judgement but when enough was seen. Invariants: what is kept does not grow with what is
//! sent; of the bytes only the times, the sizes, the last few ids and the served app's own ticks are kept.

use std::collections::VecDeque;
use std::time::Duration;

use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, HeaderName};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use crate::respond::chain;
use crate::tls::client::Offer;

use super::ask::{Answer, AskError, Connection, Head, get};
use super::connect::Door;
use super::heard::Heard;
use super::probe::Clock;
use super::target::{Patience, Target};

/// What browsers ask for, as far as it can be read here.
const CODINGS: &str = "gzip, br";

/// Bytes of a stream at most: then enough was seen, whatever comes.
const MOST_BYTES: u64 = 64 << 20;

/// A stream as it was seen.
#[derive(Debug)]
pub(super) struct Seen {
    /// Its head; `None`: none came.
    pub(super) head: Option<Head>,
    /// What came behind it.
    pub(super) heard: Heard,
    /// How it ended.
    pub(super) end: End,
    /// How long it was listened to, from the head on, or waited for one.
    pub(super) lasted: Duration,
}

/// How a stream ended.
#[derive(Debug)]
pub(super) enum End {
    /// We ended it.
    Ours,
    /// It is no event stream: it was not listened to.
    NoStream,
    /// In order, as HTTP sees it.
    InOrder,
    /// It broke off.
    Torn(String),
    /// There was no answer to listen to.
    Unanswered(AskError),
}

impl Seen {
    /// Whether the answer was an event stream.
    pub(super) fn is_stream(&self) -> bool {
        self.head.as_ref().is_some_and(is_stream)
    }

    /// Whether the other side ended it.
    pub(super) fn was_ended(&self) -> bool {
        matches!(self.end, End::InOrder | End::Torn(_))
    }

    /// How long nothing had come when it ended.
    pub(super) fn last_silence(&self) -> Duration {
        self.heard.arrivals.silence(self.lasted)
    }
}

fn is_stream(head: &Head) -> bool {
    let media_type = head.text("content-type").unwrap_or_default();
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    head.status.is_success() && media_type.eq_ignore_ascii_case("text/event-stream")
}

/// Opens the stream and listens. `codings` is what is asked for by `Accept-Encoding`, `None` for what browsers ask.
pub(super) async fn listen(
    door: &Door,
    target: &Target,
    codings: Option<&str>,
    clock: Option<Clock>,
) -> Seen {
    let limit = target.patience.limit();
    let fields = [
        (ACCEPT, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
        (ACCEPT_ENCODING, codings.unwrap_or(CODINGS)),
    ];
    let started = Instant::now();
    let answer = match get(door, target, Offer::Either, &fields, limit).await {
        Ok(answer) => answer,
        Err(error) => {
            return Seen {
                head: None,
                heard: Heard::new(None, clock),
                end: End::Unanswered(error),
                lasted: started.elapsed(),
            };
        }
    };
    let head = answer.head.clone();
    let mut heard = Heard::new(Some(&head), clock);
    if !is_stream(&head) {
        return Seen {
            head: Some(head),
            heard,
            end: End::NoStream,
            lasted: Duration::ZERO,
        };
    }
    let since = Instant::now();
    let (body, connection) = answer.into_body();
    let until = started + limit;
    let end = follow(
        body,
        &connection,
        &mut heard,
        (since, until),
        target.patience,
    )
    .await;
    Seen {
        head: Some(head),
        heard,
        end,
        lasted: since.elapsed(),
    }
}

async fn follow(
    mut body: Incoming,
    _alive: &Connection,
    heard: &mut Heard,
    (since, until): (Instant, Instant),
    patience: Patience,
) -> End {
    loop {
        let frame = match timeout_at(until, body.frame()).await {
            Err(_time_is_over) => return End::Ours,
            Ok(None) => return End::InOrder,
            Ok(Some(Err(error))) => return End::Torn(chain(&error)),
            Ok(Some(Ok(frame))) => frame,
        };
        if let Ok(data) = frame.into_data().map_err(drop) {
            heard.take(&data, since.elapsed());
        }
        let may_end = matches!(patience, Patience::AtMost(_));
        if heard.bytes > MOST_BYTES || may_end && heard.is_enough(since.elapsed()) {
            return End::Ours;
        }
    }
}

/// What came of coming back with an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resumed {
    /// The first event was the one that follows.
    Exactly,
    /// Events came, but not the one that follows.
    Elsewhere,
    /// Nothing came in time.
    Silence,
    /// The answer was no stream.
    Refused,
}

/// Comes back with an earlier id than the last, so that what has to follow is known: `None` where there are not two ids.
pub(super) async fn resume(
    door: &Door,
    target: &Target,
    ids: &VecDeque<String>,
) -> Option<Resumed> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let (before, next) = match ids.len() {
        0 | 1 => return None,
        count => (&ids[count - 2], &ids[count - 1]),
    };
    let fields = [
        (ACCEPT, "text/event-stream"),
        (CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("last-event-id"), before.as_str()),
    ];
    let until = Instant::now() + PATIENCE;
    let answer: Answer = match get(door, target, Offer::Either, &fields, PATIENCE).await {
        Ok(answer) if is_stream(&answer.head) => answer,
        Err(AskError::Late(_)) => return Some(Resumed::Silence),
        Ok(_) | Err(_) => return Some(Resumed::Refused),
    };
    let (mut body, _connection) = answer.into_body();
    let mut heard = Heard::new(None, None);
    while let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await {
        if let Ok(data) = frame.into_data().map_err(drop) {
            heard.take(&data, Duration::ZERO);
        }
        if let Some(first) = heard.ids.front().filter(|id| *id != before) {
            return Some(match first == next {
                true => Resumed::Exactly,
                false => Resumed::Elsewhere,
            });
        }
        if heard.bytes > MOST_BYTES {
            break;
        }
    }
    Some(Resumed::Silence)
}

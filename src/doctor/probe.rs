//! The first request: whether the app behind the chain is `doctor --serve`, how its clock differs from ours, and what the
//! proxies say of themselves.
//!
//! An app that knows nothing of this answers as it does to any GET; of that only the head is looked at.

use std::time::Duration;

use http::header::ACCEPT;

use crate::tls::client::Offer;

use super::ask::{AskError, Head, get};
use super::connect::Door;
use super::target::Target;
use super::tick::{MEDIA_TYPE, Tick, milliseconds};

/// How long the answer may take: an app that streams where it was asked for a few bytes is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// Bytes of an answer that is looked at.
const LONGEST: usize = 4096;

/// What was learned.
#[derive(Debug, Default)]
pub(super) struct Probe {
    /// The head of the answer, if one came.
    pub(super) head: Option<Head>,
    /// The clock of `doctor --serve`, if it is there.
    pub(super) clock: Option<Clock>,
    /// Whether extended CONNECT is taken (RFC 8441); `None`: no HTTP/2.
    pub(super) extended_connect: Option<bool>,
}

/// How the sender's clock stands to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock {
    /// Milliseconds by which it is ahead.
    ahead: i64,
    /// How long the question and its answer took: the difference is known no better than this.
    pub(super) trip: Duration,
}

impl Clock {
    /// What a clock is that said `theirs` in an answer that came now, `trip` after its question.
    pub(super) fn of(theirs: u64, ours: u64, trip: Duration) -> Self {
        let half = i64::try_from(trip.as_millis() / 2).unwrap_or(i64::MAX);
        let ahead = signed(theirs)
            .saturating_add(half)
            .saturating_sub(signed(ours));
        Self { ahead, trip }
    }

    /// How long something was on the way that was sent at `sent` by their clock and came at `came` by ours.
    pub(super) fn delay(&self, sent: u64, came: u64) -> Duration {
        let delay = signed(came)
            .saturating_add(self.ahead)
            .saturating_sub(signed(sent));
        Duration::from_millis(u64::try_from(delay).unwrap_or(0))
    }
}

fn signed(milliseconds: u64) -> i64 {
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}

/// Asks.
///
/// # Errors
/// [`AskError`], but for an answer that does not come: a server that speaks nothing but WebSocket may have none to a GET.
pub(super) async fn probe(door: &Door, target: &Target) -> Result<Probe, AskError> {
    let fields = [(ACCEPT, MEDIA_TYPE)];
    let answer = match get(door, target, Offer::Either, &fields, PATIENCE).await {
        Ok(answer) => answer,
        Err(AskError::Late(_) | AskError::Broken(_)) => return Ok(Probe::default()),
        Err(other) => return Err(other),
    };
    let (head, sent) = (answer.head.clone(), answer.sent);
    let extended_connect = answer.takes_extended_connect();
    let is_json = head
        .text("content-type")
        .is_some_and(|text| text.starts_with("application/json"));
    let mut clock = None;
    if is_json && let Some(body) = answer.whole(LONGEST, PATIENCE).await {
        let (ours, trip) = (milliseconds(), sent.elapsed());
        clock = Tick::read(&body).map(|tick| Clock::of(tick.sent, ours, trip));
    }
    Ok(Probe {
        head: Some(head),
        clock,
        extended_connect,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_told_whatever_the_clocks_say() {
        let trip = Duration::from_millis(20);
        for (theirs, ours) in [(1_000_010, 1_000_020), (9_000, 1_000_000), (5_000_000, 70)] {
            let clock = Clock::of(theirs, ours, trip);
            // Sent a second after the answer left, and a second on the way.
            let delay = clock.delay(theirs + 1_000, ours - 10 + 2_000);
            assert_eq!(delay, Duration::from_secs(1), "{theirs} {ours}");
        }
        let clock = Clock::of(0, u64::MAX, trip);
        assert_eq!(clock.delay(u64::MAX, 0), Duration::ZERO);
    }
}

//! How a stream that broke is taken up again: whom to ask is the route's matter, when and how long is decided here.
//!
//! Several tries, at random moments further and further apart, so that the clients of a server that restarts do not all
//! come in one moment; all of them within a limit in time, which counts from the last event that has come, or from a later
//! break of a stream that has lived for that long.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use tokio::time::Instant;

use super::source::Source;
use crate::upstream::Lease;

/// How long the first try waits on average, where the server has not said it by `retry:`.
const INITIAL: Duration = Duration::from_millis(250);
/// How long a try waits on average at most, unless the server has asked for more.
const MOST: Duration = Duration::from_secs(5);
/// How long a try waits at least, where the server has said how long: it may have said that one should not wait.
const LEAST: Duration = Duration::from_millis(100);

/// Asks for a stream again.
pub trait Reopen {
    /// Asks a server for what follows the event that is called `last_id`; `None`: for all from now on.
    fn reopen(&self, last_id: Option<&[u8]>) -> Pin<Box<dyn Future<Output = Reopened>>>;
}

/// What came of asking.
pub enum Reopened {
    /// The stream goes on.
    Stream {
        /// Its bytes.
        source: Source,
        /// Its place at the server, which may be another one than before.
        lease: Lease,
    },
    /// A server has said that there is no such stream any more: it is not to be asked again.
    Refused(StatusCode),
    /// There was no answer, or none that means anything for good.
    Failed,
}

/// What is done about a break.
pub struct Resumption {
    again: Box<dyn Reopen>,
    limit: Duration,
    broken: Option<Broken>,
}

/// A break that nothing has come after.
struct Broken {
    since: Instant,
    tries: u32,
    step: Step,
}

type Asking = Pin<Box<dyn Future<Output = Reopened>>>;

enum Step {
    Waiting(Pin<Box<tokio::time::Sleep>>),
    Asking(Asking),
    /// A server has answered then; whether it sends anything is still to be seen.
    Answered(Instant),
}

/// What came of it.
pub(super) enum Outcome {
    Taken {
        source: Source,
        lease: Lease,
    },
    Refused(StatusCode),
    /// Its time is over.
    GivenUp,
}

impl Resumption {
    /// Asks by `again`, for `limit` after the last event at most.
    #[must_use]
    pub fn new(again: impl Reopen + 'static, limit: Duration) -> Self {
        Self {
            again: Box::new(again),
            limit,
            broken: None,
        }
    }

    /// The stream has broken. `retry` is the time that the server has asked its clients to wait.
    pub(super) fn begin(&mut self, retry: Option<Duration>) {
        let now = Instant::now();
        // A stream may be quiet: one that has lived for so long is no part of the break before.
        let limit = self.limit;
        self.broken.take_if(|broken| broken.has_lived_for(limit));
        let broken = self.broken.get_or_insert_with(|| Broken {
            since: now,
            tries: 0,
            step: Step::Answered(now),
        });
        broken.wait(now, retry, self.limit);
    }

    /// An event has come: the next break is another one.
    pub(super) fn is_well(&mut self) {
        self.broken = None;
    }

    /// How long the stream has been broken.
    pub(super) fn down(&self) -> Duration {
        self.broken
            .as_ref()
            .map_or(Duration::ZERO, |broken| broken.since.elapsed())
    }

    /// Goes on with a break that has begun. `last_id` and `retry` are what the client knows.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        last_id: Option<&[u8]>,
        retry: Option<Duration>,
    ) -> Poll<Outcome> {
        let Some(broken) = &mut self.broken else {
            return Poll::Ready(Outcome::GivenUp);
        };
        loop {
            match &mut broken.step {
                Step::Waiting(moment) => {
                    ready!(moment.as_mut().poll(cx));
                    let now = Instant::now();
                    let left = (broken.since + self.limit).saturating_duration_since(now);
                    if left.is_zero() {
                        return Poll::Ready(Outcome::GivenUp);
                    }
                    let asking = self.again.reopen(last_id);
                    let asking = async move {
                        let asked = tokio::time::timeout(left, asking).await;
                        asked.unwrap_or(Reopened::Failed)
                    };
                    broken.step = Step::Asking(Box::pin(asking));
                }
                Step::Asking(asking) => {
                    match ready!(asking.as_mut().poll(cx)) {
                        Reopened::Stream { source, lease } => {
                            broken.step = Step::Answered(Instant::now());
                            return Poll::Ready(Outcome::Taken { source, lease });
                        }
                        Reopened::Refused(status) => return Poll::Ready(Outcome::Refused(status)),
                        Reopened::Failed => broken.wait(Instant::now(), retry, self.limit),
                    };
                }
                Step::Answered(_) => return Poll::Ready(Outcome::GivenUp),
            }
        }
    }
}

impl Broken {
    fn has_lived_for(&self, time: Duration) -> bool {
        matches!(self.step, Step::Answered(at) if at.elapsed() >= time)
    }

    /// Waits for the moment of the next try, or for the end of its time.
    fn wait(&mut self, now: Instant, retry: Option<Duration>, limit: Duration) {
        let next = now + pause(self.tries, retry);
        self.tries = self.tries.saturating_add(1);
        let moment = next.min(self.since + limit);
        self.step = Step::Waiting(Box::pin(tokio::time::sleep_until(moment)));
    }
}

/// How long to wait before the next try after so many: about twice as long each time.
fn pause(tries: u32, retry: Option<Duration>) -> Duration {
    let first = retry.map_or(INITIAL, |retry| retry.max(LEAST));
    let mean = first
        .saturating_mul(2_u32.saturating_pow(tries.min(16)))
        .min(MOST.max(first));
    // What the server has asked for is the least, what we chose ourselves is the middle.
    let jitter = match retry {
        Some(_) => 1.0 + 0.5 * fastrand::f64(),
        None => 2.0 * fastrand::f64(),
    };
    mean.mul_f64(jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_further_and_further_apart() {
        for (tries, retry, least, most) in [
            (0, None, 0, 500),
            (1, None, 0, 1_000),
            (20, None, 0, 10_000),
            (0, Some(2), 2_000, 3_000),
            (1, Some(2), 4_000, 6_000),
            (20, Some(2), 5_000, 7_500),
            (20, Some(60), 60_000, 90_000),
            (0, Some(0), 100, 150),
            (20, Some(0), 5_000, 7_500),
        ] {
            for _ in 0..100 {
                let pause = pause(tries, retry.map(Duration::from_secs)).as_millis();
                assert!(
                    (least..=most).contains(&pause),
                    "{tries} {retry:?}: {pause}"
                );
            }
        }
    }
}

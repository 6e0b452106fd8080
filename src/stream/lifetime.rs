//! How long a stream may live: in silence, and at all.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Why a stream's time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// Nothing moved for `stream_idle`.
    Idle,
    /// It lived for `stream_max`.
    Age,
}

/// One timer for whatever is due next. What is put off costs nothing: it is armed again only when it fires too early.
#[derive(Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready at `due`, which may be another moment at each call. `None`: never.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, due: Option<Instant>) -> Poll<()> {
        let Some(due) = due else {
            return Poll::Pending;
        };
        let timer = self
            .0
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}

/// The two clocks of a long stream. Activity costs one store.
pub struct Lifetime {
    idle: Option<Duration>,
    end: Option<Instant>,
    active: Instant,
    alarm: Alarm,
}

impl Lifetime {
    /// Clocks that start now. `None`: no limit. `max` is shortened by up to a tenth at random, so that streams that
    /// began together do not end together.
    #[must_use]
    pub fn new(idle: Option<Duration>, max: Option<Duration>) -> Self {
        let now = Instant::now();
        let end = max.map(|max| now + max.mul_f64(1.0 - 0.1 * fastrand::f64()));
        Self {
            idle,
            end,
            active: now,
            alarm: Alarm::default(),
        }
    }

    /// Something moved.
    pub fn touch(&mut self) {
        self.active = Instant::now();
    }

    /// From now on silence may be no longer than this.
    pub fn limit_silence(&mut self, limit: Duration) {
        self.idle = Some(self.idle.map_or(limit, |idle| idle.min(limit)));
    }

    /// How long nothing has moved.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.active.elapsed()
    }

    /// When the time will be over if nothing moves; `None`: never.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let idle = self.idle.map(|idle| self.active + idle);
        idle.into_iter().chain(self.end).min()
    }

    /// Whether the time is over.
    #[must_use]
    pub fn expired(&self, now: Instant) -> Option<Expired> {
        let due = self.due().filter(|due| now >= *due)?;
        Some(if self.end == Some(due) {
            Expired::Age
        } else {
            Expired::Idle
        })
    }

    /// Ready when the time is over.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        loop {
            let due = self.due();
            ready!(self.alarm.poll(cx, due));
            if let Some(expired) = self.expired(Instant::now()) {
                return Poll::Ready(expired);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn silence_ends_a_stream_and_activity_puts_it_off() {
        let begun = Instant::now();
        let mut life = Lifetime::new(Some(Duration::from_secs(10)), None);
        tokio::time::advance(Duration::from_secs(6)).await;
        life.touch();
        assert_eq!(poll_fn(|cx| life.poll_expired(cx)).await, Expired::Idle);
        assert!(begun.elapsed() >= Duration::from_secs(16));
    }

    #[tokio::test(start_paused = true)]
    async fn age_ends_a_stream_within_a_tenth_of_its_limit() {
        let begun = Instant::now();
        let mut life = Lifetime::new(None, Some(Duration::from_secs(100)));
        assert_eq!(poll_fn(|cx| life.poll_expired(cx)).await, Expired::Age);
        assert!(
            begun.elapsed() >= Duration::from_secs(90)
                && begun.elapsed() <= Duration::from_secs(101)
        );
    }
}

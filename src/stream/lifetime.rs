//! How long a stream may live: in silence, and at all.

use std::pin::Pin;
use std::task::{Context, Poll};
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

/// The two clocks of a long stream. Activity costs one store: the timer is armed again only when it fires too early.
pub struct Lifetime {
    idle: Option<Duration>,
    end: Option<Instant>,
    active: Instant,
    timer: Option<Pin<Box<Sleep>>>,
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
            timer: None,
        }
    }

    /// Something moved.
    pub fn touch(&mut self) {
        self.active = Instant::now();
    }

    /// How long nothing has moved.
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.active.elapsed()
    }

    /// Ready when the time is over.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<Expired> {
        loop {
            let idle = self.idle.map(|idle| self.active + idle);
            let Some(due) = idle.into_iter().chain(self.end).min() else {
                return Poll::Pending;
            };
            let timer = match &mut self.timer {
                Some(timer) => timer,
                empty => empty.insert(Box::pin(tokio::time::sleep_until(due))),
            };
            std::task::ready!(timer.as_mut().poll(cx));
            if Instant::now() >= due {
                return Poll::Ready(if self.end == Some(due) {
                    Expired::Age
                } else {
                    Expired::Idle
                });
            }
            timer.as_mut().reset(due);
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

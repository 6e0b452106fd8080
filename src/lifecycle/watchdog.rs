//! The watchdog: systemd hears of this process only as long as every worker's own loop turns (sd_watchdog_enabled(3)).
//!
//! Each worker has a [`Pulse`], which beats; [`Watchdog`] looks at all of them twice within systemd's limit, on the process's own
//! thread, so that a thread that hangs there is noticed as well. Invariant: a worker whose loop has not turned since the last look,
//! or that panicked, keeps the word from being sent; one that has ended in order does not.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

use super::systemd;

/// How often a pulse beats between two looks.
const BEATS: u32 = 8;

/// Stands for a worker that has ended in order.
const ENDED: u64 = u64::MAX;

/// A worker's sign of life.
#[derive(Debug)]
pub struct Pulse {
    beats: Arc<AtomicU64>,
    every: Option<Duration>,
}

impl Pulse {
    /// Beats for as long as it is polled, which is as long as the worker's loop turns.
    pub async fn beat(&self) -> Infallible {
        let Some(every) = self.every else {
            return std::future::pending().await;
        };
        loop {
            self.beats.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(every).await;
        }
    }

    /// The worker has ended in order.
    pub fn end(self) {
        self.beats.store(ENDED, Ordering::Relaxed);
    }
}

/// Looks at the pulses.
#[derive(Debug)]
pub struct Watchdog {
    looks: Option<Interval>,
    pulses: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    beats: Arc<AtomicU64>,
    seen: u64,
}

impl Watchdog {
    /// A watchdog for so many workers that has to bark within `limit`; `None`: nobody listens. With the workers' pulses.
    ///
    /// # Panics
    /// Outside of a runtime.
    #[must_use]
    pub fn new(limit: Option<Duration>, workers: usize) -> (Self, Vec<Pulse>) {
        let between = limit.map(|limit| (limit / 2).max(Duration::from_millis(1)));
        let looks = between.map(|between| {
            let mut looks = tokio::time::interval(between);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // The first one is due after the first beats.
            looks.reset();
            looks
        });
        let every = between.map(|between| between / BEATS);
        let beats: Vec<_> = (0..workers).map(|_worker| Arc::default()).collect();
        let pulse = |beats: &Arc<AtomicU64>| Pulse {
            beats: beats.clone(),
            every,
        };
        let pulses = beats.iter().map(pulse).collect();
        let watched = |beats| Watched { beats, seen: 0 };
        let pulses_of = beats.into_iter().map(watched).collect();
        let watchdog = Self {
            looks,
            pulses: pulses_of,
        };
        (watchdog, pulses)
    }

    /// Returns when it is time to look; never where nobody listens.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    pub async fn due(&mut self) {
        match &mut self.looks {
            Some(looks) => drop(looks.tick().await),
            None => std::future::pending().await,
        }
    }

    /// Looks, and tells systemd that all is well if it is.
    pub fn look_and_tell(&mut self) {
        let hung = self.look();
        if hung.is_empty() {
            systemd::alive();
        } else {
            tracing::error!(workers = ?hung, "a worker hangs, the watchdog is not told that all is well");
        }
    }

    /// Looks. Returns the workers, by their numbers, whose loop has not turned since the last look: if there are none, systemd may be
    /// told that all is well.
    pub fn look(&mut self) -> Vec<usize> {
        let still = |watched: &mut Watched| {
            let beats = watched.beats.load(Ordering::Relaxed);
            let before = std::mem::replace(&mut watched.seen, beats);
            beats == before && beats != ENDED
        };
        let workers = self.pulses.iter_mut().enumerate();
        let hung = workers.filter_map(|(worker, watched)| still(watched).then_some(worker));
        hung.collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn it_looks_twice_within_the_limit_and_sees_who_hangs() {
        let (mut watchdog, mut pulses) = Watchdog::new(Some(LIMIT), 3);
        let (third, second) = (pulses.pop().unwrap(), pulses.pop().unwrap());
        let first = pulses.pop().unwrap();
        let all = async {
            tokio::join!(first.beat(), second.beat(), third.beat());
        };
        tokio::pin!(all);
        let begun = Instant::now();
        for look in 1..=4 {
            tokio::select! {
                () = watchdog.due() => {}
                () = &mut all => {}
            }
            assert_eq!(watchdog.look(), [0; 0]);
            assert_eq!(begun.elapsed(), LIMIT / 2 * look);
        }
        // The second one's loop does not turn any more.
        let others = async {
            tokio::join!(first.beat(), third.beat());
        };
        tokio::pin!(others);
        for _look in 0..2 {
            tokio::select! {
                () = watchdog.due() => {}
                () = &mut others => {}
            }
            assert_eq!(watchdog.look(), [1]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_ended_in_order_is_not_missed_and_one_that_panicked_is() {
        let (mut watchdog, mut pulses) = Watchdog::new(Some(LIMIT), 2);
        let (panicked, ended) = (pulses.pop().unwrap(), pulses.pop().unwrap());
        drop(panicked);
        ended.end();
        assert_eq!(watchdog.look(), [1]);
        assert_eq!(watchdog.look(), [1]);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nobody_listens_nothing_is_due() {
        let (mut watchdog, pulses) = Watchdog::new(None, 1);
        let quiet = async {
            tokio::select! {
                () = watchdog.due() => {}
                _never = pulses[0].beat() => {}
            }
        };
        assert!(tokio::time::timeout(LIMIT * 100, quiet).await.is_err());
    }
}

//! How a server stands: what its checks and its failed requests have found.
//!
//! Reading it on the way of a request is two atomic loads. Writing happens when something changes; the only lock is
//! taken when a request has failed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::outlier::Window;
use crate::config::model::{Passive, Upstream};

/// The share of its weight with which a server comes back under `slow_start`.
const FIRST_SHARE: f64 = 0.1;

/// One server's standing. It begins as a server that is up.
#[derive(Debug)]
pub(super) struct Standing {
    up: AtomicBool,
    /// How often it has fallen. Streams that are to end with their server wait for the next time.
    falls: watch::Sender<u64>,
    fallen: AtomicU64,
    /// From when on it gets requests (again), as a [`stamp`]; zero: since ever.
    back: AtomicU64,
    failures: Mutex<Window>,
    /// Since when its checks say what they say, as a [`stamp`]; zero: they have not said anything yet.
    since: AtomicU64,
    /// Why they find it down.
    cause: Mutex<Option<Arc<str>>>,
}

impl Default for Standing {
    fn default() -> Self {
        // The first stamp's own zero.
        let _ = stamp(Instant::now());
        Self {
            up: AtomicBool::new(true),
            falls: watch::Sender::new(0),
            fallen: AtomicU64::new(0),
            back: AtomicU64::new(0),
            failures: Mutex::default(),
            since: AtomicU64::new(0),
            cause: Mutex::default(),
        }
    }
}

impl Standing {
    /// Whether its health checks say that it is up.
    pub(super) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// How often its health checks have found it down.
    pub(super) fn falls(&self) -> u64 {
        self.fallen.load(Ordering::Acquire)
    }

    /// Returns when it has fallen more often than `so_far`.
    pub(super) async fn fell_again(&self, so_far: u64) {
        let mut falls = self.falls.subscribe();
        let fell = falls.wait_for(|falls| *falls > so_far).await;
        debug_assert!(fell.is_ok(), "the sender lives as long as this");
    }

    /// Its health checks find it down.
    pub(super) fn fall(&self) {
        self.up.store(false, Ordering::Release);
        self.fallen.fetch_add(1, Ordering::AcqRel);
        self.falls.send_modify(|falls| *falls += 1);
    }

    /// Its health checks find it up again, or there are none any more.
    pub(super) fn rise(&self, now: Instant) {
        if !self.up.swap(true, Ordering::AcqRel) {
            self.back.fetch_max(stamp(now), Ordering::AcqRel);
        }
    }

    /// Its health checks say something else than before, or anything at all: for whoever asks.
    pub(super) fn note(&self, now: Instant, cause: Option<&str>) {
        self.since.store(stamp(now), Ordering::Relaxed);
        *self.cause.lock().unwrap_or_else(PoisonError::into_inner) = cause.map(Arc::from);
    }

    /// For how long its checks have said the same; `None`: they have not said anything.
    pub(super) fn checked(&self, now: Instant) -> Option<Duration> {
        let since = self.since.load(Ordering::Relaxed);
        let length = stamp(now).saturating_sub(since);
        (since > 0).then(|| Duration::from_millis(length))
    }

    /// Why its checks find it down.
    pub(super) fn cause(&self) -> Option<Arc<str>> {
        let cause = self.cause.lock();
        cause.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A request failed. `Some`: it was one too many, and the server gets none until then.
    pub(super) fn fail(&self, now: Instant, rule: &Passive) -> Option<Duration> {
        if self.ejected(now).is_some() {
            // Requests that were under way when it was ejected are no news.
            return None;
        }
        // What the lock holds is a list of moments, which a panic elsewhere cannot have left half done.
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if !failures.fail(now, rule) {
            return None;
        }
        self.back
            .fetch_max(stamp(now + rule.eject), Ordering::AcqRel);
        Some(rule.eject)
    }

    /// For how long it is still ejected.
    pub(super) fn ejected(&self, now: Instant) -> Option<Duration> {
        let left = self.back.load(Ordering::Acquire).checked_sub(stamp(now))?;
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// For how long it gets no requests under the rules of `config`, as far as that is known; `None`: it gets some.
    pub(super) fn away(&self, now: Instant, config: &Upstream) -> Option<Duration> {
        let down = config
            .health
            .as_ref()
            .filter(|_health| !self.is_up())
            .map(|health| health.interval);
        let ejected = config.passive.and_then(|_passive| self.ejected(now));
        down.max(ejected)
    }

    /// The share of its weight that it gets: less than 1 for a time after it has come back.
    pub(super) fn share(&self, now: Instant, slow_start: Option<Duration>) -> f64 {
        let back = self.back.load(Ordering::Relaxed);
        let Some(whole) = slow_start.filter(|_| back > 0) else {
            return 1.0;
        };
        let since = Duration::from_millis(stamp(now).saturating_sub(back));
        let progress = since.as_secs_f64() / whole.as_secs_f64();
        (FIRST_SHARE + (1.0 - FIRST_SHARE) * progress).min(1.0)
    }
}

/// Milliseconds of the process's own clock, from 1 on.
fn stamp(moment: Instant) -> u64 {
    static ZERO: OnceLock<Instant> = OnceLock::new();
    let zero = *ZERO.get_or_init(Instant::now);
    let since = moment.saturating_duration_since(zero).as_millis();
    u64::try_from(since).unwrap_or(u64::MAX - 1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_share_grows_from_a_tenth_to_the_whole() {
        let standing = Standing::default();
        let now = Instant::now() + SECOND;
        let slow = Some(10 * SECOND);
        assert!(standing.share(now, slow) >= 1.0, "it was never away");
        standing.fall();
        standing.rise(now);
        let shares = [0, 5, 10, 60].map(|second| standing.share(now + second * SECOND, slow));
        for (share, expected) in shares.into_iter().zip([0.1, 0.55, 1.0, 1.0]) {
            assert!((share - expected).abs() < 0.01, "{shares:?}");
        }
        assert!(standing.share(now, None) >= 1.0);
    }

    #[test]
    fn an_ejection_ends_by_itself_and_does_not_grow_while_it_lasts() {
        let rule = Passive {
            failures: 2,
            window: 10 * SECOND,
            eject: 5 * SECOND,
        };
        let standing = Standing::default();
        let now = Instant::now() + SECOND;
        assert_eq!(standing.fail(now, &rule), None);
        assert_eq!(standing.fail(now, &rule), Some(5 * SECOND));
        assert_eq!(standing.fail(now + SECOND, &rule), None);
        assert_eq!(standing.fail(now + SECOND, &rule), None);
        assert_eq!(standing.ejected(now + 4 * SECOND), Some(SECOND));
        assert_eq!(standing.ejected(now + 5 * SECOND), None);
    }

    #[tokio::test]
    async fn a_fall_is_heard_even_when_the_server_is_up_again() {
        let standing = Standing::default();
        let so_far = standing.falls();
        standing.fall();
        standing.rise(Instant::now());
        standing.fell_again(so_far).await;
        let next = standing.fell_again(standing.falls());
        assert!(futures_util::poll!(std::pin::pin!(next)).is_pending());
    }
}

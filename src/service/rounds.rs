//! When it is looked again whether a stream's client would still be let in.
//!
//! Owns the moments, not the look. Invariant: they do not depend on who waits for them, nor for how long: a stream that
//! breaks and is taken up again is watched anew each time, and is looked at no less often for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two looks, at the least.
const LEAST: Duration = Duration::from_secs(1);

/// The moments of one stream.
#[derive(Debug)]
pub(super) struct Rounds {
    every: Duration,
    due: Mutex<Due>,
}

#[derive(Debug, Clone, Copy)]
struct Due {
    /// The next look.
    at: Instant,
    /// When what was found out last is worth nothing any more.
    expires: Option<Instant>,
}

impl Rounds {
    /// Of a stream that begins now.
    pub(super) fn new(every: Duration, expires: Option<Instant>) -> Self {
        let at = next(every, expires);
        Self {
            every,
            due: Mutex::new(Due { at, expires }),
        }
    }

    /// Returns when it is time for a look.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped. It returns at once until [`looked`](Self::looked) or
    /// [`looked_in_vain`](Self::looked_in_vain) is called: a look that was broken off is made again.
    pub(super) async fn due(&self) {
        let at = self.lock().at;
        tokio::time::sleep_until(at).await;
    }

    /// The client would be let in, and that holds until `expires`.
    pub(super) fn looked(&self, expires: Option<Instant>) {
        let at = next(self.every, expires);
        *self.lock() = Due { at, expires };
    }

    /// It could not be found out. What was found out last holds as long as it did.
    pub(super) fn looked_in_vain(&self) {
        let mut due = self.lock();
        due.at = next(self.every, due.expires);
    }

    /// Whether what was found out last still holds.
    pub(super) fn holds(&self) -> bool {
        self.lock().expires.is_none_or(|at| Instant::now() < at)
    }

    fn lock(&self) -> MutexGuard<'_, Due> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not all streams of a reload or of a crowd at once.
fn next(every: Duration, expires: Option<Instant>) -> Instant {
    let now = Instant::now();
    let next = now + every.mul_f64(0.9 + 0.2 * fastrand::f64());
    expires.map_or(next, |at| at.min(next)).max(now + LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_broken_off_and_begun_again_puts_nothing_off() {
        let rounds = Rounds::new(Duration::from_secs(60), None);
        let begun = Instant::now();
        let brief = Duration::from_secs(5);
        while tokio::time::timeout(brief, rounds.due()).await.is_err() {
            assert!(begun.elapsed() < Duration::from_secs(70));
        }
        assert!(begun.elapsed() >= Duration::from_secs(54));
        // The look itself was broken off.
        let again = tokio::time::timeout(brief, rounds.due());
        assert!(again.await.is_ok());
        rounds.looked(None);
        let again = tokio::time::timeout(brief, rounds.due());
        assert!(again.await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_looked_at_when_it_ends_and_its_extension_stays() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let rounds = Rounds::new(60 * second, Some(now + 10 * second));
        rounds.due().await;
        assert_eq!(now.elapsed().as_secs(), 10);
        assert!(!rounds.holds());
        rounds.looked(Some(now + 30 * second));
        assert!(rounds.holds());
        rounds.due().await;
        assert_eq!(now.elapsed().as_secs(), 30);
        // Who was not reached is asked again, but not without a pause.
        rounds.looked_in_vain();
        assert!(!rounds.holds());
        rounds.due().await;
        assert_eq!(now.elapsed().as_secs(), 31);
    }
}

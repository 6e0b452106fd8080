//! A drain: one side tells that the end has come, the other lives on until it has finished.
//!
//! Each worker has one [`Trigger`]; everything that lives on it (listeners, connections, long streams, feeds) holds
//! a [`Guard`]. The worker is done when the last guard is dropped, or when the deadline has passed. Two types, so
//! that nobody who is to end can start the end.

use std::sync::Arc;
use std::sync::OnceLock;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// Starts a drain and waits for its end.
#[derive(Debug)]
pub struct Trigger {
    shared: Arc<Shared>,
    tracker: TaskTracker,
}

/// Held by all that has to end before the worker does.
#[derive(Debug, Clone)]
pub struct Guard {
    shared: Arc<Shared>,
    _alive: TaskTrackerToken,
}

#[derive(Debug)]
struct Shared {
    begun: CancellationToken,
    deadline: OnceLock<Instant>,
}

impl Trigger {
    /// A drain that has not begun.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared {
            begun: CancellationToken::new(),
            deadline: OnceLock::new(),
        };
        Self {
            shared: Arc::new(shared),
            tracker: TaskTracker::new(),
        }
    }

    /// A guard for one more thing that lives.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard {
            shared: self.shared.clone(),
            _alive: self.tracker.token(),
        }
    }

    /// How many guards are held.
    #[must_use]
    pub fn live(&self) -> usize {
        self.tracker.len()
    }

    /// Begins: every [`Guard::draining`] returns. A second call changes nothing.
    pub fn begin(&self, deadline: Instant) {
        let _ = self.shared.deadline.set(deadline);
        self.shared.begun.cancel();
    }

    /// Returns when no guard is held any more.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    pub async fn drained(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

impl Default for Trigger {
    fn default() -> Self {
        Self::new()
    }
}

impl Guard {
    /// Returns once the drain has begun, with the moment at which whatever still lives is cut.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    pub async fn draining(&self) -> Instant {
        self.shared.begun.cancelled().await;
        self.deadline()
            .expect("`begin` sets the deadline before it cancels")
    }

    /// Whether the drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.begun.is_cancelled()
    }

    /// The moment at which whatever still lives is cut; `None`: no drain has begun.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.shared.deadline.get().copied()
    }
}

/// A random moment for one stream's end, so that a worker's streams end over the first half of the time that is left
/// and their clients do not all return in one second.
#[must_use]
pub fn spread(deadline: Instant) -> Instant {
    let now = Instant::now();
    let half = deadline.saturating_duration_since(now) / 2;
    now + half.mul_f64(fastrand::f64())
}

/// The same for what cannot be ended in order, in most of the second half: it has had time to come to an end by itself.
#[must_use]
pub fn spread_late(deadline: Instant) -> Instant {
    let now = Instant::now();
    let half = deadline.saturating_duration_since(now) / 2;
    now + half.mul_f64(1.0 + 0.9 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn drained_returns_when_the_last_guard_is_dropped() {
        let trigger = Trigger::new();
        let (first, second) = (trigger.guard(), trigger.guard());
        assert!(!first.is_draining());
        trigger.begin(Instant::now());
        first.draining().await;
        drop(first);
        assert_eq!(trigger.live(), 1);
        drop(second);
        trigger.drained().await;
    }
}

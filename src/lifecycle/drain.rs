//! A drain: one side tells that the end has come, the other lives on until it has finished.
//!
//! Each worker has one [`Trigger`]; everything that lives on it (listeners, connections, long streams, feeds) holds
//! a [`Guard`]. The worker is done when the last guard is dropped, or when the deadline has passed. Two types, so
//! that nobody who is to end can start the end.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::config::model::DrainTimes;
use crate::websocket::close::CloseCode;

/// How long at most a restart takes to tell a bridge's subscribers: their feed stands still, and the next process has what follows.
const SUBSCRIBERS_LEAVE: Duration = Duration::from_secs(1);

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
    order: OnceLock<Order>,
}

/// Why something is drained: what clients are told depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The process stops, and nobody follows it.
    Stop,
    /// Another process serves already: clients may return at once.
    Restart,
}

impl Cause {
    /// What a WebSocket is told (RFC 6455 §7.4).
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Stop => CloseCode::GoingAway,
            Self::Restart => CloseCode::Restart,
        }
    }
}

/// What lives in a process, each with a time of its own in a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Living {
    /// Requests and their responses.
    Request,
    /// Event streams that pass through.
    EventStream,
    /// WebSockets that pass through.
    WebSocket,
    /// Subscribers of a bridge.
    Subscriber,
}

impl Living {
    const ALL: [Self; 4] = [
        Self::Request,
        Self::EventStream,
        Self::WebSocket,
        Self::Subscriber,
    ];

    const fn time(self, times: &DrainTimes) -> Duration {
        match self {
            Self::Request => times.requests,
            Self::EventStream => times.event_streams,
            Self::WebSocket => times.websockets,
            Self::Subscriber => times.subscribers,
        }
    }
}

/// A drain, as it is begun.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Why.
    pub cause: Cause,
    /// When.
    pub begun: Instant,
    /// How long.
    pub times: DrainTimes,
}

impl Order {
    /// The moment at which whatever of this kind still lives is cut.
    #[must_use]
    pub fn deadline_of(&self, living: Living) -> Instant {
        self.begun + living.time(&self.times)
    }

    /// The moment at which whatever still lives is cut.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        let all = Living::ALL.map(|living| self.deadline_of(living));
        all.into_iter().fold(self.begun, Instant::max)
    }
}

impl From<Instant> for Order {
    /// The process stops, and all have time until then.
    fn from(deadline: Instant) -> Self {
        let begun = Instant::now();
        Self {
            cause: Cause::Stop,
            begun,
            times: DrainTimes::same(deadline.saturating_duration_since(begun)),
        }
    }
}

impl Trigger {
    /// A drain that has not begun.
    #[must_use]
    pub fn new() -> Self {
        let shared = Shared {
            begun: CancellationToken::new(),
            order: OnceLock::new(),
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
    pub fn begin(&self, order: impl Into<Order>) {
        let _ = self.shared.order.set(order.into());
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
        self.ordered().await.deadline()
    }

    /// Returns once the drain has begun, with all that is said of it.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    pub async fn ordered(&self) -> Order {
        self.shared.begun.cancelled().await;
        self.order()
            .expect("`begin` sets the order before it cancels")
    }

    /// Whether the drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.begun.is_cancelled()
    }

    /// What is said of the drain; `None`: none has begun.
    #[must_use]
    pub fn order(&self) -> Option<Order> {
        self.shared.order.get().copied()
    }

    /// The moment at which whatever of this kind still lives is cut; `None`: no drain has begun.
    #[must_use]
    pub fn deadline_of(&self, living: Living) -> Option<Instant> {
        self.order().map(|order| order.deadline_of(living))
    }

    /// What WebSockets are told of the drain; of one that has not begun, that the process stops.
    #[must_use]
    pub fn close_code(&self) -> CloseCode {
        self.order()
            .map_or(Cause::Stop, |order| order.cause)
            .close_code()
    }
}

/// A random moment for one subscriber's end. Those of a process that is followed by another one leave within a second: what comes
/// next is in the other one's log, and the `retry:` that each of them is told spreads their return.
#[must_use]
pub fn leave(order: Order) -> Instant {
    let deadline = order.deadline_of(Living::Subscriber);
    match order.cause {
        Cause::Stop => spread(deadline),
        Cause::Restart => spread(deadline.min(Instant::now() + 2 * SUBSCRIBERS_LEAVE)),
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

    #[tokio::test(start_paused = true)]
    async fn each_kind_has_a_time_of_its_own() {
        let trigger = Trigger::new();
        let guard = trigger.guard();
        assert_eq!(guard.deadline_of(Living::Request), None);
        let begun = Instant::now();
        let seconds = Duration::from_secs;
        let times = DrainTimes {
            requests: seconds(5),
            event_streams: seconds(10),
            websockets: seconds(60),
            subscribers: seconds(30),
        };
        trigger.begin(Order {
            cause: Cause::Restart,
            begun,
            times,
        });
        assert_eq!(guard.draining().await, begun + seconds(60));
        for (living, time) in [
            (Living::Request, 5),
            (Living::EventStream, 10),
            (Living::WebSocket, 60),
            (Living::Subscriber, 30),
        ] {
            assert_eq!(guard.deadline_of(living), Some(begun + seconds(time)));
        }
        assert_eq!(guard.close_code(), CloseCode::Restart);
    }

    #[tokio::test(start_paused = true)]
    async fn subscribers_of_a_process_that_is_followed_leave_at_once() {
        let order = |cause| Order {
            cause,
            begun: Instant::now(),
            times: DrainTimes::same(Duration::from_secs(1_000)),
        };
        for _subscriber in 0..100 {
            assert!(leave(order(Cause::Restart)) <= Instant::now() + SUBSCRIBERS_LEAVE);
        }
        let latest = (0..100).map(|_subscriber| leave(order(Cause::Stop))).max();
        assert!(latest.unwrap() > Instant::now() + Duration::from_secs(100));
    }
}

//! What happens on a connection, and when it has waited long enough for its next request.
//!
//! hyper's one timer cannot tell a client that is silent between requests (`keep_alive`) from one that sends half a
//! head and stalls (`header_timeout`). This one does, for both versions of HTTP. It is armed rarely: a request only
//! stores when it came and went.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use crate::http::inbound::Fault;

/// What happens on a connection, as far as its owner must know.
pub(super) struct Activity {
    /// Requests whose response has not ended.
    busy: Cell<usize>,
    /// Requests whose response has.
    answered: Cell<u64>,
    /// Requests that hyper was given.
    passed: Cell<u64>,
    /// Since when no request is under way.
    free_since: Cell<Instant>,
    /// Since when bytes lie there that are no request yet.
    head_since: Cell<Option<Instant>>,
    /// Since when the socket takes nothing of what hyper has for it.
    refused_since: Cell<Option<Instant>>,
    /// What is wrong with the request that follows those that were passed.
    fault: Cell<Option<Fault>>,
    /// Who reads on when all is answered.
    reader: Cell<Option<Waker>>,
    /// Requests that have come.
    requests: Cell<u64>,
    /// Requests that were cancelled before their response began, since when.
    cancelled: Cell<(u32, Instant)>,
    /// Told when the owner has to look at these.
    enough: Notify,
}

/// For how long cancelled requests are held against a client.
const CANCELLED_WITHIN: Duration = Duration::from_secs(10);

/// A request, until its response has ended.
pub(super) struct Busy(Rc<Activity>);

/// Why a connection was waited for long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tired {
    /// Nothing came for `keep_alive`, or nothing of a response was taken for as long.
    Silent,
    /// A request's head was not whole within `header_timeout`.
    HalfHead,
}

impl Activity {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            busy: Cell::new(0),
            answered: Cell::new(0),
            passed: Cell::new(0),
            free_since: Cell::new(Instant::now()),
            head_since: Cell::new(None),
            refused_since: Cell::new(None),
            fault: Cell::new(None),
            reader: Cell::new(None),
            requests: Cell::new(0),
            cancelled: Cell::new((0, Instant::now())),
            enough: Notify::new(),
        })
    }

    /// Whether a part of a request lies there. Its time runs from its first byte, or from the end of the request before.
    pub(super) fn head(&self, has_begun: bool) {
        let since = self.head_since.get().filter(|_| has_begun);
        self.head_since
            .set(since.or_else(|| has_begun.then(Instant::now)));
    }

    /// So many requests have been passed to hyper.
    pub(super) fn passed(&self, heads: u64) {
        self.passed.set(heads);
    }

    /// Whether all requests that were passed have been answered to the end.
    pub(super) fn all_answered(&self) -> bool {
        self.answered.get() >= self.passed.get()
    }

    /// Wakes the reader as soon as a response has ended.
    pub(super) fn wake_when_answered(&self, reader: &Waker) {
        self.reader.set(Some(reader.clone()));
    }

    /// The next request is not to be served.
    pub(super) fn refuse(&self, fault: Fault) {
        self.fault.set(Some(fault));
    }

    /// What is wrong with the next request, once it is its turn.
    pub(super) fn refused(&self) -> Option<Fault> {
        self.fault.get().filter(|_| self.all_answered())
    }

    /// hyper wrote, and the socket took of it or not.
    pub(super) fn wrote(&self, taken: bool) {
        if taken {
            self.refused_since.set(None);
        } else if self.refused_since.get().is_none() {
            self.refused_since.set(Some(Instant::now()));
        }
    }

    /// Whether hyper holds bytes that the socket did not take. hyper writes until its buffer is empty or the socket
    /// refuses, each time it is polled: so if the last write was taken, nothing is left in it.
    pub(super) fn is_behind(&self) -> bool {
        self.refused_since.get().is_some()
    }

    /// Tells the owner that the client has had enough of something.
    pub(super) fn tell_enough(&self) {
        self.enough.notify_one();
    }

    /// Waits for [`Self::tell_enough`].
    ///
    /// # Cancel safety
    /// What was told is kept.
    pub(super) async fn enough(&self) {
        self.enough.notified().await;
    }

    /// Whether no request is under way.
    pub(super) fn is_free(&self) -> bool {
        self.busy.get() == 0
    }

    /// How many requests have come.
    pub(super) fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// The client has cancelled a request before its response began.
    pub(super) fn cancelled(&self) {
        let (count, since) = self.cancelled.get();
        let now = Instant::now();
        self.cancelled.set(if now - since > CANCELLED_WITHIN {
            (1, now)
        } else {
            (count.saturating_add(1), since)
        });
    }

    /// How many requests have been cancelled of late.
    pub(super) fn cancellations(&self) -> u32 {
        self.cancelled.get().0
    }

    /// A request has come.
    pub(super) fn begin(self: &Rc<Self>) -> Busy {
        self.busy.set(self.busy.get() + 1);
        self.requests.set(self.requests.get() + 1);
        Busy(self.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let left = self.0.busy.get() - 1;
        self.0.busy.set(left);
        self.0.answered.set(self.0.answered.get() + 1);
        if let Some(reader) = self.0.reader.take() {
            reader.wake();
        }
        if left == 0 {
            self.0.free_since.set(Instant::now());
        }
    }
}

/// The timer over an [`Activity`].
pub(super) struct Patience {
    activity: Rc<Activity>,
    keep_alive: Duration,
    header_timeout: Duration,
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    pub(super) fn new(
        activity: Rc<Activity>,
        keep_alive: Duration,
        header_timeout: Duration,
    ) -> Self {
        let timer = Box::pin(tokio::time::sleep(header_timeout.min(keep_alive)));
        Self {
            activity,
            keep_alive,
            header_timeout,
            timer,
        }
    }

    pub(super) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Ready when the connection should end.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Tired> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            let (due, tired) = self.due(now);
            if due <= now {
                return Poll::Ready(tired);
            }
            // Half a head may come at any time from now: look again after `header_timeout` at the latest.
            self.timer
                .as_mut()
                .reset(due.min(now + self.header_timeout));
        }
    }

    fn due(&self, now: Instant) -> (Instant, Tired) {
        if self.activity.busy.get() > 0 {
            // A request under way is its backend's affair, unless its client reads nothing of the response.
            let since = self.activity.refused_since.get().unwrap_or(now);
            return (since + self.keep_alive, Tired::Silent);
        }
        match self.activity.head_since.get() {
            Some(since) => {
                let since = since.max(self.activity.free_since.get());
                (since + self.header_timeout, Tired::HalfHead)
            }
            None => (
                self.activity.free_since.get() + self.keep_alive,
                Tired::Silent,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const KEEP_ALIVE: Duration = Duration::from_secs(75);
    const HEADER: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn silence_is_borne_for_keep_alive() {
        let begun = Instant::now();
        let mut patience = Patience::new(Activity::new(), KEEP_ALIVE, HEADER);
        assert_eq!(poll_fn(|cx| patience.poll(cx)).await, Tired::Silent);
        assert!(begun.elapsed() >= KEEP_ALIVE && begun.elapsed() < KEEP_ALIVE + HEADER);
    }

    #[tokio::test(start_paused = true)]
    async fn half_a_head_is_borne_for_header_timeout() {
        let begun = Instant::now();
        let activity = Activity::new();
        activity.head(true);
        let mut patience = Patience::new(activity, KEEP_ALIVE, HEADER);
        assert_eq!(poll_fn(|cx| patience.poll(cx)).await, Tired::HalfHead);
        assert!(begun.elapsed() >= HEADER && begun.elapsed() < HEADER * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_of_its_response_is_borne_for_keep_alive() {
        let activity = Activity::new();
        let _busy = activity.begin();
        activity.wrote(false);
        let mut patience = Patience::new(activity.clone(), KEEP_ALIVE, HEADER);
        let half = tokio::time::timeout(KEEP_ALIVE / 2, poll_fn(|cx| patience.poll(cx))).await;
        assert!(half.is_err());
        activity.wrote(true);
        activity.wrote(false);
        let begun = Instant::now();
        assert_eq!(poll_fn(|cx| patience.poll(cx)).await, Tired::Silent);
        assert!(begun.elapsed() >= KEEP_ALIVE && begun.elapsed() < KEEP_ALIVE + HEADER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_under_way_is_never_cut() {
        let activity = Activity::new();
        let busy = activity.begin();
        let mut patience = Patience::new(activity, KEEP_ALIVE, HEADER);
        let waited = tokio::time::timeout(KEEP_ALIVE * 10, poll_fn(|cx| patience.poll(cx))).await;
        assert!(waited.is_err());
        drop(busy);
        assert_eq!(poll_fn(|cx| patience.poll(cx)).await, Tired::Silent);
    }
}

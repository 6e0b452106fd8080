//! When a connection has waited long enough for its next request.
//!
//! hyper's one timer cannot tell a client that is silent between requests (`keep_alive`) from one that sends half a
//! head and stalls (`header_timeout`). This one does, for both versions of HTTP. It is armed rarely: a request only
//! stores when it came and went.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// What happens on a connection, as far as waiting goes.
pub(super) struct Activity {
    /// Requests whose response has not ended.
    busy: Cell<usize>,
    /// Since when none is.
    free_since: Cell<Instant>,
    /// Since when bytes lie there that are no request yet.
    head_since: Cell<Option<Instant>>,
    /// Since when the socket takes nothing of what hyper has for it.
    refused_since: Cell<Option<Instant>>,
}

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
        let (busy, free_since) = (Cell::new(0), Cell::new(Instant::now()));
        Rc::new(Self {
            busy,
            free_since,
            head_since: Cell::new(None),
            refused_since: Cell::new(None),
        })
    }

    /// Bytes came.
    pub(super) fn received(&self) {
        if self.busy.get() == 0 && self.head_since.get().is_none() {
            self.head_since.set(Some(Instant::now()));
        }
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

    /// A head was whole: it is a request now.
    pub(super) fn begin(self: &Rc<Self>) -> Busy {
        self.busy.set(self.busy.get() + 1);
        self.head_since.set(None);
        Busy(self.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let left = self.0.busy.get() - 1;
        self.0.busy.set(left);
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
            Some(since) => (since + self.header_timeout, Tired::HalfHead),
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
        activity.received();
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

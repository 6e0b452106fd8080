//! How long a server may take to answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// Measures the time since the request's last progress. The timer is made when it is first waited for: a server that
/// answers at once costs none.
pub(super) struct Clock {
    limit: Duration,
    written: u64,
    since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    /// A clock that starts now.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            written: 0,
            since: Instant::now(),
            timer: None,
        }
    }

    /// Ready with the limit when nothing more was written for so long; `written` are the bytes so far.
    pub(super) fn poll_expired(&mut self, cx: &mut Context<'_>, written: u64) -> Poll<Duration> {
        if written != self.written {
            self.written = written;
            self.since = Instant::now();
        }
        let due = self.since + self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(cx).map(|()| self.limit)
    }
}

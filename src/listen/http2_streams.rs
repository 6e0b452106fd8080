//! The tasks of an HTTP/2 connection's requests, each with a limit for a client that does not take its response.
//!
//! A stream's window closes when its client reads nothing (RFC 9113 §5.2), and hyper would wait for it without an end,
//! however alive the connection is. Owns the clock over that: whose response takes nothing of its body for so long is reset.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::lifecycle::tasks;
use crate::stream::Tunnels;

/// How far a response has got.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Since when hyper has a piece of the body that it does not come back from for the next.
    given: Cell<Option<Instant>>,
}

impl Progress {
    /// hyper has got a piece.
    pub(super) fn given(&self) {
        self.given.set(Some(Instant::now()));
    }

    /// hyper asks for the next: the one before is on its way.
    pub(super) fn asked(&self) {
        self.given.set(None);
    }
}

/// Where a request's progress is laid for the task that will serve it. hyper calls the service and spawns the task of one
/// request back to back.
#[derive(Clone, Default)]
pub(super) struct Latest(Rc<Cell<Option<Rc<Progress>>>>);

impl Latest {
    /// The progress of a request that has just come.
    pub(super) fn begin(&self) -> Rc<Progress> {
        let progress = Rc::new(Progress::default());
        self.0.set(Some(progress.clone()));
        progress
    }
}

/// hyper's executor for one connection.
#[derive(Clone)]
pub(super) struct Streams {
    pub(super) latest: Latest,
    /// Where streams may become tunnels.
    pub(super) tunnels: Option<Tunnels>,
    pub(super) patience: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        match self.latest.0.take() {
            Some(progress) => drop(tasks::spawn(bounded(future, progress, self.patience))),
            // Besides its requests hyper has only what sends a tunnel's bytes.
            None => match self.tunnels.as_ref().and_then(Tunnels::take) {
                Some(halves) => drop(tasks::spawn(halves.send(future))),
                None => drop(tasks::spawn(future)),
            },
        }
    }
}

/// Runs `future` until it ends, or makes no progress for `patience`. Dropping it resets the stream.
async fn bounded(future: impl Future<Output = ()>, progress: Rc<Progress>, patience: Duration) {
    let mut future = pin!(future);
    let mut timer: Option<Pin<Box<Sleep>>> = None;
    poll_fn(|cx| {
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        poll_stalled(cx, &mut timer, progress.given.get(), patience)
    })
    .await;
}

/// Ready when what was given lies there for `patience`. Most responses never arm the timer twice.
fn poll_stalled(
    cx: &mut Context<'_>,
    timer: &mut Option<Pin<Box<Sleep>>>,
    given: Option<Instant>,
    patience: Duration,
) -> Poll<()> {
    let Some(due) = given.map(|since| since + patience) else {
        return Poll::Pending;
    };
    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
    while timer.as_mut().poll(cx).is_ready() {
        if Instant::now() >= due {
            return Poll::Ready(());
        }
        timer.as_mut().reset(due);
    }
    Poll::Pending
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(75);

    #[tokio::test(start_paused = true)]
    async fn a_response_that_nobody_takes_ends() {
        let begun = Instant::now();
        let progress = Rc::new(Progress::default());
        progress.given();
        bounded(std::future::pending(), progress, PATIENCE).await;
        assert!(begun.elapsed() >= PATIENCE && begun.elapsed() < PATIENCE * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_taken_goes_on() {
        let progress = Rc::new(Progress::default());
        let taken = {
            let progress = progress.clone();
            async move {
                for _ in 0..10 {
                    progress.given();
                    tokio::time::sleep(PATIENCE - Duration::from_secs(1)).await;
                    progress.asked();
                    tokio::time::sleep(PATIENCE * 2).await;
                }
            }
        };
        let begun = Instant::now();
        bounded(taken, progress, PATIENCE).await;
        assert!(begun.elapsed() > PATIENCE * 25);
    }
}

//! hyper's tasks for one connection, each of which can be ended from outside of hyper.
//!
//! hyper sends a request's body from a task of its own. While that waits for the server to open its window it asks the
//! body for nothing, so the body cannot tell it that nobody wants the response any more. Therefore a body finds out which
//! task it is polled by, and whoever gives the response up ends that task: hyper's hold on the stream goes with it, and the
//! stream is reset.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::lifecycle::tasks;

tokio::task_local! {
    static CURRENT: Rc<Stop>;
}

/// Ends one task.
#[derive(Default)]
pub(super) struct Stop {
    is_due: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Stop {
    /// That of the task that polls now; `None`: it is not one of [`Stoppable`]'s.
    pub(super) fn of_this_task() -> Option<Rc<Self>> {
        CURRENT.try_with(Rc::clone).ok()
    }

    /// Ends the task; one that has ended is left in peace.
    pub(super) fn stop(&self) {
        self.is_due.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// hyper's executor: its tasks stay on their worker, and can be stopped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stoppable;

impl<F> hyper::rt::Executor<F> for Stoppable
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(tasks::spawn(async move {
            let stop = Rc::<Stop>::default();
            let mut future = pin!(future);
            poll_fn(|cx| {
                if stop.is_due.get() {
                    return Poll::Ready(());
                }
                let polled = CURRENT.sync_scope(stop.clone(), || future.as_mut().poll(cx));
                // Most tasks carry no body, and nobody else has a hold on theirs.
                if polled.is_pending() && Rc::strong_count(&stop) > 1 {
                    stop.waker.replace(Some(cx.waker().clone()));
                }
                polled.map(drop)
            })
            .await;
        }));
    }
}

#[cfg(test)]
mod tests {
    use hyper::rt::Executor;
    use tokio::sync::oneshot;
    use tokio::task::LocalSet;

    use super::*;

    #[tokio::test]
    async fn a_task_that_waits_for_ever_is_stopped_and_dropped() {
        let (give, given) = oneshot::channel();
        let (held, dropped) = oneshot::channel::<()>();
        let test = async {
            Stoppable.execute(async move {
                let _held = held;
                let stop = Stop::of_this_task();
                assert!(give.send(stop).is_ok());
                std::future::pending::<()>().await;
            });
            let stop = given.await.unwrap().unwrap();
            assert!(Stop::of_this_task().is_none());
            stop.stop();
            assert!(dropped.await.is_err());
            stop.stop();
        };
        LocalSet::new().run_until(test).await;
    }
}

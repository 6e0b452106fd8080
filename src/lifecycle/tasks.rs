//! The only place that spawns.
//!
//! Tasks stay on the worker that spawned them and are counted there, so that a worker can say at its end whether
//! anything was left. A panic ends its own task only: the panic hook of `observe::log` reports it.

use std::cell::Cell;
use std::future::Future;

use tokio::task::JoinHandle;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
}

struct Counted;

impl Counted {
    fn new() -> Self {
        LIVE.set(LIVE.get() + 1);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE.set(LIVE.get() - 1);
    }
}

/// Runs `future` on this worker until it ends. Dropping the handle does not end it.
///
/// # Panics
/// Outside of a worker (a `LocalSet`).
#[expect(clippy::disallowed_methods, reason = "the one place")]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let counted = Counted::new();
    tokio::task::spawn_local(async move {
        let _counted = counted;
        future.await
    })
}

/// How many tasks live on this worker.
#[must_use]
pub fn live() -> usize {
    LIVE.get()
}

/// hyper's executor: the tasks of an HTTP/2 connection stay on its worker.
#[derive(Debug, Clone, Copy)]
pub struct Local;

impl<F> hyper::rt::Executor<F> for Local
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        drop(spawn(future));
    }
}

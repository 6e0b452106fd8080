//! Where requests wait when every server of an upstream is full.
//!
//! They wait in the order in which they came: only the first one looks for a place, the others wait for it to have
//! gone. It is woken by every place that becomes free. Who leaves the queue, in whatever way, frees its place in it.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, Semaphore, SemaphorePermit};

/// One upstream's queue. It outlives reloads, as the places at the servers do.
#[derive(Debug)]
pub struct Queue {
    waiting: AtomicUsize,
    first: Semaphore,
    freed: Notify,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            first: Semaphore::new(1),
            freed: Notify::new(),
        }
    }
}

/// One who waits. Dropped: no longer.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a Queue);

impl Queue {
    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }

    /// Lets one more wait; `None`: `limit` do so already.
    pub(super) fn enter(&self, limit: usize) -> Option<Waiting<'_>> {
        // Counted before the first look at the servers: whoever frees a place after that look sees that somebody waits.
        let before = self.waiting.fetch_add(1, Ordering::SeqCst);
        let waiting = Waiting(self);
        (before < limit).then_some(waiting)
    }

    /// A place may have become free.
    pub(super) fn tell(&self) {
        if !self.is_empty() {
            // One waits for it at most; a word that comes before it listens is kept for it.
            self.freed.notify_one();
        }
    }
}

impl Waiting<'_> {
    /// Returns when all who came before have gone; until the turn is dropped nobody overtakes.
    ///
    /// # Cancel safety
    /// Dropping it gives the place in the queue up.
    pub(super) async fn turn(&self) -> Turn<'_> {
        let permit = self.0.first.acquire().await;
        Turn {
            queue: self.0,
            _first: permit.expect("the semaphore is never closed"),
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The head of the queue.
pub(super) struct Turn<'a> {
    queue: &'a Queue,
    _first: SemaphorePermit<'a>,
}

impl Turn<'_> {
    /// Returns when a place may have become free since the last call, or since the turn began.
    ///
    /// # Cancel safety
    /// A word that came is not lost when it is dropped.
    pub(super) async fn freed(&self) {
        self.queue.freed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_came_first_goes_first_and_a_word_is_not_lost() {
        let queue = Queue::default();
        let (first, second) = (queue.enter(2).unwrap(), queue.enter(2).unwrap());
        assert!(queue.enter(2).is_none());
        let turn = first.turn().await;
        let mut later = std::pin::pin!(second.turn());
        assert!(futures_util::poll!(&mut later).is_pending());
        queue.tell();
        turn.freed().await;
        drop(turn);
        drop(first);
        let turn = later.await;
        assert!(futures_util::poll!(std::pin::pin!(turn.freed())).is_pending());
        queue.tell();
        turn.freed().await;
    }

    #[tokio::test]
    async fn whoever_leaves_frees_the_place_for_another() {
        let queue = Queue::default();
        let first = queue.enter(1).unwrap();
        assert!(queue.enter(1).is_none());
        drop(first);
        assert!(queue.is_empty());
        assert!(queue.enter(1).is_some());
    }
}

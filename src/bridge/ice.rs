//! Whether a channel's feed is to stop, and whether it has: between whoever freezes it, on any thread, and the feed's task.
//!
//! Invariant: a feed that is said to rest appends nothing before it is said to write.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, watch};

use super::state::Halt;

/// Whether a channel's feed may append to its log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Pen {
    /// It may.
    #[default]
    Writes,
    /// It may not, and stood here when it stopped; `None`: it was never open.
    Rests(Option<Halt>),
}

/// What is asked of a channel's feed, and what it says.
#[derive(Debug, Default)]
pub(super) struct Ice {
    is_frozen: AtomicBool,
    /// Told when that changes.
    changed: Notify,
    pen: watch::Sender<Pen>,
}

impl Ice {
    /// Asks the feed to close, and to append nothing until [`Ice::thaw`].
    pub(super) fn freeze(&self) {
        self.is_frozen.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// Takes [`Ice::freeze`] back.
    pub(super) fn thaw(&self) {
        self.is_frozen.store(false, Ordering::Release);
        self.changed.notify_one();
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.is_frozen.load(Ordering::Acquire)
    }

    /// Returns after [`Ice::is_frozen`] has changed. It may have changed back.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// What the feed says of itself.
    pub(super) fn set_pen(&self, pen: Pen) {
        self.pen.send_replace(pen);
    }

    /// The feed is gone, and so it rests.
    pub(super) fn leave(&self) {
        self.pen.send_if_modified(|pen| {
            let wrote = *pen == Pen::Writes;
            if wrote {
                *pen = Pen::Rests(None);
            }
            wrote
        });
    }

    /// Where the feed stood when it stopped to append; `None`: it may append, or was never open.
    pub(super) fn halted(&self) -> Option<Halt> {
        match &*self.pen.borrow() {
            Pen::Writes => None,
            Pen::Rests(halt) => halt.clone(),
        }
    }

    /// Returns when the feed rests.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    pub(super) async fn still(&self) {
        let mut pen = self.pen.subscribe();
        // The sender lives as long as this.
        let _ = pen.wait_for(|pen| matches!(pen, Pen::Rests(_))).await;
    }
}

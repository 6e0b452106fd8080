//! What is counted of a bridge, over all its channels and for as long as it lives.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only rises.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How often so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A bridge's counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// Messages that were not as the mapping expects: no JSON, no such part, not UTF-8. They were sent whole.
    pub unmapped: Count,
    /// Binary messages that were left out, by `binary = "reject"`.
    pub rejected: Count,
    /// Messages that were left out because they are over `max_message`.
    pub oversize: Count,
    /// Connections to feeds that failed with 1007, for a text that is not UTF-8.
    pub invalid_utf8: Count,
    /// Connections to feeds that were open and are lost, in order or not.
    pub feeds_lost: Count,
    /// Attempts to connect to a feed that failed.
    pub feeds_refused: Count,
    /// Clients that were too slow and were cut off.
    pub slow_disconnected: Count,
    /// Times that a slow client skipped to the newest event.
    pub slow_skipped: Count,
    /// Times that a slow client began to get only the newest event for each key.
    pub slow_conflated: Count,
}

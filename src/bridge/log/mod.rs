//! One channel's log: one writer, many readers, none of whom waits for another.
//!
//! The log is a ring of events, each encoded once as SSE and framed as one HTTP chunk. It is kept in segments, whose
//! list is swapped whole when one begins or goes; a reader takes a [`View`] of it and reads without any lock.
//!
//! Invariants: sequence numbers have no holes; `floor <= head`; what lies in `floor..head` of a view is in the view. To
//! keep the last one, the writer publishes in the order list, slot, head when it appends, and floor, list when it
//! evicts; a reader loads head, list, floor.

mod budget;
mod event;
pub mod form;
mod newest;
mod writer;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio::time::Instant;

pub use self::budget::Budget;
pub use self::event::{Event, Filter, Kind, Note};
pub use self::form::Form;
pub use self::newest::{Cut, Newest};
pub use self::writer::Writer;

/// Events of one segment at most.
const SLOTS: usize = 64;

#[derive(Debug)]
struct Segment {
    first: u64,
    slots: [OnceLock<Arc<Event>>; SLOTS],
}

type Chain = Vec<Arc<Segment>>;

/// The readers' side of a log.
#[derive(Debug)]
pub struct Log {
    chain: ArcSwap<Chain>,
    head: AtomicU64,
    floor: AtomicU64,
    newest: Option<Arc<Newest>>,
}

impl Log {
    /// A log without events, whose first one will have the number `next`.
    fn empty(next: u64, newest: Option<Arc<Newest>>) -> Self {
        Self {
            chain: ArcSwap::default(),
            head: AtomicU64::new(next),
            floor: AtomicU64::new(next),
            newest,
        }
    }

    /// What the log holds at this moment.
    #[must_use]
    pub fn view(&self) -> View {
        let head = self.head.load(Ordering::Acquire);
        let chain = self.chain.load_full();
        let floor = self.floor.load(Ordering::Acquire);
        // The floor may have passed a head that was loaded before it: then nothing of what was seen is left.
        let head = head.max(floor);
        View {
            chain,
            head,
            floor,
            newest: self.newest.clone(),
        }
    }
}

/// A log at one moment. It keeps what it shows alive, so it is not to be kept.
#[derive(Debug)]
pub struct View {
    chain: Arc<Chain>,
    head: u64,
    floor: u64,
    newest: Option<Arc<Newest>>,
}

impl View {
    /// The sequence number that the next event will have.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// The oldest event's sequence number; the head's, when there is none.
    #[must_use]
    pub fn floor(&self) -> u64 {
        self.floor
    }

    /// The event numbered `seq`, if it is in the log.
    #[must_use]
    pub fn event(&self, seq: u64) -> Option<&Event> {
        if seq < self.floor || seq >= self.head {
            return None;
        }
        let after = self.chain.partition_point(|segment| segment.first <= seq);
        let segment = self.chain.get(after.checked_sub(1)?)?;
        let slot = segment.slots.get((seq - segment.first) as usize)?;
        slot.get().map(|event| &**event)
    }

    /// All events, in their order, with their numbers.
    pub fn events(&self) -> impl Iterator<Item = (u64, &Event)> {
        (self.floor..self.head).filter_map(|seq| Some((seq, self.event(seq)?)))
    }

    /// What is newest for each key, where that is kept.
    #[must_use]
    pub fn newest(&self) -> Option<&Newest> {
        self.newest.as_deref()
    }

    /// The first event that was appended at `time` or later; the head, when there is none.
    #[must_use]
    pub fn since(&self, time: Instant) -> u64 {
        let (mut low, mut high) = (self.floor, self.head);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.event(middle) {
                Some(event) if event.at() >= time => high = middle,
                _ => low = middle + 1,
            }
        }
        low
    }

    /// Bytes of the events from `seq` on, as far as they are in the log.
    #[must_use]
    pub fn bytes_behind(&self, seq: u64) -> u64 {
        let first = self.event(seq.max(self.floor));
        let last = self.head.checked_sub(1).and_then(|seq| self.event(seq));
        match (first, last) {
            (Some(first), Some(last)) => last.end - (first.end - first.framed().len() as u64),
            _ => 0,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;

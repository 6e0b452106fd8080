//! Running totals of the process, route by route, for whoever wants numbers and not series.
//!
//! They are told by the same tick that adds to the series, and say the same. Invariant: there is one entry for each route
//! that ever had a request; the lock around them is held for a look-up, or for as long as they are added up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::observe::access::Kind;

/// Classes of statuses, `1xx` to `5xx`.
pub const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What was counted, of a route or of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Requests that have ended, or become streams; those without a response too.
    pub requests: u64,
    /// The same by the class of their response's status, in the order of [`CLASSES`].
    pub by_class: [u64; CLASSES.len()],
    /// Long streams that live, in the order of their kinds' numbers.
    pub streams: [u64; Kind::ALL.len()],
    /// Bytes from clients within long streams.
    pub bytes_in: u64,
    /// Bytes to clients within long streams.
    pub bytes_out: u64,
}

/// All routes that were met.
#[derive(Debug, Default)]
pub(super) struct AllTotals(Mutex<BTreeMap<Arc<str>, Arc<RouteTotals>>>);

/// One route's, which all workers add to.
#[derive(Debug, Default)]
pub(super) struct RouteTotals {
    requests: AtomicU64,
    by_class: [AtomicU64; CLASSES.len()],
    streams: [AtomicI64; Kind::ALL.len()],
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl AllTotals {
    /// Those of this route.
    pub(super) fn of(&self, route: &Arc<str>) -> Arc<RouteTotals> {
        self.lock().entry(route.clone()).or_default().clone()
    }

    /// Those of this route, if it was met.
    pub(super) fn known(&self, route: &str) -> Option<Totals> {
        self.lock().get(route).map(|totals| totals.read())
    }

    /// All together.
    pub(super) fn sum(&self) -> Totals {
        let mut sum = Totals::default();
        for totals in self.lock().values() {
            sum.add(&totals.read());
        }
        sum
    }

    /// Nothing in here can be left half done by a panic.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Arc<RouteTotals>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RouteTotals {
    /// So many more requests have been answered with a status of this word.
    pub(super) fn requested(&self, status: &str, count: u64) {
        self.requests.fetch_add(count, Ordering::Relaxed);
        let digit = status.bytes().next().unwrap_or_default();
        let class = usize::from(digit.wrapping_sub(b'1'));
        if let Some(class) = self.by_class.get(class) {
            class.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// So many more streams live; fewer, where it is negative.
    pub(super) fn live(&self, kind: Kind, more: i64) {
        self.streams[kind as usize].fetch_add(more, Ordering::Relaxed);
    }

    /// So much more has passed within streams.
    pub(super) fn passed(&self, bytes_in: u64, bytes_out: u64) {
        self.bytes_in.fetch_add(bytes_in, Ordering::Relaxed);
        self.bytes_out.fetch_add(bytes_out, Ordering::Relaxed);
    }

    fn read(&self) -> Totals {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        // Between the ticks of two workers it may be below nothing for a moment.
        let live = |count: &AtomicI64| count.load(Ordering::Relaxed).try_into().unwrap_or(0);
        Totals {
            requests: read(&self.requests),
            by_class: self.by_class.each_ref().map(read),
            streams: self.streams.each_ref().map(live),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
        }
    }
}

impl Totals {
    fn add(&mut self, other: &Self) {
        let each = |all: &mut [u64], more: &[u64]| {
            all.iter_mut()
                .zip(more)
                .for_each(|(all, more)| *all += more);
        };
        self.requests += other.requests;
        each(&mut self.by_class, &other.by_class);
        each(&mut self.streams, &other.streams);
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_add_up_and_words_that_are_no_status_have_no_class() {
        let all = AllTotals::default();
        let (one, other) = (all.of(&"/one".into()), all.of(&"/other".into()));
        for (status, count) in [
            ("200", 3),
            ("204", 1),
            ("503", 2),
            ("none", 5),
            ("other", 7),
        ] {
            one.requested(status, count);
        }
        other.requested("101", 1);
        other.live(Kind::EventStream, 2);
        other.live(Kind::EventStream, -1);
        other.live(Kind::Tunnel, -1);
        other.passed(10, 20);
        one.passed(1, 2);
        let sum = all.sum();
        assert_eq!((sum.requests, sum.by_class), (19, [1, 4, 0, 0, 2]));
        assert_eq!(sum.streams, [0, 1, 0]);
        assert_eq!((sum.bytes_in, sum.bytes_out), (11, 22));
        assert_eq!(all.known("/one").unwrap().requests, 18);
        assert_eq!(all.known("/none"), None);
    }
}

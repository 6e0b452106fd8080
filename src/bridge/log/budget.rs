//! Bytes that the logs of the whole process may hold together, divided fairly.
//!
//! A log may always hold its share, the limit divided by the number of logs; what others leave of theirs it may use as
//! long as nobody needs it. Over the limit, logs that hold more than their share evict their own oldest events, and
//! no others do. Invariant: as soon as every log has had a look (they do with each event, and a large one every
//! second), the limit is kept, but for the newest event of each log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A log that holds less than this does not look around for others by itself.
const LARGE: u64 = 1 << 20;

/// A limit and what is used of it.
#[derive(Debug)]
pub struct Budget {
    limit: AtomicU64,
    used: AtomicU64,
    logs: AtomicU64,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self {
            limit: AtomicU64::new(limit),
            used: AtomicU64::new(0),
            logs: AtomicU64::new(0),
        }
    }

    /// The budget that all channels share: 1 GiB, until it is set.
    #[must_use]
    pub fn process() -> &'static Self {
        static PROCESS: Budget = Budget::new(1 << 30);
        &PROCESS
    }

    /// Changes the limit. Logs that are then over it shrink as soon as they look.
    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Bytes that may be in use.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.limit.load(Ordering::Relaxed)
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// One more log.
    pub(super) fn open(&'static self) -> Arc<Account> {
        self.logs.fetch_add(1, Ordering::Relaxed);
        Arc::new(Account {
            budget: self,
            held: AtomicU64::new(0),
        })
    }

    fn share(&self) -> u64 {
        self.limit.load(Ordering::Relaxed) / self.logs.load(Ordering::Relaxed).max(1)
    }
}

/// What one log holds of a budget: its events, and the forms that readers have made of them.
#[derive(Debug)]
pub(super) struct Account {
    budget: &'static Budget,
    held: AtomicU64,
}

impl Account {
    pub(super) fn charge(&self, bytes: u64) {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        self.budget.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn release(&self, bytes: u64) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether this log is to let go of something.
    pub(super) fn is_over(&self) -> bool {
        self.budget.used() > self.budget.limit.load(Ordering::Relaxed)
            && self.held.load(Ordering::Relaxed) > self.budget.share()
    }

    /// Whether this log is so large that others may want some of it.
    pub(super) fn is_large(&self) -> bool {
        self.held.load(Ordering::Relaxed) > LARGE
    }
}

impl Drop for Account {
    /// The last event of the log is gone, and with it all that was charged.
    fn drop(&mut self) {
        self.budget.logs.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;
    use crate::bridge::log::tests::caps;
    use crate::bridge::log::writer::COST;
    use crate::bridge::log::{Note, Writer};

    fn budget(limit: u64) -> &'static Budget {
        Box::leak(Box::new(Budget::new(limit)))
    }

    fn writer(budget: &'static Budget) -> Writer {
        let wide = caps(1_000_000, usize::MAX, Duration::from_secs(600));
        Writer::new(wide, None, budget)
    }

    fn append(writer: &mut Writer, len: usize) {
        writer.append(Instant::now(), Note::default(), |_seq, out| {
            out.resize(out.len() + len, b'x');
        });
    }

    fn held(writer: &Writer) -> u64 {
        let view = writer.log().view();
        view.bytes_behind(view.floor()) + COST * (view.head() - view.floor())
    }

    #[test]
    fn a_log_alone_may_use_all_and_gives_way_to_others() {
        let budget = budget(100_000);
        let mut large = writer(budget);
        (0..1_000).for_each(|_| append(&mut large, 95));
        assert!((99_000..=100_000).contains(&held(&large)));
        let mut small: Vec<Writer> = (0..3).map(|_| writer(budget)).collect();
        for _ in 0..10 {
            small.iter_mut().for_each(|writer| append(writer, 195));
        }
        assert!(small.iter().all(|writer| writer.log().view().floor() == 1));
        large.evict(Instant::now());
        assert!(budget.used() <= 100_000, "{}", budget.used());
        assert!(held(&large) > 35_000, "{}", held(&large));
        drop((large, small));
        assert_eq!(budget.used(), 0);
        assert_eq!(budget.logs.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_lower_limit_is_kept_as_soon_as_the_logs_look() {
        let budget = budget(10_000);
        let mut log = writer(budget);
        (0..100).for_each(|_| append(&mut log, 95));
        budget.set_limit(1_000);
        log.evict(Instant::now());
        assert!(budget.used() <= 1_000);
    }

    #[test]
    fn a_flood_of_short_messages_is_bounded_by_what_they_cost() {
        let budget = budget(1 << 20);
        let mut log = writer(budget);
        (0..20_000).for_each(|_| append(&mut log, 1));
        let view = log.log().view();
        let count = view.head() - view.floor();
        assert!(
            count * (size_of::<crate::bridge::log::Event>() as u64) < 1 << 20,
            "{count}"
        );
        assert!(count > 1_000, "{count}");
        drop((view, log));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_is_kept_beside_an_event_is_counted_too() {
        let budget = budget(10_000);
        let mut log = writer(budget);
        for _ in 0..100 {
            let note = Note {
                verbatim: Some("x".repeat(1_000).into()),
                ..Note::default()
            };
            log.append(Instant::now(), note, |_seq, out| {
                out.extend_from_slice(b"data: x\n\n")
            });
        }
        let view = log.log().view();
        assert!(view.head() - view.floor() < 100, "the log was to let go");
        drop((view, log));
        assert_eq!(budget.used(), 0);
    }

    proptest! {
        #[test]
        fn the_limit_is_kept_and_nobody_within_its_share_loses_anything(
            appends in prop::collection::vec((0_usize..6, 1_usize..400), 1..300),
            logs in 1_usize..6,
        ) {
            let limit = 12_000;
            let budget = budget(limit);
            let mut writers: Vec<Writer> = (0..logs).map(|_| writer(budget)).collect();
            let mut sent = vec![0_u64; logs];
            for (index, len) in appends {
                let index = index % logs;
                append(&mut writers[index], len);
                let view = writers[index].log().view();
                sent[index] += view.event(view.head() - 1).unwrap().framed().len() as u64 + COST;
            }
            writers.iter_mut().for_each(|writer| writer.evict(Instant::now()));
            prop_assert!(budget.used() <= limit, "{}", budget.used());
            prop_assert_eq!(budget.used(), writers.iter().map(held).sum::<u64>());
            for (writer, sent) in writers.iter().zip(sent) {
                if sent <= limit / logs as u64 {
                    prop_assert_eq!(held(writer), sent);
                }
            }
            drop(writers);
            prop_assert_eq!(budget.used(), 0);
        }
    }
}

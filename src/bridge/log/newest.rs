//! The newest event for each key: a log with the older ones left out.
//!
//! It has the log's own events with their own numbers, in their order, and keeps an event also when the log has evicted
//! it. A client that reads it from some number on, piece by piece, and then goes on in the log at [`Cut::end`], has
//! got the newest event of every key that changed since: a key that changes meanwhile only moves behind what the client
//! has read. So it serves a client that begins with a snapshot as well as one that was too slow.
//!
//! All events without a key count as one, and so do the logged gaps. Invariant: what a [`Cut`] shows is complete below
//! its end, but for the keys that the caps have made it forget, which it tells.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::model::SnapshotCaps;

use super::event::{Event, Kind};

/// What an event is newest for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Topic {
    Key(Arc<str>),
    /// Messages without a key.
    Keyless,
    /// Gaps and markers.
    Own,
}

impl Topic {
    fn of(event: &Event) -> Self {
        match (event.kind(), event.key()) {
            (Kind::Gap | Kind::Marker, _) => Self::Own,
            (_, Some(key)) => Self::Key(key.clone()),
            (_, None) => Self::Keyless,
        }
    }
}

#[derive(Debug)]
struct Kept {
    by_topic: HashMap<Topic, u64>,
    by_seq: BTreeMap<u64, Arc<Event>>,
    /// The number after the newest event that it knows.
    end: u64,
    bytes: u64,
    /// The newest event that was forgotten though it was the newest for its key; 0: none was.
    forgotten: u64,
}

impl Kept {
    fn forget(&mut self) -> Option<(u64, Arc<Event>)> {
        if self.by_seq.len() < 2 {
            return None;
        }
        let (seq, event) = self.by_seq.pop_first()?;
        self.bytes -= event.framed().len() as u64;
        self.by_topic.remove(&Topic::of(&event));
        self.forgotten = seq;
        Some((seq, event))
    }
}

/// The newest events, shared between the writer and the readers. Its lock is held for a few events' time.
#[derive(Debug)]
pub struct Newest {
    caps: SnapshotCaps,
    kept: Mutex<Kept>,
}

/// A part of it.
#[derive(Debug)]
pub struct Cut {
    /// The newest events from the number that was asked for on, in their order.
    pub events: Vec<(u64, Arc<Event>)>,
    /// Where to go on: behind the last of them, or, when that were all, where the log goes on.
    pub next: u64,
    /// Whether there are no more: then [`Cut::next`] is to be read from the log.
    pub is_last: bool,
    /// The newest event that was forgotten though nothing has replaced it; 0: none was. All that is left is newer.
    pub forgotten: u64,
}

impl Newest {
    pub(super) fn new(caps: SnapshotCaps) -> Self {
        Self {
            caps,
            kept: Mutex::new(Kept {
                by_topic: HashMap::new(),
                by_seq: BTreeMap::new(),
                end: 1,
                bytes: 0,
                forgotten: 0,
            }),
        }
    }

    /// Events from `from` on, of together at most `limit` bytes or one event.
    #[must_use]
    pub fn cut(&self, from: u64, limit: usize) -> Cut {
        let kept = self.lock();
        let (mut events, mut bytes) = (Vec::new(), 0);
        let mut rest = kept.by_seq.range(from..).peekable();
        while let Some((_, event)) = rest.peek() {
            bytes += event.framed().len();
            if bytes > limit && !events.is_empty() {
                break;
            }
            events.extend(rest.next().map(|(seq, event)| (*seq, event.clone())));
        }
        let is_last = rest.peek().is_none();
        let next = match events.last() {
            Some((seq, _)) if !is_last => seq + 1,
            _ => kept.end.max(from),
        };
        Cut {
            events,
            next,
            is_last,
            forgotten: kept.forgotten,
        }
    }

    /// The number of its oldest message, and how many messages there are.
    #[must_use]
    pub fn extent(&self) -> (Option<u64>, u64) {
        let kept = self.lock();
        let own = kept.by_topic.get(&Topic::Own).copied();
        let first = kept.by_seq.keys().find(|seq| Some(**seq) != own);
        let count = kept.by_seq.len() as u64 - u64::from(own.is_some());
        (first.copied(), count)
    }

    /// How many messages there are from `from` on.
    #[must_use]
    pub fn count_from(&self, from: u64) -> u64 {
        let kept = self.lock();
        let own = kept
            .by_topic
            .get(&Topic::Own)
            .is_some_and(|own| *own >= from);
        kept.by_seq.range(from..).count() as u64 - u64::from(own)
    }

    /// Takes the event numbered `seq`, which is newer than all it has, and returns what it let go of for it, with the
    /// numbers.
    pub(super) fn insert(&self, seq: u64, event: &Arc<Event>) -> Vec<(u64, Arc<Event>)> {
        let mut kept = self.lock();
        let kept = &mut *kept;
        let mut gone = Vec::new();
        if let Some(older) = kept.by_topic.insert(Topic::of(event), seq) {
            gone.extend(kept.by_seq.remove(&older).map(|event| (older, event)));
        }
        kept.bytes += event.framed().len() as u64;
        kept.bytes -= gone
            .iter()
            .map(|(_, event)| event.framed().len() as u64)
            .sum::<u64>();
        kept.by_seq.insert(seq, event.clone());
        kept.end = kept.end.max(seq + 1);
        while kept.by_topic.len() > self.caps.keys.get() || kept.bytes > self.caps.bytes {
            let Some(oldest) = kept.forget() else {
                break;
            };
            gone.push(oldest);
        }
        gone
    }

    /// Begins where another left off: its next event has this number, and of those before it all are told again that it
    /// had, but for what it had forgotten up to `forgotten`.
    pub(super) fn begin(&self, next: u64, forgotten: u64) {
        let mut kept = self.lock();
        (kept.end, kept.forgotten) = (next, forgotten);
    }

    /// Lets go of the oldest event, unless it is the only one.
    pub(super) fn forget(&self) -> Option<(u64, Arc<Event>)> {
        self.lock().forget()
    }

    /// Whether it keeps the event numbered `seq`.
    pub(super) fn keeps(&self, seq: u64) -> bool {
        self.lock().by_seq.contains_key(&seq)
    }

    /// A panic under the lock cannot leave it half changed in a way that matters: at worst a key is kept twice.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::*;
    use crate::bridge::log::tests::{caps, unlimited};
    use crate::bridge::log::{Budget, Note, Writer};

    fn keeping(events: usize, keys: usize, bytes: u64, budget: &'static Budget) -> Writer {
        let keys = NonZeroUsize::new(keys).unwrap();
        let snapshot = Some(SnapshotCaps { keys, bytes });
        let caps = caps(events, usize::MAX, Duration::from_secs(600));
        Writer::new(caps, snapshot, budget)
    }

    fn append(writer: &mut Writer, kind: Kind, key: Option<&str>) -> u64 {
        let note = Note {
            key: key.map(Arc::from),
            ..Note::of(kind)
        };
        writer.append(Instant::now(), note, |_seq, out| {
            out.extend_from_slice(b"data: x\n\n")
        })
    }

    fn message(writer: &mut Writer, key: &str) -> u64 {
        append(writer, Kind::Message, Some(key))
    }

    fn numbers(cut: &Cut) -> Vec<u64> {
        cut.events.iter().map(|(seq, _)| *seq).collect()
    }

    #[test]
    fn the_newest_of_each_key_stays_when_the_log_has_evicted_it() {
        let mut writer = keeping(2, 100, u64::MAX, unlimited());
        for key in ["a", "b", "a", "c", "c", "c"] {
            message(&mut writer, key);
        }
        let view = writer.log().view();
        let newest = view.newest().unwrap();
        assert_eq!(view.floor(), 5);
        let cut = newest.cut(1, usize::MAX);
        assert_eq!(
            (numbers(&cut), cut.next, cut.is_last),
            (vec![2, 3, 6], 7, true)
        );
        assert_eq!((newest.extent(), newest.count_from(3)), ((Some(2), 3), 2));
    }

    #[test]
    fn all_without_a_key_count_as_one_and_gaps_as_another() {
        let mut writer = keeping(100, 100, u64::MAX, unlimited());
        for key in [None, Some(""), None] {
            append(&mut writer, Kind::Message, key);
            append(&mut writer, Kind::Gap, None);
        }
        let view = writer.log().view();
        let newest = view.newest().unwrap();
        assert_eq!(numbers(&newest.cut(1, usize::MAX)), [3, 5, 6]);
        assert_eq!(newest.extent(), (Some(3), 2));
    }

    #[test]
    fn beyond_its_caps_it_forgets_the_oldest_and_says_so() {
        for mut writer in [
            keeping(100, 2, u64::MAX, unlimited()),
            keeping(100, 100, 30, unlimited()),
        ] {
            for key in ["a", "b", "a", "c"] {
                message(&mut writer, key);
            }
            let view = writer.log().view();
            let cut = view.newest().unwrap().cut(1, usize::MAX);
            assert_eq!((numbers(&cut), cut.forgotten), (vec![3, 4], 2));
        }
    }

    proptest! {
        #[test]
        fn who_reads_it_piece_by_piece_has_the_last_value_of_each_key(
            steps in prop::collection::vec((0_u8..6, 1_u8..8, any::<bool>()), 1..120),
            from in 1_u64..40,
            kept in 1_usize..20,
        ) {
            let budget: &'static Budget = Box::leak(Box::new(Budget::new(u64::MAX)));
            let mut writer = keeping(kept, 100, u64::MAX, budget);
            let log = writer.log();
            let (mut next, mut is_sparse) = (from, true);
            let mut got = HashMap::new();
            let mut last = HashMap::new();
            let mut read = |next: &mut u64, is_sparse: &mut bool, limit: usize| {
                let view = log.view();
                if *is_sparse {
                    let cut = view.newest().unwrap().cut(*next, limit);
                    for (seq, event) in &cut.events {
                        assert!(*seq >= *next);
                        got.insert(event.key().unwrap().to_string(), *seq);
                    }
                    (*next, *is_sparse) = (cut.next, !cut.is_last);
                } else if let Some(event) = view.event(*next) {
                    got.insert(event.key().unwrap().to_string(), *next);
                    *next += 1;
                } else if *next < view.head() {
                    *is_sparse = true;
                }
            };
            for (key, limit, reads) in steps {
                let key = key.to_string();
                let seq = message(&mut writer, &key);
                last.insert(key, seq);
                if reads && seq >= from {
                    read(&mut next, &mut is_sparse, usize::from(limit) * 10);
                }
            }
            while next < log.view().head() {
                read(&mut next, &mut is_sparse, 30);
            }
            last.retain(|_, seq| *seq >= from);
            got.retain(|key, _| last.contains_key(key));
            prop_assert_eq!(got, last);
            drop((writer, log));
            prop_assert_eq!(budget.used(), 0);
        }
    }
}

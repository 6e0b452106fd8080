//! The writing side of a log: it encodes, appends, and evicts by count, bytes and age.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::config::model::{Replay, SnapshotCaps};

use super::budget::Account;
use super::{Budget, Chain, Event, Log, Newest, Note, SLOTS, Segment};

/// A segment takes no more events beyond this many bytes: memory is freed by whole segments, so that this is how far
/// it can exceed the caps.
pub(super) const SEGMENT_BYTES: u64 = 256 * 1024;
/// How often a large log looks whether others need room.
const LOOK: Duration = Duration::from_secs(1);
/// The widest chunk head: eight hexadecimal digits and CRLF.
const WIDEST_HEAD: usize = 10;
/// Scratch of this size is kept between events.
const SCRATCH: usize = 64 * 1024;

/// The one writer of a log.
#[derive(Debug)]
pub struct Writer {
    log: Arc<Log>,
    caps: Replay,
    account: Arc<Account>,
    /// Bytes of events that the account is charged with.
    charged: u64,
    segments: VecDeque<Arc<Segment>>,
    /// Slots and bytes used in the last segment.
    slots: usize,
    segment_bytes: u64,
    next: u64,
    floor: u64,
    /// Bytes appended and bytes evicted since the log began.
    appended: u64,
    evicted: u64,
    scratch: Vec<u8>,
}

impl Writer {
    /// An empty log, whose first event will have the number 1. With `snapshot`, what is newest for each key is kept, too.
    #[must_use]
    pub fn new(caps: Replay, snapshot: Option<SnapshotCaps>, budget: &'static Budget) -> Self {
        let newest = snapshot.map(|caps| Arc::new(Newest::new(caps)));
        Self::over(Log::empty(1, newest), caps, budget.open())
    }

    /// A log that goes on where another was: its next event will have the number `next`. What was newest for each key
    /// of what was before is to be told by [`Writer::keep_newest`], but for what had been forgotten up to `forgotten`.
    #[must_use]
    pub fn going_on(
        (next, forgotten): (u64, u64),
        caps: Replay,
        snapshot: Option<SnapshotCaps>,
        budget: &'static Budget,
    ) -> Self {
        let newest = snapshot.map(|caps| Arc::new(Newest::new(caps)));
        if let Some(newest) = &newest {
            newest.begin(next, forgotten);
        }
        Self::over(Log::empty(next, newest), caps, budget.open())
    }

    fn over(log: Log, caps: Replay, account: Arc<Account>) -> Self {
        let next = log.head.load(Ordering::Relaxed);
        Self {
            log: Arc::new(log),
            caps,
            account,
            charged: 0,
            segments: VecDeque::new(),
            slots: 0,
            segment_bytes: 0,
            next,
            floor: next,
            appended: 0,
            evicted: 0,
            scratch: Vec::new(),
        }
    }

    /// The writer itself, in whose place one is left that writes where nobody reads.
    #[must_use]
    pub fn take(&mut self) -> Self {
        let nobodys = Self::over(Log::empty(1, None), self.caps, self.account.clone());
        std::mem::replace(self, nobodys)
    }

    /// Takes an event that the log has no longer, but that is the newest for its key. It is numbered `seq`, which is
    /// newer than all that were told before it and older than the log's first one.
    pub fn keep_newest(&mut self, seq: u64, at: Instant, note: Note, block: &[u8]) {
        let Some(newest) = self.log.newest.clone().filter(|_| seq < self.floor) else {
            return;
        };
        let framed = self.frame(seq, |_seq, out| out.extend_from_slice(block));
        self.charge(framed.0.len() as u64);
        let event = Event::new(framed, 0, at, note, self.account.clone());
        let gone = newest.insert(seq, &Arc::new(event));
        self.forget(gone);
    }

    /// The readers' side.
    #[must_use]
    pub fn log(&self) -> Arc<Log> {
        self.log.clone()
    }

    /// Appends what `encode` writes (one SSE block) for the sequence number it is given, with what `note` says of it, evicts what is then beyond a cap, and returns
    /// the number.
    pub fn append(
        &mut self,
        now: Instant,
        note: Note,
        encode: impl FnOnce(u64, &mut Vec<u8>),
    ) -> u64 {
        let seq = self.next;
        let (framed, head) = self.frame(seq, encode);
        let len = framed.len() as u64;
        if self.segments.is_empty() || self.slots == SLOTS || self.segment_bytes >= SEGMENT_BYTES {
            self.open_segment();
        }
        self.appended += len;
        self.charge(len);
        let account = self.account.clone();
        let event = Arc::new(Event::new(
            (framed, head),
            self.appended,
            now,
            note,
            account,
        ));
        if let Some(segment) = self.segments.back() {
            segment.slots[self.slots].get_or_init(|| event.clone());
        }
        self.slots += 1;
        self.segment_bytes += len;
        self.next += 1;
        self.log.head.store(self.next, Ordering::Release);
        // After the head: who reads what is newest and then goes on in the log finds all of it there.
        let newest = self.log.newest.as_ref();
        let replaced = newest.map(|newest| newest.insert(seq, &event));
        self.forget(replaced.unwrap_or_default());
        self.evict(now);
        seq
    }

    /// Evicts what is beyond a cap: called by [`Writer::append`], and from time to time when nothing new comes.
    pub fn evict(&mut self, now: Instant) {
        let (before, listed) = (self.floor, self.segments.len());
        while let Some(oldest) = self.oldest()
            && self.is_beyond(oldest, now)
        {
            let (end, len) = (oldest.end, oldest.framed().len() as u64);
            let newest = self.log.newest.as_ref();
            let is_kept = newest.is_some_and(|newest| newest.keeps(self.floor));
            self.floor += 1;
            self.evicted = end;
            if !is_kept {
                self.release(len);
            }
            // Readers still have the list as it was published.
            if self.front_end().is_some_and(|end| end <= self.floor) {
                self.segments.pop_front();
            }
        }
        self.shrink_newest();
        if self.floor == before {
            return;
        }
        self.log.floor.store(self.floor, Ordering::Release);
        if self.segments.len() < listed {
            self.publish();
        }
    }

    /// When [`Writer::evict`] is to be called at the latest: the oldest event will be too old, or, for a large log, others
    /// may need room.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        let aged = self.oldest().map(|oldest| oldest.at + self.caps.age);
        let look = self.account.is_large().then(|| Instant::now() + LOOK);
        aged.into_iter().chain(look).min()
    }

    /// Lets go of what is newest for some keys when the log itself has nothing more to give.
    fn shrink_newest(&mut self) {
        while self.next - self.floor <= 1
            && self.account.is_over()
            && let Some(gone) = self.log.newest.as_ref().and_then(|newest| newest.forget())
        {
            self.forget(vec![gone]);
        }
    }

    /// What the newest events let go of is given back, but for what the log itself still has.
    fn forget(&mut self, gone: Vec<(u64, Arc<Event>)>) {
        let evicted = gone.into_iter().filter(|(seq, _)| *seq < self.floor);
        let bytes = evicted.map(|(_, event)| event.framed().len() as u64).sum();
        self.release(bytes);
    }

    fn charge(&mut self, bytes: u64) {
        self.charged += bytes;
        self.account.charge(bytes);
    }

    fn release(&mut self, bytes: u64) {
        self.charged -= bytes;
        self.account.release(bytes);
    }

    /// The newest event stays whatever its size, else one beyond a cap could never be delivered; only age evicts it.
    fn is_beyond(&self, oldest: &Event, now: Instant) -> bool {
        let count = self.next - self.floor;
        let bytes = self.appended - self.evicted;
        let full = count > self.caps.events.get() as u64
            || bytes > self.caps.bytes as u64
            || self.account.is_over();
        (count > 1 && full) || now.saturating_duration_since(oldest.at) >= self.caps.age
    }

    fn oldest(&self) -> Option<&Event> {
        let front = self.segments.front()?;
        let slot = front.slots.get((self.floor - front.first) as usize)?;
        slot.get().map(|event| &**event)
    }

    /// The number after the first segment's last event.
    fn front_end(&self) -> Option<u64> {
        self.segments.front()?;
        Some(
            self.segments
                .get(1)
                .map_or(self.next, |second| second.first),
        )
    }

    fn open_segment(&mut self) {
        self.segments.push_back(Arc::new(Segment {
            first: self.next,
            slots: [const { OnceLock::new() }; SLOTS],
        }));
        self.slots = 0;
        self.segment_bytes = 0;
        self.publish();
    }

    fn publish(&self) {
        let chain: Chain = self.segments.iter().cloned().collect();
        self.log.chain.store(Arc::new(chain));
    }

    /// The event as one chunk, and the length of the chunk's head.
    fn frame(&mut self, seq: u64, encode: impl FnOnce(u64, &mut Vec<u8>)) -> (Bytes, usize) {
        let scratch = &mut self.scratch;
        scratch.clear();
        scratch.resize(WIDEST_HEAD, 0);
        encode(seq, scratch);
        let head = chunk_head(scratch.len() - WIDEST_HEAD);
        let width = head.iter().take_while(|byte| **byte == 0).count();
        scratch[width..WIDEST_HEAD].copy_from_slice(&head[width..]);
        scratch.extend_from_slice(b"\r\n");
        let framed = Bytes::copy_from_slice(&scratch[width..]);
        if scratch.capacity() > SCRATCH {
            *scratch = Vec::new();
        }
        (framed, WIDEST_HEAD - width)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.release(self.charged);
    }
}

/// `len` in hexadecimal and CRLF, at the end of the array; NUL before it. Messages are far below 4 GiB.
fn chunk_head(len: usize) -> [u8; WIDEST_HEAD] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut head = [0; WIDEST_HEAD];
    head[WIDEST_HEAD - 2..].copy_from_slice(b"\r\n");
    let mut rest = len;
    for digit in head[..WIDEST_HEAD - 2].iter_mut().rev() {
        *digit = DIGITS[rest & 15];
        rest >>= 4;
        if rest == 0 {
            break;
        }
    }
    head
}

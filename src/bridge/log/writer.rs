//! The writing side of a log: it encodes, appends, and evicts by count, bytes and age.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::time::Instant;

use crate::config::model::Replay;

use super::{Chain, Event, Log, Note, SLOTS, Segment};

/// A segment takes no more events beyond this many bytes: memory is freed by whole segments, so that this is how far
/// it can exceed the caps.
pub(super) const SEGMENT_BYTES: u64 = 256 * 1024;
/// The widest chunk head: eight hexadecimal digits and CRLF.
const WIDEST_HEAD: usize = 10;
/// Scratch of this size is kept between events.
const SCRATCH: usize = 64 * 1024;

/// Bytes that the logs of the whole process may hold together. Over it, a log that grows evicts its own oldest events.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    pub(super) used: AtomicU64,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self {
            limit,
            used: AtomicU64::new(0),
        }
    }

    /// The budget that all channels share: 1 GiB.
    #[must_use]
    pub fn process() -> &'static Self {
        static PROCESS: Budget = Budget::new(1 << 30);
        &PROCESS
    }

    fn is_exceeded(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.limit
    }
}

/// The one writer of a log.
#[derive(Debug)]
pub struct Writer {
    log: Arc<Log>,
    caps: Replay,
    budget: &'static Budget,
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
    /// An empty log, whose first event will have the number 1.
    #[must_use]
    pub fn new(caps: Replay, budget: &'static Budget) -> Self {
        let log = Log {
            chain: ArcSwap::default(),
            head: AtomicU64::new(1),
            floor: AtomicU64::new(1),
        };
        Self {
            log: Arc::new(log),
            caps,
            budget,
            segments: VecDeque::new(),
            slots: 0,
            segment_bytes: 0,
            next: 1,
            floor: 1,
            appended: 0,
            evicted: 0,
            scratch: Vec::new(),
        }
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
        self.budget.used.fetch_add(len, Ordering::Relaxed);
        let event = Event::new(framed, head, self.appended, now, note);
        if let Some(segment) = self.segments.back() {
            segment.slots[self.slots].get_or_init(|| event);
        }
        self.slots += 1;
        self.segment_bytes += len;
        self.next += 1;
        self.log.head.store(self.next, Ordering::Release);
        self.evict(now);
        seq
    }

    /// Evicts what is beyond a cap: called by [`Writer::append`], and from time to time when nothing new comes.
    pub fn evict(&mut self, now: Instant) {
        let before = self.floor;
        while let Some(oldest) = self.oldest()
            && self.is_beyond(oldest, now)
        {
            let (end, len) = (oldest.end, oldest.framed().len() as u64);
            self.floor += 1;
            self.evicted = end;
            self.budget.used.fetch_sub(len, Ordering::Relaxed);
        }
        if self.floor == before {
            return;
        }
        self.log.floor.store(self.floor, Ordering::Release);
        let kept = self.segments.len();
        while self.front_end().is_some_and(|end| end <= self.floor) {
            self.segments.pop_front();
        }
        if self.segments.len() < kept {
            self.publish();
        }
    }

    /// When the oldest event will be too old.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.oldest().map(|oldest| oldest.at + self.caps.age)
    }

    /// The newest event stays whatever its size, else one beyond a cap could never be delivered; only age evicts it.
    fn is_beyond(&self, oldest: &Event, now: Instant) -> bool {
        let count = self.next - self.floor;
        let bytes = self.appended - self.evicted;
        let full = count > self.caps.events.get() as u64
            || bytes > self.caps.bytes as u64
            || self.budget.is_exceeded();
        (count > 1 && full) || now.saturating_duration_since(oldest.at) >= self.caps.age
    }

    fn oldest(&self) -> Option<&Event> {
        let front = self.segments.front()?;
        front.slots.get((self.floor - front.first) as usize)?.get()
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
        let held = self.appended - self.evicted;
        self.budget.used.fetch_sub(held, Ordering::Relaxed);
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

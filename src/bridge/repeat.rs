//! A message that is sent again under the same key gets the answer of the first time, and is not sent twice.
//!
//! Invariants: only what was sent, or may have been, is remembered, so that a message that failed for now can be tried
//! again. What is kept is bounded by time, count and bytes.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::post::Answered;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(60);
/// Answers of one channel, those that are still to come included.
const ENTRIES: usize = 1024;
/// Bytes of one channel's answers.
const BYTES: usize = 1024 * 1024;

/// A key, with all that sets its sender apart: a hash, so that its length is bounded and nothing in it is kept.
pub(super) type Key = [u8; 32];

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was handed to the feed.
    Sent,
    /// The feed answered this.
    Replied(bytes::Bytes),
    /// The server that it was posted to answered this.
    Answered(Answered),
    /// It was handed to the feed, which did not answer.
    Unanswered,
}

impl Outcome {
    fn len(&self) -> usize {
        match self {
            Self::Replied(reply) => reply.len(),
            Self::Answered(answered) => answered.body.len(),
            Self::Sent | Self::Unanswered => 0,
        }
    }
}

/// The answers of one channel. Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Repeats(Arc<Mutex<Store>>);

#[derive(Debug, Default)]
struct Store {
    entries: HashMap<Key, Entry>,
    /// The keys of the answers that are there, in the order in which they came.
    answered: VecDeque<(Instant, Key)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    /// A hash of the message.
    message: Key,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// How a message with a key stands.
#[derive(Debug)]
pub(super) enum Begun {
    /// It is the first.
    First(First),
    /// It is a repeat, of one that may still be under way.
    Repeat(Repeat),
    /// The key is another message's.
    Mistaken,
    /// Too many are under way.
    Crowded,
}

/// The first of its key. Dropped without an answer it never was.
#[derive(Debug)]
pub(super) struct First {
    store: Repeats,
    key: Key,
    outcome: watch::Sender<Option<Outcome>>,
    is_answered: bool,
}

/// A repeat.
#[derive(Debug)]
pub(super) struct Repeat(watch::Receiver<Option<Outcome>>);

impl Repeat {
    /// The first one's answer; `None` when the first has none, so that this may be the first now.
    pub(super) async fn outcome(mut self) -> Option<Outcome> {
        let outcome = self.0.wait_for(Option::is_some).await.ok()?;
        outcome.clone()
    }
}

impl Repeats {
    /// A message with the hash `message` came under `key`.
    pub(super) fn begin(&self, key: Key, message: Key, now: Instant) -> Begun {
        let mut store = self.lock();
        store.expire(now);
        if let Some(entry) = store.entries.get(&key) {
            if entry.message != message {
                return Begun::Mistaken;
            }
            return Begun::Repeat(Repeat(entry.outcome.clone()));
        }
        if store.entries.len() >= ENTRIES && !store.forget_oldest() {
            return Begun::Crowded;
        }
        let (outcome, awaited) = watch::channel(None);
        let entry = Entry {
            message,
            outcome: awaited,
        };
        store.entries.insert(key, entry);
        Begun::First(First {
            store: self.clone(),
            key,
            outcome,
            is_answered: false,
        })
    }

    /// A panic under the lock cannot leave the store worse than with one answer less.
    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl First {
    /// Keeps its answer for those who ask again.
    pub(super) fn answer(mut self, outcome: Outcome, now: Instant) {
        self.is_answered = true;
        let mut store = self.store.lock();
        store.bytes += outcome.len();
        store.answered.push_back((now, self.key));
        self.outcome.send_replace(Some(outcome));
        while store.bytes > BYTES && store.forget_oldest() {}
    }
}

impl Drop for First {
    fn drop(&mut self) {
        if !self.is_answered {
            self.store.lock().entries.remove(&self.key);
        }
    }
}

impl Store {
    fn expire(&mut self, now: Instant) {
        while let Some((since, _)) = self.answered.front()
            && now.saturating_duration_since(*since) >= KEPT
        {
            self.forget_oldest();
        }
    }

    /// Forgets the oldest answer; false, if there is none.
    fn forget_oldest(&mut self) -> bool {
        let Some((_, key)) = self.answered.pop_front() else {
            return false;
        };
        if let Some(entry) = self.entries.remove(&key) {
            let len = entry.outcome.borrow().as_ref().map_or(0, Outcome::len);
            self.bytes -= len;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: usize) -> Key {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&number.to_le_bytes());
        key
    }

    fn first(repeats: &Repeats, number: usize) -> First {
        match repeats.begin(key(number), key(0), Instant::now()) {
            Begun::First(first) => first,
            other => panic!("{number} is new: {other:?}"),
        }
    }

    fn repeat(repeats: &Repeats, number: usize) -> Repeat {
        match repeats.begin(key(number), key(0), Instant::now()) {
            Begun::Repeat(repeat) => repeat,
            other => panic!("{number} is a repeat: {other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeat_waits_for_the_firsts_answer_which_is_kept_for_a_minute() {
        let repeats = Repeats::default();
        let under_way = first(&repeats, 1);
        let waiting = repeat(&repeats, 1).outcome();
        let answers = async { under_way.answer(Outcome::Sent, Instant::now()) };
        assert_eq!(tokio::join!(waiting, answers).0, Some(Outcome::Sent));
        let other = repeats.begin(key(1), key(9), Instant::now());
        assert!(matches!(other, Begun::Mistaken));
        tokio::time::advance(KEPT - Duration::from_millis(1)).await;
        assert_eq!(repeat(&repeats, 1).outcome().await, Some(Outcome::Sent));
        tokio::time::advance(Duration::from_millis(1)).await;
        first(&repeats, 1);
    }

    #[tokio::test]
    async fn what_was_not_sent_may_be_tried_again() {
        let repeats = Repeats::default();
        let fails = first(&repeats, 1);
        let waiting = repeat(&repeats, 1).outcome();
        assert_eq!(tokio::join!(waiting, async { drop(fails) }).0, None);
        first(&repeats, 1);
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_in_count_and_bytes() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        let under_way: Vec<_> = (0..ENTRIES).map(|number| first(&repeats, number)).collect();
        let one_more = repeats.begin(key(ENTRIES), key(0), now);
        assert!(matches!(one_more, Begun::Crowded));
        let reply = Outcome::Replied(vec![0; BYTES / 4].into());
        for first in under_way {
            first.answer(reply.clone(), now);
        }
        let kept = {
            let store = repeats.lock();
            (store.entries.len(), store.bytes)
        };
        assert_eq!(kept, (4, BYTES));
        first(&repeats, 0);
        assert_eq!(repeat(&repeats, ENTRIES - 1).outcome().await, Some(reply));
    }
}

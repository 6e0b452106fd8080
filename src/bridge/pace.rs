//! How many messages a client may send in a second: a token bucket each.
//!
//! Invariant: a bucket that is full again says nothing and is forgotten, so that there are no more than senders of the
//! last second, and never more than [`BUCKETS`].

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Buckets that are kept.
const BUCKETS: usize = 16 * 1024;

/// Buckets by who sends.
#[derive(Debug)]
pub(super) struct Paces<K>(Mutex<HashMap<K, Bucket>>);

impl<K> Default for Paces<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, rate: f64, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * rate).min(rate);
        self.at = now;
    }
}

impl<K: Eq + Hash> Paces<K> {
    /// Takes `count` messages of `sender` at `rate` a second. More than one second's at once are taken by a full
    /// bucket, which then owes them.
    ///
    /// # Errors
    /// How long until they will be taken.
    pub(super) fn take(
        &self,
        sender: K,
        count: usize,
        rate: NonZeroU32,
        now: Instant,
    ) -> Result<(), Duration> {
        let (count, rate) = (count as f64, f64::from(rate.get()));
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS && !buckets.contains_key(&sender) {
            buckets.retain(|_, bucket| {
                bucket.refill(rate, now);
                bucket.tokens < rate
            });
            if buckets.len() >= BUCKETS {
                return Err(Duration::from_secs(1));
            }
        }
        let bucket = buckets.entry(sender).or_insert(Bucket {
            tokens: rate,
            at: now,
        });
        bucket.refill(rate, now);
        let needed = count.min(rate);
        if bucket.tokens < needed {
            return Err(Duration::from_secs_f64((needed - bucket.tokens) / rate));
        }
        bucket.tokens -= count;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: NonZeroU32 = NonZeroU32::new(4).unwrap();

    #[tokio::test(start_paused = true)]
    async fn one_seconds_messages_may_come_at_once_and_then_at_the_rate() {
        let paces = Paces::default();
        let take = |sender, count| paces.take(sender, count, RATE, Instant::now());
        for _ in 0..4 {
            assert_eq!(take("a", 1), Ok(()));
        }
        assert_eq!(take("a", 1), Err(Duration::from_millis(250)));
        assert_eq!(take("b", 1), Ok(()));
        tokio::time::advance(Duration::from_millis(250)).await;
        assert_eq!(take("a", 1), Ok(()));
        assert!(take("a", 1).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn many_at_once_are_owed() {
        let paces = Paces::default();
        let take = |count| paces.take((), count, RATE, Instant::now());
        assert_eq!(take(12), Ok(()));
        assert_eq!(take(1), Err(Duration::from_millis(2_250)));
    }

    #[tokio::test(start_paused = true)]
    async fn full_buckets_are_forgotten() {
        let paces = Paces::default();
        let take = |sender| paces.take(sender, 1, RATE, Instant::now());
        for sender in 0..BUCKETS {
            assert_eq!(take(sender), Ok(()));
        }
        assert!(take(BUCKETS).is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(take(BUCKETS), Ok(()));
        assert_eq!(paces.0.lock().unwrap().len(), 1);
    }
}

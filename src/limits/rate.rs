//! How fast requests may come: a leaky bucket for each sender (GCRA), in a table that nobody can fill.
//!
//! What is kept of a sender is one moment: when its bucket will be full again. After that moment the entry says nothing, and goes
//! when its place is wanted. Where all entries still say something, whoever is new shares one bucket with all others that are new:
//! a flood from many addresses is slowed as one sender, and those who were there before it do not feel it.
//!
//! Invariant: there are never more than [`SENDERS`] entries, and they take 2 MiB at most.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Key;

/// Senders that are remembered.
const SENDERS: usize = 32 * 1024;
/// Parts of the table, so that two workers rarely wait for each other.
const SHARDS: usize = 16;
/// Entries of one part.
const CAPACITY: usize = SENDERS / SHARDS;
/// Entries of a part that are not worth a search for what is stale.
const FEW: usize = 64;
/// How long a part that is full of what is not stale is not searched again.
const PAUSE: Nanoseconds = 10_000_000;

/// Since the table was made.
type Nanoseconds = u64;

/// How fast one sender may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The time that one request takes up in the long run. At least a nanosecond, at most an hour.
    interval: Nanoseconds,
    burst: NonZeroU32,
}

impl Pace {
    /// `count` requests in each `window`, of which `burst` may come at once.
    #[must_use]
    pub fn new(count: NonZeroU32, window: Duration, burst: NonZeroU32) -> Self {
        let interval = nanoseconds(window / count.get());
        Self {
            interval: interval.max(1),
            burst,
        }
    }

    /// In what time an empty bucket is full again.
    #[must_use]
    pub fn window(self) -> Duration {
        Duration::from_nanos(self.interval.saturating_mul(self.burst.get().into()))
    }

    /// The bucket after one more request at `now`.
    ///
    /// # Errors
    /// How long until there is room for it.
    fn take(self, full: Nanoseconds, now: Nanoseconds) -> Result<Nanoseconds, Nanoseconds> {
        let limit = now.saturating_add(nanoseconds(self.window()));
        // By an earlier, slower pace it may have been emptier than it can be by this one.
        let full = full.clamp(now, limit).saturating_add(self.interval);
        if full > limit {
            return Err(full - limit);
        }
        Ok(full)
    }
}

/// The buckets of all senders on one route. They outlive a change of the pace.
#[derive(Debug)]
pub struct Rates {
    begun: Instant,
    hasher: RandomState,
    shards: [Mutex<Shard>; SHARDS],
    /// That of all for whom there is no entry.
    rest: Mutex<Nanoseconds>,
}

#[derive(Debug)]
struct Shard {
    /// When the bucket of each will be full.
    full: HashMap<Key, Nanoseconds>,
    /// With so many entries it is searched for what is stale.
    search_at: usize,
    /// Not before this.
    search_after: Nanoseconds,
}

impl Default for Shard {
    fn default() -> Self {
        Self {
            full: HashMap::new(),
            search_at: FEW,
            search_after: 0,
        }
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            hasher: RandomState::new(),
            shards: Default::default(),
            rest: Mutex::default(),
        }
    }
}

impl Rates {
    /// Takes one request of `sender` at `pace`.
    ///
    /// # Errors
    /// How long until one would be taken. Nothing was taken now: who asks too often loses nothing by it.
    pub fn take(&self, sender: Key, pace: Pace, now: Instant) -> Result<(), Duration> {
        let now = nanoseconds(now.saturating_duration_since(self.begun));
        let shard = &self.shards[self.hasher.hash_one(sender) as usize % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = if let Some(full) = shard.full.get_mut(&sender) {
            pace.take(*full, now).map(|after| *full = after)
        } else if shard.has_room(now) {
            // A bucket that nothing was taken from has room for one.
            pace.take(0, now).map(|after| {
                shard.full.insert(sender, after);
            })
        } else {
            drop(shard);
            let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
            pace.take(*rest, now).map(|after| *rest = after)
        };
        taken.map_err(Duration::from_nanos)
    }

    /// Senders that are remembered.
    #[cfg(test)]
    fn senders(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| shard.lock().unwrap().full.len()).sum()
    }
}

impl Shard {
    /// Whether there is room for one more. What is stale goes each time that the entries have doubled.
    fn has_room(&mut self, now: Nanoseconds) -> bool {
        if self.full.len() >= self.search_at && now >= self.search_after {
            self.full.retain(|_sender, full| *full > now);
            self.search_at = (2 * self.full.len()).clamp(FEW, CAPACITY);
            if self.full.capacity() > 8 * self.search_at {
                self.full.shrink_to(self.search_at);
            }
            if self.full.len() >= CAPACITY {
                self.search_after = now.saturating_add(PAUSE);
            }
        }
        self.full.len() < CAPACITY
    }
}

fn nanoseconds(time: Duration) -> Nanoseconds {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace(count: u32, window: u64, burst: u32) -> Pace {
        let [count, burst] = [count, burst].map(|number| NonZeroU32::new(number).unwrap());
        Pace::new(count, Duration::from_secs(window), burst)
    }

    fn sender(number: u32) -> Key {
        Key::of_name(&number.to_le_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_may_come_at_once_and_then_at_the_rate() {
        let (rates, pace) = (Rates::default(), pace(4, 1, 3));
        let take = |number| rates.take(sender(number), pace, Instant::now());
        assert_eq!([take(1), take(1), take(1)], [Ok(()); 3]);
        let quarter = Duration::from_millis(250);
        assert_eq!([take(1), take(1)], [Err(quarter); 2]);
        assert_eq!(take(2), Ok(()));
        tokio::time::advance(quarter).await;
        assert_eq!((take(1), take(1)), (Ok(()), Err(quarter)));
        tokio::time::advance(Duration::from_secs(3600)).await;
        let after_a_pause: Vec<_> = (0..4).map(|_| take(1).is_ok()).collect();
        assert_eq!(after_a_pause, [true, true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_outlives_a_change_of_the_pace() {
        let rates = Rates::default();
        let take = |pace| rates.take(sender(1), pace, Instant::now());
        for _ in 0..10 {
            assert_eq!(take(pace(10, 1, 10)), Ok(()));
        }
        assert!(take(pace(10, 1, 5)).is_err());
        assert!(take(pace(10, 1, 20)).is_ok());
        // What a slow pace has used up holds up a faster one no longer than that itself would.
        assert_eq!(
            rates.take(sender(2), pace(1, 3600, 1), Instant::now()),
            Ok(())
        );
        let wait = rates.take(sender(2), pace(10, 1, 10), Instant::now());
        assert_eq!(wait, Err(Duration::from_millis(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn senders_whose_bucket_is_full_again_are_forgotten() {
        let (rates, pace) = (Rates::default(), pace(1, 1, 1));
        for number in 0..10_000 {
            assert_eq!(rates.take(sender(number), pace, Instant::now()), Ok(()));
        }
        assert_eq!(rates.senders(), 10_000);
        tokio::time::advance(Duration::from_secs(2)).await;
        // Each part is searched once that it has doubled.
        for number in 20_000..40_000 {
            let _taken = rates.take(sender(number), pace, Instant::now());
        }
        assert!(rates.senders() <= 20_000 + FEW * SHARDS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_senders_is_one_sender_and_hurts_nobody_who_was_there() {
        let (rates, pace) = (Rates::default(), pace(1, 60, 2));
        let known = Key::of_client("192.0.2.1".parse().unwrap());
        assert_eq!(rates.take(known, pace, Instant::now()), Ok(()));
        let flood = 0..200_000;
        let taken =
            flood.filter(|number| rates.take(sender(*number), pace, Instant::now()).is_ok());
        let taken = taken.count();
        assert_eq!(rates.senders(), SENDERS);
        // All entries but the one above, and the burst of the bucket that the rest shares.
        assert_eq!(taken, SENDERS - 1 + 2);
        assert_eq!(rates.take(known, pace, Instant::now()), Ok(()));
        // When the flood is over there is room again.
        tokio::time::advance(Duration::from_secs(121)).await;
        for number in 300_000..300_100 {
            assert_eq!(rates.take(sender(number), pace, Instant::now()), Ok(()));
        }
    }

    proptest! {
        /// Who comes when it is told to is taken, and never more than the burst and what the time has earned.
        #[test]
        fn a_sender_gets_what_it_is_due(
            count in 1..1000u32, window in 1..100u64, burst in 1..50u32, waits in prop::collection::vec(0..200u64, 1..60),
        ) {
            let pace = pace(count, window, burst);
            let (mut full, mut now, mut taken) = (0, 0, 0u64);
            for wait in waits {
                now += wait * 1_000_000;
                match pace.take(full, now) {
                    Ok(after) => full = after,
                    Err(wait) => {
                        prop_assert!(pace.take(full, now + wait - 1).is_err());
                        now += wait;
                        full = pace.take(full, now).unwrap();
                    }
                }
                taken += 1;
                let due = u64::from(burst) + now / pace.interval;
                prop_assert!(taken <= due, "{taken} of {due}");
            }
        }
    }
}

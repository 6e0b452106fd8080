//! How many of something each client has at the moment.
//!
//! A client is in the table as long as it holds a place, so there are no more entries than places. The table is divided, so that
//! two workers that count two clients rarely wait for each other; a lock is held for one look-up.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Key;

/// Parts of the table.
const SHARDS: usize = 16;

/// Counts by who holds what is counted. A clone is the same table.
#[derive(Debug, Clone, Default)]
pub struct Crowd(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    shards: [Mutex<HashMap<Key, usize>>; SHARDS],
    hasher: RandomState,
}

/// One that is counted, until it is dropped.
#[derive(Debug)]
pub struct Place {
    crowd: Crowd,
    key: Key,
}

impl Crowd {
    /// One more for `key`, if it has fewer than `limit`; `None` as the limit is none.
    #[must_use]
    pub fn enter(&self, key: Key, limit: Option<NonZeroUsize>) -> Option<Place> {
        self.take(key, limit).then(|| Place {
            crowd: self.clone(),
            key,
        })
    }

    /// The same for who gives back what was taken by itself: a place without its owner is half as large.
    pub(super) fn take(&self, key: Key, limit: Option<NonZeroUsize>) -> bool {
        let mut shard = self.shard(key);
        let held = shard.entry(key).or_default();
        // What is not counted yet is below any limit, which is one at least: a refusal leaves no entry behind.
        let fits = limit.is_none_or(|limit| *held < limit.get());
        *held += usize::from(fits);
        fits
    }

    /// One less for `key`, which has taken one.
    pub(super) fn give_back(&self, key: Key) {
        let mut shard = self.shard(key);
        if let Entry::Occupied(mut held) = shard.entry(key) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
        // What a flood has left empty is given back.
        if shard.capacity() > 64 && shard.len() < shard.capacity() / 8 {
            shard.shrink_to_fit();
        }
    }

    /// Who holds a place.
    #[must_use]
    pub fn holders(&self) -> usize {
        let shards = self.0.shards.iter();
        shards.map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, HashMap<Key, usize>> {
        let Table { shards, hasher } = &*self.0;
        lock(&shards[hasher.hash_one(key) as usize % SHARDS])
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.give_back(self.key);
    }
}

fn lock(shard: &Mutex<HashMap<Key, usize>>) -> MutexGuard<'_, HashMap<Key, usize>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_holder_has_its_limit_and_is_forgotten_with_its_last_place() {
        let crowd = Crowd::default();
        let [ann, bob] = [&b"ann"[..], b"bob"].map(Key::of_name);
        let two = NonZeroUsize::new(2);
        let first = crowd.enter(ann, two).unwrap();
        let _second = crowd.enter(ann, two).unwrap();
        assert!(crowd.enter(ann, two).is_none());
        let other = crowd.enter(bob, two).unwrap();
        assert_eq!(crowd.holders(), 2);
        drop(first);
        let _third = crowd.enter(ann, two).unwrap();
        drop(other);
        assert_eq!(crowd.holders(), 1);
    }

    #[test]
    fn a_smaller_limit_holds_for_the_next_and_leaves_those_that_are_there() {
        let crowd = Crowd::default();
        let key = Key::of_name(b"ann");
        let mut held: Vec<_> = (0..3).map(|_| crowd.enter(key, None).unwrap()).collect();
        let one = NonZeroUsize::new(1);
        while let Some(place) = held.pop() {
            assert!(crowd.enter(key, one).is_none());
            drop(place);
        }
        assert!(crowd.enter(key, one).is_some());
        assert_eq!(crowd.holders(), 0);
    }

    #[test]
    fn what_a_flood_has_taken_is_given_back() {
        let crowd = Crowd::default();
        let keys = (0..20_000u32).map(|number| Key::of_name(&number.to_le_bytes()));
        let places: Vec<_> = keys.map(|key| crowd.enter(key, None).unwrap()).collect();
        drop(places);
        let capacity: usize = crowd.0.shards.iter().map(|s| lock(s).capacity()).sum();
        assert_eq!(crowd.holders(), 0);
        assert!(capacity <= 64 * SHARDS, "{capacity}");
    }
}

//! The long streams of a route: how many live, and places for those that may.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::model::{StreamFate, StreamLimits};
use crate::limits::network;

/// The long streams of one route that live now. It outlives reloads with the route's key; the limits are those of the
/// moment at which a stream begins.
#[derive(Debug, Clone)]
pub struct Streams {
    live: Arc<Live>,
    /// Of those that begin from here.
    fate: StreamFate,
}

#[derive(Debug, Default)]
struct Live {
    total: AtomicUsize,
    /// The same by what becomes of them when a reload removes what they live on, in the order of [`StreamFate::ALL`].
    by_fate: [AtomicUsize; StreamFate::ALL.len()],
    /// Only while the route limits them; an address goes with its last stream, so there are no more than streams.
    by_client: Mutex<HashMap<IpAddr, usize>>,
}

/// One stream's place, given back when it is dropped.
#[derive(Debug)]
pub struct StreamPermit {
    counted: Counted,
    client: Option<IpAddr>,
}

/// One live stream, until it is dropped.
#[derive(Debug)]
pub struct Counted {
    live: Arc<Live>,
    fate: StreamFate,
}

/// Why a stream has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamsFull {
    /// `streams`
    #[error("the route has as many streams as it may have")]
    Route,
    /// `streams_per_ip`
    #[error("the client has as many streams on the route as it may have")]
    Client,
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            live: Arc::default(),
            fate: StreamFate::Keep,
        }
    }
}

impl Streams {
    /// The same streams; of those that begin from here a removal makes `fate`.
    #[must_use]
    pub fn with_fate(&self, fate: StreamFate) -> Self {
        Self {
            live: self.live.clone(),
            fate,
        }
    }

    /// Counts a stream that other limits hold for.
    #[must_use]
    pub fn enter(&self) -> Counted {
        self.count().0
    }

    /// A place for a stream of `client`.
    ///
    /// # Errors
    /// [`StreamsFull`]: which limit is reached.
    pub fn acquire(
        &self,
        limits: StreamLimits,
        client: IpAddr,
    ) -> Result<StreamPermit, StreamsFull> {
        let (counted, before) = self.count();
        // From here on a refusal gives back by its drop what has been taken.
        let mut permit = StreamPermit {
            counted,
            client: None,
        };
        if limits.total.is_some_and(|limit| before >= limit.get()) {
            return Err(StreamsFull::Route);
        }
        if let Some(limit) = limits.per_ip {
            let client = network(client);
            let mut by_client = self.live.by_client();
            let held = by_client.entry(client).or_default();
            if *held >= limit.get() {
                return Err(StreamsFull::Client);
            }
            *held += 1;
            permit.client = Some(client);
        }
        Ok(permit)
    }

    /// How many there are.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.total.load(Ordering::Acquire)
    }

    /// How many of them have this fate when a reload removes what they live on.
    #[must_use]
    pub fn live_with(&self, fate: StreamFate) -> usize {
        self.live.by_fate[fate as usize].load(Ordering::Acquire)
    }

    /// With how many there were before.
    fn count(&self) -> (Counted, usize) {
        let before = self.live.total.fetch_add(1, Ordering::AcqRel);
        self.live.by_fate[self.fate as usize].fetch_add(1, Ordering::AcqRel);
        let counted = Counted {
            live: self.live.clone(),
            fate: self.fate,
        };
        (counted, before)
    }
}

impl Live {
    fn by_client(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_client
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.live.total.fetch_sub(1, Ordering::AcqRel);
        self.live.by_fate[self.fate as usize].fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let Some(client) = self.client else {
            return;
        };
        if let Entry::Occupied(mut held) = self.counted.live.by_client().entry(client) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    #[test]
    fn streams_are_limited_in_all_and_for_each_client() {
        let limits = StreamLimits {
            total: NonZeroUsize::new(3),
            per_ip: NonZeroUsize::new(2),
        };
        let streams = Streams::default();
        let ask = |client: &str| streams.acquire(limits, client.parse().unwrap());
        let first = ask("2001:db8::1").unwrap();
        let second = ask("2001:db8::2").unwrap();
        assert_eq!(ask("2001:db8::3").unwrap_err(), StreamsFull::Client);
        let other = ask("192.0.2.1").unwrap();
        assert_eq!(ask("192.0.2.2").unwrap_err(), StreamsFull::Route);
        drop(first);
        let _again = ask("::ffff:192.0.2.1").unwrap();
        assert_eq!(streams.live(), 3);
        drop((second, other));
        assert_eq!(streams.live(), 1);
        assert_eq!(streams.live.by_client().len(), 1);
    }

    #[test]
    fn a_stream_keeps_the_fate_that_it_began_with() {
        let streams = Streams::default();
        let (kept, closed) = (
            streams.enter(),
            streams.with_fate(StreamFate::Close).enter(),
        );
        let living = || StreamFate::ALL.map(|fate| streams.live_with(fate));
        assert_eq!((living(), streams.live()), ([1, 0, 1], 2));
        drop(kept);
        assert_eq!(living(), [0, 0, 1]);
        drop(closed);
        assert_eq!((living(), streams.live()), ([0; 3], 0));
    }
}

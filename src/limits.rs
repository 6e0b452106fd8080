//! Permits: how much of something may live at once, in the whole process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::model::{StreamFate, StreamLimits};

/// Permits for client connections. Their number changes with a reload; what is given out is never taken back.
#[derive(Debug, Clone)]
pub struct Permits {
    semaphore: Arc<Semaphore>,
    size: Arc<AtomicUsize>,
    /// Permits that were given out beyond a size that became smaller: so many are not given out again.
    excess: Arc<AtomicUsize>,
}

/// One connection's permit, given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    excess: Arc<AtomicUsize>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let one_less = |excess: usize| excess.checked_sub(1);
        let is_excess = self
            .excess
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less)
            .is_ok();
        if let Some(permit) = self.permit.take_if(|_| is_excess) {
            permit.forget();
        }
    }
}

impl Permits {
    /// So many permits.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let size = size.min(Semaphore::MAX_PERMITS);
        Self {
            semaphore: Arc::new(Semaphore::new(size)),
            size: Arc::new(AtomicUsize::new(size)),
            excess: Arc::default(),
        }
    }

    /// Waits until one is free.
    ///
    /// # Cancel safety
    /// Dropping it loses the place in the queue and nothing else.
    pub async fn acquire(&self) -> Permit {
        let acquired = self.semaphore.clone().acquire_owned().await;
        let permit = acquired.expect("the semaphore is never closed");
        Permit {
            permit: Some(permit),
            excess: self.excess.clone(),
        }
    }

    /// Permits that are given out.
    #[must_use]
    pub fn in_use(&self) -> usize {
        let all = self.size.load(Ordering::Acquire) + self.excess.load(Ordering::Acquire);
        all.saturating_sub(self.semaphore.available_permits())
    }

    /// Changes how many there are. Fewer than are given out: the rest goes as they come back.
    pub fn resize(&self, size: usize) {
        let size = size.min(Semaphore::MAX_PERMITS);
        let before = self.size.swap(size, Ordering::AcqRel);
        if size <= before {
            let fewer = before - size;
            // Only what nobody holds can be forgotten here.
            let forgotten = self.semaphore.forget_permits(fewer);
            self.excess.fetch_add(fewer - forgotten, Ordering::AcqRel);
            return;
        }
        let more = size - before;
        let pay = |excess: usize| Some(excess - excess.min(more));
        let excess = self
            .excess
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, pay)
            .unwrap_or_default();
        self.semaphore.add_permits(more - excess.min(more));
    }
}

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

/// What counts as one client: an IPv4 address, or a /64 of IPv6, which is what one subscriber gets.
pub(crate) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => {
            let kept = u128::from(v6) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(kept))
        }
        v4 => v4,
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

    #[tokio::test]
    async fn a_permit_comes_back_when_its_connection_ends() {
        let permits = Permits::new(1);
        let permit = permits.acquire().await;
        assert_eq!(permits.in_use(), 1);
        drop(permit);
        assert_eq!(permits.in_use(), 0);
        permits.resize(3);
        let _held = [
            permits.acquire().await,
            permits.acquire().await,
            permits.acquire().await,
        ];
        assert_eq!(permits.in_use(), 3);
    }

    #[tokio::test]
    async fn a_smaller_number_holds_also_for_what_was_given_out_before() {
        let permits = Permits::new(4);
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(permits.acquire().await);
        }
        permits.resize(1);
        assert_eq!(permits.in_use(), 3);
        for in_use in [2, 1] {
            held.pop();
            assert_eq!(permits.in_use(), in_use);
            let mut next = std::pin::pin!(permits.acquire());
            assert!(futures_util::poll!(next.as_mut()).is_pending(), "{in_use}");
        }
        held.pop();
        held.push(permits.acquire().await);
        permits.resize(3);
        held.push(permits.acquire().await);
        // Smaller and larger again, while all are held.
        permits.resize(1);
        permits.resize(2);
        held.pop();
        held.push(permits.acquire().await);
        assert_eq!(permits.in_use(), 2);
        let mut next = std::pin::pin!(permits.acquire());
        assert!(futures_util::poll!(next.as_mut()).is_pending());
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

//! Permits: how much of something may live at once, in the whole process.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::model::StreamLimits;

/// Permits for client connections. Their number changes with a reload; what is given out is never taken back.
#[derive(Debug, Clone)]
pub struct Permits {
    semaphore: Arc<Semaphore>,
    size: Arc<AtomicUsize>,
}

/// One connection's permit, given back when it is dropped.
#[derive(Debug)]
pub struct Permit(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Permits {
    /// So many permits.
    #[must_use]
    pub fn new(size: usize) -> Self {
        let size = size.min(Semaphore::MAX_PERMITS);
        Self {
            semaphore: Arc::new(Semaphore::new(size)),
            size: Arc::new(AtomicUsize::new(size)),
        }
    }

    /// Waits until one is free.
    ///
    /// # Cancel safety
    /// Dropping it loses the place in the queue and nothing else.
    pub async fn acquire(&self) -> Permit {
        let acquired = self.semaphore.clone().acquire_owned().await;
        Permit(acquired.expect("the semaphore is never closed"))
    }

    /// Permits that are given out.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.size
            .load(Ordering::Acquire)
            .saturating_sub(self.semaphore.available_permits())
    }

    /// Changes how many there are. Fewer than are given out: the rest goes as they come back.
    pub fn resize(&self, size: usize) {
        let size = size.min(Semaphore::MAX_PERMITS);
        let before = self.size.swap(size, Ordering::AcqRel);
        if size > before {
            self.semaphore.add_permits(size - before);
        } else {
            self.semaphore.forget_permits(before - size);
        }
    }
}

/// The long streams of one route that live now. It outlives reloads with the route's key; the limits are those of the
/// moment at which a stream begins.
#[derive(Debug, Clone, Default)]
pub struct Streams(Arc<Live>);

#[derive(Debug, Default)]
struct Live {
    total: AtomicUsize,
    /// Only while the route limits them; an address goes with its last stream, so there are no more than streams.
    by_client: Mutex<HashMap<IpAddr, usize>>,
}

/// One stream's place, given back when it is dropped.
#[derive(Debug)]
pub struct StreamPermit {
    live: Arc<Live>,
    client: Option<IpAddr>,
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

impl Streams {
    /// A place for a stream of `client`.
    ///
    /// # Errors
    /// [`StreamsFull`]: which limit is reached.
    pub fn acquire(
        &self,
        limits: StreamLimits,
        client: IpAddr,
    ) -> Result<StreamPermit, StreamsFull> {
        let before = self.0.total.fetch_add(1, Ordering::AcqRel);
        // From here on a refusal gives back by its drop what has been taken.
        let mut permit = StreamPermit {
            live: self.0.clone(),
            client: None,
        };
        if limits.total.is_some_and(|limit| before >= limit.get()) {
            return Err(StreamsFull::Route);
        }
        if let Some(limit) = limits.per_ip {
            let client = network(client);
            let mut by_client = self.0.by_client();
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
        self.0.total.load(Ordering::Acquire)
    }
}

impl Live {
    fn by_client(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_client
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.live.total.fetch_sub(1, Ordering::AcqRel);
        let Some(client) = self.client else {
            return;
        };
        if let Entry::Occupied(mut held) = self.live.by_client().entry(client) {
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
        assert_eq!(streams.0.by_client().len(), 1);
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
}

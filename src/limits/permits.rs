//! Permits for client connections: so many in all, and so many of each client.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Crowd, Key, Place};

/// Permits for client connections. Their number changes with a reload; what is given out is never taken back.
#[derive(Debug, Clone)]
pub struct Permits {
    semaphore: Arc<Semaphore>,
    size: Arc<AtomicUsize>,
    /// Permits that were given out beyond a size that became smaller: so many are not given out again.
    excess: Arc<AtomicUsize>,
    /// By who is at the other end.
    clients: Crowd,
    /// How many each of them may have; 0: any number.
    each: Arc<AtomicUsize>,
    refused: Arc<AtomicU64>,
}

/// One connection's permit, given back when it is dropped.
#[derive(Debug)]
pub struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    excess: Arc<AtomicUsize>,
    /// Among those of its client, once it is known who that is.
    place: Option<Place>,
}

/// The client has as many connections as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client has as many connections as it may have")]
pub struct TooMany;

impl Permit {
    /// Counts the connection among those of `client`.
    ///
    /// # Errors
    /// [`TooMany`]: it is to be closed.
    pub fn of_client(&mut self, permits: &Permits, client: IpAddr) -> Result<(), TooMany> {
        let limit = NonZeroUsize::new(permits.each.load(Ordering::Acquire));
        let place = permits.clients.enter(Key::of_client(client), limit);
        if place.is_none() {
            permits.refused.fetch_add(1, Ordering::Relaxed);
        }
        self.place = Some(place.ok_or(TooMany)?);
        Ok(())
    }
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
            clients: Crowd::default(),
            each: Arc::default(),
            refused: Arc::default(),
        }
    }

    /// How many each client may have from now on, IPv6 by /64; `None`: any number. What it has stays.
    pub fn limit_each(&self, limit: Option<NonZeroUsize>) {
        self.each
            .store(limit.map_or(0, NonZeroUsize::get), Ordering::Release);
    }

    /// Connections that were closed because their client had too many.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
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
            place: None,
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

#[cfg(test)]
mod tests {
    use super::*;

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

    #[tokio::test]
    async fn each_client_has_a_limit_that_may_change() {
        let permits = Permits::new(100);
        let [ann, bob] = ["2001:db8::1", "192.0.2.1"].map(|it| it.parse::<IpAddr>().unwrap());
        let mut held = Vec::new();
        let mut open = async |client| {
            let mut permit = permits.acquire().await;
            let opened = permit.of_client(&permits, client);
            held.push(permit);
            opened
        };
        assert_eq!((open(ann).await, open(ann).await), (Ok(()), Ok(())));
        permits.limit_each(NonZeroUsize::new(2));
        assert_eq!(
            (open(ann).await, open(bob).await, permits.refused()),
            (Err(TooMany), Ok(()), 1)
        );
        permits.limit_each(None);
        assert_eq!(open(ann).await, Ok(()));
        permits.limit_each(NonZeroUsize::new(1));
        held.truncate(1);
        let mut permit = permits.acquire().await;
        assert_eq!(permit.of_client(&permits, ann), Err(TooMany));
        held.clear();
        assert_eq!(permit.of_client(&permits, ann), Ok(()));
        drop(permit);
        assert_eq!((permits.in_use(), permits.clients.holders()), (0, 0));
    }
}

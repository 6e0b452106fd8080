//! Permits: how much of something may live at once, in the whole process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
}

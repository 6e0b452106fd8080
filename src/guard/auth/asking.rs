//! How many questions to another server are under way at the same time.
//!
//! Owns the bound and the wait for a place. Invariant: a crowd that comes in puts off nobody who is in already.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::Refusal;

/// Questions of one `[auth.NAME]` about requests: what comes in a flood waits here, not at the server.
const MAX: usize = 256;
/// The same about live streams.
const MAX_AGAIN: usize = 32;

/// The places for the questions of one `[auth.NAME]`.
#[derive(Debug)]
pub(super) struct Asking {
    first: Semaphore,
    again: Semaphore,
}

impl Default for Asking {
    fn default() -> Self {
        Self {
            first: Semaphore::new(MAX),
            again: Semaphore::new(MAX_AGAIN),
        }
    }
}

impl Asking {
    /// A place, until it is dropped. `again`: for a question about a live stream.
    ///
    /// # Errors
    /// [`Refusal::Busy`]: there was none for as long as `wait`.
    ///
    /// # Cancel safety
    /// Dropping it gives the turn up.
    pub(super) async fn enter(
        &self,
        wait: Duration,
        again: bool,
    ) -> Result<SemaphorePermit<'_>, Refusal> {
        let places = if again { &self.again } else { &self.first };
        match tokio::time::timeout(wait, places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Refusal::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_crowd_waits_here_and_puts_off_nobody_who_is_in() {
        let asking = Asking::default();
        let wait = Duration::from_secs(1);
        let mut places = Vec::new();
        for _ in 0..MAX {
            places.push(asking.enter(wait, false).await.unwrap());
        }
        let refused = asking.enter(wait, false).await;
        assert!(matches!(refused, Err(Refusal::Busy)));
        assert!(asking.enter(wait, true).await.is_ok());
        places.pop();
        assert!(asking.enter(wait, false).await.is_ok());
    }
}

//! A removal: a reload has taken something away on which streams may still live, a route, a server or a bridge.
//!
//! What becomes of those streams is not known here: each of them waits for it, or does not.

use tokio_util::sync::CancellationToken;

/// Tells, once, that something is no longer there. Clones tell of the same thing.
#[derive(Debug, Clone, Default)]
pub struct Removal(CancellationToken);

impl Removal {
    /// It is removed now. A second time changes nothing.
    pub fn tell(&self) {
        self.0.cancel();
    }

    /// Whether it is removed.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Returns once it is removed; at once where it is already.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    pub fn told(&self) -> impl Future<Output = ()> + use<> {
        self.0.clone().cancelled_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_removal_is_heard_before_and_after_it_was_told() {
        let removal = Removal::default();
        let (early, clone) = (removal.told(), removal.clone());
        assert!(!clone.is_told());
        removal.tell();
        early.await;
        clone.told().await;
        assert!(clone.is_told());
    }
}

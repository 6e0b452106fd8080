//! Feeds that are open without a client (`idle.eager`).
//!
//! One worker follows the configuration in force and holds their channels open; what is dropped from it lingers like any
//! other channel without users.

use std::sync::Arc;

use crate::lifecycle::drain;
use crate::route::Captures;

use super::map::Upstream;
use super::{Bridge, Lease};

/// The channels that are held open.
#[derive(Debug, Default)]
pub struct Eager(Vec<(Arc<Bridge>, Lease)>);

impl Eager {
    /// Opens what is eager in `bridges` and not open yet, and lets go of what is no longer among them. To be called from
    /// time to time: a channel whose feed's task is gone is opened anew.
    pub fn follow<'a>(
        &mut self,
        bridges: impl Iterator<Item = &'a Arc<Bridge>>,
        guard: &drain::Guard,
    ) {
        let wanted: Vec<_> = bridges
            .filter(|bridge| bridge.config().idle.eager)
            .collect();
        self.0.retain(|(held, lease)| {
            let is_wanted = wanted.iter().any(|bridge| Arc::ptr_eq(bridge, held));
            is_wanted && lease.0.upstream() != Upstream::Gone
        });
        for bridge in wanted {
            if self.0.iter().any(|(held, _)| Arc::ptr_eq(bridge, held)) {
                continue;
            }
            match bridge.lease(&Captures::empty(), guard) {
                Ok(lease) => self.0.push((bridge.clone(), lease)),
                Err(full) => {
                    tracing::debug!(bridge = %bridge.config().name, error = %full, "feed not opened");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::LocalSet;

    use super::*;
    use crate::bridge::tests::config;
    use crate::lifecycle::drain::Trigger;

    #[tokio::test]
    async fn what_is_eager_is_open_as_long_as_it_is_configured() {
        let mut settings = config(&[9]);
        settings.idle.eager = true;
        let eager = Bridge::new(Arc::new(settings));
        let lazy = Bridge::new(Arc::new(config(&[9])));
        let trigger = Trigger::new();
        LocalSet::new()
            .run_until(async {
                let mut held = Eager::default();
                for _ in 0..2 {
                    held.follow([&eager, &lazy].into_iter(), &trigger.guard());
                    assert_eq!((eager.channels(), lazy.channels()), (1, 0));
                    assert_eq!(held.0[0].1.0.users(), 1);
                }
                let channel = held.0[0].1.0.clone();
                held.follow([&lazy].into_iter(), &trigger.guard());
                assert_eq!(channel.users(), 0);
            })
            .await;
    }
}

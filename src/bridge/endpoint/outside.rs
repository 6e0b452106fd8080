//! What ends a subscription from outside: a drain, a reload that has taken its bridge, its feed or its route away, or that
//! its client is not let in any more.
//!
//! Each of them only sets a moment, spread so that not all clients return at once, and a drain is still heard when another
//! moment was set before it.

use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Instant;

use crate::bridge::Bridge;
use crate::lifecycle::drain;
use crate::observe::access::End;
use crate::stream::{AfterLoss, Losses};

/// Tells when a subscription is to end, and why; and what may still end it before that moment.
pub(super) type Awaited = Pin<Box<dyn Future<Output = (Instant, End, Option<Outside>)>>>;

/// What a subscription may hear from outside.
pub(super) struct Outside {
    guard: drain::Guard,
    /// When what its client was let in by has expired. It is known from the start, and nobody has to be heard for it.
    expires: Option<Instant>,
    /// `None`: it has heard of the reload already.
    may_lose: Option<(Arc<Bridge>, Arc<Losses>)>,
}

impl Outside {
    /// For a subscriber of `bridge` on a route that says what its streams outlive.
    pub(super) fn new(guard: drain::Guard, bridge: &Arc<Bridge>, losses: &Arc<Losses>) -> Self {
        Self {
            guard,
            expires: losses.expires(),
            may_lose: Some((bridge.clone(), losses.clone())),
        }
    }

    /// When it is to end because nobody knows any more who its client is; `None`: never.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.expires
    }

    /// Waits for the next word.
    pub(super) fn listen(self) -> Awaited {
        let Self {
            guard,
            may_lose,
            expires: _,
        } = self;
        Box::pin(async move {
            let lost = async {
                match &may_lose {
                    Some((bridge, losses)) => lost(bridge, losses).await,
                    None => std::future::pending().await,
                }
            };
            let revoked = async {
                match &may_lose {
                    Some((_bridge, losses)) => losses.revoked().await,
                    None => std::future::pending().await,
                }
            };
            let heard = tokio::select! {
                order = guard.ordered() => (drain::leave(order), End::Drain),
                moment = lost => (moment, End::Removed),
                () = revoked => (Instant::now(), End::Expired),
            };
            let still = (heard.1 == End::Removed).then_some(Self {
                guard,
                expires: None,
                may_lose: None,
            });
            (heard.0, heard.1, still)
        })
    }
}

/// Returns when the subscription has lost its bridge, its feed or its route, with the moment at which it is to end.
async fn lost(bridge: &Bridge, losses: &Losses) -> Instant {
    let by_policy = |after| match after {
        AfterLoss::Keep => None,
        AfterLoss::Drain(length) => Some(drain::spread(Instant::now() + length)),
        AfterLoss::Close => Some(Instant::now()),
    };
    let route = async {
        match losses.after_removal {
            AfterLoss::Keep => std::future::pending().await,
            AfterLoss::Drain(_) | AfterLoss::Close => losses.route.told().await,
        }
    };
    let moment = tokio::select! {
        successor = bridge.gone() => match successor {
            // Another feed serves the same clients: they are to come back to it, whatever becomes of streams elsewhere.
            Some(window) => Some(drain::spread(Instant::now() + window)),
            None => by_policy(losses.after_removal),
        },
        () = route => by_policy(losses.after_removal),
    };
    match moment {
        Some(moment) => moment,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bridge::tests::config;
    use crate::lifecycle::drain::Trigger;

    const MINUTE: Duration = Duration::from_secs(60);

    fn losses(after_removal: AfterLoss) -> Arc<Losses> {
        Arc::new(Losses {
            after_removal,
            ..Losses::outlived()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn each_removal_sets_the_moment_that_it_calls_for() {
        type Remove = fn(&Bridge, &Losses);
        let replaced: Remove = |bridge, _losses| bridge.replaced(MINUTE);
        let removed: Remove = |bridge, _losses| bridge.removed();
        let unrouted: Remove = |_bridge, losses| losses.route.tell();
        let (none, now, half) = (None, Some(Duration::ZERO), Some(MINUTE / 2));
        let table = [
            (AfterLoss::Keep, replaced, half),
            (AfterLoss::Close, replaced, half),
            (AfterLoss::Keep, removed, none),
            (AfterLoss::Close, removed, now),
            (AfterLoss::Drain(MINUTE), removed, half),
            (AfterLoss::Keep, unrouted, none),
            (AfterLoss::Close, unrouted, now),
            (AfterLoss::Drain(MINUTE), unrouted, half),
        ];
        for (number, (after, remove, most)) in table.into_iter().enumerate() {
            let trigger = Trigger::new();
            let (bridge, losses) = (Bridge::new(Arc::new(config(&[]))), losses(after));
            let mut heard = Outside::new(trigger.guard(), &bridge, &losses).listen();
            assert!(futures_util::poll!(heard.as_mut()).is_pending(), "{number}");
            remove(&bridge, &losses);
            let begun = Instant::now();
            let heard = futures_util::poll!(heard.as_mut());
            let Some(most) = most else {
                assert!(heard.is_pending(), "{number}");
                continue;
            };
            let std::task::Poll::Ready((moment, End::Removed, Some(_))) = heard else {
                panic!("{number}: nothing was heard");
            };
            assert!(moment - begun <= most, "{number}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_is_heard_after_a_removal() {
        let trigger = Trigger::new();
        let bridge = Bridge::new(Arc::new(config(&[])));
        let outside = Outside::new(trigger.guard(), &bridge, &losses(AfterLoss::Keep));
        bridge.replaced(60 * MINUTE);
        let (_moment, end, still) = outside.listen().await;
        assert_eq!(end, End::Removed);
        trigger.begin(Instant::now());
        let (_moment, end, still) = still.unwrap().listen().await;
        assert!(end == End::Drain && still.is_none());
    }
}

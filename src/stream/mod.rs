//! All life after a response's head: what leaves hyper, what is copied, when it ends.

mod direction;
mod ending;
pub mod events;
mod follow;
mod hand_over;
mod heartbeat;
mod http2_tunnel;
mod lifetime;
mod meter;
mod pace;
mod pump;
pub mod tunnel;

pub use hand_over::{Answer, Downstream, HandOver, Slot, Taken, takes_chunks};
pub use http2_tunnel::Tunnels;
pub use lifetime::{Expired, Lifetime};

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::lifecycle::drain::{self, Living};
use crate::lifecycle::removal::Removal;
use crate::limits::Streams;
use crate::observe::access::End;
use crate::upstream::Lease;

/// What becomes of a stream that loses what it lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterLoss {
    /// It goes on.
    Keep,
    /// It ends as in a drain that takes this long.
    Drain(Duration),
    /// It ends at once.
    Close,
}

/// What a stream may lose before its time, and what then becomes of it: as its route said when it began.
#[derive(Debug, Clone)]
pub struct Losses {
    /// Its server fails its health check.
    pub after_fall: AfterLoss,
    /// A reload removes its server or its route.
    pub after_removal: AfterLoss,
    /// Tells that the route is removed.
    pub route: Removal,
    /// The streams of the route, where its subscribers count too.
    pub streams: Streams,
    /// What its client was let in by; `None` on a route that lets anybody in.
    pub pass: Option<Pass>,
}

/// What a client was let in by.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Whose it is, where that is known.
    pub user: Option<Arc<str>>,
    /// From when on it is worth nothing; `None`: it does not age.
    pub expires: Option<Instant>,
    /// Who finds out whether it is still good; `None`: nobody.
    pub watch: Option<Arc<dyn Watch>>,
}

/// Finds out, now and then, whether a client is still let in.
pub trait Watch: fmt::Debug + Send + Sync {
    /// Returns when it is not.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again: the time since the last look counts on.
    fn revoked(&self) -> Pin<Box<dyn Future<Output = ()> + '_>>;
}

impl Losses {
    /// Of a stream that nothing of this ends.
    #[must_use]
    pub fn outlived() -> Self {
        Self {
            after_fall: AfterLoss::Keep,
            after_removal: AfterLoss::Keep,
            route: Removal::default(),
            streams: Streams::default(),
            pass: None,
        }
    }

    /// Who was let in.
    #[must_use]
    pub fn user(&self) -> Option<&Arc<str>> {
        self.pass.as_ref()?.user.as_ref()
    }

    /// When what the client was let in by is worth nothing any more.
    #[must_use]
    pub fn expires(&self) -> Option<Instant> {
        self.pass.as_ref().and_then(|pass| pass.expires)
    }

    /// Returns when the client is not let in any more although nothing has expired.
    ///
    /// # Cancel safety
    /// As [`Watch::revoked`].
    pub async fn revoked(&self) {
        match self.pass.as_ref().and_then(|pass| pass.watch.as_ref()) {
            Some(watch) => watch.revoked().await,
            None => std::future::pending().await,
        }
    }

    /// Returns when a stream at the server of `lease` is to end for what it has lost, with the reason. `None` where it
    /// outlives all of it, which is the usual case and takes no memory.
    #[must_use]
    pub fn watch(&self, lease: Option<&Lease>) -> Option<Loss> {
        let expires = self.expires();
        let outlives = (self.after_fall, self.after_removal) == (AfterLoss::Keep, AfterLoss::Keep);
        let watch = self.pass.as_ref().and_then(|pass| pass.watch.clone());
        if outlives && expires.is_none() && watch.is_none() {
            return None;
        }
        let (after_fall, after_removal) = (self.after_fall, self.after_removal);
        let fell = lease.map(Lease::fell);
        let server = lease.map(|lease| lease.endpoint().removal().told());
        let route = self.route.told();
        Some(Box::pin(async move {
            let gone = async {
                tokio::select! {
                    () = route => {}
                    () = or_never(server) => {}
                }
            };
            tokio::select! {
                () = outlived(or_never(fell), after_fall) => End::BackendUnhealthy,
                () = outlived(gone, after_removal) => End::Removed,
                () = or_never(expires.map(tokio::time::sleep_until)) => End::Expired,
                () = or_never(watch.as_ref().map(|watch| watch.revoked())) => End::Expired,
            }
        }))
    }
}

/// Why a stream ends that has lost what it lives on.
pub type Loss = Pin<Box<dyn Future<Output = End>>>;

async fn or_never(event: Option<impl Future<Output = ()>>) {
    match event {
        Some(event) => event.await,
        None => std::future::pending().await,
    }
}

/// When in a drain a stream ends: at a random moment, so that not all clients return at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A WebSocket: in the first half of its kind's time.
    Tunnel,
    /// An event stream: in the first half of its kind's time.
    Early,
    /// Another response: in the second half of its kind's time. It cannot be ended in order, and may come to an end by itself.
    Late,
}

/// Returns when a drain wants a stream to end.
///
/// # Cancel safety
/// Nothing is lost when it is dropped, but for the moment that was drawn.
async fn ending(guard: &drain::Guard, moment: Moment) {
    let order = guard.ordered().await;
    let due = match moment {
        Moment::Tunnel => drain::spread(order.deadline_of(Living::WebSocket)),
        Moment::Early => drain::spread(order.deadline_of(Living::EventStream)),
        Moment::Late => drain::spread_late(order.deadline_of(Living::Request)),
    };
    tokio::time::sleep_until(due).await;
}

/// Returns when this stream is to end before its time, with the reason: a drain, or what `loss` tells of.
///
/// # Cancel safety
/// Nothing is lost when it is dropped, but for the moment that was drawn.
pub async fn cut_short(
    guard: &drain::Guard,
    moment: Moment,
    loss: impl Future<Output = End>,
) -> End {
    tokio::select! {
        () = ending(guard, moment) => End::Drain,
        end = loss => end,
    }
}

/// Returns when a stream that has lost something is to end; never where it outlives that.
async fn outlived(lost: impl Future<Output = ()>, after: AfterLoss) {
    match after {
        AfterLoss::Keep => std::future::pending().await,
        AfterLoss::Close => lost.await,
        AfterLoss::Drain(length) => {
            lost.await;
            tokio::time::sleep_until(drain::spread(Instant::now() + length)).await;
        }
    }
}

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

use std::time::Duration;

use tokio::time::Instant;

use crate::lifecycle::drain::{self, Living};
use crate::observe::access::End;

/// What becomes of a stream whose server fails its health check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFall {
    /// It goes on.
    Keep,
    /// It ends as in a drain that takes this long.
    Drain(Duration),
    /// It ends at once.
    Close,
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

/// Returns when this stream is to end before its time, with the reason: a drain, or its server, which `fell` tells of.
///
/// # Cancel safety
/// Nothing is lost when it is dropped, but for the moment that was drawn.
pub async fn cut_short(
    guard: &drain::Guard,
    moment: Moment,
    fell: impl Future<Output = ()>,
    after_fall: AfterFall,
) -> End {
    tokio::select! {
        () = ending(guard, moment) => End::Drain,
        () = outlived(fell, after_fall) => End::BackendUnhealthy,
    }
}

async fn outlived(fell: impl Future<Output = ()>, after_fall: AfterFall) {
    match after_fall {
        AfterFall::Keep => std::future::pending().await,
        AfterFall::Close => fell.await,
        AfterFall::Drain(length) => {
            fell.await;
            tokio::time::sleep_until(drain::spread(Instant::now() + length)).await;
        }
    }
}

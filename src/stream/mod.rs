//! All life after a response's head: what leaves hyper, what is copied, when it ends.

mod direction;
mod ending;
pub mod event_stream;
mod follow;
mod hand_over;
mod heartbeat;
mod http2_tunnel;
mod lifetime;
mod pace;
mod pump;
pub mod tunnel;

pub use hand_over::{Answer, Downstream, HandOver, Slot, Taken, takes_chunks};
pub use http2_tunnel::Tunnels;
pub use lifetime::{Expired, Lifetime};

use std::time::Duration;

use tokio::time::Instant;

use crate::lifecycle::drain;
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

/// Returns when a drain wants this stream to end: at a random moment of the time that the drain leaves.
///
/// # Cancel safety
/// Nothing is lost when it is dropped.
pub async fn ending(guard: &drain::Guard) {
    let deadline = guard.draining().await;
    tokio::time::sleep_until(drain::spread(deadline)).await;
}

/// Returns when this stream is to end before its time, with the reason: a drain, or its server, which `fell` tells of.
///
/// # Cancel safety
/// Nothing is lost when it is dropped, but for the moment that was drawn.
pub async fn cut_short(
    guard: &drain::Guard,
    fell: impl Future<Output = ()>,
    after_fall: AfterFall,
) -> End {
    tokio::select! {
        () = ending(guard) => End::Drain,
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

//! All life after a response's head: what leaves hyper, what is copied, when it ends.

pub mod event_stream;
mod hand_over;
mod lifetime;
mod pump;
pub mod tunnel;

pub use hand_over::{Answer, Downstream, HandOver, Slot, Taken, takes_chunks};
pub use lifetime::{Expired, Lifetime};

use crate::lifecycle::drain;

/// Returns when a drain wants this stream to end: at a random moment of the time that the drain leaves.
///
/// # Cancel safety
/// Nothing is lost when it is dropped.
pub async fn ending(guard: &drain::Guard) {
    let deadline = guard.draining().await;
    tokio::time::sleep_until(drain::spread(deadline)).await;
}

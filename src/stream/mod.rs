//! All life after a response's head: what leaves hyper, what is copied, when it ends.

mod hand_over;
mod lifetime;

pub use hand_over::{Answer, Downstream, HandOver, Slot, Taken};
pub use lifetime::{Expired, Lifetime};

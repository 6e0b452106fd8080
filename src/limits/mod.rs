//! How much of something may live at once, in the whole process, and how fast it may come.
//!
//! Owns the counters; which rule holds for whom is the guards' affair. Invariant: nothing here grows without a bound by what
//! clients send. Live things are counted by who holds them, and go with the last of them; rates are kept in a table of fixed size.

mod crowd;
mod key;
mod permits;
mod rate;
mod streams;

pub use crowd::{Crowd, Place};
pub use key::{Key, network};
pub use permits::{Permit, Permits, TooMany};
pub use rate::{Pace, Rates};
pub use streams::{Counted, Holder, StreamPermit, Streams, StreamsFull};

//! What an operator sees.

pub mod access;
pub mod census;
mod journal;
pub mod log;
pub mod metrics;
pub mod streams;
pub mod trace;

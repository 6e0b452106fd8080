//! What an operator sees.

pub mod access;
pub mod census;
pub mod log;
pub mod metrics;
pub mod streams;

//! What an operator sees.

pub mod access;
pub mod log;

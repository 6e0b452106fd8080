//! What an operator sees.

pub mod access;

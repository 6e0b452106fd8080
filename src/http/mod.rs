//! The vocabulary of HTTP.

pub mod body;

//! The servers behind: how they are reached, and the connections kept to them.

pub mod connect;

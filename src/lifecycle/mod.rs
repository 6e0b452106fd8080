//! The process's life: what is spawned, how it is told to end, how one waits until it has.

pub mod descriptors;
pub mod drain;
pub mod errand;
pub mod handover;
pub mod removal;
pub mod scratch;
pub mod signal;
pub mod systemd;
pub mod tasks;
pub mod watchdog;

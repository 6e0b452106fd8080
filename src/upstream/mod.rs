//! The servers behind: who gets a request, how they are reached, and the connections kept to them.

mod balance;
pub mod connect;
mod endpoint;
mod group;
pub mod health;
pub mod http1;
mod outlier;
pub mod pool;
mod queue;
mod standing;
mod sticky;

pub use endpoint::{Endpoint, EndpointId, Lease};
pub use group::{Ask, Unavailable, Upstream};
pub use queue::Queue;
pub use sticky::Channel;

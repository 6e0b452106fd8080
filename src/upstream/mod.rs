//! The servers behind: who gets a request, how they are reached, and the connections kept to them.

mod balance;
pub mod connect;
mod dial;
mod endpoint;
pub mod fetch;
mod group;
pub mod health;
pub mod http1;
pub mod http2;
pub mod link;
mod outlier;
pub mod pool;
pub mod proxy_header;
mod queue;
mod reply;
pub mod resolve;
mod standing;
mod sticky;

pub use endpoint::{Condition, Endpoint, EndpointId, Lease, ServerState};
pub use group::{Ask, Unavailable, Upstream};
pub use queue::Queue;
pub use reply::Reply;
pub use sticky::Channel;

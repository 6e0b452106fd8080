//! The servers behind: how they are reached, and the connections kept to them.

pub mod connect;
mod dial;
mod endpoint;
pub mod http1;
pub mod http2;
pub mod link;
pub mod pool;
pub mod proxy_header;
mod reply;
pub mod resolve;

pub use endpoint::{Endpoint, EndpointId, Lease};
pub use reply::Reply;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::model;

/// A named group of servers. It lives through every reload that leaves its configuration as it was.
#[derive(Debug)]
pub struct Upstream {
    config: Arc<model::Upstream>,
    endpoints: Box<[Arc<Endpoint>]>,
    turn: AtomicUsize,
}

impl Upstream {
    /// The group that `config` describes.
    #[must_use]
    pub fn new(config: Arc<model::Upstream>) -> Self {
        let endpoints = config.servers.iter().cloned().map(Endpoint::new).collect();
        Self {
            config,
            endpoints,
            turn: AtomicUsize::new(0),
        }
    }

    /// What it was built from.
    #[must_use]
    pub fn config(&self) -> &Arc<model::Upstream> {
        &self.config
    }

    /// A place at the server whose turn it is: they go round.
    #[must_use]
    pub fn lease(&self) -> Lease {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        self.endpoints[turn % self.endpoints.len()].lease()
    }
}

//! The servers behind: how they are reached, and the connections kept to them.

pub mod connect;
pub mod http1;
pub mod pool;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::model;
use crate::net::Authority;

/// A named group of servers. It lives through every reload that leaves its configuration as it was.
#[derive(Debug)]
pub struct Upstream {
    config: Arc<model::Upstream>,
    turn: AtomicUsize,
}

impl Upstream {
    /// The group that `config` describes.
    #[must_use]
    pub fn new(config: Arc<model::Upstream>) -> Self {
        Self {
            config,
            turn: AtomicUsize::new(0),
        }
    }

    /// What it was built from.
    #[must_use]
    pub fn config(&self) -> &Arc<model::Upstream> {
        &self.config
    }

    /// The server whose turn it is: they go round.
    #[must_use]
    pub fn pick(&self) -> &Authority {
        let servers = &self.config.servers;
        match servers.len() {
            1 => &servers[0],
            count => &servers[self.turn.fetch_add(1, Ordering::Relaxed) % count],
        }
    }
}

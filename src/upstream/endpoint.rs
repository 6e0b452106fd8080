//! One server of an upstream, and what is under way at it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::config::model;
use crate::net::ServerAddr;

/// One server, as long as the process knows it: reloads that leave it in its upstream keep it, with its counts.
#[derive(Debug)]
pub struct Endpoint {
    id: EndpointId,
    config: model::Server,
    live: AtomicUsize,
}

/// Names an endpoint within the process. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EndpointId(u64);

impl Endpoint {
    /// The server that `config` describes, with nothing under way.
    #[must_use]
    pub fn new(config: model::Server) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            id: EndpointId(NEXT.fetch_add(1, Ordering::Relaxed)),
            config,
            live: AtomicUsize::new(0),
        })
    }

    /// Its name within the process.
    #[must_use]
    pub fn id(&self) -> EndpointId {
        self.id
    }

    /// Where it is.
    #[must_use]
    pub fn addr(&self) -> &ServerAddr {
        &self.config.addr
    }

    /// Requests and streams under way at it, on all workers.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// One more is under way, until the lease is dropped.
    #[must_use]
    pub fn lease(self: &Arc<Self>) -> Lease {
        self.live.fetch_add(1, Ordering::Relaxed);
        Lease(self.clone())
    }
}

/// One request or stream under way at a server. Whoever has the socket holds it, to the stream's very end.
#[derive(Debug)]
pub struct Lease(Arc<Endpoint>);

impl Lease {
    /// The server.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0
    }

    /// Where the server is.
    #[must_use]
    pub fn addr(&self) -> &ServerAddr {
        self.0.addr()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::Relaxed);
    }
}

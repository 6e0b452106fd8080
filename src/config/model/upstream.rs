//! Which servers there are, and how they are reached.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use super::{Balance, Health, Passive};
use crate::net::ServerAddr;
use crate::tls::client::ServerTls;

/// `[upstream.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its name in the file.
    pub name: Arc<str>,
    /// At least one, all different.
    pub servers: Vec<Server>,
    /// One connection: name resolution, TCP and TLS in all. Default 3 s.
    pub connect_timeout: Duration,
    /// How often a request that cannot have had an effect is tried again. Default 1.
    pub retries: u32,
    /// Which server a request goes to. Default round robin.
    pub balance: Balance,
    /// How long a request waits for a place when all servers are full; zero: not at all. Default 1 s.
    pub max_wait: Duration,
    /// Requests that wait at the same time. Default 1000.
    pub max_waiting: usize,
    /// `health = { … }`; `None`: servers are not asked how they are.
    pub health: Option<Health>,
    /// `passive = { … }`; `None`: failed requests say nothing of a server.
    pub passive: Option<Passive>,
    /// How long a server that comes back takes to get its whole share. Default none (`"0"`).
    pub slow_start: Option<Duration>,
    /// `tls = { … }`; there whenever a server is `https://`.
    pub tls: Option<ServerTls>,
    /// `proxy_protocol`: what is told of the client before anything else. `None` (`"off"`, the default): nothing.
    pub proxy_protocol: Option<ProxyVersion>,
    /// `keep_alive = { … }`
    pub keep_alive: KeepAlive,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// `keep_alive = { … }` of an upstream: the connections kept by one worker to one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// How long a connection may be idle. Default 60 s.
    pub idle: Duration,
    /// Idle connections kept at most. Default 256.
    pub connections: usize,
    /// The age from which a connection gets no more requests. Default none.
    pub max_age: Option<Duration>,
    /// Requests on one connection at most. Default no limit.
    pub requests: Option<NonZeroU64>,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            connections: 256,
            max_age: None,
            requests: None,
        }
    }
}

/// One of an upstream's `servers`.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Where it is, and what it speaks.
    pub addr: ServerAddr,
    /// How many requests it gets for one that a server of weight 1 gets; at least 1. Default 1.
    pub weight: u32,
    /// Requests and streams under way at most, over all workers; `0` (the default): no limit.
    pub max_connections: usize,
}

//! One server of an upstream, and what is under way at it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::queue::Queue;
use super::standing::Standing;
use crate::config::model;
use crate::lifecycle::removal::Removal;
use crate::net::ServerAddr;

/// One server, as long as the process knows it: reloads that leave it in its upstream keep it, with its counts and
/// its standing. Its weight and its limit belong to the upstream, which a reload may change.
#[derive(Debug)]
pub struct Endpoint {
    id: EndpointId,
    addr: ServerAddr,
    live: AtomicUsize,
    queue: Arc<Queue>,
    removal: Removal,
    pub(super) standing: Standing,
}

/// Whether a server gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerState {
    /// It does, as far as its checks and its requests tell.
    Up,
    /// It does not.
    Down,
    /// It does, and nobody looks how it is, or nobody has yet.
    Unknown,
}

/// How a server stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Whether it gets requests.
    pub state: ServerState,
    /// Why not.
    pub cause: Option<String>,
    /// For how long its checks have said the same; `None`: there are none, or they have not spoken yet.
    pub since: Option<Duration>,
}

/// Names an endpoint within the process. Never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(u64);

impl Endpoint {
    /// The server at `addr`, with nothing under way. Those who wait in `queue` are told of its places.
    #[must_use]
    pub fn new(addr: ServerAddr, queue: &Arc<Queue>) -> Arc<Self> {
        Self::after(Removal::default(), addr, queue)
    }

    /// The same for a server that is reached otherwise than before, and whose removal is therefore one for those too who
    /// still use it as it was.
    pub(super) fn after(removal: Removal, addr: ServerAddr, queue: &Arc<Queue>) -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            id: EndpointId(NEXT.fetch_add(1, Ordering::Relaxed)),
            addr,
            live: AtomicUsize::new(0),
            queue: queue.clone(),
            removal,
            standing: Standing::default(),
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
        &self.addr
    }

    /// Requests and streams under way at it, on all workers.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }

    /// Tells when a reload takes it out of its upstream.
    #[must_use]
    pub fn removal(&self) -> &Removal {
        &self.removal
    }

    /// Whether its health checks say that it is up; one that is not checked is.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.standing.is_up()
    }

    /// How it stands under the rules of `config`.
    #[must_use]
    pub fn condition(&self, now: Instant, config: &model::Upstream) -> Condition {
        let standing = &self.standing;
        let ejected = config.passive.and_then(|_rule| standing.ejected(now));
        let checked = standing.checked(now);
        let checked = checked.filter(|_| config.health.is_some());
        if checked.is_some() && !self.is_up() {
            return Condition {
                state: ServerState::Down,
                cause: standing.cause().map(|cause| cause.to_string()),
                since: checked,
            };
        }
        if let Some(left) = ejected {
            let left = left.as_secs_f64();
            let cause = format!("too many of its requests failed; it gets none for {left:.1} s");
            return Condition {
                state: ServerState::Down,
                cause: Some(cause),
                since: None,
            };
        }
        let is_watched = checked.is_some() || config.passive.is_some();
        Condition {
            state: if is_watched {
                ServerState::Up
            } else {
                ServerState::Unknown
            },
            cause: None,
            since: checked,
        }
    }

    /// One more is under way, until the lease is dropped; `None`: `limit` are already.
    #[must_use]
    pub fn lease(self: &Arc<Self>, limit: Option<NonZeroUsize>) -> Option<Lease> {
        match limit {
            None => drop(self.live.fetch_add(1, Ordering::SeqCst)),
            Some(limit) => {
                let one_more = |live: usize| (live < limit.get()).then(|| live + 1);
                self.live
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
                    .ok()?;
            }
        }
        Some(Lease {
            falls: self.standing.falls(),
            spilled: false,
            endpoint: self.clone(),
        })
    }

    /// Those who wait may look again: it has come back.
    pub(super) fn tell_waiting(&self) {
        self.queue.tell();
    }
}

/// One request or stream under way at a server. Whoever has the socket holds it, to the stream's very end.
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    /// How often the server had fallen when the lease began.
    falls: u64,
    /// It goes elsewhere only because the server that its cookie names is full.
    pub(super) spilled: bool,
}

impl Lease {
    /// The server.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Where the server is.
    #[must_use]
    pub fn addr(&self) -> &ServerAddr {
        self.endpoint.addr()
    }

    /// Returns when the server has failed its health checks since the lease began.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    pub fn fell(&self) -> impl Future<Output = ()> + use<> {
        let (endpoint, so_far) = (self.endpoint.clone(), self.falls);
        async move { endpoint.standing.fell_again(so_far).await }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.endpoint.live.fetch_sub(1, Ordering::SeqCst);
        self.endpoint.queue.tell();
    }
}

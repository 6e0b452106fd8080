//! Connections kept for the next request, and those that requests share.
//!
//! Each worker has pools of its own: a connection never changes its core, and nothing here is locked. The connection
//! used last is taken first, so that a pool shrinks to what is needed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::EndpointId;
use super::http1::Connection;
use super::http2;
use crate::config::model::KeepAlive;

/// How much sooner than the server a connection is given up, so that a request does not meet its end.
const MARGIN: Duration = Duration::from_secs(1);

/// A connection that was idle for less will hardly be closed by its server just now.
const RECENT: Duration = Duration::from_secs(1);

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");

/// One worker's connections, by server.
#[derive(Default)]
pub struct Pools(RefCell<BTreeMap<EndpointId, Server>>);

/// Which idle connections will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Any: the request can be sent again if its server closes the connection just then.
    Any,
    /// One that was idle for less than a second.
    Recent,
    /// None.
    New,
}

struct Server {
    idle: Vec<Kept>,
    shared: Vec<http2::Connection>,
    limits: KeepAlive,
    /// Whoever connects while others could share what comes of it.
    turn: Rc<Semaphore>,
    /// What the last new connection spoke, where that is open.
    speaks_http1: bool,
}

struct Kept {
    connection: Connection,
    since: Instant,
    until: Instant,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            idle: Vec::new(),
            shared: Vec::new(),
            limits: KeepAlive::default(),
            turn: Rc::new(Semaphore::new(1)),
            speaks_http1: false,
        }
    }
}

impl Pools {
    /// The connection that was used last and is still good.
    #[must_use]
    pub fn take(&self, server: EndpointId, which: Idle) -> Option<Connection> {
        let mut pools = self.0.borrow_mut();
        let idle = &mut pools.get_mut(&server)?.idle;
        let now = Instant::now();
        let will_do = |kept: &mut Kept| match which {
            Idle::Any => true,
            Idle::Recent => kept.since + RECENT > now,
            Idle::New => false,
        };
        std::iter::from_fn(|| idle.pop_if(will_do)).find_map(|mut kept| {
            (kept.until > now && kept.connection.is_quiet()).then_some(kept.connection)
        })
    }

    /// Keeps `connection` for the next request, within `limits` and for as long as the server's `Keep-Alive` (`said`)
    /// lets it.
    pub fn keep(
        &self,
        server: EndpointId,
        connection: Connection,
        limits: &KeepAlive,
        said: Option<Duration>,
    ) {
        let now = Instant::now();
        let mut until = now + limits.idle;
        if let Some(said) = said {
            until = until.min(now + said.saturating_sub(MARGIN));
        }
        if let Some(max_age) = limits.max_age {
            until = until.min(connection.born() + max_age);
        }
        let worn = limits
            .requests
            .is_some_and(|limit| connection.requests() >= limit.get());
        if worn || connection.is_single() || until <= now {
            return;
        }
        let mut pools = self.0.borrow_mut();
        let idle = &mut pools.entry(server).or_default().idle;
        if idle.len() >= limits.connections {
            return;
        }
        idle.push(Kept {
            connection,
            since: now,
            until,
        });
    }

    /// A stream on a connection that has one left. Those that take no more requests leave.
    #[must_use]
    pub fn reserve(&self, server: EndpointId, limits: &KeepAlive) -> Option<http2::Reserved> {
        let mut pools = self.0.borrow_mut();
        let shared = &mut pools.get_mut(&server)?.shared;
        shared.retain(|connection| connection.is_good(limits));
        shared.iter().find_map(http2::Connection::reserve)
    }

    /// Lets others have streams on `connection`, within `limits`.
    pub fn share(&self, server: EndpointId, connection: http2::Connection, limits: &KeepAlive) {
        let mut pools = self.0.borrow_mut();
        let server = pools.entry(server).or_default();
        server.speaks_http1 = false;
        server.limits = *limits;
        server.shared.push(connection);
    }

    /// Notes that the server was offered HTTP/2 and did not take it.
    pub fn note_http1(&self, server: EndpointId) {
        self.0.borrow_mut().entry(server).or_default().speaks_http1 = true;
    }

    /// Whether the server was offered HTTP/2 and did not take it.
    #[must_use]
    pub fn speaks_http1(&self, server: EndpointId) -> bool {
        let pools = self.0.borrow();
        pools.get(&server).is_some_and(|server| server.speaks_http1)
    }

    /// The one place for whoever connects to a server that may speak HTTP/2.
    #[must_use]
    pub fn turn(&self, server: EndpointId) -> Rc<Semaphore> {
        let mut pools = self.0.borrow_mut();
        pools.entry(server).or_default().turn.clone()
    }

    /// Closes what has been idle for too long or was closed by its server. Called now and then by the worker.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.0.borrow_mut().retain(|_id, server| {
            server
                .idle
                .retain_mut(|kept| kept.until > now && kept.connection.is_quiet());
            let limits = server.limits;
            server
                .shared
                .retain(|connection| connection.is_good(&limits));
            let waited_for = Rc::strong_count(&server.turn) > 1;
            waited_for || !server.idle.is_empty() || !server.shared.is_empty()
        });
    }

    /// Closes all; what is under way on shared connections goes on to its end.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

/// How long a server keeps an idle connection: `Keep-Alive: timeout=5` (RFC 2068 §19.7.1, as servers still send it).
#[must_use]
pub fn keep_alive_limit(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(KEEP_ALIVE)?.to_str().ok()?;
    let parameters = value
        .split(',')
        .filter_map(|parameter| parameter.trim().split_once('='));
    let (_, seconds) = parameters
        .into_iter()
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("timeout"))?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        (near, listener.accept().await.unwrap().0)
    }

    fn server() -> EndpointId {
        let addr = crate::net::Authority {
            host: "a".into(),
            port: 1,
        };
        crate::upstream::Endpoint::new(addr.into(), &std::sync::Arc::default()).id()
    }

    /// Whether a connection is given out again under `limits`, with its server's own limit.
    async fn is_kept(limits: &KeepAlive, said: Option<Duration>) -> bool {
        let (pools, server) = (Pools::default(), server());
        let (near, _far) = pair().await;
        pools.keep(server, Connection::new(near), limits, said);
        pools.take(server, Idle::Any).is_some()
    }

    #[tokio::test]
    async fn a_connection_that_its_server_closed_is_not_given_out() {
        let (pools, server) = (Pools::default(), server());
        let (near, far) = pair().await;
        drop(far);
        near.readable().await.unwrap();
        pools.keep(server, Connection::new(near), &KeepAlive::default(), None);
        assert!(pools.take(server, Idle::Any).is_none());
    }

    #[tokio::test]
    async fn a_connection_is_not_used_beyond_its_servers_own_limit() {
        let limits = KeepAlive::default();
        assert!(is_kept(&limits, None).await);
        assert!(!is_kept(&limits, Some(MARGIN)).await);
        assert!(is_kept(&limits, Some(MARGIN * 5)).await);
    }

    #[tokio::test]
    async fn what_is_beyond_a_limit_is_not_kept() {
        let default = KeepAlive::default();
        let limits = [
            KeepAlive {
                idle: Duration::ZERO,
                ..default
            },
            KeepAlive {
                connections: 0,
                ..default
            },
            KeepAlive {
                max_age: Some(Duration::ZERO),
                ..default
            },
        ];
        for limits in limits {
            assert!(!is_kept(&limits, None).await, "{limits:?}");
        }
    }

    #[tokio::test]
    async fn a_request_that_cannot_be_repeated_takes_only_a_recent_connection() {
        let (pools, server) = (Pools::default(), server());
        let (near, _far) = pair().await;
        pools.keep(server, Connection::new(near), &KeepAlive::default(), None);
        assert!(pools.take(server, Idle::New).is_none());
        let age = |ago: Duration| {
            pools.0.borrow_mut().get_mut(&server).unwrap().idle[0].since = Instant::now() - ago;
        };
        age(RECENT);
        assert!(pools.take(server, Idle::Recent).is_none());
        // It is still there for the others.
        age(Duration::ZERO);
        assert!(pools.take(server, Idle::Recent).is_some());
    }

    #[test]
    fn the_servers_limit_is_read() {
        let mut headers = HeaderMap::new();
        assert_eq!(keep_alive_limit(&headers), None);
        headers.insert("keep-alive", HeaderValue::from_static("max=100, Timeout=5"));
        assert_eq!(keep_alive_limit(&headers), Some(Duration::from_secs(5)));
    }
}

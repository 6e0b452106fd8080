//! Idle connections, kept for the next request.
//!
//! Each worker has pools of its own: a connection never changes its core, and nothing here is locked. The connection
//! used last is taken first, so that a pool shrinks to what is needed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

use super::EndpointId;
use super::http1::Connection;

/// Idle connections to one server on one worker at most.
const MAX_IDLE: usize = 256;

/// How long a connection may be idle when its server does not say.
const IDLE_LIMIT: Duration = Duration::from_secs(60);

/// How much sooner than the server a connection is given up, so that a request does not meet its end.
const MARGIN: Duration = Duration::from_secs(1);

/// One worker's idle connections, by server.
#[derive(Default)]
pub struct Pools(RefCell<HashMap<EndpointId, Vec<Idle>>>);

struct Idle {
    connection: Connection,
    until: Instant,
}

impl Pools {
    /// The connection that was used last and is still good.
    #[must_use]
    pub fn take(&self, server: EndpointId) -> Option<Connection> {
        let mut pools = self.0.borrow_mut();
        let idle = pools.get_mut(&server)?;
        let now = Instant::now();
        std::iter::from_fn(|| idle.pop()).find_map(|mut idle| {
            (idle.until > now && idle.connection.is_quiet()).then_some(idle.connection)
        })
    }

    /// Keeps `connection` for the next request, for as long as the server's `Keep-Alive` (`limit`) lets it.
    pub fn keep(&self, server: EndpointId, connection: Connection, limit: Option<Duration>) {
        let limit = limit.map_or(IDLE_LIMIT, |limit| {
            limit.saturating_sub(MARGIN).min(IDLE_LIMIT)
        });
        let mut pools = self.0.borrow_mut();
        let idle = pools.entry(server).or_default();
        if idle.len() >= MAX_IDLE {
            return;
        }
        idle.push(Idle {
            connection,
            until: Instant::now() + limit,
        });
    }

    /// Closes what has been idle for too long or was closed by its server. Called now and then by the worker.
    pub fn sweep(&self) {
        let now = Instant::now();
        self.0.borrow_mut().retain(|_server, idle| {
            idle.retain_mut(|idle| idle.until > now && idle.connection.is_quiet());
            !idle.is_empty()
        });
    }

    /// Closes all.
    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}

/// How long a server keeps an idle connection: `Keep-Alive: timeout=5` (RFC 2068 §19.7.1, as servers still send it).
#[must_use]
pub fn keep_alive_limit(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("keep-alive")?.to_str().ok()?;
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

    #[tokio::test]
    async fn a_connection_that_its_server_closed_is_not_given_out() {
        let (pools, server) = (Pools::default(), server());
        let (near, far) = pair().await;
        drop(far);
        near.readable().await.unwrap();
        pools.keep(server, Connection::new(near), None);
        assert!(pools.take(server).is_none());
    }

    #[tokio::test]
    async fn a_connection_is_not_used_beyond_its_servers_own_limit() {
        let (pools, server) = (Pools::default(), server());
        let (near, _far) = pair().await;
        pools.keep(server, Connection::new(near), Some(MARGIN));
        assert!(pools.take(server).is_none());
        let (near, _far) = pair().await;
        pools.keep(server, Connection::new(near), Some(MARGIN * 5));
        assert!(pools.take(server).is_some());
    }

    #[test]
    fn the_servers_limit_is_read() {
        let mut headers = HeaderMap::new();
        assert_eq!(keep_alive_limit(&headers), None);
        headers.insert("keep-alive", HeaderValue::from_static("max=100, Timeout=5"));
        assert_eq!(keep_alive_limit(&headers), Some(Duration::from_secs(5)));
    }
}

//! A connection for one request: a kept one, a place on a shared one, or a new one.
//!
//! While it is not known whether a server speaks HTTP/2, or known that it does, only one request of a worker connects to
//! it at a time; the others wait for what comes of it, since they can most likely share it.

use super::connect::{self, ConnectError, Manner};
use super::pool::{Idle, Pools};
use super::{Endpoint, Upstream, http1, http2};
use crate::net::Scheme;
use crate::tls::ServerStream;
use crate::tls::accept::Protocol;
use crate::tls::client::Offer;

/// A connection for one request.
pub enum Link {
    /// One of its own.
    Http1(http1::Connection),
    /// A stream of a shared one.
    Http2(http2::Reserved),
}

/// What a request needs of its connection.
#[derive(Debug, Clone, Copy)]
pub struct Need<'a> {
    /// What may be spoken.
    pub offer: Offer,
    /// Which kept connections will do.
    pub idle: Idle,
    /// A PROXY header. Unless it is empty the connection is a new one, of HTTP/1.1, and used once.
    pub greeting: &'a [u8],
}

/// Finds or makes a connection to `endpoint`, within the upstream's `connect_timeout`.
///
/// # Errors
/// [`ConnectError`]: nothing was sent.
///
/// # Cancel safety
/// Dropping it gives up a connection that is being made.
pub async fn take(
    upstream: &Upstream,
    pools: &Pools,
    endpoint: &Endpoint,
    need: Need<'_>,
) -> Result<Link, ConnectError> {
    let wanted = Wanted {
        upstream,
        pools,
        endpoint,
        need,
    };
    if need.greeting.is_empty()
        && let Some(link) = wanted.kept()
    {
        return Ok(link);
    }
    // Boxed: what it takes to connect is large, and requests on kept connections should not carry the room for it.
    Box::pin(wanted.opened()).await
}

struct Wanted<'a> {
    upstream: &'a Upstream,
    pools: &'a Pools,
    endpoint: &'a Endpoint,
    need: Need<'a>,
}

impl Wanted<'_> {
    /// Whether HTTP/2 may come of it.
    fn may_share(&self) -> bool {
        self.need.offer == Offer::Either && self.endpoint.addr().scheme != Scheme::Http
    }

    fn kept(&self) -> Option<Link> {
        let (id, limits) = (self.endpoint.id(), &self.upstream.config().keep_alive);
        if self.may_share()
            && let Some(reserved) = self.pools.reserve(id, limits)
        {
            return Some(Link::Http2(reserved));
        }
        self.pools.take(id, self.need.idle).map(Link::Http1)
    }

    async fn opened(self) -> Result<Link, ConnectError> {
        if !self.need.greeting.is_empty() {
            let (stream, _http1) = self.open(Offer::Http1).await?;
            return Ok(Link::Http1(http1::Connection::single(stream)));
        }
        if !self.may_share() {
            let (stream, _http1) = self.open(Offer::Http1).await?;
            return Ok(Link::Http1(http1::Connection::new(stream)));
        }
        let limit = self.upstream.config().connect_timeout;
        connect::within(self.endpoint.addr(), limit, self.in_turn()).await
    }

    async fn in_turn(self) -> Result<Link, ConnectError> {
        let id = self.endpoint.id();
        if self.pools.speaks_http1(id) {
            return self.connected().await;
        }
        let turn = self.pools.turn(id);
        let permit = turn.acquire().await;
        if let Some(link) = self.kept() {
            return Ok(link);
        }
        if self.pools.speaks_http1(id) {
            drop(permit);
        }
        self.connected().await
    }

    async fn connected(&self) -> Result<Link, ConnectError> {
        let (stream, protocol) = self.open(Offer::Either).await?;
        let (id, limits) = (self.endpoint.id(), &self.upstream.config().keep_alive);
        if protocol == Protocol::Http1 {
            self.pools.note_http1(id);
            return Ok(Link::Http1(http1::Connection::new(stream)));
        }
        let connection =
            http2::Connection::begin(stream)
                .await
                .map_err(|source| ConnectError::Http2 {
                    server: self.endpoint.addr().clone(),
                    source,
                })?;
        let reserved = connection
            .reserve()
            .expect("a new connection has all of its streams free");
        self.pools.share(id, connection, limits);
        Ok(Link::Http2(reserved))
    }

    async fn open(&self, offer: Offer) -> Result<(ServerStream, Protocol), ConnectError> {
        let config = self.upstream.config();
        let manner = Manner {
            tls: config.tls.as_ref(),
            offer,
            greeting: self.need.greeting,
        };
        connect::open(self.endpoint.addr(), manner, config.connect_timeout).await
    }
}

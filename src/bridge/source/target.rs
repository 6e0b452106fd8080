//! One address of a feed, and the request that opens it (RFC 9112; RFC 6455 §4.1).
//!
//! A connection is made as to the servers of an upstream: names, TLS and the HTTP/1.1 client are the same. Redirects are
//! not followed: a feed must not choose the host that this process connects to.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body_util::Empty;

use crate::bridge::post;
use crate::config::model::{Bridge, Expected, FeedKind};
use crate::net::{Scheme, ServerAddr};
use crate::route::{Captures, Escape};
use crate::tls::client::Offer;
use crate::upstream::connect::{self, Manner};
use crate::upstream::http1::{
    Connection, Exchange, Framing, Reply, ResponseHead, SendBody, write_request_head,
};

use super::fault::Fault;

/// Name resolution, TCP and TLS in all.
const CONNECT: Duration = Duration::from_secs(10);
/// From the request to the head of the answer.
const ANSWER: Duration = Duration::from_secs(10);

/// The answer to a request that has no body.
pub(super) type Answer = Reply<Empty<Bytes>>;

/// One address of a feed, with the channel's values in its path.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) kind: FeedKind,
    /// Where; the path may hold secrets and is not logged.
    pub(super) server: ServerAddr,
    path: String,
}

impl Target {
    /// The targets of a bridge's channel, in the order of the fail-over list.
    pub(super) fn all(config: &Bridge, captures: &Captures) -> Vec<Self> {
        let target = |source: &crate::config::model::Source| Self {
            kind: source.kind,
            server: source.server.clone(),
            path: source.path.render(captures, Escape::PathSegment),
        };
        config.source.iter().map(target).collect()
    }

    /// Whether it is the same feed: what one has said of its place means something to the other.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.kind, &self.server, &self.path) == (other.kind, &other.server, &other.path)
    }

    /// What is spoken, and where, for people: without the path, which may hold secrets.
    pub(super) fn shown(&self) -> String {
        let scheme = match (self.kind, self.server.scheme) {
            (FeedKind::WebSocket, Scheme::Https) => "wss",
            (FeedKind::WebSocket, Scheme::Http | Scheme::H2c) => "ws",
            (FeedKind::EventSource, Scheme::Https) => "https",
            (FeedKind::EventSource, Scheme::Http | Scheme::H2c) => "http",
        };
        format!("{scheme}://{}", self.server)
    }

    /// Connects and asks, with these fields beside those that are configured, which cannot replace them.
    ///
    /// # Errors
    /// There is no connection, or no answer.
    ///
    /// # Cancel safety
    /// Dropping it gives the connection up.
    pub(super) async fn ask(
        &self,
        config: &Bridge,
        opening: &Opening,
        fields: &HeaderMap,
    ) -> Result<(ResponseHead, Answer), Fault> {
        let manner = Manner {
            tls: config.tls.as_ref(),
            offer: Offer::Http1,
            greeting: &[],
        };
        let (stream, _http1) = connect::open(&self.server, manner, CONNECT).await?;
        stream.probe_when_idle(config.idle.ping, config.idle.pong);
        let mut headers = opening.forwarded.clone();
        headers.extend(config.connect.headers.clone());
        let host = HeaderValue::from_str(&self.server.host_field());
        headers.insert(header::HOST, host.map_err(|_invalid| Fault::Request)?);
        headers.extend(fields.clone());
        let mut head = Vec::new();
        write_request_head(&mut head, &Method::GET, &self.path, &headers, b"");
        let body = (Framing::Empty, None::<Empty<Bytes>>);
        let connection = Connection::single(stream);
        let exchange = Exchange::new(connection, Method::GET, head, body, SendBody::AtOnce);
        let answered = exchange.run(Some(ANSWER)).await;
        answered.map_err(|failed| Fault::Exchange(failed.error))
    }
}

/// What a channel's feed is opened with, besides its address: the same at each attempt.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// Fields of the client's request.
    forwarded: HeaderMap,
    /// What is sent to a WebSocket feed.
    pub(super) greetings: Vec<Greeting>,
}

/// One of `connect.send`, with its values.
#[derive(Debug)]
pub(super) struct Greeting {
    pub(super) text: String,
    pub(super) expect: Option<Expected>,
}

impl Opening {
    pub(super) fn of(config: &Bridge, captures: &Captures) -> Self {
        let greeting = |greeting: &crate::config::model::Greeting| Greeting {
            text: greeting.text.render(captures, Escape::Json),
            expect: greeting.expect.clone(),
        };
        Self {
            forwarded: post::forwarded(config, captures),
            greetings: config.connect.send.iter().map(greeting).collect(),
        }
    }
}

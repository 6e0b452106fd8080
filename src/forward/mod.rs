//! One request to an upstream, its response back.
//!
//! [`forward`] is the way in order: prepare the request, find a server and a connection, exchange heads, and answer:
//! with a body through hyper, or, for a tunnel or an event stream over HTTP/1.1, with a hand-over of both sockets.

mod reply_body;
mod request;
mod response;
mod upgrade;

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Version};
use hyper::body::Incoming;

use crate::config::model::Timeouts;
use crate::http::host::RequestHost;
use crate::net::Authority;
use crate::observe::access::{RequestId, RequestRecord};
use crate::stream::{Answer, Downstream};
use crate::upstream::Upstream;
use crate::upstream::connect::{self, ConnectError};
use crate::upstream::http1::{
    Connection, Exchange, ExchangeError, Framing, Reply, ResponseHead, write_request_head,
};
use crate::upstream::pool::Pools;
use crate::websocket::handshake::HandshakeFault;
use request::Outbound;

/// Why a request has no response from an upstream.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// No server could be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A server was reached and did not answer as it should.
    #[error("no response from `{server}`")]
    Exchange {
        /// The server.
        server: Authority,
        /// What happened.
        #[source]
        source: ExchangeError,
    },
    /// The client's WebSocket handshake is wrong.
    #[error("the client's WebSocket handshake is refused")]
    Handshake(#[source] HandshakeFault),
    /// The server's answer to the handshake is wrong.
    #[error("`{server}` answered the WebSocket handshake wrongly")]
    Upgrade {
        /// The server.
        server: Authority,
        /// What is wrong.
        #[source]
        source: HandshakeFault,
    },
    /// The server switched protocols, and nobody had asked for it.
    #[error("`{server}` switched protocols unasked")]
    UnaskedUpgrade {
        /// The server.
        server: Authority,
    },
}

/// What is known of a request besides itself.
pub struct Asked<'a> {
    /// The connection it came on.
    pub downstream: &'a Downstream,
    /// The version it came in.
    pub version: Version,
    /// The host it is for.
    pub host: &'a RequestHost,
    /// The route's name.
    pub route: &'a Arc<str>,
    /// The route's timeouts.
    pub timeouts: &'a Timeouts,
    /// What is taken from the front of the path.
    pub strip_prefix: Option<&'a str>,
    /// Bytes of body at most.
    pub body_size: Option<u64>,
    /// Its name.
    pub id: &'a RequestId,
}

/// Sends `request` to a server of `upstream` and answers with what it says. `record` is closed by whoever has the
/// response's end; on an error it is left with the caller.
///
/// # Errors
/// [`ForwardError`].
///
/// # Cancel safety
/// Dropping it closes the connection to the server: a client that goes away cancels its request.
pub async fn forward(
    upstream: &Upstream,
    pools: &Rc<Pools>,
    request: Request<Incoming>,
    asked: &Asked<'_>,
    record: &mut Option<RequestRecord>,
) -> Result<Answer, ForwardError> {
    let (outbound, body) = request::prepare(request, asked)?;
    let (server, head, reply) = exchange(upstream, pools, &outbound, body, asked).await?;
    if let Some(record) = record {
        record.server(server);
    }
    if head.status == http::StatusCode::SWITCHING_PROTOCOLS {
        return upgrade::accept(server, &outbound, head, reply, asked).map(Answer::HandOver);
    }
    let home = reply_body::Home::new(pools, server, &head.headers);
    Ok(response::answer(head, reply, home, asked, record))
}

type Exchanged<'a> = (&'a Authority, ResponseHead, Reply<Incoming>);

/// Finds a connection and exchanges heads on it; tries again where the request cannot have had an effect.
async fn exchange<'a>(
    upstream: &'a Upstream,
    pools: &Rc<Pools>,
    outbound: &Outbound,
    body: Incoming,
    asked: &Asked<'_>,
) -> Result<Exchanged<'a>, ForwardError> {
    let limit = if outbound.key.is_some() {
        asked.timeouts.upgrade
    } else {
        asked.timeouts.response
    };
    let mut body = Some(body).filter(|_body| outbound.framing != Framing::Empty);
    let mut tries_left = upstream.config().retries;
    let mut trust_pool = true;
    loop {
        let server = upstream.pick();
        let connection = match connection(upstream, pools, server, trust_pool).await {
            Ok(connection) => connection,
            Err(_unreached) if tries_left > 0 => {
                tries_left -= 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut head = Vec::with_capacity(1024);
        write_request_head(
            &mut head,
            &outbound.method,
            &outbound.path,
            &outbound.headers,
        );
        let sent = (outbound.framing, body.take());
        let exchange = Exchange::new(
            connection,
            outbound.method.clone(),
            head,
            sent,
            asked.body_size,
        );
        let (source, spent) = match exchange.run(limit).await {
            Ok((head, reply)) => return Ok((server, head, reply)),
            Err(failed) => failed,
        };
        let harmless = outbound.framing == Framing::Empty
            && outbound.key.is_none()
            && is_idempotent(&outbound.method);
        let unanswered = matches!(
            source,
            ExchangeError::Broken(_) | ExchangeError::Closed { answered: false }
        );
        if !harmless || !unanswered || (!spent.reused && tries_left == 0) {
            return Err(ForwardError::Exchange {
                server: server.clone(),
                source,
            });
        }
        // A kept connection that its server closed just now is nobody's failure; a fresh one's is a try.
        if !spent.reused {
            tries_left -= 1;
        }
        trust_pool = false;
    }
}

async fn connection(
    upstream: &Upstream,
    pools: &Pools,
    server: &Authority,
    trust_pool: bool,
) -> Result<Connection, ConnectError> {
    if trust_pool && let Some(kept) = pools.take(server) {
        return Ok(kept);
    }
    let tcp = connect::tcp(server, upstream.config().connect_timeout).await?;
    Ok(Connection::new(tcp))
}

/// RFC 9110 §9.2.2
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    )
}

/// The bytes of a head, for a stream that writes it by itself.
fn head_bytes(status: http::StatusCode, headers: &http::HeaderMap, behind: &[u8]) -> Bytes {
    let mut head = Vec::with_capacity(512 + behind.len());
    crate::upstream::http1::write_response_head(&mut head, status, headers);
    head.extend_from_slice(behind);
    head.into()
}

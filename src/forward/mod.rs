//! One request to an upstream, its response back.
//!
//! [`forward`] is the way in order: prepare the request, find a server and a connection, exchange heads, and answer:
//! with a body through hyper, or, for a tunnel or an event stream over HTTP/1.1, with a hand-over of both sockets.

mod attempt;
mod reply_body;
mod request;
mod response;
mod retry;
mod upgrade;

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Version};
use hyper::body::Incoming;

use crate::config::model::Timeouts;
use crate::http::host::RequestHost;
use crate::net::ServerAddr;
use crate::observe::access::{RequestId, RequestRecord};
use crate::stream::{Answer, Downstream};
use crate::upstream::Upstream;
use crate::upstream::connect::ConnectError;
use crate::upstream::http1::ExchangeError;
use crate::upstream::pool::Pools;
use crate::websocket::handshake::HandshakeFault;

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
        server: ServerAddr,
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
        server: ServerAddr,
        /// What is wrong.
        #[source]
        source: HandshakeFault,
    },
    /// The server switched protocols, and nobody had asked for it.
    #[error("`{server}` switched protocols unasked")]
    UnaskedUpgrade {
        /// The server.
        server: ServerAddr,
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
    let (lease, head, reply) = retry::exchange(upstream, pools, &outbound, body, asked).await?;
    if let Some(record) = record {
        record.server(lease.addr());
    }
    if head.status == http::StatusCode::SWITCHING_PROTOCOLS {
        return upgrade::accept(lease, &outbound, head, reply, asked).map(Answer::HandOver);
    }
    let home = reply_body::Home::new(pools, upstream, lease, &head.headers);
    Ok(response::answer(head, reply, home, asked, record))
}

/// The bytes of a head, for a stream that writes it by itself.
fn head_bytes(status: http::StatusCode, headers: &http::HeaderMap, behind: &[u8]) -> Bytes {
    let mut head = Vec::with_capacity(512 + behind.len());
    crate::upstream::http1::write_response_head(&mut head, status, headers);
    head.extend_from_slice(behind);
    head.into()
}

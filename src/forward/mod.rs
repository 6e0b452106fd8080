//! One request to an upstream, its response back.
//!
//! [`forward`] is the way in order: prepare the request, find a server and a connection, exchange heads, and answer:
//! with a body through hyper, or, for a tunnel or an event stream over HTTP/1.1, with a hand-over of both sockets.

mod again;
mod attempt;
mod lasting;
mod reply_body;
mod request;
mod request_body;
mod response;
mod retry;
mod upgrade;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Version};
use hyper::body::Incoming;

use crate::config::model::{BodyPace, EventStreams, PathChange, StreamLimits, Timeouts, WebSocket};
use crate::http::host::RequestHost;
use crate::http::origin::Origin;
use crate::limits::{Holder, StreamPermit, Streams, StreamsFull};
use crate::net::{ClientAddr, ServerAddr};
use crate::observe::access::{RequestId, RequestRecord};
use crate::respond::fields::Rendered;
use crate::stream::{Answer, Downstream, Losses};
use crate::upstream::connect::ConnectError;
use crate::upstream::http1::{ExchangeError, Framing};
use crate::upstream::pool::Pools;
use crate::upstream::{Channel, Unavailable, Upstream};
use crate::websocket::handshake::HandshakeFault;
use request::Outbound;
pub use request::target;
pub use request_body::BodyFault;
use request_body::{BodyLimits, RequestBody, Watch};

/// Why a request has no response from an upstream.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// No server could be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// No server takes the request.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// A server was reached and did not answer as it should.
    #[error("no response from `{server}`")]
    Exchange {
        /// The server.
        server: ServerAddr,
        /// What happened.
        #[source]
        source: ExchangeError,
    },
    /// The client's body broke off, or passes a limit.
    #[error(transparent)]
    Body(BodyFault),
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
    /// The route has as many long streams as it may have.
    #[error(transparent)]
    Streams(#[from] StreamsFull),
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
    /// What holds for the route's WebSockets.
    pub websocket: &'a WebSocket,
    /// What holds for the route's event streams.
    pub event_streams: EventStreams,
    /// The route's long streams.
    pub streams: &'a Streams,
    /// How many it may have.
    pub stream_limits: StreamLimits,
    /// What ends its stream before its time.
    pub losses: &'a Arc<Losses>,
    /// Who asked, as far as it is believed.
    pub origin: &'a Origin,
    /// What becomes of the path; where it is rewritten, the new one is in `rewritten`.
    pub path: &'a PathChange,
    /// The new path, without the query.
    pub rewritten: Option<String>,
    /// Whether the server gets the client's `Host`.
    pub preserve_host: bool,
    /// The route's rules for the request.
    pub request_fields: &'a Rendered,
    /// The route's rules for the response.
    pub response_fields: &'a Rendered,
    /// Bytes of body at most.
    pub body_size: Option<u64>,
    /// The least pace of the body.
    pub body_pace: Option<BodyPace>,
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
    upstream: &Arc<Upstream>,
    pools: &Rc<Pools>,
    request: Request<Incoming>,
    asked: &Asked<'_>,
    record: &mut Option<RequestRecord>,
) -> Result<Answer, ForwardError> {
    let (mut outbound, body) = request::prepare(request, asked)?;
    // A stream that must not be is refused before its backend hears of it. An event stream only says what it is by its
    // answer, but those who want one say so.
    let permit = wants_stream(&outbound)
        .then(|| asked.stream_permit())
        .transpose()?;
    let cookie = upstream.take_cookie(&mut outbound.headers);
    let limits = BodyLimits {
        size: asked.body_size,
        pace: asked.body_pace,
    };
    let watch = Watch::default();
    let body = RequestBody::new(
        body,
        limits.without_pace_of_conversations(&outbound.headers),
        watch.clone(),
        asked.request_fields.ruled().cloned().collect(),
    );
    let body = Some(body).filter(|_body| outbound.framing != Framing::Empty);
    let servers = Servers {
        upstream,
        pools,
        cookie: cookie.as_deref(),
    };
    let exchanged = retry::exchange(servers, (&outbound, body), asked.asker()).await;
    let (lease, mut head, reply) = exchanged.map_err(|error| match watch.fault() {
        // Whatever the server or the connection to it made of it: it began with the client.
        Some(fault) => ForwardError::Body(fault),
        None => error,
    })?;
    watch.answered();
    if let Some(field) = upstream.set_cookie(&lease, cookie.as_deref(), channel(asked)) {
        head.headers.append(http::header::SET_COOKIE, field);
    }
    if let Some(record) = record {
        record.server(lease.addr());
    }
    if head.status == http::StatusCode::SWITCHING_PROTOCOLS {
        if let Some(record) = record {
            record.answered(head.status);
        }
        let permit = permit.map_or_else(|| asked.stream_permit(), Ok)?;
        return upgrade::accept(lease, &outbound, head, reply, (asked, permit));
    }
    upgrade::check_refusal(&lease, &outbound, &head, asked)?;
    let home = reply_body::Home::new(pools, upstream, &lease, &head.headers);
    let Some(kind) = lasting::Kind::of(&head) else {
        return Ok(response::answer(
            head,
            reply,
            (home, lease),
            asked,
            record.take(),
        ));
    };
    let permit = permit.map_or_else(|| asked.stream_permit(), Ok)?;
    let stream = lasting::Stream {
        kind,
        head,
        reply,
        home,
        lease,
        permit,
    };
    let again = asked
        .event_streams
        .resume
        .filter(|_limit| stream.may_resume(&outbound))
        .map(|limit| (again::Again::new(servers, outbound, asked.asker()), limit));
    Ok(lasting::answer(stream, again, asked, record.take()))
}

/// Whether the client asks for a long stream: a WebSocket, or nothing but events.
fn wants_stream(outbound: &Outbound) -> bool {
    let accept = outbound.headers.get(http::header::ACCEPT);
    outbound.key.is_some()
        || accept.is_some_and(|accept| accept.as_bytes().eq_ignore_ascii_case(b"text/event-stream"))
}

/// Whom a request is for.
#[derive(Clone, Copy)]
struct Servers<'a> {
    upstream: &'a Arc<Upstream>,
    pools: &'a Rc<Pools>,
    /// What the client brought to name one of them.
    cookie: Option<&'a str>,
}

/// Who asks a server, and how long it may take: the same at each try.
#[derive(Clone, Copy)]
struct Asker<'a> {
    client: ClientAddr,
    /// Our own address towards the client.
    local: SocketAddr,
    timeouts: &'a Timeouts,
    id: &'a RequestId,
}

impl Asked<'_> {
    fn asker(&self) -> Asker<'_> {
        Asker {
            client: self.downstream.client,
            local: self.downstream.local,
            timeouts: self.timeouts,
            id: self.id,
        }
    }

    /// By whom its stream is counted.
    fn holder(&self) -> Holder<'_> {
        Holder {
            client: self.downstream.client.0.ip(),
            user: self.losses.user().map(|user| &**user),
        }
    }

    /// A place for a long stream on the route.
    fn stream_permit(&self) -> Result<StreamPermit, StreamsFull> {
        self.streams.acquire(self.stream_limits, self.holder())
    }
}

fn channel(asked: &Asked<'_>) -> Channel {
    if asked.downstream.scheme == "https" {
        Channel::Secure
    } else {
        Channel::Clear
    }
}

/// The bytes of a head, for a stream that writes it by itself.
fn head_bytes(status: http::StatusCode, headers: &http::HeaderMap, behind: &[u8]) -> Bytes {
    let mut head = Vec::with_capacity(512 + behind.len());
    crate::upstream::http1::write_response_head(&mut head, status, headers);
    head.extend_from_slice(behind);
    head.into()
}

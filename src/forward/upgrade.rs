//! A WebSocket handshake that the server has accepted (RFC 6455 §4).

use http::header::{self, HeaderValue};
use hyper::body::Incoming;

use super::request::Outbound;
use super::request_body::RequestBody;
use super::response::complete;
use super::{Asked, ForwardError, head_bytes};
use crate::http::hop_by_hop;
use crate::limits::StreamPermit;
use crate::observe::access::{Kind, StreamRecord};
use crate::stream::{HandOver, Lifetime, tunnel};
use crate::upstream::http1::ResponseHead;
use crate::upstream::{Lease, Reply};
use crate::websocket::boundary::Extensions;
use crate::websocket::handshake;

/// Checks the server's 101 and makes a tunnel of both sockets.
///
/// # Errors
/// The answer does not fit the handshake, or there was none.
pub(super) fn accept(
    lease: Lease,
    outbound: &Outbound,
    mut head: ResponseHead,
    reply: Reply<RequestBody<Incoming>>,
    (asked, permit): (&Asked<'_>, StreamPermit),
) -> Result<HandOver, ForwardError> {
    let unasked = || ForwardError::UnaskedUpgrade {
        server: lease.addr().clone(),
    };
    let key = outbound.key.as_ref().ok_or_else(unasked)?;
    let socket = reply.into_socket().map_err(|_shared| unasked())?;
    let wrong = |source| ForwardError::Upgrade {
        server: lease.addr().clone(),
        source,
    };
    handshake::check_response(head.status, &head.headers, key).map_err(wrong)?;
    handshake::check_choice(&outbound.headers, &head.headers).map_err(wrong)?;
    let extensions = if head.headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
        Extensions::Negotiated
    } else {
        Extensions::None
    };
    hop_by_hop::strip(&mut head.headers);
    head.headers
        .insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    head.headers
        .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    complete(&mut head, asked);

    let (client, timeouts) = (asked.downstream.client, asked.timeouts);
    let opening = tunnel::Opening {
        backend: socket.stream,
        greeting: head_bytes(head.status, &head.headers, b""),
        early: socket.early,
        rules: asked.websocket.clone(),
        extensions,
        permit,
        life: Lifetime::new(timeouts.stream_idle, timeouts.stream_max),
        record: StreamRecord::open(
            asked.id.clone(),
            Kind::Tunnel,
            asked.route.clone(),
            client,
            lease.addr(),
        ),
        lease,
        after_fall: asked.after_fall,
    };
    Ok(HandOver::new(|taken| tunnel::run(taken, opening)))
}

//! A WebSocket handshake that the server has answered (RFC 6455 §4), for a client of HTTP/1.1 or HTTP/2 (RFC 8441).

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, Version};
use hyper::body::Incoming;

use super::request::Outbound;
use super::request_body::RequestBody;
use super::response::complete;
use super::{Asked, ForwardError, head_bytes};
use crate::http::body::Body;
use crate::http::hop_by_hop;
use crate::limits::StreamPermit;
use crate::observe::access::{Kind, StreamRecord};
use crate::stream::{Answer, HandOver, Lifetime, tunnel};
use crate::upstream::http1::ResponseHead;
use crate::upstream::{Lease, Reply};
use crate::websocket::boundary::Extensions;
use crate::websocket::handshake::{self, HandshakeFault};

/// Refuses what an extended CONNECT must not be answered with: any 2xx would say that the tunnel is there (RFC 9110 §9.3.6).
///
/// # Errors
/// The server answered with a success that is no 101.
pub(super) fn check_refusal(
    lease: &Lease,
    outbound: &Outbound,
    head: &ResponseHead,
    asked: &Asked<'_>,
) -> Result<(), ForwardError> {
    let is_extended = outbound.key.is_some() && asked.version == Version::HTTP_2;
    if is_extended && head.status.is_success() {
        return Err(ForwardError::Upgrade {
            server: lease.addr().clone(),
            source: HandshakeFault::Status,
        });
    }
    Ok(())
}

/// Checks the server's 101 and makes a tunnel of both sides.
///
/// # Errors
/// The answer does not fit the handshake, or there was none.
pub(super) fn accept(
    lease: Lease,
    outbound: &Outbound,
    mut head: ResponseHead,
    reply: Reply<RequestBody<Incoming>>,
    (asked, permit): (&Asked<'_>, StreamPermit),
) -> Result<Answer, ForwardError> {
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
    let over_http2 = asked.version == Version::HTTP_2;
    let greeting = if over_http2 {
        // hyper writes the head.
        complete(&mut head, asked);
        Bytes::new()
    } else {
        head.headers
            .insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        head.headers
            .insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        complete(&mut head, asked);
        head_bytes(head.status, &head.headers, b"")
    };

    let (client, timeouts) = (asked.downstream.client, asked.timeouts);
    let opening = tunnel::Opening {
        backend: socket.stream,
        greeting,
        early: socket.early,
        rules: asked.websocket.clone(),
        extensions,
        permit,
        life: Lifetime::new(timeouts.stream_idle, timeouts.stream_max),
        record: StreamRecord::open(
            asked.id.clone(),
            Kind::Tunnel,
            asked.route.clone(),
            (client, asked.losses.user()),
            lease.addr(),
            asked.version,
        ),
        lease,
        losses: asked.losses.clone(),
    };
    let stream = HandOver::new(|taken| tunnel::run(taken, opening));
    Ok(if over_http2 {
        Answer::Tunnel(agreement(head.headers), stream)
    } else {
        Answer::HandOver(stream)
    })
}

/// The answer to an extended CONNECT (RFC 8441 §5): 200 for the 101, without what belongs to the upgrade alone. What follows
/// is no content, whatever the server said of it.
fn agreement(mut headers: HeaderMap) -> Response<Body> {
    headers.remove(header::SEC_WEBSOCKET_ACCEPT);
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::TRAILER);
    let mut response = Response::new(Body::empty());
    *response.headers_mut() = headers;
    response
}

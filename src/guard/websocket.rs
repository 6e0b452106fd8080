//! Which requests are WebSocket handshakes, over HTTP/1.1 and HTTP/2.

use http::Request;
use hyper::upgrade::OnUpgrade;

use crate::http::extended_connect;
use crate::http::problem::Problem;
use crate::stream::Downstream;
use crate::websocket::handshake;

/// What the bytes of an extended CONNECT will come of; the request is then a handshake like one over HTTP/1.1. `None`: it is
/// another request.
///
/// # Errors
/// 501 for another protocol than WebSocket, 400 where the listener does not allow it.
pub fn extended<B>(
    downstream: &Downstream,
    request: &mut Request<B>,
) -> Result<Option<OnUpgrade>, Problem> {
    let upgrade = extended_connect::translate(request)?;
    if upgrade.is_some() && downstream.tunnels.is_none() {
        return Err(Problem::BadRequest("extended CONNECT is not spoken here"));
    }
    Ok(upgrade)
}

/// Whether the request is a WebSocket handshake, well-formed or not.
#[must_use]
pub fn is_asked_for<B>(request: &Request<B>) -> bool {
    extended_connect::is_one(request.extensions()) || handshake::wants_upgrade(request.headers())
}

//! WebSocket over HTTP/2: extended CONNECT (RFC 8441).
//!
//! Owns telling it apart from CONNECT itself, which nobody gets (this is no forward proxy). Invariant: what passes is a GET from
//! then on, as the handshake over HTTP/1.1 is, so that routes, guards and actions need not know; [`is_one`] still tells.

use http::{Extensions, Method, Request, Version};
use hyper::ext::Protocol;
use hyper::upgrade::OnUpgrade;

use crate::http::problem::Problem;

/// The one protocol that is spoken in tunnels (RFC 8441 §5).
const WEBSOCKET: &str = "websocket";

/// Makes an extended CONNECT for a WebSocket the GET that it stands for, and gives what resolves to its bytes once it was
/// answered with 200. `None`: it is a request like any other.
///
/// # Errors
/// 501 for another protocol (RFC 9220 §3).
pub fn translate<B>(request: &mut Request<B>) -> Result<Option<OnUpgrade>, Problem> {
    if *request.method() != Method::CONNECT || request.version() != Version::HTTP_2 {
        return Ok(None);
    }
    let Some(protocol) = request.extensions().get::<Protocol>() else {
        return Ok(None);
    };
    if protocol.as_str() != WEBSOCKET {
        return Err(Problem::NotImplemented);
    }
    *request.method_mut() = Method::GET;
    Ok(Some(hyper::upgrade::on(request)))
}

/// Whether the request with these extensions was an extended CONNECT for a WebSocket.
#[must_use]
pub fn is_one(extensions: &Extensions) -> bool {
    extensions
        .get::<Protocol>()
        .is_some_and(|protocol| protocol.as_str() == WEBSOCKET)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, version: Version, protocol: Option<&'static str>) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.version_mut() = version;
        if let Some(protocol) = protocol {
            let protocol = Protocol::from_static(protocol);
            request.extensions_mut().insert(protocol);
        }
        request
    }

    #[test]
    fn a_websocket_becomes_a_get() {
        let mut connect = request(Method::CONNECT, Version::HTTP_2, Some("websocket"));
        assert!(translate(&mut connect).unwrap().is_some());
        assert_eq!(*connect.method(), Method::GET);
        assert!(is_one(connect.extensions()));
    }

    #[test]
    fn other_protocols_are_not_implemented() {
        for protocol in ["connect-udp", "WebSocket", "websocket2", ""] {
            let mut connect = request(Method::CONNECT, Version::HTTP_2, Some(protocol));
            let refused = translate(&mut connect).map(|_| ());
            assert_eq!(refused, Err(Problem::NotImplemented), "{protocol}");
            assert!(!is_one(connect.extensions()));
        }
    }

    #[test]
    fn all_else_stays_what_it_is() {
        for (method, version) in [
            (Method::CONNECT, Version::HTTP_2),
            (Method::CONNECT, Version::HTTP_11),
            (Method::GET, Version::HTTP_2),
        ] {
            let mut other = request(method.clone(), version, None);
            assert!(translate(&mut other).unwrap().is_none());
            assert_eq!(*other.method(), method);
            assert!(!is_one(other.extensions()));
        }
    }
}

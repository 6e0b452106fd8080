//! For whom a request is, and whether its connection is the one for that.

use http::{Request, Version};
use hyper::body::Incoming;

use super::Asked;
use crate::http::framing;
use crate::http::host::RequestHost;
use crate::http::problem::Problem;
use crate::route;

/// Refuses what two parsers could read in two ways, before anything is done with it. What can be wrong with the head of an
/// HTTP/1.1 request but its path has been refused before it was a request ([`crate::http::inbound`]).
pub(super) fn admit(
    asked: &Asked<'_>,
    request: &Request<Incoming>,
) -> Result<RequestHost, Problem> {
    let (target, version, headers) = (request.uri(), request.version(), request.headers());
    if version >= Version::HTTP_2 {
        framing::check(request.method(), target, headers)
            .map_err(|_ambiguous| Problem::BadRequest("The request is ambiguous."))?;
    }
    let slashes = asked.snapshot.config.server.encoded_slashes;
    route::plain_path::check(target.path(), slashes)
        .map_err(|_unsafe| Problem::BadRequest("The request's path is not a plain one."))?;
    let host = RequestHost::of(target, headers, version)
        .map_err(|_bad| Problem::BadRequest("The request's host is missing or not one."))?;
    if is_misdirected(asked, host.name()) {
        return Err(Problem::Misdirected);
    }
    Ok(host)
}

/// Whether the client has been shown a certificate that is not this host's, while there is one that is (RFC 9110 §15.5.20). A browser
/// may use one connection for all hosts that its certificate is for (RFC 9113 §9.1.1); who asked for no name has not been promised
/// any; and a proxy that is trusted may carry the requests of many hosts on one connection.
fn is_misdirected(asked: &Asked<'_>, host: &str) -> bool {
    if asked.origin.is_believed {
        return false;
    }
    let handshake = asked.downstream.handshake.as_ref();
    let Some(names) = handshake.and_then(|handshake| handshake.names.as_ref()) else {
        return false;
    };
    let acceptor = asked.snapshot.acceptor.as_ref();
    !names.cover(host) && acceptor.is_some_and(|acceptor| acceptor.is_named(host))
}

//! From a request's head to where it comes from, for whom it is, whether its connection is the one for that, and to its route.

use http::{HeaderMap, Method, Request, Version};
use hyper::body::Incoming;

use super::{Asked, X_REQUEST_ID, known};
use crate::http::framing;
use crate::http::host::RequestHost;
use crate::http::origin::Origin;
use crate::http::problem::Problem;
use crate::observe::access::RequestId;
use crate::observe::trace::{Outline, Trace};
use crate::respond::values::Values;
use crate::route::{self, Captures, Found};
use crate::snapshot::{Route, Snapshot};
use crate::stream::Downstream;

/// What a path ends with that tickets are given at.
const TICKET: &str = "/ticket";

/// What a request wants.
pub(super) struct Wanted<'a> {
    pub(super) route: &'a Route,
    pub(super) captures: Captures,
    /// A ticket for streams of this path.
    pub(super) ticket: Option<String>,
}

/// Who asked: the other end of the connection, or who it says, if it is believed.
pub(super) fn origin(snapshot: &Snapshot, downstream: &Downstream, headers: &HeaderMap) -> Origin {
    let trust = &snapshot.config.trust;
    let Downstream {
        client,
        scheme,
        local,
        ..
    } = downstream;
    Origin::of_connection(client.0, scheme, local.port()).told_by(
        headers,
        trust.headers,
        |address| trust.believes(address),
    )
}

/// The name of a request, with its place in a trace where there are traces.
pub(super) fn named<B>(snapshot: &Snapshot, origin: &Origin, request: &Request<B>) -> RequestId {
    let id = request_id(origin, request.headers());
    let Some(rules) = &snapshot.config.trace else {
        return id;
    };
    let (target, headers) = (request.uri(), request.headers());
    let outline = || Outline {
        method: request.method().clone(),
        path: target.path().to_owned(),
        scheme: origin.proto,
        host: RequestHost::of(target, headers, request.version())
            .map_or_else(|_bad| String::new(), |host| host.authority().to_owned()),
    };
    id.traced(Trace::begin(rules, headers, origin.is_believed, outline))
}

/// The name that a believed proxy gave, if it is one and the only one; else ours.
fn request_id(origin: &Origin, headers: &HeaderMap) -> RequestId {
    if !origin.is_believed {
        return RequestId::random();
    }
    let mut names = headers.get_all(X_REQUEST_ID).iter();
    match (names.next(), names.next()) {
        (Some(name), None) => RequestId::told(name.as_bytes()).unwrap_or_else(RequestId::random),
        _ => RequestId::random(),
    }
}

/// Refuses what two parsers could read in two ways, before anything is done with it. What can be wrong with the head of an
/// HTTP/1.1 request but its path has been refused before it was a request ([`crate::http::inbound`]).
///
/// # Errors
/// 400; 421 for a request on another host's connection.
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

/// The route of a request.
///
/// # Errors
/// 404 and 405.
pub(super) fn route<'a>(
    snapshot: &'a Snapshot,
    host: &RequestHost,
    request: &Request<Incoming>,
) -> Result<Wanted<'a>, Problem> {
    let (host, path, method) = (host.name(), request.uri().path(), request.method());
    if let Some(wanted) = ticket(snapshot, host, path, method) {
        return Ok(wanted);
    }
    match snapshot.router.find(host, path, method) {
        Found::Route { target, captures } => Ok(Wanted {
            route: target,
            captures,
            ticket: None,
        }),
        Found::MethodNotAllowed(allowed) => Err(Problem::MethodNotAllowed(allowed)),
        Found::Nothing => Err(Problem::NotFound),
    }
}

/// The path whose streams a ticket is asked for, if the request may be for one.
#[must_use]
pub fn ticket_stem<'p>(method: &Method, path: &'p str) -> Option<&'p str> {
    if !matches!(*method, Method::POST | Method::OPTIONS) {
        return None;
    }
    match path.strip_suffix(TICKET)? {
        "" => Some("/"),
        stem => Some(stem),
    }
}

/// Tickets are given beside the streams that they open, whatever else takes such a path.
fn ticket<'a>(
    snapshot: &'a Snapshot,
    host: &str,
    path: &str,
    method: &Method,
) -> Option<Wanted<'a>> {
    let stem = ticket_stem(method, path)?;
    let Found::Route { target, captures } = snapshot.router.find(host, stem, &Method::GET) else {
        return None;
    };
    known::gives_tickets(target).then(|| Wanted {
        route: target,
        captures,
        ticket: (*method == Method::POST).then(|| stem.to_owned()),
    })
}

/// What a route's own words may name.
pub(super) fn values<'a>(
    asked: &'a Asked<'_>,
    route: &'a Route,
    captures: &'a Captures,
    host: &'a RequestHost,
    request: &'a Request<Incoming>,
) -> Values<'a> {
    Values {
        captures,
        pattern: &route.path,
        path: request.uri().path(),
        query: request.uri().query(),
        host: host.name(),
        origin: asked.origin,
        id: asked.id,
    }
}

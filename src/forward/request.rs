//! The request as the server gets it.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Uri, Version};
use http_body::Body;
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;

use super::{Asked, ForwardError};
use crate::config::model::{PathChange, Timeouts};
use crate::http::extended_connect;
use crate::http::hop_by_hop;
use crate::http::provenance::{self, Lines};
use crate::http::trace_context::{TRACEPARENT, TRACESTATE};
use crate::net::ServerAddr;
use crate::upstream::http1::{Framing, SendBody, write_request_head};
use crate::websocket::handshake::{self, Key};

/// A request, ready to be sent.
#[derive(Clone)]
pub(super) struct Outbound {
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: String,
    /// The client's fields, without those of its connection. Not all: see [`Outbound::write_head`].
    pub(super) headers: HeaderMap,
    /// What we say of the request's way.
    lines: Lines,
    host: Host,
    pub(super) framing: Framing,
    pub(super) send: SendBody,
    /// Of a WebSocket handshake.
    pub(super) key: Option<Key>,
}

/// What `Host` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    /// What the client asked for; it is in `headers`.
    Asked,
    /// The server's own authority, which is known when the server is.
    Server,
}

impl Outbound {
    /// Whether it is a head and nothing else: no body, and no tunnel behind it. Only then can it be sent twice.
    pub(super) fn is_bare(&self) -> bool {
        self.framing == Framing::Empty && self.key.is_none()
    }

    /// Whether it may be sent again although a server may have acted on it (RFC 9110 §9.2.2).
    pub(super) fn is_repeatable(&self) -> bool {
        self.is_bare() && self.method.is_idempotent()
    }

    /// How long the response's head may take.
    pub(super) fn limit(&self, timeouts: &Timeouts) -> Option<Duration> {
        if self.key.is_some() {
            timeouts.upgrade
        } else {
            timeouts.response
        }
    }

    /// Writes the whole head for `server`, as HTTP/1.1.
    pub(super) fn write_head(&self, server: &ServerAddr, out: &mut Vec<u8>) {
        let lines = self.lines.as_bytes();
        if self.host == Host::Asked {
            return write_request_head(out, &self.method, &self.path, &self.headers, lines);
        }
        let mut with_host = format!("host: {}\r\n", server.host_field()).into_bytes();
        with_host.extend_from_slice(lines);
        write_request_head(out, &self.method, &self.path, &self.headers, &with_host);
    }

    /// All fields for `server`, for a version of HTTP whose heads are no text.
    pub(super) fn fields(&self, server: &ServerAddr) -> HeaderMap {
        let mut headers = self.headers.clone();
        self.lines.clone().move_into(&mut headers);
        if self.host == Host::Server
            && let Ok(host) = HeaderValue::try_from(server.host_field())
        {
            headers.insert(header::HOST, host);
        }
        // hyper, which speaks it, knows nothing of it.
        headers.remove(header::EXPECT);
        headers
    }
}

/// Makes a request for the server from the client's.
///
/// # Errors
/// [`ForwardError::Handshake`]: it wants to be a WebSocket and is not one.
pub(super) fn prepare(
    request: Request<Incoming>,
    asked: &Asked<'_>,
) -> Result<(Outbound, Incoming), ForwardError> {
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    let key = if extended_connect::is_one(&parts.extensions) {
        Some(key_over_http2(&headers)?)
    } else {
        websocket_key(&parts.method, parts.version, &headers)?
    };
    let framing = framing(&body);
    hop_by_hop::strip(&mut headers);
    let send = expectation(&mut headers, parts.version, framing);
    frame(&mut headers, framing);
    if let Some(key) = &key {
        let field = HeaderValue::from_bytes(key.as_bytes());
        let field = field.expect("base64 is visible ASCII");
        headers.insert(header::SEC_WEBSOCKET_KEY, field);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    } else if headers.contains_key(header::TE) {
        // RFC 9110 §10.1.4: whoever sends TE says so.
        headers.insert(header::CONNECTION, HeaderValue::from_static("TE"));
    }
    if parts.version == Version::HTTP_2 {
        join_cookies(&mut headers);
    }
    let (lines, host) = identify(&mut headers, parts.version, asked);
    let path = target(&parts.uri, asked.path, asked.rewritten.as_deref());
    Ok((
        Outbound {
            method: parts.method,
            path,
            headers,
            lines,
            host,
            framing,
            send,
            key,
        },
        body,
    ))
}

/// RFC 6455 §4.2.1. Only HTTP/1.1 upgrades this way; in HTTP/2 such fields do not exist.
fn websocket_key(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
) -> Result<Option<Key>, ForwardError> {
    if version != Version::HTTP_11 || !handshake::wants_upgrade(headers) {
        return Ok(None);
    }
    handshake::check_request(method, version, headers)
        .map(Some)
        .map_err(ForwardError::Handshake)
}

/// RFC 8441 §5: the key belongs to the upgrade over HTTP/1.1, which is ours alone.
fn key_over_http2(headers: &HeaderMap) -> Result<Key, ForwardError> {
    handshake::check_extended_connect(headers).map_err(ForwardError::Handshake)?;
    Ok(Key::generate())
}

fn framing(body: &Incoming) -> Framing {
    if body.is_end_stream() {
        return Framing::Empty;
    }
    body.size_hint()
        .exact()
        .map_or(Framing::Chunked, Framing::Length)
}

/// Whether the server is asked before the body is sent, as the client asked us: hyper tells the client to go on as soon
/// as its body is wanted. Anything else that is expected is between the client and nobody (RFC 9110 §10.1.1).
fn expectation(headers: &mut HeaderMap, version: Version, framing: Framing) -> SendBody {
    let asks = headers
        .remove(header::EXPECT)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if !asks || framing == Framing::Empty || version != Version::HTTP_11 {
        return SendBody::AtOnce;
    }
    headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
    SendBody::WhenAsked
}

fn frame(headers: &mut HeaderMap, framing: Framing) {
    match framing {
        Framing::Chunked => {
            headers.remove(header::CONTENT_LENGTH);
            headers.insert(
                header::TRANSFER_ENCODING,
                HeaderValue::from_static("chunked"),
            );
        }
        Framing::Length(length) => {
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        // `Content-Length: 0` of a POST stays.
        Framing::Empty | Framing::UntilClose => {}
    }
}

/// HTTP/2 clients may send a field for each cookie; HTTP/1.1 has one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut values = headers.get_all(header::COOKIE).iter();
    if values.next().is_none() || values.next().is_none() {
        return;
    }
    let all: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Who asks, and by which way; then the route's own rules, which may change that too.
fn identify(headers: &mut HeaderMap, version: Version, asked: &Asked<'_>) -> (Lines, Host) {
    provenance::remove_claims(headers);
    let authority = asked.host.authority();
    let host = if asked.preserve_host {
        let same = |value: &HeaderValue| value.as_bytes() == authority.as_bytes();
        if !headers.get(header::HOST).is_some_and(same)
            && let Ok(host) = HeaderValue::from_str(authority)
        {
            headers.insert(header::HOST, host);
        }
        Host::Asked
    } else {
        headers.remove(header::HOST);
        Host::Server
    };
    let mut lines = Lines::of(asked.origin, version, authority, asked.id.as_str());
    if let Some(trace) = asked.id.trace() {
        headers.remove(TRACEPARENT);
        if !trace.keeps_state() {
            headers.remove(TRACESTATE);
        }
        lines.push(TRACEPARENT.as_str(), &trace.here().to_string());
    }
    if let Some(certificate) = asked.downstream.certificate() {
        lines.append(certificate.lines());
    }
    if !asked.request_fields.is_empty() {
        lines.move_into(headers);
        asked.request_fields.apply_to_request(headers);
    }
    (lines, host)
}

/// The target for the server: the path as the route changes it, and the query as it came. `rewritten` is the path that a
/// `rewrite` has come to.
#[must_use]
pub fn target(uri: &Uri, change: &PathChange, rewritten: Option<&str>) -> String {
    match (change, rewritten) {
        (PathChange::Strip(prefix), _) => stripped(uri, Some(prefix)),
        (PathChange::Rewrite(_), Some(path)) => match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path.to_owned(),
        },
        (PathChange::Keep | PathChange::Rewrite(_), _) => stripped(uri, None),
    }
}

/// The origin form (RFC 9112 §3.2.1) of `uri`, without `prefix` where that stands at a segment's border.
fn stripped(uri: &Uri, prefix: Option<&str>) -> String {
    let whole = uri.path_and_query().map_or("/", |target| target.as_str());
    let rest = prefix
        .map(|prefix| prefix.trim_end_matches('/'))
        .and_then(|prefix| behind(whole, prefix))
        .unwrap_or(whole);
    if rest.starts_with('/') || rest == "*" {
        rest.to_owned()
    } else {
        format!("/{rest}")
    }
}

/// What stands behind `prefix`, which ends at a segment's border. The route took it percent-decoded, so it may be written in
/// other letters here.
fn behind<'t>(whole: &'t str, prefix: &str) -> Option<&'t str> {
    let is_border = |rest: &&str| rest.is_empty() || rest.starts_with(['/', '?']);
    if let Some(rest) = whole.strip_prefix(prefix).filter(is_border) {
        return Some(rest);
    }
    let path = whole.find('?').unwrap_or(whole.len());
    let mut borders = whole[..path].match_indices('/').map(|(at, _)| at).skip(1);
    let segments = prefix.matches('/').count();
    let end = borders.nth(segments.checked_sub(1)?).unwrap_or(path);
    let same = percent_decode_str(&whole[..end]).eq(percent_decode_str(prefix));
    same.then(|| &whole[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_goes_only_at_a_border() {
        let cases = [
            ("/api/users?x=1", Some("/api"), "/users?x=1"),
            ("/api/users", Some("/api/"), "/users"),
            ("/api", Some("/api"), "/"),
            ("/api?x", Some("/api"), "/?x"),
            ("/apiary", Some("/api"), "/apiary"),
            ("/%61pi/users?a=/b", Some("/api"), "/users?a=/b"),
            ("/a%70i?/x", Some("/api"), "/?/x"),
            ("/v1/%61pi/users", Some("/v1/api"), "/users"),
            ("/v1/gr%c3%bcn/x", Some("/v1/gr%C3%BCn"), "/x"),
            ("/%61piary/x", Some("/api"), "/%61piary/x"),
            ("/b?c", Some("/api/v1"), "/b?c"),
            ("/api/users", None, "/api/users"),
            ("https://h/a?b", None, "/a?b"),
            ("https://h", None, "/"),
            ("*", None, "*"),
        ];
        for (uri, prefix, expected) in cases {
            assert_eq!(stripped(&uri.parse().unwrap(), prefix), expected, "{uri}");
        }
    }

    #[test]
    fn cookies_become_one_field() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=1"));
        headers.append(header::COOKIE, HeaderValue::from_static("b=2"));
        join_cookies(&mut headers);
        let all: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
        assert_eq!(all, ["a=1; b=2"]);
    }
}

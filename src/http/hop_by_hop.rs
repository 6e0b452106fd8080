//! Fields that are for the next hop alone and are not sent on (RFC 9110 §7.6.1).
//!
//! Owns their removal from a head, in both directions. Invariant: `Connection` can only remove what is an extension
//! of the hop; a field that later decisions rest on stays, whoever names it.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::http::list::members;

/// Whether a field is always looked at: `Connection` and `TE`, and what always goes. `Proxy-Authenticate` and
/// `Proxy-Authorization` are between a client and its own proxy (RFC 9110 §11.7); `HTTP2-Settings` belongs to an upgrade
/// that is never made (RFC 9113 §3.1).
fn is_of_the_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "te"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Kept although `Connection` names them: a client could otherwise take from a request what a backend trusts to
/// be there (identity, origin, addresses), what says how the body is read, or what says for whom it is. None of them
/// is ever a legitimate connection option: they are for all recipients (RFC 9110 §7.6.1).
const PROTECTED: [HeaderName; 22] = [
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DATE,
    header::EXPECT,
    header::FORWARDED,
    header::HOST,
    HeaderName::from_static("last-event-id"),
    header::LOCATION,
    header::ORIGIN,
    header::RANGE,
    header::REFERER,
    header::SET_COOKIE,
    header::TRAILER,
    header::VARY,
    header::VIA,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("x-request-id"),
];

/// The same for whole families: addresses and identity as proxies and their authentication set them, what browsers
/// vouch for, cross-origin rules. Any other `X-` field may be an extension of the hop and goes when it is named.
const PROTECTED_FAMILIES: [&str; 6] = [
    "x-forwarded-",
    "x-real-",
    "x-client-",
    "x-auth-",
    "sec-",
    "access-control-",
];

/// Removes the fields that are for this hop alone, those named in `Connection` included. Of `TE` only `trailers`
/// stays; whoever sends it over HTTP/1.1 owes it a `Connection: te` (RFC 9110 §10.1.4). `Trailer` stays.
pub fn strip(headers: &mut HeaderMap) {
    // One pass over the names that are there: to look each up would cost more than all else that is done to a head.
    let found: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_of_the_hop(name))
        .cloned()
        .collect();
    if found.contains(&header::CONNECTION) {
        for name in named_by_connection(headers) {
            headers.remove(name);
        }
    }
    for name in found {
        if name == header::TE {
            reduce_te(headers);
        } else {
            headers.remove(name);
        }
    }
}

/// Does not allocate for what is usual: `close`, `keep-alive`, `upgrade` and `te` are removed anyway.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    members(headers, &header::CONNECTION)
        .filter(|token| {
            let usual = [&b"close"[..], b"keep-alive", b"upgrade", b"te"];
            !usual.iter().any(|usual| token.eq_ignore_ascii_case(usual))
        })
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        .filter(|name| !is_protected(name))
        .collect()
}

fn is_protected(name: &HeaderName) -> bool {
    PROTECTED.contains(name)
        || PROTECTED_FAMILIES
            .iter()
            .any(|family| name.as_str().starts_with(family))
}

fn reduce_te(headers: &mut HeaderMap) {
    let trailers =
        members(headers, &header::TE).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    } else {
        headers.remove(header::TE);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::strip;

    fn stripped(fields: &[(&'static str, &'static str)]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        strip(&mut headers);
        let text = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        headers.iter().map(text).collect()
    }

    #[test]
    fn fields_of_the_hop_are_removed() {
        let left = stripped(&[
            ("connection", "close, X"),
            ("connection", "x-hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("proxy-authenticate", "Basic"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("http2-settings", "AAA"),
            ("trailer", "x-sum"),
            ("accept", "*/*"),
        ]);
        let names: Vec<_> = left.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), 2);
        assert!(names.contains(&"trailer") && names.contains(&"accept"));
    }

    #[test]
    fn connection_header_cannot_remove_what_backends_trust() {
        for name in [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-real-ip",
            "x-request-id",
            "forwarded",
            "host",
            "via",
            "content-length",
            "authorization",
            "cookie",
            "origin",
            "sec-websocket-key",
            "last-event-id",
        ] {
            let left = stripped(&[("connection", name), (name, "v")]);
            assert_eq!(left, [(name.to_owned(), "v".to_owned())]);
        }
    }

    #[test]
    fn te_keeps_trailers_alone() {
        for (te, left) in [
            ("trailers", Some("trailers")),
            ("gzip;q=0.5, Trailers", Some("trailers")),
            ("gzip", None),
            ("", None),
        ] {
            let found = stripped(&[("connection", "te"), ("te", te)]);
            assert_eq!(found.first().map(|(_, value)| value.as_str()), left, "{te}");
        }
    }
}

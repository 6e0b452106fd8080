//! What a proxy tells the next hop of a request's way: `X-Forwarded-*`, `Forwarded` (RFC 7239), `Via` (RFC 9110 §7.6.3),
//! `X-Request-Id`.
//!
//! Owns these fields of a head. Invariant: what goes out is made from the [`Origin`] alone, so a backend can believe all of
//! it; whatever a client or an unbelieved proxy wrote of the kind is removed by [`remove_claims`].
//!
//! The fields are lines of bytes behind the client's own: seven of them as entries of a `HeaderMap` cost a tenth of a
//! whole request. Where rules or HTTP/2 need them as entries, [`Lines::move_into`] makes them so.

use std::io::Write;
use std::net::IpAddr;

use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::http::origin::Origin;

/// How the fields begin that tell of a client's certificate.
const CERTIFICATE: &str = "x-client-cert";

/// Fields that are written straight into a head, behind those of its `HeaderMap`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines(Vec<u8>);

impl Lines {
    /// The way of a request that came in `version` from `origin` and asked for `host` (empty: none); `id` names it.
    /// `host` and `id` have been checked: they hold no control characters and no quotes.
    #[must_use]
    pub fn of(origin: &Origin, version: Version, host: &str, id: &str) -> Self {
        let mut text = Vec::with_capacity(320);
        push_lines(&mut text, origin, host);
        push(&mut text, &["via: ", via_member(version)]);
        push(&mut text, &["\r\nx-request-id: ", id, "\r\n"]);
        Self(text)
    }

    /// The bytes: each line ends with CRLF.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// One more line. Name and value have been checked: they hold no control characters.
    pub fn push(&mut self, name: &str, value: &str) {
        push(&mut self.0, &[name, ": ", value, "\r\n"]);
    }

    /// The lines of `more` behind these.
    pub fn append(&mut self, more: &Self) {
        self.0.extend_from_slice(&more.0);
    }

    /// Makes entries of the lines, behind those of the same names; no line is left.
    pub fn move_into(&mut self, headers: &mut HeaderMap) {
        for line in self.0.split(|byte| *byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            let name = HeaderName::from_bytes(&line[..colon]);
            let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
            if let (Ok(name), Ok(value)) = (name, value) {
                headers.append(name, value);
            }
        }
        self.0.clear();
    }
}

/// Removes whatever a head says of the kind, and what a CGI or WSGI backend would take for something that it is not: it cannot
/// tell `X_Forwarded_For` from `X-Forwarded-For`, nor `Content_Length` from what we vouch for, and `Proxy` from its own
/// environment. One pass, and no look-up where there is nothing.
pub fn remove_claims(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_claim(name.as_str()))
        .cloned()
        .collect();
    for name in claims {
        headers.remove(name);
    }
}

/// Removes what a client says of its own certificate.
pub fn remove_certificates(headers: &mut HeaderMap) {
    let is_claim = |name: &&HeaderName| is_of_certificate(name.as_str());
    let claims: Vec<HeaderName> = headers.keys().filter(is_claim).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

/// Whether this field, in lower case, tells of a client's certificate.
#[must_use]
pub fn is_of_certificate(name: &str) -> bool {
    begins_as(name, CERTIFICATE)
}

/// Whether a CGI or WSGI backend reads both names, in lower case, as one.
#[must_use]
pub fn reads_as(name: &str, other: &str) -> bool {
    name.len() == other.len() && begins_as(name, other)
}

/// Appends this proxy to `Via`, with the version in which the message was received.
pub fn via(headers: &mut HeaderMap, version: Version) {
    headers.append(header::VIA, HeaderValue::from_static(via_member(version)));
}

fn via_member(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "1.0 streamgate",
        Version::HTTP_2 => "2.0 streamgate",
        Version::HTTP_3 => "3.0 streamgate",
        _ => "1.1 streamgate",
    }
}

/// Whether by this field, in lower case, a client may say of itself what only a proxy can know.
pub fn is_claim(name: &str) -> bool {
    // Most names end here.
    match name.as_bytes().first() {
        Some(b'x') => {
            begins_as(name, "x-forwarded")
                || is_of_certificate(name)
                || reads_as(name, "x-real-ip")
                || reads_as(name, "x-request-id")
        }
        Some(b'f') => name == "forwarded",
        Some(b'p') => name == "proxy",
        Some(b'c') => name != "content-length" && reads_as(name, "content-length"),
        Some(b't') => name != "transfer-encoding" && reads_as(name, "transfer-encoding"),
        _ => false,
    }
}

fn begins_as(name: &str, prefix: &str) -> bool {
    let dashed = |byte: u8| if byte == b'_' { b'-' } else { byte };
    let same = |(one, other): (u8, u8)| dashed(one) == dashed(other);
    name.len() >= prefix.len() && name.bytes().zip(prefix.bytes()).all(same)
}

fn push(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Formats each address once, and nothing but numbers: this runs for every request.
fn push_lines(out: &mut Vec<u8>, origin: &Origin, asked: &str) {
    // On a socket for both families an IPv4 client has an address such as `::ffff:192.0.2.1`.
    let client = origin.client.ip().to_canonical();
    let host = origin.host.as_deref().unwrap_or(asked);
    let later = || origin.proxies.iter().rev();

    push(out, &["x-forwarded-for: "]);
    let begin = out.len();
    push_address(out, client);
    let client_text = begin..out.len();
    for proxy in later() {
        push(out, &[", "]);
        push_address(out, *proxy);
    }
    push(out, &["\r\nx-forwarded-proto: ", origin.proto, "\r\n"]);
    if !host.is_empty() {
        push(out, &["x-forwarded-host: ", host, "\r\n"]);
    }
    push(out, &["x-forwarded-port: "]);
    push_number(out, origin.port);
    push(out, &["\r\nforwarded: "]);
    push_node(out, client, |out| out.extend_from_within(client_text));
    // A colon is not part of a token, so a host with a port or an IPv6 address is quoted (RFC 7239 §4).
    match host {
        "" => {}
        host if host.contains([':', '[']) => push(out, &[";host=\"", host, "\""]),
        host => push(out, &[";host=", host]),
    }
    push(out, &[";proto=", origin.proto]);
    for proxy in later() {
        push(out, &[", "]);
        push_node(out, *proxy, |out| push_address(out, *proxy));
    }
    push(out, &["\r\n"]);
}

/// An IPv6 address is bracketed and quoted (RFC 7239 §6).
fn push_node(out: &mut Vec<u8>, address: IpAddr, text: impl FnOnce(&mut Vec<u8>)) {
    let (before, behind) = match address {
        IpAddr::V4(_) => ("for=", ""),
        IpAddr::V6(_) => ("for=\"[", "]\""),
    };
    push(out, &[before]);
    text(out);
    push(out, &[behind]);
}

/// What `Display` would write. IPv4 is written here: the formatting machinery took longer than all the rest of these lines.
fn push_address(out: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => {
            let [first, rest @ ..] = address.octets();
            push_number(out, first);
            for octet in rest {
                out.push(b'.');
                push_number(out, octet);
            }
        }
        IpAddr::V6(address) => {
            // Writing into memory cannot fail.
            let _ = write!(out, "{address}");
        }
    }
}

fn push_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Version};

    use super::{Lines, remove_claims, via};
    use crate::http::origin::Origin;

    fn lines(client: &str, host: &str, proxies: &[&str]) -> Vec<String> {
        let mut origin = Origin::of_connection(client.parse().unwrap(), "https", 443);
        origin.proxies = proxies.iter().map(|ip| ip.parse().unwrap()).collect();
        let lines = Lines::of(&origin, Version::HTTP_2, host, "the-id");
        let text = std::str::from_utf8(lines.as_bytes()).unwrap();
        text.split_terminator("\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn fields_say_who_asked_for_what() {
        for (client, host, address, element) in [
            (
                "192.0.2.1:5",
                "a.org",
                "192.0.2.1",
                "for=192.0.2.1;host=a.org;proto=https",
            ),
            (
                "[::ffff:192.0.2.1]:5",
                "a.org",
                "192.0.2.1",
                "for=192.0.2.1;host=a.org;proto=https",
            ),
            (
                "[2001:db8::1]:5",
                "a.org:8443",
                "2001:db8::1",
                "for=\"[2001:db8::1]\";host=\"a.org:8443\";proto=https",
            ),
            (
                "192.0.2.1:5",
                "[::1]",
                "192.0.2.1",
                "for=192.0.2.1;host=\"[::1]\";proto=https",
            ),
        ] {
            let expected = [
                format!("x-forwarded-for: {address}"),
                "x-forwarded-proto: https".to_owned(),
                format!("x-forwarded-host: {host}"),
                "x-forwarded-port: 443".to_owned(),
                format!("forwarded: {element}"),
                "via: 2.0 streamgate".to_owned(),
                "x-request-id: the-id".to_owned(),
            ];
            assert_eq!(lines(client, host, &[]), expected);
        }
    }

    #[test]
    fn believed_proxies_follow_the_client() {
        let found = lines("192.0.2.1:0", "", &["10.0.0.1", "fd00::2"]);
        assert_eq!(found[0], "x-forwarded-for: 192.0.2.1, fd00::2, 10.0.0.1");
        assert_eq!(
            found[3],
            "forwarded: for=192.0.2.1;proto=https, for=\"[fd00::2]\", for=10.0.0.1"
        );
    }

    #[test]
    fn lines_become_entries_behind_what_is_there() {
        let origin = Origin::of_connection("192.0.2.1:5".parse().unwrap(), "http", 80);
        let mut lines = Lines::of(&origin, Version::HTTP_11, "a.org:80", "id");
        let mut headers = HeaderMap::new();
        headers.append("via", "1.0 fred".parse().unwrap());
        lines.move_into(&mut headers);
        assert_eq!(lines, Lines::default());
        assert_eq!(headers.len(), 8);
        assert_eq!(headers["x-forwarded-host"], "a.org:80");
        let via: Vec<_> = headers.get_all("via").iter().collect();
        assert_eq!(via, ["1.0 fred", "1.1 streamgate"]);
    }

    #[test]
    fn claims_of_a_client_do_not_survive() {
        let mut headers = HeaderMap::new();
        for name in [
            "x-forwarded-for",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-prefix",
            "x-forwarded-server",
            "x_forwarded_for",
            "x-forwarded_proto",
            "x-real-ip",
            "x_real_ip",
            "x-request-id",
            "x_request-id",
            "forwarded",
            "proxy",
            "content_length",
            "transfer_encoding",
            "x-forward-thinking",
            "x-real-ip-range",
            "from",
            "content-length",
        ] {
            headers.append(name, "evil".parse().unwrap());
        }
        remove_claims(&mut headers);
        let mut left: Vec<_> = headers.keys().map(http::HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(
            left,
            [
                "content-length",
                "from",
                "x-forward-thinking",
                "x-real-ip-range"
            ]
        );
    }

    #[test]
    fn via_names_the_version_and_keeps_earlier_hops() {
        let mut headers = HeaderMap::new();
        headers.append("via", "1.0 fred".parse().unwrap());
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            via(&mut headers, version);
        }
        let hops: Vec<_> = headers.get_all("via").iter().collect();
        assert_eq!(
            hops,
            [
                "1.0 fred",
                "1.0 streamgate",
                "1.1 streamgate",
                "2.0 streamgate"
            ]
        );
    }
}

//! What a proxy tells the next hop about a request: `X-Forwarded-*`, `Forwarded` (RFC 7239), `Via` (RFC 9110 §7.6.3).
//!
//! Owns these fields of a head. Invariant: after [`apply`] nothing a client wrote about addresses is left, since no
//! client is trusted; a backend can believe what it finds. Runs for each request: static values where possible, one
//! buffer for each other.

use std::fmt::Write;
use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// How a request reached us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forwarding<'a> {
    /// The other end of the connection.
    pub client: IpAddr,
    /// `http` or `https`.
    pub proto: &'static str,
    /// The authority as the client sent it; `None`: it sent none.
    pub host: Option<&'a str>,
    /// The port on which the request came in.
    pub port: u16,
}

/// Sets `X-Forwarded-For`, `-Proto`, `-Host`, `-Port` and `Forwarded`, and removes all else of the kind.
pub fn apply(headers: &mut HeaderMap, forwarding: &Forwarding<'_>) {
    remove_claims(headers);
    // On a socket for both families an IPv4 client has an address such as `::ffff:192.0.2.1`.
    let client = forwarding.client.to_canonical();
    let host = forwarding.host.filter(|host| !host.is_empty());

    let mut text = BytesMut::with_capacity(128);
    let address = piece(&mut text, |text| write!(text, "{client}"));
    set(headers, X_FORWARDED_FOR, address);
    let element = piece(&mut text, |text| {
        write_element(text, client, host, forwarding.proto)
    });
    set(headers, header::FORWARDED, element);
    let sent = host.map(|host| piece(&mut text, |text| text.write_str(host)));
    set(headers, X_FORWARDED_HOST, sent.flatten());
    set(
        headers,
        X_FORWARDED_PROTO,
        Some(HeaderValue::from_static(forwarding.proto)),
    );
    set(
        headers,
        X_FORWARDED_PORT,
        Some(HeaderValue::from(forwarding.port)),
    );
}

/// Appends this proxy to `Via`, with the version in which the message was received.
pub fn via(headers: &mut HeaderMap, version: Version) {
    let value = match version {
        Version::HTTP_09 | Version::HTTP_10 => "1.0 streamgate",
        Version::HTTP_2 => "2.0 streamgate",
        Version::HTTP_3 => "3.0 streamgate",
        _ => "1.1 streamgate",
    };
    headers.append(header::VIA, HeaderValue::from_static(value));
}

/// Removes what a client may claim about itself in fields that [`apply`] does not set. Names with an underscore go
/// too: a CGI or WSGI backend cannot tell `X_Forwarded_For` from `X-Forwarded-For`.
fn remove_claims(headers: &mut HeaderMap) {
    let is_set = |name: &HeaderName| {
        [
            X_FORWARDED_FOR,
            X_FORWARDED_PROTO,
            X_FORWARDED_HOST,
            X_FORWARDED_PORT,
        ]
        .contains(name)
    };
    let claims: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_claim(name.as_str()) && !is_set(name))
        .cloned()
        .collect();
    for name in claims {
        headers.remove(name);
    }
}

fn is_claim(name: &str) -> bool {
    // Most names end here.
    if !name.starts_with('x') {
        return false;
    }
    let reads_as = |prefix: &str| {
        let same = |(found, wanted): (u8, u8)| found == wanted || (found == b'_' && wanted == b'-');
        name.len() >= prefix.len() && name.bytes().zip(prefix.bytes()).all(same)
    };
    reads_as("x-forwarded") || (name.len() == "x-real-ip".len() && reads_as("x-real-ip"))
}

/// Writes one value into the shared buffer and takes it out. `None`: it is no field value.
fn piece(
    text: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut) -> std::fmt::Result,
) -> Option<HeaderValue> {
    let written = write(text);
    let value: Bytes = text.split().freeze();
    written.ok()?;
    HeaderValue::from_maybe_shared(value).ok()
}

/// One element of `Forwarded` (RFC 7239 §4). An IPv6 address is bracketed and quoted (§6), and so is a host with a
/// port, since a colon is not part of a token. A host holds no quotes: it passed `http::host`.
fn write_element(
    text: &mut BytesMut,
    client: IpAddr,
    host: Option<&str>,
    proto: &str,
) -> std::fmt::Result {
    match client {
        IpAddr::V4(address) => write!(text, "for={address}")?,
        IpAddr::V6(address) => write!(text, "for=\"[{address}]\"")?,
    }
    match host {
        Some(host) if host.contains(['"', '\\']) => {}
        Some(host) if host.contains([':', '[']) => write!(text, ";host=\"{host}\"")?,
        Some(host) => write!(text, ";host={host}")?,
        None => {}
    }
    write!(text, ";proto={proto}")
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    match value {
        Some(value) => headers.insert(name, value),
        None => headers.remove(name),
    };
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Version};

    use super::{Forwarding, apply, via};

    fn applied(headers: &mut HeaderMap, client: &str, host: Option<&str>) -> Vec<Option<String>> {
        let client = client.parse().unwrap();
        apply(
            headers,
            &Forwarding {
                client,
                proto: "https",
                host,
                port: 443,
            },
        );
        [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded-port",
            "forwarded",
        ]
        .map(|name| {
            assert!(headers.get_all(name).iter().count() <= 1, "{name}");
            headers
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        })
        .to_vec()
    }

    #[test]
    fn fields_say_who_asked_for_what() {
        for (client, host, address, element) in [
            (
                "192.0.2.1",
                "a.org",
                "192.0.2.1",
                "for=192.0.2.1;host=a.org;proto=https",
            ),
            (
                "::ffff:192.0.2.1",
                "a.org",
                "192.0.2.1",
                "for=192.0.2.1;host=a.org;proto=https",
            ),
            (
                "2001:db8::1",
                "a.org:8443",
                "2001:db8::1",
                "for=\"[2001:db8::1]\";host=\"a.org:8443\";proto=https",
            ),
            (
                "192.0.2.1",
                "[::1]",
                "192.0.2.1",
                "for=192.0.2.1;host=\"[::1]\";proto=https",
            ),
        ] {
            let found = applied(&mut HeaderMap::new(), client, Some(host));
            let expected =
                [address, "https", host, "443", element].map(|text| Some(text.to_owned()));
            assert_eq!(found, expected);
        }
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
            "forwarded",
            "x-forward-thinking",
            "x-real-ip-range",
        ] {
            headers.append(name, "evil".parse().unwrap());
        }
        let found = applied(&mut headers, "192.0.2.1", None);
        assert_eq!(found[0].as_deref(), Some("192.0.2.1"));
        assert_eq!(found[2], None);
        assert_eq!(found[4].as_deref(), Some("for=192.0.2.1;proto=https"));
        let mut left: Vec<_> = headers
            .iter()
            .filter(|(_, value)| *value == "evil")
            .map(|(name, _)| name.as_str())
            .collect();
        left.sort_unstable();
        assert_eq!(left, ["x-forward-thinking", "x-real-ip-range"]);
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

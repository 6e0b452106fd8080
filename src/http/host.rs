//! For whom a request is: the host that its route is chosen by.
//!
//! Owns reading and checking it. Invariant: there is one answer; a request that names two hosts, or none that could
//! be told apart from another, is refused (RFC 9112 §3.2, RFC 9113 §8.3.1).

use std::net::Ipv6Addr;

use http::header::{HOST, HeaderMap};
use http::{Uri, Version};
use thiserror::Error;

/// The longest name in the DNS as text, without a trailing dot (RFC 1035 §2.3.4).
const NAME_MAX: usize = 253;

/// A request's host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHost {
    authority: Box<str>,
    name: Name,
    port: Option<u16>,
}

/// The name by which hosts are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    /// As it stands at the begin of the authority, so many bytes of it.
    Sent(usize),
    /// Put into its normal form.
    Normal(Box<str>),
}

/// Why a request's host cannot be known. The answer is 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HostError {
    /// No `Host` field or `:authority`, or an empty one.
    #[error("the request names no host")]
    Missing,
    /// More than one `Host` line.
    #[error("the request has more than one Host field")]
    Several,
    /// `Host` differs from the request's target.
    #[error("the Host field differs from the request's target")]
    Differs,
    /// User information, which is none of a server's business (RFC 9110 §4.2.4).
    #[error("the request's host has user information in it")]
    UserInfo,
    /// Characters that no host name has, or none at all.
    #[error("the request's host is not a host name")]
    Name,
    /// The port is no number from 1 to 65535.
    #[error("the request's host has an invalid port")]
    Port,
}

impl RequestHost {
    /// Reads a request's host from its target and its fields. HTTP/1.0 may name none; then name and authority are
    /// empty.
    ///
    /// # Errors
    /// No host, two of them, or one that is malformed.
    pub fn of(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<Self, HostError> {
        let mut fields = headers.get_all(HOST).iter();
        let field = fields.next();
        if fields.next().is_some() {
            return Err(HostError::Several);
        }
        let field = match field {
            Some(value) => Some(Self::parse(value.to_str().map_err(|_| HostError::Name)?)?),
            None => None,
        };
        let target = match uri.authority() {
            Some(authority) => Some(Self::parse(authority.as_str())?),
            None => None,
        };
        match (target, field) {
            (Some(target), Some(field)) => {
                let default = default_port(uri);
                if target.name() != field.name()
                    || target.port.or(default) != field.port.or(default)
                {
                    return Err(HostError::Differs);
                }
                Ok(target)
            }
            // A client must send Host even when the target has an authority (RFC 9112 §3.2); HTTP/2 needs but one.
            (Some(_), None) if version == Version::HTTP_11 => Err(HostError::Missing),
            (Some(host), None) | (None, Some(host)) => Ok(host),
            (None, None) if version < Version::HTTP_11 => Ok(Self {
                authority: "".into(),
                name: Name::Sent(0),
                port: None,
            }),
            (None, None) => Err(HostError::Missing),
        }
    }

    /// The name alone: lower case, without port and trailing dot. An IPv6 address is in brackets and in its
    /// canonical form (RFC 5952).
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.name {
            Name::Sent(length) => &self.authority[..*length],
            Name::Normal(name) => name,
        }
    }

    /// Name and port as they were sent, for the next hop.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The port, if one was sent.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Reads `name`, `name:port` or `[address]:port`, wherever it was written.
    ///
    /// # Errors
    /// It is malformed.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text.is_empty() {
            return Err(HostError::Missing);
        }
        if text.contains('@') {
            return Err(HostError::UserInfo);
        }
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest.split_once(']').ok_or(HostError::Name)?;
                let address: Ipv6Addr = address.parse().map_err(|_| HostError::Name)?;
                let port = match after {
                    "" => None,
                    _ => Some(after.strip_prefix(':').ok_or(HostError::Name)?),
                };
                (Name::Normal(format!("[{address}]").into()), port)
            }
            None => match text.split_once(':') {
                Some((name, port)) => (reg_name(name)?, Some(port)),
                None => (reg_name(text)?, None),
            },
        };
        let port = port.map(parse_port).transpose()?;
        Ok(Self {
            authority: text.into(),
            name,
            port,
        })
    }
}

/// Only what names in the DNS and on local networks consist of; RFC 3986 §3.2.2 would allow far more, none of which
/// a backend could make sense of.
fn reg_name(text: &str) -> Result<Name, HostError> {
    let name = text.strip_suffix('.').unwrap_or(text);
    // One pass: this runs for every request, and twice for those over HTTP/1.1.
    let (mut is_empty, mut has_upper) = (true, false);
    for byte in name.bytes() {
        match byte {
            b'.' if !is_empty => is_empty = true,
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => is_empty = false,
            b'A'..=b'Z' => (is_empty, has_upper) = (false, true),
            _ => return Err(HostError::Name),
        }
    }
    if is_empty || name.len() > NAME_MAX {
        return Err(HostError::Name);
    }
    if has_upper {
        return Ok(Name::Normal(name.to_ascii_lowercase().into()));
    }
    Ok(Name::Sent(name.len()))
}

fn parse_port(text: &str) -> Result<u16, HostError> {
    let digits = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits && port != 0 => Ok(port),
        _ => Err(HostError::Port),
    }
}

fn default_port(uri: &Uri) -> Option<u16> {
    match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Uri, Version};

    use super::{HostError, RequestHost};

    fn of(uri: &str, hosts: &[&str], version: Version) -> Result<RequestHost, HostError> {
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append("host", HeaderValue::from_bytes(host.as_bytes()).unwrap());
        }
        RequestHost::of(&uri.parse::<Uri>().unwrap(), &headers, version)
    }

    #[test]
    fn name_is_normal_and_authority_as_sent() {
        for (sent, name, port) in [
            ("Example.ORG", "example.org", None),
            ("example.org.", "example.org", None),
            ("example.org.:8443", "example.org", Some(8443)),
            ("my_app", "my_app", None),
            ("192.0.2.1:80", "192.0.2.1", Some(80)),
            ("[2001:DB8:0::1]:443", "[2001:db8::1]", Some(443)),
            ("[::1]", "[::1]", None),
        ] {
            let host = of("/", &[sent], Version::HTTP_11).unwrap();
            assert_eq!(
                (host.name(), host.authority(), host.port()),
                (name, sent, port)
            );
        }
    }

    #[test]
    fn rubbish_is_refused() {
        let long = format!("{}org", "a.".repeat(126));
        for (sent, error) in [
            ("", HostError::Missing),
            ("user@example.org", HostError::UserInfo),
            ("example.org:", HostError::Port),
            ("example.org:+80", HostError::Port),
            ("example.org:0", HostError::Port),
            ("example.org:65536", HostError::Port),
            ("example.org:80:80", HostError::Port),
            (".", HostError::Name),
            ("a..b", HostError::Name),
            (".a", HostError::Name),
            ("a..", HostError::Name),
            ("a b", HostError::Name),
            ("a/b", HostError::Name),
            ("a,b", HostError::Name),
            ("a%2eb", HostError::Name),
            ("*.org", HostError::Name),
            ("bücher.example", HostError::Name),
            ("[::1", HostError::Name),
            ("[::1]x", HostError::Name),
            ("[fe80::1%25eth0]", HostError::Name),
            ("[127.0.0.1]", HostError::Name),
            (":80", HostError::Name),
            (&long, HostError::Name),
        ] {
            assert_eq!(of("/", &[sent], Version::HTTP_11), Err(error), "{sent}");
        }
    }

    #[test]
    fn there_is_exactly_one_host() {
        use Version as V;
        for (uri, hosts, version, expected) in [
            ("/", &["a.org"][..], V::HTTP_11, Ok("a.org")),
            ("/", &[], V::HTTP_11, Err(HostError::Missing)),
            ("/", &[], V::HTTP_10, Ok("")),
            ("/", &["a.org"], V::HTTP_10, Ok("a.org")),
            (
                "/",
                &["a.org", "a.org"],
                V::HTTP_11,
                Err(HostError::Several),
            ),
            ("http://a.org/", &["A.org"], V::HTTP_11, Ok("a.org")),
            ("http://a.org/", &["a.org:80"], V::HTTP_11, Ok("a.org")),
            (
                "http://a.org/",
                &["a.org:81"],
                V::HTTP_11,
                Err(HostError::Differs),
            ),
            (
                "http://a.org/",
                &["b.org"],
                V::HTTP_11,
                Err(HostError::Differs),
            ),
            ("http://a.org/", &[], V::HTTP_11, Err(HostError::Missing)),
            ("https://a.org/", &[], V::HTTP_2, Ok("a.org")),
            ("https://a.org/", &["a.org"], V::HTTP_2, Ok("a.org")),
            (
                "https://a.org/",
                &["b.org"],
                V::HTTP_2,
                Err(HostError::Differs),
            ),
            ("/", &["a.org"], V::HTTP_2, Ok("a.org")),
            ("/", &[], V::HTTP_2, Err(HostError::Missing)),
            (
                "http://u:p@a.org/",
                &["a.org"],
                V::HTTP_11,
                Err(HostError::UserInfo),
            ),
        ] {
            let found = of(uri, hosts, version);
            assert_eq!(
                found.as_ref().map(RequestHost::name),
                expected.as_ref().copied(),
                "{uri} {hosts:?}"
            );
        }
    }
}

//! The URLs of upstreams and feeds: `scheme://host:port` and what follows.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::config::schema::scalar::Refusal;
use crate::config::spelling;
use crate::net::Authority;

/// A URL of one of the schemes that are allowed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Url<'a> {
    /// In lower case.
    pub(crate) scheme: &'static str,
    /// Host and port.
    pub(crate) authority: Authority,
    /// Path, query and fragment, as they stand.
    pub(crate) rest: &'a str,
}

/// A scheme that is allowed, with the port of a URL that has none.
pub(crate) type Scheme = (&'static str, u16);

/// The longest DNS name (RFC 1035 §2.3.4).
const MAX_HOST: usize = 253;

/// Parses a URL of one of `allowed`, of which the first is suggested where there is none. The host is a name or an
/// address; nothing is looked up.
pub(crate) fn parse<'a>(text: &'a str, allowed: &[Scheme]) -> Result<Url<'a>, Refusal> {
    let Some((found, after)) = text.split_once("://") else {
        let first = allowed.first().map_or("", |(scheme, _)| scheme);
        return Err(Refusal::malformed("the scheme is missing")
            .with_hint(format!("write \"{first}://{text}\"")));
    };
    let known = allowed
        .iter()
        .find(|(scheme, _)| found.eq_ignore_ascii_case(scheme));
    let Some(&(scheme, default_port)) = known else {
        return Err(wrong_scheme(found, allowed));
    };
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let (authority, rest) = after.split_at(end);
    if authority.contains('@') {
        return Err(Refusal::malformed(
            "a user and password are not allowed in a URL",
        ));
    }
    let (host, port) = split_port(authority)?;
    let port = match port {
        None => default_port,
        Some(digits) => parse_port(digits)?,
    };
    Ok(Url {
        scheme,
        authority: Authority {
            host: parse_host(host)?,
            port,
        },
        rest,
    })
}

fn wrong_scheme(found: &str, allowed: &[Scheme]) -> Refusal {
    let names = allowed.iter().map(|(scheme, _)| *scheme);
    let listed: Vec<String> = names.clone().map(|name| format!("`{name}://`")).collect();
    let refusal = Refusal::malformed(format!("the schemes here are {}", listed.join(", ")));
    match spelling::nearest(found, names) {
        // A scheme that exists is meant, and not misspelt.
        Some(scheme) if !matches!(found, "https" | "wss") => {
            refusal.with_hint(format!("did you mean `{scheme}://`?"))
        }
        _ => refusal,
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), Refusal> {
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (_, after) = bracketed
            .split_once(']')
            .ok_or_else(|| Refusal::malformed("`[` without `]`"))?;
        let host = &authority[..authority.len() - after.len()];
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(Refusal::malformed(
                "something stands between `]` and the port",
            )),
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(Refusal::malformed("IPv6 needs brackets")),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

fn parse_port(digits: &str) -> Result<u16, Refusal> {
    let port = if digits.bytes().all(|b| b.is_ascii_digit()) {
        digits.parse::<u16>().ok()
    } else {
        None
    };
    port.filter(|&port| port != 0)
        .ok_or_else(|| Refusal::malformed("the port must be 1 to 65535"))
}

fn parse_host(host: &str) -> Result<Arc<str>, Refusal> {
    if let Some(inner) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let address = inner
            .parse::<Ipv6Addr>()
            .map_err(|_| Refusal::malformed("that is no IPv6 address"))?;
        return Ok(address.to_string().into());
    }
    if host.is_empty() {
        return Err(Refusal::malformed("the host is missing"));
    }
    let label = |label: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(plain)
    };
    if host.len() > MAX_HOST || !host.trim_end_matches('.').split('.').all(label) {
        return Err(Refusal::malformed("that is no host name"));
    }
    // A name whose last label is a number is meant as an address (WHATWG URL, "ends in a number").
    let numeric = host
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err(Refusal::malformed("that is no IPv4 address"));
    }
    Ok(host.to_ascii_lowercase().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_port_and_rest_are_split() {
        let table = [
            ("http://app", "app:80", ""),
            ("HTTP://App.Example:3000/x?y", "app.example:3000", "/x?y"),
            ("http://127.0.0.1:1", "127.0.0.1:1", ""),
            ("http://[::1]", "[::1]:80", ""),
            ("http://[::1]:8080?q", "[::1]:8080", "?q"),
        ];
        for (text, authority, rest) in table {
            let url = parse(text, &[("http", 80)]).unwrap();
            assert_eq!(
                (url.authority.to_string().as_str(), url.rest),
                (authority, rest),
                "{text}"
            );
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let wrong = [
            "",
            "app",
            "app:3000",
            "htp://app",
            "https://app",
            "http://",
            "http://:80",
            "http://u@app",
            "http://u:p@app",
            "http://app:",
            "http://app:0",
            "http://app:65536",
            "http://app:+1",
            "http://::1:80",
            "http://[::1",
            "http://[x]",
            "http://[::1]x",
            "http://a..b",
            "http://a b",
            "http://256.1.1.1",
            "http://1.2.3",
            "http://{room}",
            "http://é",
        ];
        for text in wrong {
            assert!(parse(text, &[("http", 80)]).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "http://\\PC*") {
            let _ = parse(&text, &[("http", 80)]);
        }
    }
}

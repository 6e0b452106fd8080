//! Requests of HTTP/2 that somebody behind us could read in two ways.
//!
//! Owns the check of what is ambiguous once it is written as HTTP/1.1 (RFC 9113 §10.3) and h2 lets through. The heads of
//! HTTP/1.1 itself are judged as bytes by [`crate::http::inbound`], before a parser has forgiven anything, and not again. Whom
//! a request is for is [`crate::http::host`]'s question in both. Invariant: a request that passes has one body length and
//! one target, whoever reads it.

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, Uri};
use thiserror::Error;

use crate::http::list::members;

/// In what a request is ambiguous. The answer is 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Ambiguous {
    /// HTTP/2 has none (RFC 9113 §8.2.2).
    #[error("Transfer-Encoding in HTTP/2")]
    TransferEncoding,
    /// More than one line, or not a plain number (RFC 9110 §8.6).
    #[error("Content-Length is not a single number")]
    ContentLength,
    /// This is no forward proxy. Extended CONNECT (RFC 8441) is told apart by its `:protocol`, by the caller.
    #[error("CONNECT is not supported")]
    Connect,
    /// A change of protocol in mid-connection, known for smuggling (RFC 9113 §3.1 made it obsolete).
    #[error("an upgrade to `h2c` is not supported")]
    UpgradeH2c,
    /// A field that frames or routes has bytes in it that are not printable ASCII.
    #[error("a field that frames or routes the request has unsafe bytes")]
    UnsafeValue,
    /// No path, or bytes in it that no URI has (RFC 9113 §8.3.1).
    #[error("the request target is malformed")]
    Target,
}

/// Whether a field decides where a request begins, ends and goes. Others may hold any text (RFC 9110 §5.5); control
/// characters are already impossible in a [`http::HeaderValue`] that was checked.
fn is_decisive(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "expect"
            | "host"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Refuses a request of HTTP/2 that somebody behind us could read in another way.
///
/// # Errors
/// The first ambiguity found.
pub fn check(method: &Method, target: &Uri, headers: &HeaderMap) -> Result<(), Ambiguous> {
    if *method == Method::CONNECT {
        return Err(Ambiguous::Connect);
    }
    check_target(method, target)?;
    if !has_decisive(headers)? {
        return Ok(());
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Ambiguous::TransferEncoding);
    }
    check_content_length(headers)?;
    // Asking for `h2c` through a proxy makes some backends stop speaking HTTP/1.1 behind its back.
    if members(headers, &header::UPGRADE).any(|token| {
        let name = token.split(|byte| *byte == b'/').next().unwrap_or_default();
        name.eq_ignore_ascii_case(b"h2c")
    }) {
        return Err(Ambiguous::UpgradeH2c);
    }
    Ok(())
}

/// The `http` crate takes a path without its slash, and any UTF-8 in it.
fn check_target(method: &Method, target: &Uri) -> Result<(), Ambiguous> {
    let text = target.path_and_query().map_or("", |target| target.as_str());
    let is_path = text.starts_with('/') || (text == "*" && *method == Method::OPTIONS);
    if !is_path || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Ambiguous::Target);
    }
    Ok(())
}

/// Whether there is a decisive field, each with a safe value. One pass over what is there: most requests have none.
fn has_decisive(headers: &HeaderMap) -> Result<bool, Ambiguous> {
    let is_safe = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    let mut found = false;
    for (_, value) in headers.iter().filter(|(name, _)| is_decisive(name)) {
        if !value.as_bytes().iter().all(is_safe) {
            return Err(Ambiguous::UnsafeValue);
        }
        found = true;
    }
    Ok(found)
}

fn check_content_length(headers: &HeaderMap) -> Result<(), Ambiguous> {
    let mut lines = headers.get_all(header::CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else {
        return Ok(());
    };
    let digits = first.as_bytes();
    // Nineteen digits always fit into 64 bits, and no body is that long.
    let number = (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    if !number || lines.next().is_some() {
        return Err(Ambiguous::ContentLength);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method, Uri};

    use super::{Ambiguous, check};

    fn checked(fields: &[(&'static str, &'static str)]) -> Result<(), Ambiguous> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        check(&Method::POST, &Uri::from_static("/"), &headers)
    }

    #[test]
    fn ambiguous_requests_are_refused() {
        use Ambiguous::{ContentLength, TransferEncoding, UnsafeValue, UpgradeH2c};
        let (te, cl) = ("transfer-encoding", "content-length");
        for (fields, error) in [
            (&[(te, "chunked")][..], TransferEncoding),
            (&[(te, "")], TransferEncoding),
            (&[(te, "chun\u{212a}ed")], UnsafeValue),
            (&[(cl, "5"), (cl, "5")], ContentLength),
            (&[(cl, "5, 5")], ContentLength),
            (&[(cl, "+5")], ContentLength),
            (&[(cl, "")], ContentLength),
            (&[(cl, "99999999999999999999")], ContentLength),
            (&[("upgrade", "h2c")], UpgradeH2c),
            (&[("upgrade", "websocket, H2C/1")], UpgradeH2c),
            (&[("host", "b\u{fc}cher.example")], UnsafeValue),
        ] {
            assert_eq!(checked(fields), Err(error), "{fields:?}");
        }
    }

    #[test]
    fn ordinary_requests_pass() {
        for fields in [
            &[][..],
            &[("content-length", "0")],
            &[("content-length", "0005")],
            &[("cookie", "name=caf\u{e9}")],
        ] {
            assert_eq!(checked(fields), Ok(()), "{fields:?}");
        }
    }

    #[test]
    fn a_target_is_a_path_of_visible_ascii() {
        let none = HeaderMap::new();
        for (method, target, expected) in [
            (Method::GET, "/a%20b?c=|", Ok(())),
            (Method::GET, "https://a.org", Ok(())),
            (Method::OPTIONS, "*", Ok(())),
            (Method::GET, "*", Err(Ambiguous::Target)),
            (Method::GET, "/\u{e9}", Err(Ambiguous::Target)),
            (Method::GET, "/?\u{e9}", Err(Ambiguous::Target)),
            (Method::CONNECT, "/", Err(Ambiguous::Connect)),
        ] {
            let found = check(&method, &target.parse().unwrap(), &none);
            assert_eq!(found, expected, "{method} {target}");
        }
    }
}

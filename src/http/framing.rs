//! Requests that two parsers could read in two ways.
//!
//! Owns the last check of a request's head before it is routed. hyper has refused most of them when it parsed the
//! head (differing lengths, obs-fold, space before a colon, bare CR, NUL), and it drops `Content-Length`
//! without a word when `Transfer-Encoding` stands beside it: what is checked here is what it lets through.
//! Invariant: a request that passes has one body length, whoever reads it (RFC 9112 §6.3).

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, Version};
use thiserror::Error;

use crate::http::list::members;

/// In what a request is ambiguous. The answer is 400, and the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Ambiguous {
    /// Anything but exactly one `chunked`, or any coding before HTTP/1.1 (RFC 9112 §6.1).
    #[error("Transfer-Encoding is something other than a single `chunked`")]
    TransferEncoding,
    /// Two ways to say how long the body is (RFC 9112 §6.3).
    #[error("the request has both Transfer-Encoding and Content-Length")]
    TwoFramings,
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
}

/// Fields that decide where a request begins, ends and goes. Others may hold any text (RFC 9110 §5.5); control
/// characters are already impossible in a [`http::HeaderValue`] that was checked.
const DECISIVE: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Refuses a request that somebody behind us could read in another way.
///
/// # Errors
/// The first ambiguity found.
pub fn check(method: &Method, version: Version, headers: &HeaderMap) -> Result<(), Ambiguous> {
    if *method == Method::CONNECT {
        return Err(Ambiguous::Connect);
    }
    check_values(headers)?;
    check_transfer_encoding(version, headers)?;
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

fn check_values(headers: &HeaderMap) -> Result<(), Ambiguous> {
    let is_safe = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    for name in &DECISIVE {
        for value in headers.get_all(name) {
            if !value.as_bytes().iter().all(is_safe) {
                return Err(Ambiguous::UnsafeValue);
            }
        }
    }
    Ok(())
}

fn check_transfer_encoding(version: Version, headers: &HeaderMap) -> Result<(), Ambiguous> {
    let mut lines = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(first) = lines.next() else {
        return Ok(());
    };
    let chunked = first
        .as_bytes()
        .trim_ascii()
        .eq_ignore_ascii_case(b"chunked");
    if version != Version::HTTP_11 || !chunked || lines.next().is_some() {
        return Err(Ambiguous::TransferEncoding);
    }
    if headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Ambiguous::TwoFramings);
    }
    Ok(())
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
    use http::{HeaderMap, HeaderValue, Method, Version};

    use super::{Ambiguous, check};

    fn checked(version: Version, fields: &[(&'static str, &'static str)]) -> Result<(), Ambiguous> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        check(&Method::POST, version, &headers)
    }

    #[test]
    fn ambiguous_requests_are_refused() {
        use Ambiguous::{ContentLength, TransferEncoding, TwoFramings, UnsafeValue, UpgradeH2c};
        let (te, cl) = ("transfer-encoding", "content-length");
        for (fields, error) in [
            (&[(te, "gzip, chunked")][..], TransferEncoding),
            (&[(te, "chunked, chunked")], TransferEncoding),
            (&[(te, "chunked"), (te, "chunked")], TransferEncoding),
            (&[(te, "identity")], TransferEncoding),
            (&[(te, "")], TransferEncoding),
            (&[(te, "chunked;q=1")], TransferEncoding),
            (&[(te, "chunked"), (cl, "5")], TwoFramings),
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
            assert_eq!(checked(Version::HTTP_11, fields), Err(error), "{fields:?}");
        }
    }

    #[test]
    fn ordinary_requests_pass() {
        for fields in [
            &[][..],
            &[("transfer-encoding", "Chunked")],
            &[("content-length", "0")],
            &[("content-length", "0005")],
            &[("upgrade", "websocket")],
            &[("cookie", "name=caf\u{e9}")],
        ] {
            assert_eq!(checked(Version::HTTP_11, fields), Ok(()), "{fields:?}");
        }
    }

    #[test]
    fn chunked_is_of_http_1_1_alone() {
        for version in [Version::HTTP_10, Version::HTTP_2] {
            let found = checked(version, &[("transfer-encoding", "chunked")]);
            assert_eq!(found, Err(Ambiguous::TransferEncoding));
        }
    }

    #[test]
    fn connect_is_refused() {
        let found = check(&Method::CONNECT, Version::HTTP_11, &HeaderMap::new());
        assert_eq!(found, Err(Ambiguous::Connect));
    }
}

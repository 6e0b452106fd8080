//! Heads: a request's is written, a response's is read (RFC 9112 §2 to §6).

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};

/// Fields of a response's head at most.
const MAX_FIELDS: usize = 128;

/// Room for what a proxy adds to a response's head (`Via`, `X-Request-Id`), so that the map need not be built anew for it.
const ADDED_FIELDS: usize = 2;

/// How the end of a body is found (RFC 9112 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// So many bytes.
    Length(u64),
    /// Chunks, up to the last.
    Chunked,
    /// All that comes until the connection ends.
    UntilClose,
}

/// The head of a response.
#[derive(Debug)]
pub struct ResponseHead {
    /// Its status.
    pub status: StatusCode,
    /// Its version.
    pub version: Version,
    /// Its fields, as they came.
    pub headers: HeaderMap,
    /// How its body ends.
    pub framing: Framing,
}

/// Why a response's head is refused.
#[derive(Debug, thiserror::Error)]
pub enum BadHead {
    /// It breaks the grammar.
    #[error("the response's head is malformed")]
    Syntax(#[from] httparse::Error),
    /// A name or value that is not allowed.
    #[error("the response has an invalid field or status")]
    Field,
    /// `Content-Length` is not one number, or stands beside `Transfer-Encoding`.
    #[error("the response's length is ambiguous")]
    AmbiguousLength,
    /// A transfer coding other than `chunked`.
    #[error("the response has an unknown transfer coding")]
    UnknownCoding,
}

/// Writes a request's head. `path` is its origin-form target; `fields` goes out as it is, and must hold the framing. `lines`
/// are more fields behind those, each with its CRLF.
pub fn write_request_head(
    out: &mut Vec<u8>,
    method: &Method,
    path: &str,
    fields: &HeaderMap,
    lines: &[u8],
) {
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_fields(out, fields);
    out.extend_from_slice(lines);
    out.extend_from_slice(b"\r\n");
}

/// Writes a response's head, as HTTP/1.1.
pub fn write_response_head(out: &mut Vec<u8>, status: StatusCode, fields: &HeaderMap) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    write_fields(out, fields);
    out.extend_from_slice(b"\r\n");
}

fn write_fields(out: &mut Vec<u8>, fields: &HeaderMap) {
    for (name, value) in fields {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads a response's head from the front of `input`. `None`: it is not whole yet. With it comes its length in bytes.
///
/// # Errors
/// [`BadHead`].
pub(super) fn parse(
    input: &[u8],
    request: &Method,
) -> Result<Option<(ResponseHead, usize)>, BadHead> {
    let mut slots = [const { MaybeUninit::uninit() }; MAX_FIELDS];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, input, &mut slots)? {
        httparse::Status::Complete(length) => length,
        httparse::Status::Partial => return Ok(None),
    };
    // httparse takes a bare LF for a line's end; RFC 9112 §2.2 lets a recipient do so, but what follows a proxy might not.
    if bare_line_feed(&input[..length]) {
        return Err(BadHead::Syntax(httparse::Error::NewLine));
    }
    let status = parsed
        .code
        .and_then(|code| StatusCode::from_u16(code).ok())
        .ok_or(BadHead::Field)?;
    let version = if parsed.version == Some(0) {
        Version::HTTP_10
    } else {
        Version::HTTP_11
    };
    let headers = copy_fields(&input[..length], parsed.headers)?;
    let framing = framing(request, status, version, &headers)?;
    Ok(Some((
        ResponseHead {
            status,
            version,
            headers,
            framing,
        },
        length,
    )))
}

fn bare_line_feed(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r')
}

/// One allocation for all values: they are slices of one copy of the head.
fn copy_fields(head: &[u8], fields: &[httparse::Header<'_>]) -> Result<HeaderMap, BadHead> {
    let copy = Bytes::copy_from_slice(head);
    let origin = head.as_ptr() as usize;
    let mut headers = HeaderMap::with_capacity(fields.len() + ADDED_FIELDS);
    for field in fields {
        let name =
            HeaderName::from_bytes(field.name.as_bytes()).map_err(|_invalid| BadHead::Field)?;
        let start = field.value.as_ptr() as usize - origin;
        let value = if field.value.is_empty() {
            Bytes::new()
        } else {
            copy.slice(start..start + field.value.len())
        };
        let value = HeaderValue::from_maybe_shared(value).map_err(|_invalid| BadHead::Field)?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// RFC 9112 §6.3, with every ambiguity refused.
fn framing(
    request: &Method,
    status: StatusCode,
    version: Version,
    headers: &HeaderMap,
) -> Result<Framing, BadHead> {
    let coding = single(headers, &header::TRANSFER_ENCODING)?;
    let length = single(headers, &header::CONTENT_LENGTH)?;
    if coding.is_some() && (length.is_some() || version == Version::HTTP_10) {
        return Err(BadHead::AmbiguousLength);
    }
    let length = length.map(decimal).transpose()?;
    if coding.is_some_and(|coding| !coding.eq_ignore_ascii_case(b"chunked")) {
        return Err(BadHead::UnknownCoding);
    }
    let bodiless = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || request == Method::HEAD;
    Ok(match (bodiless, coding, length) {
        (true, ..) | (false, None, Some(0)) => Framing::Empty,
        (false, Some(_), _) => Framing::Chunked,
        (false, None, Some(length)) => Framing::Length(length),
        (false, None, None) => Framing::UntilClose,
    })
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a [u8]>, BadHead> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        Some(_second) => Err(BadHead::AmbiguousLength),
        None => Ok(first.map(HeaderValue::as_bytes)),
    }
}

fn decimal(value: &[u8]) -> Result<u64, BadHead> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = digits
        .then(|| std::str::from_utf8(value).ok()?.parse().ok())
        .flatten();
    number.ok_or(BadHead::AmbiguousLength)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<(ResponseHead, usize)>, BadHead> {
        parse(text.as_bytes(), &Method::GET)
    }

    #[test]
    fn the_framing_follows_the_fields() {
        let cases = [
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n",
                Framing::Length(12),
            ),
            (
                "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                Framing::Empty,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n",
                Framing::Chunked,
            ),
            ("HTTP/1.1 200\r\n\r\n", Framing::UntilClose),
            ("HTTP/1.0 200 OK\r\nX-Empty:\r\n\r\n", Framing::UntilClose),
            ("HTTP/1.1 204 No Content\r\n\r\n", Framing::Empty),
            (
                "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
                Framing::Empty,
            ),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Framing::Empty),
        ];
        for (text, expected) in cases {
            let (head, length) = read(text).unwrap().unwrap();
            assert_eq!(head.framing, expected, "{text}");
            assert_eq!(length, text.len());
        }
        let (head, _) = parse(
            b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n",
            &Method::HEAD,
        )
        .unwrap()
        .unwrap();
        assert_eq!(head.framing, Framing::Empty);
    }

    #[test]
    fn an_ambiguous_head_is_refused() {
        let cases = [
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1, 1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +1\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: 1\r\n folded\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx : 1\r\n\r\n",
            "HTTP/1.1 200 OK\nx: 1\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "ICY 200 OK\r\n\r\n",
        ];
        for text in cases {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_head_that_is_not_whole_is_waited_for() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n";
        for end in 0..text.len() {
            assert!(read(&text[..end]).unwrap().is_none());
        }
    }
}

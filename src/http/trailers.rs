//! Fields behind a body (RFC 9110 §6.5, RFC 9112 §7.1.2).
//!
//! Owns their parsing, writing and which fields may stand there at all. Invariant: what is forbidden in a trailer
//! section neither comes out of a decoder nor goes into [`write()`]: a backend that merges trailers into the head must
//! not let a client change framing, routing or identity behind the checks.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http_body::Frame;

use crate::http::provenance;

/// Whether a field may stand behind a body: those may not that frame, route, authenticate, modify the request or say
/// how to read the content (RFC 9110 §6.5.1).
#[must_use]
pub fn is_allowed(name: &HeaderName) -> bool {
    let forbidden = [
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::CONTENT_RANGE,
        header::CONTENT_TYPE,
        header::COOKIE,
        header::EXPECT,
        header::FORWARDED,
        header::HOST,
        header::LOCATION,
        header::PROXY_AUTHORIZATION,
        header::RANGE,
        header::SET_COOKIE,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::VIA,
    ];
    !forbidden.contains(name) && !provenance::is_claim(name.as_str())
}

/// Removes from a piece of a body the trailers that may not stand there. Those of HTTP/2 have come past no parser of ours.
#[must_use]
pub fn without_forbidden(frame: Frame<Bytes>) -> Frame<Bytes> {
    let mut fields = match frame.into_trailers() {
        Ok(fields) => fields,
        Err(frame) => return frame,
    };
    let forbidden = fields.keys().filter(|name| !is_allowed(name));
    let forbidden: Vec<HeaderName> = forbidden.cloned().collect();
    for name in forbidden {
        fields.remove(name);
    }
    Frame::trailers(fields)
}

/// Appends the allowed fields as lines, without the empty line behind them.
pub fn write(fields: &HeaderMap, out: &mut Vec<u8>) {
    for (name, value) in fields.iter().filter(|(name, _)| is_allowed(name)) {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Reads lines that each end with CRLF. Forbidden fields are left out. `None`: a line is no field (RFC 9112 §5: no
/// folding, no space before the colon).
pub(super) fn parse(lines: Vec<u8>) -> Option<HeaderMap> {
    let lines = Bytes::from(lines);
    let mut fields = HeaderMap::new();
    let mut start = 0;
    while start < lines.len() {
        let end = start + memchr::memmem::find(&lines[start..], b"\r\n")?;
        let line = lines.slice(start..end);
        let colon = memchr::memchr(b':', &line)?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = line.slice_ref(line[colon + 1..].trim_ascii());
        let value = HeaderValue::from_maybe_shared(value).ok()?;
        if is_allowed(&name) {
            fields.append(name, value);
        }
        start = end + 2;
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;
    use http_body::Frame;

    use super::{parse, without_forbidden, write};

    #[test]
    fn fields_are_read_and_written_alike() {
        let lines = b"x-sum: 1\r\nserver-timing: a, b\r\nx-sum: 2\r\nempty: \r\n";
        let fields = parse(lines.to_vec()).unwrap();
        assert_eq!(fields.len(), 4);
        let mut out = Vec::new();
        write(&fields, &mut out);
        assert_eq!(parse(out), Some(fields));
    }

    #[test]
    fn fields_that_frame_route_or_authenticate_are_left_out() {
        let lines =
            b"Content-Length: 5\r\nhost: a\r\nX-Forwarded-For: 1.1.1.1\r\ncookie: a=b\r\nok: 1\r\n\
              X_Forwarded_For: 1.1.1.1\r\nX-Real-IP: 1.1.1.1\r\nContent_Length: 1\r\n";
        let fields = parse(lines.to_vec()).unwrap();
        assert_eq!(
            fields.keys().map(|name| name.as_str()).collect::<Vec<_>>(),
            ["ok"]
        );

        let mut forbidden = HeaderMap::new();
        forbidden.insert("transfer-encoding", "chunked".parse().unwrap());
        let mut out = Vec::new();
        write(&forbidden, &mut out);
        assert!(out.is_empty());
    }

    #[test]
    fn entries_are_held_to_the_same() {
        let mut fields = HeaderMap::new();
        for name in [
            "x-sum",
            "authorization",
            "x-forwarded-for",
            "x_real_ip",
            "content-length",
        ] {
            fields.append(name, "1".parse().unwrap());
        }
        let left = without_forbidden(Frame::trailers(fields));
        let left = left.into_trailers().unwrap();
        assert_eq!(left.len(), 1);
        assert!(left.contains_key("x-sum"));
        let data = without_forbidden(Frame::data(Bytes::from_static(b"a")));
        assert_eq!(data.into_data().unwrap(), "a");
    }

    #[test]
    fn lines_that_are_no_fields_are_refused() {
        for lines in [
            "novalue\r\n",
            "a : b\r\n",
            " a: b\r\n",
            ": b\r\n",
            "a: b\r\n fold\r\n",
            "a: \x01\r\n",
        ] {
            assert_eq!(parse(lines.into()), None, "{lines:?}");
        }
    }
}

//! Which request paths are safe to compare at all.
//!
//! Owns [`check`]. Invariant: a path that passes has no dot segments, whoever resolves it, so what is matched here is what a
//! backend will resolve.

use percent_encoding::percent_decode_str;
use thiserror::Error;

/// Why a request's path is refused before it is routed: a backend could read it as another path than we do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UnsafePath {
    /// `.` or `..` as a segment, also percent-encoded, before a `;`, or between backslashes.
    #[error("the path has dot segments")]
    DotSegment,
    /// `%2F`
    #[error("the path has an encoded slash")]
    EncodedSlash,
    /// `%00`
    #[error("the path has an encoded NUL")]
    EncodedNul,
    /// `%` without two hexadecimal digits behind it.
    #[error("the path has a broken percent-encoding")]
    BrokenEncoding,
}

/// What is done with a path that has `%2F` in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EncodedSlashes {
    /// It is refused: some backends take it for a slash.
    #[default]
    Reject,
    /// It is passed on as it came, and is never a border of segments here.
    Keep,
}

/// Refuses a request's path (still percent-encoded, without its query) that streamgate and a backend could resolve
/// differently (RFC 3986 §6.2.2.3 and §7.3). `//` is an empty segment and passes.
///
/// # Errors
/// The first fault found. The answer is 400.
pub fn check(path: &str, slashes: EncodedSlashes) -> Result<(), UnsafePath> {
    let bytes = path.as_bytes();
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'%', rest) {
        match rest.get(at + 1..at + 3) {
            Some(b"00") => return Err(UnsafePath::EncodedNul),
            Some([b'2', b'f' | b'F']) if slashes == EncodedSlashes::Reject => {
                return Err(UnsafePath::EncodedSlash);
            }
            Some([high, low]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {}
            _ => return Err(UnsafePath::BrokenEncoding),
        }
        rest = &rest[at + 3..];
    }
    if memchr::memchr3(b'.', b'%', b'\\', bytes).is_some() && has_dot_segment(path) {
        return Err(UnsafePath::DotSegment);
    }
    Ok(())
}

/// Some servers take a backslash for a slash, and some cut a segment at `;`, so both count as a border here: a
/// backend must not find a dot segment that we did not.
fn has_dot_segment(path: &str) -> bool {
    let mut state = Dots::Some(0);
    for byte in percent_decode_str(path).chain([b'/']) {
        state = match (state, byte) {
            (Dots::Some(1 | 2), b'/' | b'\\' | b';') => return true,
            (_, b'/' | b'\\') => Dots::Some(0),
            (Dots::Some(count), b'.') if count < 2 => Dots::Some(count + 1),
            _ => Dots::Text,
        };
    }
    false
}

/// What a segment consists of so far.
#[derive(Clone, Copy)]
enum Dots {
    /// This many dots and nothing else.
    Some(u8),
    Text,
}

#[cfg(test)]
mod tests {
    use super::{EncodedSlashes, UnsafePath};

    fn check(path: &str) -> Result<(), UnsafePath> {
        super::check(path, EncodedSlashes::Reject)
    }

    #[test]
    fn request_paths_that_two_parsers_resolve_differently_are_refused() {
        use UnsafePath::{BrokenEncoding, DotSegment, EncodedNul, EncodedSlash};
        for (path, fault) in [
            ("/..", DotSegment),
            ("/.", DotSegment),
            ("/a/../b", DotSegment),
            ("/a/./b", DotSegment),
            ("/a/%2e%2E/b", DotSegment),
            ("/a/.%2e", DotSegment),
            ("/a/..;x=1/b", DotSegment),
            ("/a\\..\\b", DotSegment),
            ("/a/..%5Cb", DotSegment),
            ("/a%2fb", EncodedSlash),
            ("/a%2Fb", EncodedSlash),
            ("/a%00", EncodedNul),
            ("/a%", BrokenEncoding),
            ("/a%2", BrokenEncoding),
            ("/a%g0", BrokenEncoding),
        ] {
            assert_eq!(check(path), Err(fault), "{path}");
        }
    }

    #[test]
    fn ordinary_request_paths_pass() {
        for path in [
            "/",
            "//",
            "/a//b",
            "/...",
            "/a/.hidden",
            "/a/b..",
            "/a..b",
            "/%252e%252e/",
            "/a%5Cb",
            "/%E2%82%AC",
            "/a;b=1",
            "/a/...;x",
            "*",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn kept_encoded_slashes_hide_no_dot_segment() {
        for (path, expected) in [
            ("/group%2Fproject", Ok(())),
            ("/a%2f%2Fb/%2F", Ok(())),
            ("/a%2F..%2Fb", Err(UnsafePath::DotSegment)),
            ("/a/..%2f", Err(UnsafePath::DotSegment)),
            ("/a%2F%00", Err(UnsafePath::EncodedNul)),
        ] {
            assert_eq!(super::check(path, EncodedSlashes::Keep), expected, "{path}");
        }
    }
}

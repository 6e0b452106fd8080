//! The `path` of a route, and which request paths are safe to compare at all.
//!
//! Owns the pattern's syntax and [`check`]; which of several patterns wins is the router's. Invariants: a pattern
//! holds its literal segments percent-decoded, so `/a%62` and `/ab` are one pattern; it has no dot segments, and
//! neither has any request path that passed [`check`], so what is matched here is what a backend will resolve.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use thiserror::Error;

/// A pattern for a request's path.
///
/// `/a/b` is that path alone; `/a/*` is `/a/` and everything below it, but not `/a`; `{room}` stands for one whole
/// segment that is not empty.
#[derive(Debug, Clone)]
pub struct PathPattern {
    text: Arc<str>,
    segments: Vec<Segment>,
    names: Vec<Arc<str>>,
    end: End,
}

/// What stands between two slashes of a pattern.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Segment {
    /// The percent-decoded text, which may be empty.
    Literal(Box<str>),
    Named(Arc<str>),
}

/// How a pattern ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum End {
    /// With its last segment.
    Exact,
    /// With `*`: one segment or more, of any content, follow.
    Prefix,
}

/// Why a text is no path pattern.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PathPatternError {
    /// Does not begin with a slash.
    #[error("a path begins with `/`; write `/{found}`")]
    NoSlash {
        /// What was written.
        found: String,
    },
    /// `?` or `#`
    #[error("`{character}` is not part of a path; routes do not look at the query")]
    Query {
        /// The character.
        character: char,
    },
    /// `*` elsewhere than as the whole last segment.
    #[error(
        "`*` can only be the whole last segment, as in `/files/*`; for one segment write `{{name}}`"
    )]
    Wildcard,
    /// Braces that are not a whole segment.
    #[error("in `{segment}` the braces are not the whole segment; only `/{{name}}/` is possible")]
    PartOfSegment {
        /// The segment.
        segment: String,
    },
    /// Braces around something that is no name.
    #[error(
        "`{segment}` holds no name; names are letters, digits and `_`, and do not begin with a digit"
    )]
    Name {
        /// The segment.
        segment: String,
    },
    /// One name for two segments.
    #[error("the name `{name}` stands there twice")]
    NameTwice {
        /// The name.
        name: String,
    },
    /// A segment that no request path can have, since [`check`] refuses it.
    #[error("`{segment}` never matches: {cause}")]
    NeverMatches {
        /// The segment.
        segment: String,
        /// Why a request with it is refused.
        cause: UnsafePath,
    },
    /// Control characters, or percent-encoded bytes that are not UTF-8.
    #[error("a path cannot hold control characters or percent-encoded bytes that are not UTF-8")]
    NotText,
}

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

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Whatever is no pattern, and whatever could never match.
    pub fn parse(text: &str) -> Result<Self, PathPatternError> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(PathPatternError::NoSlash {
                found: text.to_owned(),
            });
        };
        if let Some(character) = text.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(PathPatternError::Query { character });
        }
        let (body, end) = match rest {
            "*" => (None, End::Prefix),
            _ => match rest.strip_suffix("/*") {
                Some(body) => (Some(body), End::Prefix),
                None => (Some(rest), End::Exact),
            },
        };
        let mut segments = Vec::new();
        let mut names: Vec<Arc<str>> = Vec::new();
        for written in body.into_iter().flat_map(|body| body.split('/')) {
            let segment = parse_segment(written)?;
            if let Segment::Named(name) = &segment {
                if names.contains(name) {
                    return Err(PathPatternError::NameTwice {
                        name: name.to_string(),
                    });
                }
                names.push(Arc::clone(name));
            }
            segments.push(segment);
        }
        Ok(Self {
            text: text.into(),
            segments,
            names,
            end,
        })
    }

    /// The names of its named segments, from the left.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Whether it ends with `*`, which templates call `{rest}`.
    #[must_use]
    pub fn has_rest(&self) -> bool {
        self.end == End::Prefix
    }

    /// What stands for the `*` in a path that matches: as it came, percent-encoded, without the slash before it.
    #[must_use]
    pub fn rest<'p>(&self, path: &'p str) -> Option<&'p str> {
        if self.end == End::Exact {
            return None;
        }
        let mut rest = path.strip_prefix('/')?;
        for _segment in &self.segments {
            rest = rest.split_once('/')?.1;
        }
        Some(rest)
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    pub(super) fn end(&self) -> End {
        self.end
    }
}

/// Patterns are equal when they match the same paths and call the segments alike.
impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.segments == other.segments && self.end == other.end
    }
}

impl Eq for PathPattern {}

/// As it was written.
impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
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

fn parse_segment(written: &str) -> Result<Segment, PathPatternError> {
    if written.contains('*') {
        return Err(PathPatternError::Wildcard);
    }
    if written.contains(['{', '}']) {
        let inside = written
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        let segment = || written.to_owned();
        return match inside {
            Some(name) if is_name(name) => Ok(Segment::Named(name.into())),
            Some(inner) if !inner.contains(['{', '}']) => {
                Err(PathPatternError::Name { segment: segment() })
            }
            _ => Err(PathPatternError::PartOfSegment { segment: segment() }),
        };
    }
    check(written, EncodedSlashes::Reject).map_err(|cause| PathPatternError::NeverMatches {
        segment: written.to_owned(),
        cause,
    })?;
    match decode_text(written) {
        Some(text) => Ok(Segment::Literal(text.into())),
        None => Err(PathPatternError::NotText),
    }
}

/// Whether a text is a name for a segment: `[A-Za-z_][A-Za-z0-9_]*`.
pub(super) fn is_name(text: &str) -> bool {
    !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A segment's text, if its bytes are UTF-8 and hold no control characters. Allocates only if it was encoded.
pub(super) fn decode_text(segment: &str) -> Option<Cow<'_, str>> {
    let text = percent_decode_str(segment).decode_utf8().ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

/// A named segment's value. It is never empty, and never a dot segment or a piece of path, so that it stays one
/// segment wherever a template puts it.
pub(super) fn decode_value(segment: &str) -> Option<Cow<'_, str>> {
    let text = decode_text(segment)?;
    (!matches!(&*text, "" | "." | "..") && !text.contains('/')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::{EncodedSlashes, PathPattern, UnsafePath};

    fn check(path: &str) -> Result<(), UnsafePath> {
        super::check(path, EncodedSlashes::Reject)
    }

    #[test]
    fn pattern_prints_as_written_and_knows_its_names() {
        for (text, names) in [
            ("/", &[][..]),
            ("/*", &[]),
            ("/a/b", &[]),
            ("/a//b/", &[]),
            ("/rooms/{room}/events", &["room"]),
            ("/x/{a}/{_b2}/*", &["a", "_b2"]),
            ("/gr%C3%BC%C3%9Fe", &[]),
            ("/50%25/a%2Ab", &[]),
        ] {
            let pattern = PathPattern::parse(text).unwrap();
            assert_eq!(pattern.to_string(), text);
            let found: Vec<&str> = pattern.names().iter().map(|name| &**name).collect();
            assert_eq!(found, names);
        }
    }

    #[test]
    fn encoded_and_plain_literals_are_equal() {
        let plain = PathPattern::parse("/grüße/ab").unwrap();
        assert_eq!(plain, PathPattern::parse("/gr%c3%bc%C3%9fe/a%62").unwrap());
        assert_ne!(plain, PathPattern::parse("/grüße/ab/*").unwrap());
        assert_ne!(PathPattern::parse("/{a}"), PathPattern::parse("/{b}"));
    }

    #[test]
    fn mistakes_are_told_with_a_hint() {
        for (text, message) in [
            ("", "begins with `/`"),
            ("api/*", "write `/api/*`"),
            ("/a?b", "`?`"),
            ("/a#b", "`#`"),
            ("/a*", "whole last segment"),
            ("/*/a", "whole last segment"),
            ("/**", "whole last segment"),
            ("/a{b}", "whole segment"),
            ("/{a}{b}", "whole segment"),
            ("/{a", "whole segment"),
            ("/{}", "holds no name"),
            ("/{1a}", "holds no name"),
            ("/{a-b}", "holds no name"),
            ("/{a}/{a}", "`a` stands there twice"),
            ("/a/../b", "dot segments"),
            ("/a/%2e", "dot segments"),
            ("/a%2Fb", "encoded slash"),
            ("/a%zz", "broken percent-encoding"),
            ("/a%0Ab", "control characters"),
            ("/%FF", "not UTF-8"),
        ] {
            let error = PathPattern::parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
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

    #[test]
    fn the_rest_is_what_came_for_the_star() {
        for (pattern, path, rest) in [
            ("/*", "/", Some("")),
            ("/*", "/a%20b//c", Some("a%20b//c")),
            ("/api/*", "/api/", Some("")),
            ("/api/*", "/api/x/y%2Fz", Some("x/y%2Fz")),
            ("/{a}/b/*", "/1/b/2/3", Some("2/3")),
            ("/api", "/api", None),
        ] {
            let pattern = PathPattern::parse(pattern).unwrap();
            assert_eq!(pattern.rest(path), rest, "{pattern} {path}");
        }
    }
}

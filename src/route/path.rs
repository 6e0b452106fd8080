//! The `path` of a route.
//!
//! Owns the pattern's syntax; which of several patterns wins is the router's. Invariants: a pattern
//! holds its literal segments percent-decoded, so `/a%62` and `/ab` are one pattern; it has no dot segments, and
//! neither has any request path that passed [`plain_path::check`], so what is matched here is what a backend will resolve.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use thiserror::Error;

use crate::route::plain_path::{self, EncodedSlashes, UnsafePath};

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
    /// A segment that no request path can have, since [`plain_path::check`] refuses it.
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
    plain_path::check(written, EncodedSlashes::Reject).map_err(|cause| {
        PathPatternError::NeverMatches {
            segment: written.to_owned(),
            cause,
        }
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
    use super::PathPattern;

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

//! The `host` of a route: one name, or every name below a suffix.
//!
//! Owns the pattern and its parsing; how a request's own host is read is `http::host`. Invariant: a pattern is
//! lower case and has neither port nor trailing dot, so it compares byte by byte with
//! [`RequestHost::name`](crate::http::host::RequestHost::name).

use std::fmt;
use std::net::Ipv6Addr;
use std::sync::Arc;

use thiserror::Error;

/// The longest name in the DNS, in bytes as text (RFC 1035 §2.3.4).
const NAME_MAX: usize = 253;
/// The longest label of a name, in bytes (RFC 1035 §2.3.4).
const LABEL_MAX: usize = 63;

/// Which hosts a route is for: `app.example.org`, or `*.example.org` for every name below it, at any depth.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPattern(Kind);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Exact(Arc<str>),
    /// What follows `*.`
    Below(Arc<str>),
}

/// Why a text is no host pattern. Each message ends with what to write instead, where that is known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostPatternError {
    /// The empty string.
    #[error("a host cannot be empty; leave `host` out to match any host")]
    Empty,
    /// A lone `*`.
    #[error("`*` alone is no host; leave `host` out to match any host")]
    AnyHost,
    /// `https://…`
    #[error("`{found}` is a URL; write the name alone, such as `app.example.org`")]
    Url {
        /// What was written.
        found: String,
    },
    /// `name:443`
    #[error("a route's host has no port; write `{name}`")]
    Port {
        /// What stands before the port.
        name: String,
    },
    /// Two dots in a row, or one at either end.
    #[error(
        "`{found}` has an empty label; names are written without a dot at the start or the end"
    )]
    EmptyLabel {
        /// What was written.
        found: String,
    },
    /// A `*` that is not the whole first label.
    #[error("in `{found}` the `*` is not the whole first label; only `*.example.org` is possible")]
    Wildcard {
        /// What was written.
        found: String,
    },
    /// An internationalized name in its Unicode form.
    #[error(
        "`{found}` is not ASCII; write the name as browsers send it, with labels such as `xn--bcher-kva`"
    )]
    NotAscii {
        /// What was written.
        found: String,
    },
    /// A character that no host name has.
    #[error("`{character}` cannot be part of a host name")]
    Character {
        /// The first such character.
        character: char,
    },
    /// A label or the whole name is longer than the DNS allows.
    #[error("`{found}` is too long; a name has at most 253 bytes and each of its labels 63")]
    TooLong {
        /// What was written.
        found: String,
    },
}

impl HostPattern {
    /// Reads a pattern; upper-case letters become lower case.
    ///
    /// # Errors
    /// Whatever could never match a request's host, so that a mistake is told and not silently ignored.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        match text {
            "" => return Err(HostPatternError::Empty),
            "*" => return Err(HostPatternError::AnyHost),
            _ => {}
        }
        if text.contains('/') {
            return Err(HostPatternError::Url {
                found: text.to_owned(),
            });
        }
        if text.starts_with('[') {
            return parse_ipv6(text);
        }
        if let Some((name, _port)) = text.split_once(':') {
            return match text.parse::<Ipv6Addr>() {
                Ok(address) => Ok(Self(Kind::Exact(format!("[{address}]").into()))),
                Err(_) => Err(HostPatternError::Port {
                    name: name.to_owned(),
                }),
            };
        }
        let name = text.to_ascii_lowercase();
        match name.strip_prefix("*.") {
            Some(suffix) => check_name(suffix, text).map(|()| Self(Kind::Below(suffix.into()))),
            None => check_name(&name, text).map(|()| Self(Kind::Exact(name.into()))),
        }
    }

    /// The name, if the pattern stands for one alone.
    pub(super) fn exact(&self) -> Option<&str> {
        match &self.0 {
            Kind::Exact(name) => Some(name),
            Kind::Below(_) => None,
        }
    }

    /// What a name must end with after a dot, if the pattern stands for more than one.
    pub(super) fn suffix(&self) -> Option<&str> {
        match &self.0 {
            Kind::Exact(_) => None,
            Kind::Below(suffix) => Some(suffix),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Exact(name) => f.write_str(name),
            Kind::Below(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

fn parse_ipv6(text: &str) -> Result<HostPattern, HostPatternError> {
    let (inside, after) = text[1..]
        .split_once(']')
        .ok_or(HostPatternError::Character { character: '[' })?;
    let address: Ipv6Addr = inside
        .parse()
        .map_err(|_| HostPatternError::Character { character: '[' })?;
    let name = format!("[{address}]");
    if !after.is_empty() {
        return Err(HostPatternError::Port { name });
    }
    Ok(HostPattern(Kind::Exact(name.into())))
}

fn check_name(name: &str, written: &str) -> Result<(), HostPatternError> {
    let found = || written.to_owned();
    if !name.is_ascii() {
        return Err(HostPatternError::NotAscii { found: found() });
    }
    if name.contains('*') {
        return Err(HostPatternError::Wildcard { found: found() });
    }
    if name.len() > NAME_MAX {
        return Err(HostPatternError::TooLong { found: found() });
    }
    for label in name.split('.') {
        if label.is_empty() {
            return Err(HostPatternError::EmptyLabel { found: found() });
        }
        if label.len() > LABEL_MAX {
            return Err(HostPatternError::TooLong { found: found() });
        }
        // The underscore is no letter of host names by RFC 952, yet real names have it.
        let wrong = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        if let Some(character) = label.chars().find(wrong) {
            return Err(HostPatternError::Character { character });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{HostPattern, HostPatternError};

    #[test]
    fn patterns_are_lower_case_and_print_as_meant() {
        for (text, shown) in [
            ("app.example.org", "app.example.org"),
            ("App.Example.ORG", "app.example.org"),
            ("*.Example.org", "*.example.org"),
            ("localhost", "localhost"),
            ("my_app.internal", "my_app.internal"),
            ("192.0.2.7", "192.0.2.7"),
            ("[2001:DB8:0::1]", "[2001:db8::1]"),
            ("2001:db8::1", "[2001:db8::1]"),
        ] {
            assert_eq!(
                HostPattern::parse(text).unwrap().to_string(),
                shown,
                "{text}"
            );
        }
    }

    #[test]
    fn exact_name_and_wildcard_differ() {
        let exact = HostPattern::parse("example.org").unwrap();
        let below = HostPattern::parse("*.example.org").unwrap();
        assert_ne!(exact, below);
        assert_eq!((exact.exact(), exact.suffix()), (Some("example.org"), None));
        assert_eq!((below.exact(), below.suffix()), (None, Some("example.org")));
    }

    #[test]
    fn mistakes_are_told_with_a_hint() {
        for (text, message) in [
            ("", "leave `host` out"),
            ("*", "leave `host` out"),
            ("example.org:443", "write `example.org`"),
            ("[::1]:443", "write `[::1]`"),
            ("https://example.org", "is a URL"),
            ("example.org/", "is a URL"),
            ("example.org.", "empty label"),
            (".example.org", "empty label"),
            ("a..b", "empty label"),
            ("*.", "empty label"),
            ("a.*.org", "whole first label"),
            ("*example.org", "whole first label"),
            ("*.*.org", "whole first label"),
            ("bücher.example", "xn--"),
            ("a b", "` `"),
            ("[::1", "`[`"),
            ("[zz]", "`[`"),
        ] {
            let error = HostPattern::parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn names_longer_than_the_dns_allows_are_refused() {
        let label = format!("{}.org", "a".repeat(64));
        let name = vec!["a"; 128].join(".");
        for text in [label, name] {
            let error = HostPattern::parse(&text).unwrap_err();
            assert!(matches!(error, HostPatternError::TooLong { .. }), "{text}");
        }
    }
}

//! Origins of pages (RFC 6454), and patterns for them.
//!
//! Owns reading both, and comparing them: scheme, host and port exactly, once letters are small and default ports are left out.
//! Whether an origin matters for a request is the guard's business.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::http::host::RequestHost;

/// From where a page was loaded, as its browser says in `Origin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageOrigin {
    scheme: Box<str>,
    host: Box<str>,
    /// `None`: the scheme's own.
    port: Option<u16>,
}

/// `https://app.example.org`, or `https://*.example.org` for every name below it, at any depth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern {
    /// For the wildcard, without `*.`.
    origin: PageOrigin,
    is_below: bool,
}

/// All origins that a route allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageOrigins(Arc<[OriginPattern]>);

/// Why a text is no origin. Each message ends with what to write instead, where that is known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OriginError {
    /// A lone `*`.
    #[error("`*` would allow every page; leave `origins` out for that")]
    Any,
    /// No scheme, or one with characters that no scheme has.
    #[error("an origin begins with a scheme, such as `https://app.example.org`")]
    Scheme,
    /// A path, a query, a slash at the end.
    #[error("an origin ends with its host or port; write `{origin}`")]
    Path {
        /// What stands before it.
        origin: String,
    },
    /// No host, or a malformed one, or a port that is none.
    #[error("after the scheme comes a host name, with a port or without")]
    Host,
    /// A `*` that is not the whole first label.
    #[error("the `*` is not the whole first label; only `https://*.example.org` is possible")]
    Wildcard,
}

impl PageOrigin {
    /// Reads what a browser sends.
    ///
    /// # Errors
    /// It is no origin; `null` is none.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        let (scheme, rest) = text.split_once("://").ok_or(OriginError::Scheme)?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        if !is_scheme {
            return Err(OriginError::Scheme);
        }
        if let Some(end) = rest.find(['/', '?', '#']) {
            let origin = format!("{scheme}://{}", &rest[..end]);
            return Err(OriginError::Path { origin });
        }
        let host = RequestHost::parse(rest).map_err(|_bad| OriginError::Host)?;
        let scheme = scheme.to_ascii_lowercase();
        let default = match &*scheme {
            "https" => Some(443),
            "http" => Some(80),
            _ => None,
        };
        Ok(Self {
            host: host.name().into(),
            port: host.port().filter(|port| Some(*port) != default),
            scheme: scheme.into(),
        })
    }

    /// Whether it is that of whoever is asked by this host, by `http` or by `https`.
    #[must_use]
    pub fn is_of(&self, host: &RequestHost) -> bool {
        let default = match &*self.scheme {
            "http" => 80,
            "https" => 443,
            _ => return false,
        };
        let port = host.port().filter(|port| *port != default);
        (&*self.host, self.port) == (host.name(), port)
    }
}

impl OriginPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Whatever no browser would send, so that a mistake is told and not silently ignored.
    pub fn parse(text: &str) -> Result<Self, OriginError> {
        if text == "*" {
            return Err(OriginError::Any);
        }
        let below = text
            .split_once("://*.")
            .map(|(scheme, rest)| format!("{scheme}://{rest}"));
        let plain = below.as_deref().unwrap_or(text);
        if plain.contains('*') {
            return Err(OriginError::Wildcard);
        }
        let origin = PageOrigin::parse(plain).map_err(|error| match error {
            OriginError::Path { origin } if below.is_some() => OriginError::Path {
                origin: origin.replacen("://", "://*.", 1),
            },
            other => other,
        })?;
        Ok(Self {
            origin,
            is_below: below.is_some(),
        })
    }

    fn matches(&self, origin: &PageOrigin) -> bool {
        let Self {
            origin: wanted,
            is_below,
        } = self;
        if wanted.scheme != origin.scheme || wanted.port != origin.port {
            return false;
        }
        if !is_below {
            return wanted.host == origin.host;
        }
        origin
            .host
            .strip_suffix(&*wanted.host)
            .is_some_and(|before| before.len() > 1 && before.ends_with('.'))
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PageOrigin { scheme, host, port } = &self.origin;
        let star = if self.is_below { "*." } else { "" };
        write!(f, "{scheme}://{star}{host}")?;
        port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromIterator<OriginPattern> for PageOrigins {
    fn from_iter<I: IntoIterator<Item = OriginPattern>>(patterns: I) -> Self {
        Self(patterns.into_iter().collect())
    }
}

impl PageOrigins {
    /// Whether one of the patterns is for this origin.
    #[must_use]
    pub fn allow(&self, origin: &PageOrigin) -> bool {
        self.0.iter().any(|pattern| pattern.matches(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_compared_by_scheme_host_and_port() {
        for (pattern, origin, expected) in [
            ("https://a.test", "https://a.test", true),
            ("HTTPS://A.Test", "https://a.test", true),
            ("https://a.test:443", "https://a.test", true),
            ("https://a.test", "https://a.test:443", true),
            ("http://a.test:80", "http://a.test", true),
            ("https://a.test:8443", "https://a.test:8443", true),
            ("https://a.test", "https://a.test:8443", false),
            ("https://a.test:80", "https://a.test", false),
            ("https://a.test", "http://a.test", false),
            ("https://a.test", "https://b.a.test", false),
            ("https://a.test", "https://a.test.evil", false),
            ("https://[2001:DB8::1]:1", "https://[2001:db8:0::1]:1", true),
            ("https://*.a.test", "https://b.a.test", true),
            ("https://*.a.test", "https://c.b.a.test", true),
            ("https://*.a.test", "https://a.test", false),
            ("https://*.a.test", "https://.a.test", false),
            ("https://*.a.test", "https://evila.test", false),
            ("https://*.a.test:1", "https://b.a.test:1", true),
            ("https://*.a.test:1", "https://b.a.test", false),
            ("capacitor://localhost", "capacitor://localhost", true),
        ] {
            let pattern = OriginPattern::parse(pattern).unwrap();
            let found = PageOrigin::parse(origin).is_ok_and(|origin| pattern.matches(&origin));
            assert_eq!(found, expected, "{pattern} {origin}");
        }
    }

    #[test]
    fn mistakes_are_told_with_what_to_write() {
        for (text, message) in [
            ("*", "leave `origins` out"),
            ("a.test", "begins with a scheme"),
            ("", "begins with a scheme"),
            ("null", "begins with a scheme"),
            ("1://a", "begins with a scheme"),
            ("https://a.test/", "write `https://a.test`"),
            ("https://*.a.test/x", "write `https://*.a.test`"),
            ("https://", "host name"),
            ("https://u@a.test", "host name"),
            ("https://a.test:0", "host name"),
            ("https://a.*.test", "first label"),
            ("https://*", "first label"),
            ("https://*a.test", "first label"),
            ("https://*.", "host name"),
        ] {
            let error = OriginPattern::parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn patterns_print_as_meant() {
        for (text, shown) in [
            ("HTTPS://App.Example.org:443", "https://app.example.org"),
            ("https://*.example.org:8443", "https://*.example.org:8443"),
        ] {
            assert_eq!(OriginPattern::parse(text).unwrap().to_string(), shown);
        }
    }
}

//! `[upstream.NAME]`: the keys that say who gets a request, and who gets none for a while.

use std::ops::RangeInclusive;

use crate::config::model::{SameSite, StreamFate};
use crate::config::schema::collection::List;
use crate::config::schema::feed::Secret;
use crate::config::schema::scalar::{Integer, OneOf, Refusal, Scalar, Word};
use crate::config::schema::table::table;
use crate::config::units::{DAY, HOUR, MINUTE, Period, SECOND, TimeLimit};

table! {
    /// `cookie = { … }` of an upstream.
    Cookie, "`cookie` of an `[upstream.NAME]`", "a table, `cookie = { … }`" {
        /// Its name. Default `"streamgate_NAME"`, with the upstream's name.
        name: CookieName,
        /// Keys the value, which tells nothing of the server's address. At least 16 bytes, or `{ file = "…" }`,
        /// `{ credential = "…" }`. Default: a random one at each start; several nodes need the same one, and a restart keeps
        /// clients at their servers only with one.
        secret: Secret,
        /// How long browsers keep it. Default `"0"`: as long as their session.
        max_age: TimeLimit<SECOND, { 365 * DAY }>,
        /// `"lax"`, `"strict"` or `"none"` (which browsers take over https only). Default `"lax"`.
        same_site: OneOf<SameSite>,
    }
}

table! {
    /// `health = { … }` of an upstream: each server is asked by itself how it is.
    Health, "`health` of an `[upstream.NAME]`", "a table, `health = { … }`" {
        /// Path and query of the `GET`. Required.
        path: CheckPath,
        /// The pause between two checks of a server, ±10 %. Default `"5s"`.
        interval: Period<100, HOUR>,
        /// One check, connecting included. Default `"2s"`.
        timeout: Period<10, { 5 * MINUTE }>,
        /// Successes in a row until a server that is down is up. Default `2`, up to 100.
        rise: Integer<1, 100>,
        /// Failures in a row until a server that is up is down. Default `3`, up to 100.
        fall: Integer<1, 100>,
        /// Statuses that are a success: `"2xx"`, `"204"` or `"200-299"`. Default `["2xx", "3xx"]`.
        status: List<StatusRange>,
        /// The `Host` of the request. Default: the server's own.
        host: CheckHost,
    }
}

table! {
    /// `passive = { … }` of an upstream: a server that fails requests before it answers gets none for a while.
    Passive, "`passive` of an `[upstream.NAME]`", "a table, `passive = { … }`" {
        /// So many failures within `window`: refused, broken off, timed out, not HTTP. Default `5`, up to 1000.
        failures: Integer<1, 1000>,
        /// Default `"10s"`.
        window: Period<100, HOUR>,
        /// For how long the server then gets no requests. Default `"10s"`.
        eject: Period<100, HOUR>,
    }
}

/// `balance`: the policy by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// In turn.
    RoundRobin,
    /// The least busy one.
    LeastConnections,
    /// The better of two.
    RandomTwo,
    /// By address.
    IpHash,
    /// By cookie.
    Cookie,
}

impl Word for Policy {
    const EXPECTED: &'static str = "a way to balance";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("round_robin", Self::RoundRobin),
        ("least_connections", Self::LeastConnections),
        ("random_two", Self::RandomTwo),
        ("ip_hash", Self::IpHash),
        ("cookie", Self::Cookie),
    ];
}

impl Word for SameSite {
    const EXPECTED: &'static str = "a value of `SameSite`";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("lax", Self::Lax),
        ("strict", Self::Strict),
        ("none", Self::None),
    ];
}

impl Word for StreamFate {
    const EXPECTED: &'static str = "a way to treat streams";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("keep", Self::Keep),
        ("drain", Self::Drain),
        ("close", Self::Close),
    ];
}

/// The name of a cookie: a token (RFC 6265 §4.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CookieName(pub(crate) String);

/// Whether a character may stand in a token (RFC 9110 §5.6.2).
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl Scalar for CookieName {
    const EXPECTED: &'static str = "a cookie's name";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() || !text.bytes().all(is_token) {
            return Err(Refusal::malformed(
                "it must be a token, without spaces and separators",
            ));
        }
        if text.starts_with("__Host-") || text.starts_with("__Secure-") {
            // Browsers take such names over https only (RFC 6265bis §4.1.3), and clear listeners set the cookie too.
            return Err(Refusal::malformed(
                "browsers would refuse it from a listener in clear text",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Path and query of a check (RFC 9112 §3.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckPath(pub(crate) String);

impl Scalar for CheckPath {
    const EXPECTED: &'static str = "a path such as \"/healthz\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if !text.starts_with('/') {
            return Err(Refusal::malformed("it does not begin with `/`"));
        }
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if !text.bytes().all(allowed) {
            return Err(Refusal::malformed("a character must be percent-encoded"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The `Host` of a check (RFC 9110 §7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CheckHost(pub(crate) String);

impl Scalar for CheckHost {
    const EXPECTED: &'static str = "a host such as \"app.internal\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]".contains(&byte);
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(Refusal::malformed(
                "it is a name or an address, with or without a port",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Statuses: one, a class, or from one to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatusRange(pub(crate) RangeInclusive<u16>);

impl Scalar for StatusRange {
    const EXPECTED: &'static str = "statuses such as \"2xx\", \"204\" or \"200-299\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let status = |text: &str| -> Option<u16> {
            let number = text.parse().ok()?;
            (text.len() == 3 && (200..=599).contains(&number)).then_some(number)
        };
        if let Some(class) = text
            .strip_suffix("xx")
            .and_then(|class| class.parse::<u16>().ok())
            && (2..=5).contains(&class)
        {
            return Ok(Self(class * 100..=class * 100 + 99));
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self(first..=last)),
            _ => Err(Refusal::malformed("statuses are 200 to 599")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_one_or_a_class_or_a_range() {
        for (text, expected) in [
            ("2xx", 200..=299),
            ("5xx", 500..=599),
            ("204", 204..=204),
            ("200-399", 200..=399),
        ] {
            assert_eq!(
                StatusRange::parse(text),
                Ok(StatusRange(expected)),
                "{text}"
            );
        }
        for text in [
            "", "1xx", "xx", "2XX", "20", "0204", "100", "299-200", "200-", "600",
        ] {
            assert!(StatusRange::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_checks_path_can_stand_in_a_request_line() {
        for text in ["/", "/healthz?deep=1", "/%20"] {
            assert!(CheckPath::parse(text).is_ok(), "{text}");
        }
        for text in ["", "healthz", "/a b", "/a#b", "/a\r\nX: y", "/ä"] {
            assert!(CheckPath::parse(text).is_err(), "{text}");
        }
    }
}

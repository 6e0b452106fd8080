//! `[upstream.NAME]`: servers that exist already.

use crate::config::schema::collection::List;
use crate::config::schema::scalar::{Integer, Refusal, Scalar};
use crate::config::schema::table::table;
use crate::config::schema::url::{self, Url};
use crate::config::units::{MINUTE, Period};
use crate::net::Authority;

table! {
    /// `[upstream.NAME]`: servers that give the same answers; requests go round.
    Upstream, "`[upstream.NAME]`", "a table, `[upstream.NAME]`" {
        /// `["http://127.0.0.1:3000"]`: at least one; without a port it is 80. Required.
        servers: List<ServerUrl>,
        /// One TCP connect, name resolution included. Default `"3s"`.
        connect_timeout: Period<10, { 5 * MINUTE }>,
        /// How often a request that cannot have reached a server is tried again. Default `1`, up to 10.
        retries: Integer<0, 10>,
    }
}

/// `http://host:port`, and nothing behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl(pub(crate) Authority);

impl Scalar for ServerUrl {
    const EXPECTED: &'static str = "a server's URL such as \"http://127.0.0.1:3000\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let Url { authority, rest } = url::parse(text, "http")?;
        if !matches!(rest, "" | "/") {
            let hint = "a route's `strip_prefix` takes something off the path; nothing can be put before it";
            return Err(Refusal::malformed("a path or query is not allowed").with_hint(hint));
        }
        Ok(Self(authority))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_no_path() {
        assert_eq!(
            ServerUrl::parse("http://app").map(|url| url.0.to_string()),
            Ok("app:80".into())
        );
        assert_eq!(
            ServerUrl::parse("http://[::1]:81/").map(|url| url.0.to_string()),
            Ok("[::1]:81".into())
        );
        for text in [
            "http://app/v2",
            "http://app?x",
            "http://app#x",
            "http://app//",
        ] {
            assert!(ServerUrl::parse(text).is_err(), "{text}");
        }
    }
}

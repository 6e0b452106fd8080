//! `[upstream.NAME]`: servers that exist already.

use std::path::Path;

use toml::Spanned;
use toml::de::DeValue;

use crate::config::schema::balance::{Cookie, Health, Passive, Policy};
use crate::config::schema::collection::List;
use crate::config::schema::decode::{Decode, Field, Key, Located, Reader, mismatch};
use crate::config::schema::scalar::{Integer, OneOf, Refusal, Scalar};
use crate::config::schema::table::{Table, decode_table, table};
use crate::config::schema::url::{self, Url};
use crate::config::units::{HOUR, MINUTE, Period, SECOND, TimeLimit};
use crate::net::{Place, Scheme, ServerAddr};

table! {
    /// `[upstream.NAME]`: servers that give the same answers.
    Upstream, "`[upstream.NAME]`", "a table, `[upstream.NAME]`" {
        /// `["http://127.0.0.1:3000", { url = "http://127.0.0.1:3001", weight = 2 }]`: at least one. `http://`, `https://`
        /// (HTTP/2 or HTTP/1.1 by ALPN), `h2c://` (HTTP/2 in clear text) or `unix:/path` (HTTP/1.1). Required.
        servers: List<Server>,
        /// One TCP connect, name resolution included. Default `"3s"`.
        connect_timeout: Period<10, { 5 * MINUTE }>,
        /// How often a request that cannot have reached a server is tried again. Default `1`, up to 10.
        retries: Integer<0, 10>,
        /// Which server a request goes to: `"round_robin"`, `"least_connections"`, `"random_two"` (the less busy of two drawn ones),
        /// `"ip_hash"` (the same for the same client address) or `"cookie"` (the one that the client's cookie names). All heed
        /// `weight`. Default `"round_robin"`.
        balance: OneOf<Policy>,
        /// The cookie of `balance = "cookie"`.
        cookie: Cookie,
        /// How long a request waits when every server has its `max_connections`; 503 beyond. Default `"1s"`; `"0"`: not at all.
        max_wait: TimeLimit<10, { 5 * MINUTE }>,
        /// Requests that wait so at the same time; 503 beyond. Default `1000`.
        max_waiting: Integer<0, 1_000_000>,
        /// Asks each server how it is. Absent: nobody does.
        health: Health,
        /// Learns from failed requests how a server is. Absent: nothing is learnt.
        passive: Passive,
        /// A server that comes back gets its share little by little, from a tenth on, over this time. Default `"0"`: all at once.
        slow_start: TimeLimit<SECOND, HOUR>,
    }
}

table! {
    /// One of `servers`, when it is more than a URL.
    ServerTable, "an element of `servers`", "a table, `{ url = … }`" {
        /// Where it is. Required.
        url: ServerUrl,
        /// How many requests it gets for one that a server of weight 1 gets. Default `1`, up to 1000.
        weight: Integer<1, 1000>,
        /// Requests and streams under way at most, over all workers. Default `0`: no limit.
        max_connections: Integer<0, 10_000_000>,
    }
}

/// One of `servers`: a URL, or a table with one.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: Located<ServerUrl>,
    pub(crate) weight: u64,
    pub(crate) max_connections: u64,
}

impl Decode for Server {
    const EXPECTED: &'static str = <ServerUrl as Scalar>::EXPECTED;
    const KEYS: &'static [Key] = ServerTable::KEYS;

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(_) => {
                let place = reader.place(value.span());
                ServerUrl::decode(value, reader).map(|value| Self {
                    url: Located { value, place },
                    weight: 1,
                    max_connections: 0,
                })
            }
            DeValue::Table(_) => Self::from_table(decode_table(value, reader)?, reader),
            _ => {
                mismatch(value, <Self as Decode>::EXPECTED, reader);
                None
            }
        }
    }
}

impl Server {
    fn from_table(table: ServerTable, reader: &mut Reader<'_>) -> Option<Self> {
        let place = table.place();
        let unknown = table.has_unknown_key();
        let weight = table.weight.map_or(1, |weight| weight.0);
        let max_connections = table.max_connections.map_or(0, |count| count.0);
        match table.url {
            Field::Given { value, .. } => Some(Self {
                url: value,
                weight,
                max_connections,
            }),
            Field::Absent if !unknown => {
                reader.diagnostics.error(place, "the server has no `url`");
                None
            }
            Field::Absent | Field::Broken => None,
        }
    }
}

/// `scheme://host:port` or `unix:/path`, and nothing behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUrl(pub(crate) ServerAddr);

const SCHEMES: [url::Scheme; 3] = [("http", 80), ("https", 443), ("h2c", 80)];

/// Bytes of a socket's path at most (`sun_path` of `unix(7)`, with its end).
const MAX_SOCKET_PATH: usize = 107;

impl Scalar for ServerUrl {
    const EXPECTED: &'static str = "a server's URL such as \"http://127.0.0.1:3000\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if let Some(path) = text.strip_prefix("unix:") {
            return socket(path);
        }
        let Url {
            scheme,
            authority,
            rest,
        } = url::parse(text, &SCHEMES)?;
        if !matches!(rest, "" | "/") {
            let hint = "a route's `strip_prefix` and `rewrite` change the path";
            return Err(Refusal::malformed("a path or query is not allowed").with_hint(hint));
        }
        let scheme = match scheme {
            "https" => Scheme::Https,
            "h2c" => Scheme::H2c,
            _ => Scheme::Http,
        };
        Ok(Self(ServerAddr {
            scheme,
            place: Place::Tcp(authority),
        }))
    }
}

fn socket(path: &str) -> Result<ServerUrl, Refusal> {
    if !path.starts_with('/') || path.starts_with("//") {
        return Err(Refusal::malformed("after `unix:` comes an absolute path")
            .with_hint("such as \"unix:/run/app.sock\""));
    }
    if path.len() > MAX_SOCKET_PATH || path.contains('\0') {
        let why = format!("a socket's path has at most {MAX_SOCKET_PATH} bytes");
        return Err(Refusal::malformed(why));
    }
    Ok(ServerUrl(ServerAddr {
        scheme: Scheme::Http,
        place: Place::Unix(Path::new(path).into()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_no_path() {
        let table = [
            ("http://app", "app:80", Scheme::Http),
            ("http://[::1]:81/", "[::1]:81", Scheme::Http),
            ("https://app", "app:443", Scheme::Https),
            ("h2c://app:9000", "app:9000", Scheme::H2c),
            ("unix:/run/app.sock", "unix:/run/app.sock", Scheme::Http),
        ];
        for (text, shown, scheme) in table {
            let parsed = ServerUrl::parse(text).map(|url| (url.0.to_string(), url.0.scheme));
            assert_eq!(parsed, Ok((shown.into(), scheme)), "{text}");
        }
        for text in [
            "http://app/v2",
            "http://app?x",
            "http://app#x",
            "http://app//",
            "ws://app",
            "unix:run/app.sock",
            "unix://run/app.sock",
            "unix:",
        ] {
            assert!(ServerUrl::parse(text).is_err(), "{text}");
        }
    }
}

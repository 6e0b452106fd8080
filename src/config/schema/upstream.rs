//! `[upstream.NAME]`: servers that exist already.

use std::path::Path;

use rustls_pki_types::ServerName;
use toml::Spanned;
use toml::de::DeValue;

use crate::config::model::ProxyVersion;
use crate::config::schema::balance::{Cookie, Health, Passive, Policy};
use crate::config::schema::collection::List;
use crate::config::schema::decode::{Decode, Field, Key, Located, Reader, mismatch};
use crate::config::schema::form::Form;
use crate::config::schema::scalar::{Integer, OneOf, Refusal, Scalar, Text, Word};
use crate::config::schema::table::{Table, decode_table, table};
use crate::config::schema::tls::PemFile;
use crate::config::schema::url::{self, Url};
use crate::config::units::{DAY, HOUR, MINUTE, Period, SECOND, TimeLimit};
use crate::net::{Place, Scheme, ServerAddr};

table! {
    /// `[upstream.NAME]`: servers that give the same answers.
    Upstream, "`[upstream.NAME]`", "a table, `[upstream.NAME]`" {
        /// `["http://127.0.0.1:3000", { url = "http://127.0.0.1:3001", weight = 2 }]`: at least one. `http://`, `https://`
        /// (HTTP/2 or HTTP/1.1 by ALPN), `h2c://` (HTTP/2 in clear text) or `unix:/path` (HTTP/1.1). Required.
        servers: List<Server>,
        /// One connection: name resolution, TCP and TLS in all. Default `"3s"`.
        connect_timeout: Period<10, { 5 * MINUTE }>,
        /// How often a request that cannot have had an effect is tried again: nothing of it reached a server, or it is a
        /// `GET` or the like without a body and nothing of an answer came. Another server is tried at once; one that was tried
        /// already after about 100 ms, then twice as long each time, within `connect_timeout` and the time for the response.
        /// Default `1`, up to 10.
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
        /// How `https://` servers are spoken to.
        tls: UpstreamTls,
        /// `"v1"` or `"v2"`: each connection begins with a PROXY header that names the client, and carries one request or
        /// WebSocket. Default `"off"`.
        proxy_protocol: OneOf<Proxying>,
        /// Which connections are kept for later requests, by each worker to each server.
        keep_alive: KeepAlive,
    }
}

table! {
    /// `tls` of an upstream.
    UpstreamTls, "`tls`", "a table, `{ ca = … }`" {
        /// Certificates as PEM, one of which must have signed the server's. A path relative to this file. Default: those
        /// that the system trusts.
        ca: Text,
        /// The name that the server's certificate must have, and that is asked for (SNI). Default: the host of its URL.
        server_name: TlsName,
        /// A certificate for servers that ask who we are: the chain as PEM. A path relative to this file, or like
        /// `client_key`.
        client_cert: PemFile,
        /// Its private key as PEM, without a passphrase. A path relative to this file, also as `{ file = "…" }`, or
        /// `{ credential = "name" }`.
        client_key: PemFile,
        /// Whether the server's certificate is checked. Default `true`; with `false` anybody in between can read along.
        verify: bool,
    }
}

table! {
    /// `keep_alive` of an upstream.
    KeepAlive, "`keep_alive`", "a table, `{ idle = … }`" {
        /// How long a connection may be idle; less where the server says so. Default `"60s"`, up to `"1h"`; `"0"`: none is kept.
        idle: Period<0, HOUR>,
        /// Idle connections kept at most. Default `256`, up to 65536.
        connections: Integer<0, 65_536>,
        /// The age from which a connection gets no more requests. Default `"0"` (none), up to `"1d"`.
        max_age: TimeLimit<SECOND, DAY>,
        /// Requests on one connection at most. Default `0` (no limit), up to a million.
        requests: Integer<0, 1_000_000>,
    }
}

/// What `proxy_protocol` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proxying(pub(crate) Option<ProxyVersion>);

impl Word for Proxying {
    const EXPECTED: &'static str = "a version of the PROXY protocol";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self(None)),
        ("v1", Self(Some(ProxyVersion::V1))),
        ("v2", Self(Some(ProxyVersion::V2))),
    ];
}

/// A name or an address that a certificate can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsName(pub(crate) ServerName<'static>);

impl Scalar for TlsName {
    const EXPECTED: &'static str = "a server's name such as \"app.internal\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        ServerName::try_from(text.to_owned())
            .map(Self)
            .map_err(|_| Refusal::malformed("it is neither a host name nor an address"))
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

    fn form() -> Form {
        Form::Either(vec![<ServerUrl as Decode>::form(), ServerTable::form()])
    }

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

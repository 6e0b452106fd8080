//! What a configuration *means*, once it has been read and checked.
//!
//! Nothing after this parses a string again: durations are [`Duration`], sizes are bytes, hosts and paths are
//! parsed patterns, certificates are loaded. Types here compare by meaning (`PartialEq`): a reload keeps whatever
//! is equal to what it was.

mod action;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method};
use ipnet::IpNet;

pub use crate::config::balance::{Balance, Cookie, Health, OnUnhealthy, Passive, SameSite, Secret};
use crate::config::diagnostic::Diagnostics;
pub use crate::config::model::action::{
    FieldRules, FieldValue, Fixed, NAMES_OF_REQUEST, PathChange, REST, Redirect,
};
pub use crate::http::error_page::ErrorPages;
pub use crate::http::origin::Kinds;
use crate::net::{Authority, ListenAddr, ServerAddr};
pub use crate::route::plain_path::EncodedSlashes;
use crate::route::{HostPattern, PathPattern, Template};
pub use crate::tls::accept::TlsVersion;

pub use crate::tls::certificates::Certificate;
pub use crate::tls::client::ServerTls;

/// One whole, checked configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[server]`
    pub server: Process,
    /// `[[listen]]`, at least one.
    pub listeners: Vec<Listener>,
    /// `[tls]` and `[[tls.certificate]]`
    pub tls: Tls,
    /// `[trust]`
    pub trust: Trust,
    /// `[dns]`
    pub dns: Dns,
    /// `[limits]`
    pub limits: Limits,
    /// `[upstream.NAME]`
    pub upstreams: BTreeMap<Arc<str>, Arc<Upstream>>,
    /// `[bridge.NAME]`
    pub bridges: BTreeMap<Arc<str>, Arc<Bridge>>,
    /// `[[route]]`, in the order of the files. The order has no meaning.
    pub routes: Vec<Route>,
    /// `[errors]`
    pub errors: ErrorPages,
    /// `[log]`
    pub log: Log,
    /// Every file that was read for this configuration, the main file first, certificates and secrets last.
    pub files: Vec<PathBuf>,
    /// What is odd, and not wrong.
    pub warnings: Diagnostics,
}

/// `[server]`: the process.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// Worker threads. `0` in the file means one per core.
    pub workers: NonZeroUsize,
    /// How long live connections get when the process stops. Default 30 s.
    pub drain_timeout: Duration,
    /// What is done with a path that has `%2F` in it. Default: it is refused.
    pub encoded_slashes: EncodedSlashes,
}

/// One `[[listen]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Where.
    pub address: ListenAddr,
    /// What is spoken there.
    pub protocol: ListenerProtocol,
    /// Whether each connection of a trusted proxy begins with a PROXY header. Default false.
    pub proxy_protocol: bool,
}

/// What a listener does with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerProtocol {
    /// TLS, then HTTP/2 or HTTP/1.1 by ALPN.
    Tls,
    /// Clear-text HTTP/1.1.
    Clear,
    /// Clear-text HTTP/1.1 that answers every request with a redirect to `https`.
    RedirectToHttps,
}

/// `[tls]`
#[derive(Debug, Clone, PartialEq)]
pub struct Tls {
    /// The lowest version that is negotiated. Default TLS 1.2.
    pub min_version: TlsVersion,
    /// Whether sessions resume by ticket. Default true.
    pub session_tickets: bool,
    /// `[[tls.certificate]]`, in the order of the files; the first answers clients without a matching name.
    pub certificates: Vec<Certificate>,
}

/// `[trust]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trust {
    /// Networks of the proxies that are believed. IPv4 networks hold for IPv4 clients of an IPv6 socket too.
    pub proxies: Vec<IpNet>,
    /// Which of their fields are believed. Default: all kinds.
    pub headers: Kinds,
}

impl Trust {
    /// Whether `peer` is believed what it says of its clients.
    #[must_use]
    pub fn believes(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.proxies.iter().any(|net| net.contains(&peer))
    }
}

/// `[dns]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Dns {
    /// Who is asked for names, in this order. Empty (the default): those of the system's configuration.
    pub servers: Vec<SocketAddr>,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Client connections in all. Default 100 000.
    pub connections: usize,
    /// Bytes of a request's head; 431 beyond. Default 32 KiB.
    pub header_size: usize,
    /// Fields of a request's head; 431 beyond. Default 100.
    pub header_count: usize,
    /// From a connection's first byte of a head to its last. Default 10 s.
    pub header_timeout: Duration,
    /// The whole TLS handshake. Default 10 s.
    pub tls_handshake_timeout: Duration,
    /// How long a connection may stay without a request. Default 75 s.
    pub keep_alive: Duration,
    /// Bytes of a request's body; 413 beyond. `None` (`"0"`, the default): no limit.
    pub body_size: Option<u64>,
    /// The least pace of a request's body; 408 below. `None` (`body_rate = "0"`): any.
    pub body_pace: Option<BodyPace>,
    /// Requests on one connection. `None` (`0`, the default): no limit.
    pub requests_per_connection: Option<u64>,
    /// `http2 = { streams, resets }`
    pub http2: Http2Limits,
}

/// `body_rate` and `body_grace`: how slowly a client may send a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyPace {
    /// Bytes a second on average, while the client is waited for. Default 240.
    pub rate: NonZeroU64,
    /// Time that every body has beyond what its bytes earn. Default 20 s.
    pub grace: Duration,
}

/// `http2 = { … }` of `[limits]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Http2Limits {
    /// Requests at the same time on one connection. Default 128.
    pub streams: u32,
    /// Requests that may be cancelled within 10 s before their response has begun. Default 100.
    pub resets: u32,
}

/// `[upstream.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its name in the file.
    pub name: Arc<str>,
    /// At least one, all different.
    pub servers: Vec<Server>,
    /// One connection: name resolution, TCP and TLS in all. Default 3 s.
    pub connect_timeout: Duration,
    /// How often a request that cannot have had an effect is tried again. Default 1.
    pub retries: u32,
    /// Which server a request goes to. Default round robin.
    pub balance: Balance,
    /// How long a request waits for a place when all servers are full; zero: not at all. Default 1 s.
    pub max_wait: Duration,
    /// Requests that wait at the same time. Default 1000.
    pub max_waiting: usize,
    /// `health = { … }`; `None`: servers are not asked how they are.
    pub health: Option<Health>,
    /// `passive = { … }`; `None`: failed requests say nothing of a server.
    pub passive: Option<Passive>,
    /// How long a server that comes back takes to get its whole share. Default none (`"0"`).
    pub slow_start: Option<Duration>,
    /// `tls = { … }`; there whenever a server is `https://`.
    pub tls: Option<ServerTls>,
    /// `proxy_protocol`: what is told of the client before anything else. `None` (`"off"`, the default): nothing.
    pub proxy_protocol: Option<ProxyVersion>,
    /// `keep_alive = { … }`
    pub keep_alive: KeepAlive,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    /// One line of text.
    V1,
    /// Binary.
    V2,
}

/// `keep_alive = { … }` of an upstream: the connections kept by one worker to one server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// How long a connection may be idle. Default 60 s.
    pub idle: Duration,
    /// Idle connections kept at most. Default 256.
    pub connections: usize,
    /// The age from which a connection gets no more requests. Default none.
    pub max_age: Option<Duration>,
    /// Requests on one connection at most. Default no limit.
    pub requests: Option<NonZeroU64>,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            connections: 256,
            max_age: None,
            requests: None,
        }
    }
}

/// One of an upstream's `servers`.
#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    /// Where it is, and what it speaks.
    pub addr: ServerAddr,
    /// How many requests it gets for one that a server of weight 1 gets; at least 1. Default 1.
    pub weight: u32,
    /// Requests and streams under way at most, over all workers; `0` (the default): no limit.
    pub max_connections: usize,
}

/// One `[[route]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// How it is called in logs: host and path as they stand in the file.
    pub name: Arc<str>,
    /// `None`: any host.
    pub host: Option<HostPattern>,
    /// The pattern for the path.
    pub path: PathPattern,
    /// Empty: any method.
    pub methods: Vec<Method>,
    /// What to do.
    pub action: RouteAction,
    /// `timeouts = { … }`
    pub timeouts: Timeouts,
    /// What becomes of live streams whose server fails its health check. Default keep.
    pub on_unhealthy: OnUnhealthy,
    /// `headers.request`: what changes in requests to the upstream.
    pub request_fields: FieldRules,
    /// `headers.response`: what changes in all responses on this route, streamgate's own errors too.
    pub response_fields: FieldRules,
    /// Bytes of a request's body; 413 beyond. `limits.body_size`, else that of `[limits]`; `None`: no limit.
    pub body_size: Option<u64>,
}

/// What a route does: exactly one of these keys.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteAction {
    /// `upstream = "NAME"`
    Upstream {
        /// The upstream, which exists.
        name: Arc<str>,
        /// What becomes of the path.
        path: PathChange,
        /// `preserve_host`: whether the server gets the client's `Host`, or its own authority. Default true.
        preserve_host: bool,
    },
    /// `redirect = …`
    Redirect(Redirect),
    /// `respond = …`
    Respond(Fixed),
    /// `bridge = "NAME"`
    Bridge {
        /// The bridge, which exists; the route's path has every name that its templates use.
        name: Arc<str>,
    },
}

/// `timeouts = { … }` of a route. `None` (`"0"` in the file): no limit.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeouts {
    /// From the end of the request to the head of the response. Default 60 s.
    pub response: Option<Duration>,
    /// The same for the 101 of a WebSocket handshake. Default 15 s.
    pub upgrade: Option<Duration>,
    /// Silence within a body. Default 60 s.
    pub idle: Option<Duration>,
    /// Silence in a long stream: a tunnel, an event stream. Default 1 h.
    pub stream_idle: Option<Duration>,
    /// A long stream's whole life, shortened by up to a tenth at random. Default none.
    pub stream_max: Option<Duration>,
}

/// `[bridge.NAME]`: a feed, fanned out.
#[derive(Debug, Clone, PartialEq)]
pub struct Bridge {
    /// Its name in the file.
    pub name: Arc<str>,
    /// `ws://host:port/path` with `{names}`; several are a fail-over list.
    pub source: Vec<Source>,
    /// Which clients share one upstream. Default: the names used in `source`, each once.
    pub share_key: Template,
    /// `connect = { headers, subprotocols, send }`
    pub connect: FeedConnect,
    /// `reconnect = { initial, max }`
    pub reconnect: Backoff,
    /// `idle = { linger, ping, pong }`
    pub idle: FeedIdle,
    /// The longest message, in bytes. Default 1 MiB.
    pub max_message: usize,
    /// `replay = { events, bytes, age }`: the caps of the log.
    pub replay: Replay,
    /// Where a client without a cursor starts. Default live.
    pub start: Start,
    /// Where a client goes on whose cursor is gone. Default available.
    pub on_gap: OnGap,
    /// `slow = { policy = "disconnect", events, bytes, stall }`
    pub slow: Slow,
    /// A comment after this much silence, ±10 % for each client. Default 15 s; `None` (`"0"`): off.
    pub heartbeat: Option<Duration>,
    /// `retry = { base, spread }`: each client's own `retry:`.
    pub retry: Retry,
    /// `limits = { subscribers, channels, max_age }`
    pub limits: BridgeLimits,
    /// `publish = { enabled, max_size }`; `None`: not enabled.
    pub publish: Option<Publish>,
    /// Whether `streamgate.open` is sent; else an id-only block stands in its place. Default true.
    pub open_event: bool,
}

/// One feed's address, a template over the names of a route's path.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// Host and port of the `ws` URL.
    pub authority: Authority,
    /// Path and query; a name's value is percent-encoded as one segment.
    pub path: Template,
}

/// `connect = { … }`: how a feed is opened.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FeedConnect {
    /// Fields added to the handshake. Their values may be secrets and are never logged.
    pub headers: HeaderMap,
    /// Offered in this order.
    pub subprotocols: Vec<String>,
    /// Text messages sent in order once the feed is open; a name's value is JSON-escaped.
    pub send: Vec<Template>,
}

/// Exponential back-off with full jitter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The first wait is between nothing and this. Default 250 ms.
    pub initial: Duration,
    /// No wait is longer. Default 30 s.
    pub max: Duration,
}

/// `idle = { … }` of a bridge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FeedIdle {
    /// How long a feed is kept after its last subscriber. Default 60 s.
    pub linger: Duration,
    /// How often the feed is pinged. Default 20 s.
    pub ping: Duration,
    /// How long its pong may take. Default 10 s.
    pub pong: Duration,
}

/// `replay = { … }`: the log's caps, all three in force.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Replay {
    /// Events. Default 10 000.
    pub events: NonZeroUsize,
    /// Bytes of encoded events. Default 64 MiB.
    pub bytes: usize,
    /// Age. Default 10 min.
    pub age: Duration,
}

/// `start`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The next event.
    Live,
    /// All that the log holds; the same as `earliest` while no count is given.
    Replay,
    /// The oldest event in the log.
    Earliest,
}

/// `on_gap`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    /// What the log still has.
    Available,
    /// The next event.
    Live,
}

/// `slow = { policy = "disconnect", … }`: what makes a subscriber too slow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slow {
    /// More events behind than this. Default 5 000.
    pub events: u64,
    /// More bytes behind than this. Default 4 MiB.
    pub bytes: u64,
    /// A write that made no progress for this long. Default 30 s.
    pub stall: Duration,
}

/// `retry = { … }`: `retry:` is `base` plus a random part of `spread`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// At least 250 ms. Default 2 s.
    pub base: Duration,
    /// Default 3 s.
    pub spread: Duration,
}

/// `limits = { … }` of a bridge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BridgeLimits {
    /// Live subscribers of this bridge. Default 20 000.
    pub subscribers: usize,
    /// Channels (sets of path values) of this bridge. Default 1 000.
    pub channels: usize,
    /// A subscription's whole life, shortened by up to a tenth at random. Default none (`"0"`).
    pub max_age: Option<Duration>,
}

/// `publish = { … }`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Publish {
    /// Bytes of one message; 413 beyond. Default 64 KiB.
    pub max_size: usize,
}

/// `[log]`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Log {
    /// What is logged. Default info.
    pub level: tracing::Level,
    /// In which form. Default auto.
    pub format: LogFormat,
    /// Whether requests and streams are logged. Default true.
    pub access: bool,
}

/// `format` of `[log]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}

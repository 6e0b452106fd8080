//! What a configuration *means*, once it has been read and checked.
//!
//! Nothing after this parses a string again: durations are [`Duration`], sizes are bytes, hosts and paths are
//! parsed patterns, certificates are loaded. Types here compare by meaning (`PartialEq`): a reload keeps whatever
//! is equal to what it was.

mod action;
mod auth;
mod balance;
mod bridge;
mod limits;
mod log;
mod mapping;
mod route;
mod trace;
mod upstream;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use ipnet::IpNet;

use crate::config::diagnostic::Diagnostics;
use crate::net::ListenAddr;
use crate::route::{HostPattern, PathPattern};

pub use action::{FieldRules, FieldValue, Fixed, NAMES_OF_REQUEST, PathChange, REST, Redirect};
pub use auth::{Auth, AuthMethod, Basic, Forward, Jwt, Keys, Preflight, Remote, TokenPlace};
pub use balance::{Balance, Cookie, Health, Passive, SameSite, Secret, StreamFate};
pub use bridge::{
    Backoff, Bridge, BridgeLimits, Expected, FeedConnect, FeedIdle, FeedKind, Greeting, Keepalive,
    Mode, OnGap, PostUrl, Publish, Replay, Reply, Resume, Retry, Slow, SlowPolicy, SnapshotCaps,
    Source, Start, Verdict,
};
pub use limits::{RequestRate, Sender, StreamLimits};
pub use log::{Log, LogFormat, Sampling};
pub use mapping::{Binary, EventName, FilterRule, Mapping, Newline};
pub use trace::{Export, Trace};
pub use upstream::{KeepAlive, ProxyVersion, Server, Upstream};

pub use crate::http::error_page::ErrorPages;
pub use crate::http::origin::Kinds;
pub use crate::http::page_origin::PageOrigins;
pub use crate::route::plain_path::EncodedSlashes;
pub use crate::tls::accept::TlsVersion;
pub use crate::tls::certificates::Certificate;
pub use crate::tls::client::ServerTls;
pub use crate::tls::client_auth::{ClientAuth, Demand};

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
    /// `[auth.NAME]`
    pub auths: BTreeMap<Arc<str>, Arc<Auth>>,
    /// `[[route]]`, in the order of the files. The order has no meaning.
    pub routes: Vec<Route>,
    /// `[errors]`
    pub errors: ErrorPages,
    /// `[log]`
    pub log: Log,
    /// `[trace]`; `None`: there is none.
    pub trace: Option<Trace>,
    /// `[admin]`
    pub admin: Admin,
    /// Every file that was read for this configuration, the main file first, certificates and secrets last.
    pub files: Vec<PathBuf>,
    /// Directories in which an `include` with `*` looks for files.
    pub directories: Vec<PathBuf>,
    /// What is odd, and not wrong.
    pub warnings: Diagnostics,
}

/// How long what is live gets when the process stops, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainTimes {
    /// Requests and their responses.
    pub requests: Duration,
    /// Event streams that pass through.
    pub event_streams: Duration,
    /// WebSockets that pass through.
    pub websockets: Duration,
    /// Subscribers of a bridge.
    pub subscribers: Duration,
}

impl DrainTimes {
    /// The same for all.
    #[must_use]
    pub const fn same(time: Duration) -> Self {
        Self {
            requests: time,
            event_streams: time,
            websockets: time,
            subscribers: time,
        }
    }
}

/// `[server]`: the process.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// Worker threads. `0` in the file means one per core.
    pub workers: NonZeroUsize,
    /// How long live connections get when the process stops. Default 30 s.
    pub drain_timeout: Duration,
    /// How long each kind of what is live gets of it.
    pub drain: DrainTimes,
    /// What is done with a path that has `%2F` in it. Default: it is refused.
    pub encoded_slashes: EncodedSlashes,
    /// Where the logs of bridges are kept over a restart; `None`: nowhere.
    pub state_dir: Option<PathBuf>,
    /// Whether a change of the configuration's files reloads it. Default true.
    pub watch: bool,
}

/// One `[[listen]]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Where.
    pub address: ListenAddr,
    /// What is spoken there.
    pub protocol: ListenerProtocol,
    /// Whether HTTP/2 clients may open WebSockets by extended CONNECT (RFC 8441). Default false.
    pub websocket_over_h2: bool,
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
    /// Whose certificates clients show. `None`, the default: nobody is asked.
    pub client_auth: Option<ClientAuth>,
    /// `max-age` of `Strict-Transport-Security`. `None`, the default: it is not sent.
    pub hsts: Option<Duration>,
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

/// `[admin]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Admin {
    /// Where the operator's tools ask. `None` (the default): nowhere.
    pub address: Option<ListenAddr>,
    /// What requests over TCP have to show for the API. `None` (the default): it is for this machine alone, to be read.
    pub token: Option<Secret>,
    /// The Unix socket that `streamgate reload` uses. Default `$RUNTIME_DIRECTORY/admin.sock` where systemd gives a
    /// runtime directory, else `None`.
    pub socket: Option<PathBuf>,
}

/// `[limits]`
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Client connections in all. Default 100 000.
    pub connections: usize,
    /// Of one client address, IPv6 by /64. `None` (`0`, the default): no limit.
    pub connections_per_ip: Option<NonZeroUsize>,
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
    /// Bytes that the logs of all bridges hold together. Default 1 GiB.
    pub bridge_memory: u64,
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
    /// What holds for its WebSockets.
    pub websocket: WebSocket,
    /// What holds for its event streams.
    pub event_streams: EventStreams,
    /// `limits.rate`, `limits.burst` and `limits.by`. `None`, the default: no limit.
    pub rate: Option<RequestRate>,
    /// `limits.streams` and `limits.streams_per_ip`.
    pub streams: StreamLimits,
    /// What becomes of live streams whose server fails its health check. Default keep.
    pub on_unhealthy: StreamFate,
    /// What becomes of live streams whose server or route a reload removes. Default keep.
    pub on_remove: StreamFate,
    /// `headers.request`: what changes in requests to the upstream.
    pub request_fields: FieldRules,
    /// `headers.response`: what changes in all responses on this route, streamgate's own errors too.
    pub response_fields: FieldRules,
    /// From which pages browsers may open WebSockets or use the bridge. `None`: any.
    pub origins: Option<PageOrigins>,
    /// Bytes of a request's body; 413 beyond. `limits.body_size`, else that of `[limits]`; `None`: no limit.
    pub body_size: Option<u64>,
    /// `auth`: the `[auth.NAME]` that requests have to pass, which exists. `None`: anybody may ask.
    pub auth: Option<Arc<str>>,
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

/// What holds for the WebSockets of a route.
#[derive(Debug, Clone, PartialEq)]
pub struct WebSocket {
    /// `heartbeat`: a side that has sent nothing for so long is pinged. `None`, the default: never.
    pub heartbeat: Option<Duration>,
    /// `timeouts.pong`: a side that then sends nothing for so long is dead. Default 10 s.
    pub pong: Duration,
    /// `strict`: whether what breaks RFC 6455 ends the tunnel. Default false.
    pub strict: bool,
    /// `limits.message_size`: bytes of a client's message; 1009 beyond. `None`, the default: no limit.
    pub message_size: Option<u64>,
    /// `limits.messages` and `limits.message_burst`: how fast a client may send; 1008 beyond. `None`, the default: no limit.
    /// Frames that begin no message have a wider limit, which follows from this.
    pub message_rate: Option<MessageRate>,
}

impl Default for WebSocket {
    fn default() -> Self {
        Self {
            heartbeat: None,
            pong: Duration::from_secs(10),
            strict: false,
            message_size: None,
            message_rate: None,
        }
    }
}

/// What holds for the event streams of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EventStreams {
    /// `heartbeat`: the client gets a comment after so much silence. `None`, the default: never.
    pub heartbeat: Option<Duration>,
    /// `resume`: a stream that its server breaks off is asked for again, for so long (`timeouts.resume`) after its last event.
    /// `None`, the default: never.
    pub resume: Option<Duration>,
}

impl EventStreams {
    /// How long a stream is asked for again if the route does not say.
    pub const RESUME: Duration = Duration::from_secs(30);
}

/// How fast messages may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRate {
    /// Messages a second in the long run.
    pub per_second: NonZeroU32,
    /// Messages that may come at once. Default: those of one second.
    pub burst: NonZeroU32,
}

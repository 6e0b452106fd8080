//! The access log: one record for a request, two for a stream.
//!
//! A stream's `open` and `close` carry the same id, which is also the request's `X-Request-Id`. Everything here goes
//! to the target [`TARGET`], which `[log] access = false` turns off.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, Uri, Version};
use tokio::time::Instant;

use crate::net::{ClientAddr, ServerAddr};

/// The tracing target of all access records.
pub const TARGET: &str = "access";

/// What a long stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A WebSocket, passed through.
    Tunnel,
    /// Server-sent events, passed through.
    EventStream,
    /// A bridge's events to one client.
    Subscription,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tunnel => "tunnel",
            Self::EventStream => "event_stream",
            Self::Subscription => "subscription",
        })
    }
}

/// Why a long stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The client ended it, or its connection broke.
    Client,
    /// The backend ended it, in order.
    Backend,
    /// The backend's connection broke, or broke the protocol.
    BackendFailed,
    /// The backend failed its health check, and the route lets no stream outlive that.
    BackendUnhealthy,
    /// Silence for longer than `stream_idle`.
    Idle,
    /// It lived for `stream_max` or `max_age`.
    Age,
    /// The client answered no ping.
    ClientDead,
    /// The backend answered no ping.
    BackendDead,
    /// The client sent what the route does not allow.
    Limit,
    /// One side broke the protocol, on a route that is strict.
    Protocol,
    /// The client did not keep up.
    Slow,
    /// The process stops.
    Drain,
    /// Dropped at the drain's deadline.
    Cut,
}

impl End {
    /// The word in the log.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Backend => "backend",
            Self::BackendFailed => "backend_failed",
            Self::BackendUnhealthy => "backend_unhealthy",
            Self::Idle => "idle",
            Self::Age => "age",
            Self::ClientDead => "client_dead",
            Self::BackendDead => "backend_dead",
            Self::Limit => "limit",
            Self::Protocol => "protocol",
            Self::Slow => "slow",
            Self::Drain => "drain",
            Self::Cut => "cut",
        }
    }
}

/// A request's or a stream's name in the log and towards the backend: 32 hexadecimal digits, or what a believed proxy
/// called it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(Name);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Name {
    Ours([u8; 32]),
    Theirs(Arc<str>),
}

/// The longest name that is taken from a proxy.
const MAX_NAME: usize = 128;

impl RequestId {
    /// A new, random id.
    #[must_use]
    pub fn random() -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut bits = fastrand::u128(..);
        let mut id = [0; 32];
        for digit in &mut id {
            *digit = DIGITS[(bits & 15) as usize];
            bits >>= 4;
        }
        Self(Name::Ours(id))
    }

    /// The name that a proxy has given, if it is fit for a log: 1 to 128 visible ASCII characters.
    #[must_use]
    pub fn told(name: &[u8]) -> Option<Self> {
        let fits = (1..=MAX_NAME).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic);
        let name = std::str::from_utf8(name).ok().filter(|_name| fits)?;
        Some(Self(Name::Theirs(name.into())))
    }

    /// The name: visible ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Ours(digits) => {
                std::str::from_utf8(digits).expect("hexadecimal digits are ASCII")
            }
            Name::Theirs(name) => name,
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request's record, written once it has ended.
pub struct RequestRecord {
    id: RequestId,
    client: ClientAddr,
    version: Version,
    /// Method and target, if they could be read. The query is never logged: tokens travel there.
    asked: Option<(Method, Uri)>,
    host: String,
    route: Option<Arc<str>>,
    server: Option<ServerAddr>,
    status: StatusCode,
    error: Option<&'static str>,
    end: End,
    begun: Instant,
    head: Duration,
    silent: bool,
    /// Bytes of the response's body.
    pub bytes_out: u64,
}

impl RequestRecord {
    /// A record of a request for what `asked` says, that came just now; `None` when nobody reads it.
    #[must_use]
    pub fn begin(
        id: &RequestId,
        client: ClientAddr,
        version: Version,
        asked: impl FnOnce() -> Option<(Method, Uri)>,
    ) -> Option<Self> {
        tracing::enabled!(target: TARGET, tracing::Level::INFO).then(|| Self {
            id: id.clone(),
            client,
            version,
            asked: asked(),
            host: String::new(),
            route: None,
            server: None,
            status: StatusCode::OK,
            error: None,
            // Until it is told otherwise: dropped on its way, its client has left.
            end: End::Client,
            begun: Instant::now(),
            head: Duration::ZERO,
            silent: false,
            bytes_out: 0,
        })
    }

    /// Where it goes.
    pub fn routed(&mut self, host: &str, route: &Arc<str>) {
        self.addressed(host);
        self.route = Some(route.clone());
    }

    /// Whom it asks for, of a request that goes nowhere.
    pub fn addressed(&mut self, host: &str) {
        host.clone_into(&mut self.host);
    }

    /// Who answered.
    pub fn server(&mut self, server: &ServerAddr) {
        self.server = Some(server.clone());
    }

    /// The head is due.
    pub fn answered(&mut self, status: StatusCode) {
        self.status = status;
        self.head = self.begun.elapsed();
    }

    /// It has no response but one of streamgate's own, for this reason.
    pub fn failed(&mut self, error: &'static str) {
        self.error = Some(error);
    }

    /// It has ended: this is how. The record follows.
    pub fn ended(mut self, end: End) {
        self.end = end;
    }

    /// It has become a stream, which has records of its own: this one is not written.
    pub fn superseded(mut self) {
        self.silent = true;
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        if self.silent {
            return;
        }
        let Self {
            id,
            client,
            host,
            bytes_out,
            ..
        } = self;
        let asked = self.asked.as_ref();
        let method = asked.map_or("", |(method, _target)| method.as_str());
        let path = asked.map_or("", |(_method, target)| target.path());
        let (route, version) = (self.route.as_deref(), self.version);
        let (status, end, error) = (self.status.as_u16(), self.end.label(), self.error);
        let server = self.server.as_ref().map(tracing::field::display);
        let (head_us, total_us) = (
            self.head.as_micros() as u64,
            self.begun.elapsed().as_micros() as u64,
        );
        tracing::info!(target: TARGET, %id, %client, method, ?version, host, path, route, server, status, error, end, head_us, total_us, bytes_out, "request");
    }
}

/// A live stream's record. Opened when its head is due, closed with [`StreamRecord::close`]; one that is dropped
/// unclosed was cut.
pub struct StreamRecord {
    id: RequestId,
    kind: Kind,
    route: Arc<str>,
    client: ClientAddr,
    opened: Instant,
    end: End,
    silence: Duration,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client, after the head.
    pub bytes_out: u64,
    /// Messages from the client, where they are counted.
    pub messages_in: Option<u64>,
    /// Messages to the client, where they are counted.
    pub messages_out: Option<u64>,
    /// The code of a WebSocket's first Close; 1005 for one without.
    pub close_code: Option<u16>,
}

impl StreamRecord {
    /// Writes the `open` record. `backend` is the server's address, or the bridge's channel; `version` is the
    /// client's.
    #[must_use]
    pub fn open(
        id: RequestId,
        kind: Kind,
        route: Arc<str>,
        client: ClientAddr,
        backend: &dyn fmt::Display,
        version: Version,
    ) -> Self {
        tracing::info!(target: TARGET, %id, %kind, %route, %client, ?version, %backend, "stream open");
        Self {
            id,
            kind,
            route,
            client,
            opened: Instant::now(),
            end: End::Cut,
            silence: Duration::ZERO,
            bytes_in: 0,
            bytes_out: 0,
            messages_in: None,
            messages_out: None,
            close_code: None,
        }
    }

    /// Says why the stream is about to end, should it be cut before it has.
    pub fn ending(&mut self, end: End) {
        self.end = end;
    }

    /// The backend had broken off `down` ago, and the stream goes on at `backend`.
    pub fn resumed(&self, backend: &dyn fmt::Display, down: Duration) {
        let Self {
            id, kind, route, ..
        } = self;
        let down_ms = down.as_millis() as u64;
        tracing::info!(target: TARGET, %id, %kind, %route, %backend, down_ms, "stream resumed");
    }

    /// Says why the stream ended and how long it had been silent then; the `close` record follows.
    pub fn close(mut self, end: End, silence: Duration) {
        self.end = end;
        self.silence = silence;
    }
}

impl Drop for StreamRecord {
    fn drop(&mut self) {
        let Self {
            id,
            kind,
            route,
            client,
            bytes_in,
            bytes_out,
            messages_in,
            messages_out,
            close_code,
            ..
        } = self;
        let (reason, idle_ms) = (self.end.label(), self.silence.as_millis() as u64);
        let life_ms = self.opened.elapsed().as_millis() as u64;
        tracing::info!(target: TARGET, %id, %kind, %route, %client, reason, life_ms, idle_ms, bytes_in, bytes_out, messages_in, messages_out, close_code, "stream close");
    }
}

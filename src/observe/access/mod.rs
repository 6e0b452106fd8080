//! The access log: one record for a request, two for a stream.
//!
//! A stream's `open` and `close` carry the same id, which is also the request's `X-Request-Id`. Everything here goes
//! to the target [`TARGET`], which `[log] access = false` turns off, and `[log] sample` thins. The records are there all the
//! same: what the metrics say of requests and streams is told by them.

mod sampling;
mod spans;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, Uri, Version};
use tokio::time::Instant;
use tracing::field::DisplayValue;

use crate::http::trace_context::TraceId;
use crate::net::{ClientAddr, ServerAddr};
use crate::observe::metrics;
use crate::observe::trace::Trace;
pub(super) use sampling::apply as sample;
use sampling::{Outcome, Verdict};
pub use stream::{Client, StreamRecord};

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

impl Kind {
    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; 3] = [Self::Tunnel, Self::EventStream, Self::Subscription];

    /// The word in the log and in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::EventStream => "event_stream",
            Self::Subscription => "subscription",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
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
    /// A reload has removed its route, its server or its bridge, or has changed its bridge's feed.
    Removed,
    /// What its client was let in by has expired.
    Expired,
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
    /// Another client has taken its session over.
    TakenOver,
    /// The operator has ended it.
    Operator,
    /// The process stops.
    Drain,
    /// Dropped at the drain's deadline.
    Cut,
}

impl End {
    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; 17] = [
        Self::Client,
        Self::Backend,
        Self::BackendFailed,
        Self::BackendUnhealthy,
        Self::Removed,
        Self::Expired,
        Self::Idle,
        Self::Age,
        Self::ClientDead,
        Self::BackendDead,
        Self::Limit,
        Self::Protocol,
        Self::Slow,
        Self::TakenOver,
        Self::Operator,
        Self::Drain,
        Self::Cut,
    ];

    /// The word in the log and in metrics.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Backend => "backend",
            Self::BackendFailed => "backend_failed",
            Self::BackendUnhealthy => "backend_unhealthy",
            Self::Removed => "removed",
            Self::Expired => "token_expired",
            Self::Idle => "idle",
            Self::Age => "age",
            Self::ClientDead => "client_dead",
            Self::BackendDead => "backend_dead",
            Self::Limit => "limit",
            Self::Protocol => "protocol",
            Self::Slow => "slow",
            Self::TakenOver => "taken_over",
            Self::Operator => "operator",
            Self::Drain => "drain",
            Self::Cut => "cut",
        }
    }
}

/// A request's or a stream's name in the log and towards the backend: 32 hexadecimal digits, or what a believed proxy
/// called it; and its place in a trace, where it has one.
#[derive(Debug, Clone)]
pub struct RequestId(Name);

#[derive(Debug, Clone)]
enum Name {
    Ours([u8; 32]),
    Theirs(Arc<str>),
    /// No larger than the others, for each idle stream has one.
    Traced(Arc<(Self, Trace)>),
}

impl Name {
    fn as_str(&self) -> &str {
        match self {
            Self::Ours(digits) => {
                std::str::from_utf8(digits).expect("hexadecimal digits are ASCII")
            }
            Self::Theirs(name) => name,
            Self::Traced(traced) => traced.0.as_str(),
        }
    }
}

/// By the name alone.
impl PartialEq for RequestId {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RequestId {}

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
        self.0.as_str()
    }

    /// The same name with a place in a trace.
    #[must_use]
    pub fn traced(self, trace: Trace) -> Self {
        Self(Name::Traced(Arc::new((self.0, trace))))
    }

    /// Its place in a trace; `None` where there is no `[trace]`.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        match &self.0 {
            Name::Traced(traced) => Some(&traced.1),
            Name::Ours(_) | Name::Theirs(_) => None,
        }
    }

    /// The trace's id, for a record.
    fn trace_id(&self) -> Option<DisplayValue<TraceId>> {
        self.trace()
            .map(|trace| tracing::field::display(trace.id()))
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
    user: Option<Arc<str>>,
    status: StatusCode,
    error: Option<&'static str>,
    end: End,
    begun: Instant,
    /// How long it took to the response's head, once it is due.
    head: Option<Duration>,
    is_superseded: bool,
    is_logged: bool,
    /// Bytes of the response's body.
    pub bytes_out: u64,
}

impl RequestRecord {
    /// A record of a request for what `asked` says, which is only asked where somebody reads it, that came just now.
    #[must_use]
    pub fn begin(
        id: &RequestId,
        client: ClientAddr,
        version: Version,
        asked: impl FnOnce() -> Option<(Method, Uri)>,
    ) -> Self {
        let is_logged = tracing::enabled!(target: TARGET, tracing::Level::INFO);
        Self {
            id: id.clone(),
            client,
            version,
            asked: is_logged.then(asked).flatten(),
            host: String::new(),
            route: None,
            server: None,
            user: None,
            status: StatusCode::OK,
            error: None,
            // Until it is told otherwise: dropped on its way, its client has left.
            end: End::Client,
            begun: Instant::now(),
            head: None,
            is_superseded: false,
            is_logged,
            bytes_out: 0,
        }
    }

    /// Where it goes.
    pub fn routed(&mut self, host: &str, route: &Arc<str>) {
        self.addressed(host);
        self.route = Some(route.clone());
    }

    /// Whom it asks for, of a request that goes nowhere.
    pub fn addressed(&mut self, host: &str) {
        if self.is_logged {
            host.clone_into(&mut self.host);
        }
    }

    /// Who answered.
    pub fn server(&mut self, server: &ServerAddr) {
        self.server = Some(server.clone());
    }

    /// Who asks, where that is known.
    pub fn asked_by(&mut self, user: &Arc<str>) {
        self.user = Some(user.clone());
    }

    /// The head is due.
    pub fn answered(&mut self, status: StatusCode) {
        self.status = status;
        self.head = Some(self.begun.elapsed());
    }

    /// It has no response but one of streamgate's own, for this reason.
    pub fn failed(&mut self, error: &'static str) {
        self.error = Some(error);
    }

    /// It has ended: this is how. The record follows.
    pub fn ended(mut self, end: End) {
        self.end = end;
    }

    /// How it went, for whoever decides whether it is written.
    fn outcome(&self) -> Outcome {
        let went_on = matches!(self.end, End::Backend | End::Client);
        Outcome {
            is_well: went_on && self.error.is_none() && !self.status.is_server_error(),
            took: self.head.unwrap_or_else(|| self.begun.elapsed()),
        }
    }

    /// It has become a stream, which has records of its own: this one is not written. Its head is due now, if it was not
    /// before.
    pub fn superseded(mut self) {
        self.is_superseded = true;
        if let Some(trace) = self.id.trace() {
            trace.answered(self.status);
        }
        self.head.get_or_insert_with(|| self.begun.elapsed());
    }
}

impl Drop for RequestRecord {
    fn drop(&mut self) {
        let head = self.head.map(|after| (self.status.as_u16(), after));
        metrics::requested(self.route.as_ref(), head);
        if !self.is_superseded {
            self.tell_span();
        }
        if self.is_superseded || !self.is_logged {
            return;
        }
        let sample = match sampling::judge(&self.id, self.outcome()) {
            Verdict::Write => None,
            Verdict::Sample(share) => Some(share),
            Verdict::Skip => return,
        };
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
        let trace_id = id.trace_id();
        let user = self.user.as_deref();
        let (head_us, total_us) = (
            self.head.unwrap_or_default().as_micros() as u64,
            self.begun.elapsed().as_micros() as u64,
        );
        tracing::info!(target: TARGET, %id, trace_id, %client, method, ?version, host, path, route, user, server, status, error, end, head_us, total_us, bytes_out, sample, "request");
    }
}

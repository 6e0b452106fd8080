//! What a bridge is to do.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};

use crate::config::model::Mapping;
use crate::json::Pointer;
use crate::net::ServerAddr;
use crate::route::Template;
use crate::tls::client::ServerTls;

/// `[bridge.NAME]`: a feed, fanned out.
#[derive(Debug, Clone, PartialEq)]
pub struct Bridge {
    /// Its name in the file.
    pub name: Arc<str>,
    /// `ws://host:port/path` with `{names}`; several are a fail-over list.
    pub source: Vec<Source>,
    /// How the sources that speak TLS are spoken to; `None`: none does.
    pub tls: Option<ServerTls>,
    /// Who shares a connection to the feed. Default shared.
    pub mode: Mode,
    /// Which clients share one upstream. Default: the names used in `source`, each once.
    pub share_key: Template,
    /// `connect = { headers, subprotocols, send, compression, forward }`
    pub connect: FeedConnect,
    /// `keepalive = { every, text, drop }`; `None`: the feed wants none.
    pub keepalive: Option<Keepalive>,
    /// `resume = { pointer, send }`; `None`: a WebSocket feed cannot go on.
    pub resume: Option<Resume>,
    /// `resume.across_sources`: whether one source goes on where another was. Default false.
    pub across_sources: bool,
    /// `reconnect = { initial, max }`
    pub reconnect: Backoff,
    /// `idle = { linger, eager, ping, pong, silence }`
    pub idle: FeedIdle,
    /// The longest message, in bytes. Default 1 MiB.
    pub max_message: usize,
    /// `replay = { events, bytes, age }`: the caps of the log.
    pub replay: Replay,
    /// What becomes of a message.
    pub mapping: Mapping,
    /// What is kept of the newest event for each key; `None`: nothing, for nobody asks for it.
    pub snapshot: Option<SnapshotCaps>,
    /// Where a client without a cursor starts. Default live.
    pub start: Start,
    /// Where a client goes on whose cursor is gone. Default available.
    pub on_gap: OnGap,
    /// `slow = { policy, events, bytes, age, stall }`
    pub slow: Slow,
    /// A comment after this much silence, ±10 % for each client. Default 15 s; `None` (`"0"`): off.
    pub heartbeat: Option<Duration>,
    /// Whether a heartbeat is an event `streamgate.ping`, which a page can see. Default false: a comment.
    pub heartbeat_event: bool,
    /// `retry = { base, spread }`: each client's own `retry:`.
    pub retry: Retry,
    /// `limits = { subscribers, channels, max_age, accept_rate }`
    pub limits: BridgeLimits,
    /// `publish = { … }`; `None`: not enabled. In session mode it is, unless it was switched off.
    pub publish: Option<Publish>,
    /// `close_map = { 4401 = 401 }`: close codes of a session's feed that are final, and what a client that comes back is
    /// told then. 1000 is always there.
    pub close_map: BTreeMap<u16, Verdict>,
    /// Whether `streamgate.open` is sent; else an id-only block stands in its place. Default true.
    pub open_event: bool,
}

impl Bridge {
    /// Whether a feed, and the log that it writes, would be the same for `other`: all but how clients are served.
    #[must_use]
    pub fn is_fed_alike(&self, other: &Self) -> bool {
        let served_alike = Self {
            start: self.start,
            on_gap: self.on_gap,
            slow: self.slow,
            heartbeat: self.heartbeat,
            heartbeat_event: self.heartbeat_event,
            retry: self.retry,
            limits: self.limits,
            publish: self.publish.clone(),
            close_map: self.close_map.clone(),
            open_event: self.open_event,
            ..other.clone()
        };
        *self == served_alike
    }
}

/// What a feed speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedKind {
    /// `ws://`, `wss://`: messages (RFC 6455).
    WebSocket,
    /// `http://`, `https://`: server-sent events.
    EventSource,
}

/// `mode`: who shares a connection to the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All clients of a channel.
    Shared,
    /// Nobody: each client has its own.
    Session,
}

/// What a client is told that comes back to a session that has ended for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// 204: there is nothing more, which an EventSource takes for its end.
    Done,
    /// 401
    Unauthorized,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 410
    Gone,
}

impl Verdict {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Done,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::Gone,
    ];

    /// The status that it stands for (RFC 9110 §15).
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Done => 204,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Gone => 410,
        }
    }

    /// The verdict of this status.
    #[must_use]
    pub fn of_status(status: u16) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|verdict| verdict.status() == status)
    }
}

/// One feed's address, a template over the names of a route's path.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// What is spoken there.
    pub kind: FeedKind,
    /// Where it is, in clear text or over TLS.
    pub server: ServerAddr,
    /// Path and query; a name's value is percent-encoded as one segment.
    pub path: Template,
}

/// `connect = { … }`: how a feed is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedConnect {
    /// Fields added to the handshake. Their values may be secrets and are never logged.
    pub headers: HeaderMap,
    /// Offered in this order.
    pub subprotocols: Vec<String>,
    /// Text messages sent in order once the feed is open.
    pub send: Vec<Greeting>,
    /// Whether `permessage-deflate` is offered. Default true.
    pub compression: bool,
    /// Fields of the client's request that are passed on.
    pub forward: Vec<HeaderName>,
}

impl Default for FeedConnect {
    fn default() -> Self {
        Self {
            headers: HeaderMap::new(),
            subprotocols: Vec::new(),
            send: Vec::new(),
            compression: true,
            forward: Vec::new(),
        }
    }
}

/// One of `connect.send`.
#[derive(Debug, Clone, PartialEq)]
pub struct Greeting {
    /// What is sent; a name's value is JSON-escaped.
    pub text: Template,
    /// What has to be answered before the next one is sent; `None`: nothing.
    pub expect: Option<Expected>,
}

/// `expect`, `value` and `timeout` of one of `connect.send`: a JSON message that has this part.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    /// Where the part is.
    pub pointer: Pointer,
    /// What it is; `None`: anything.
    pub value: Option<String>,
    /// How long it may take. Default 5 s.
    pub timeout: Duration,
}

/// `keepalive = { … }`: what a feed wants to hear of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Keepalive {
    /// How often.
    pub every: Duration,
    /// The text message.
    pub text: String,
    /// Text messages of the feed that are its answers, and are not passed on.
    pub drop: Option<String>,
}

/// `resume = { … }`: how a WebSocket feed goes on where it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Resume {
    /// Where a message says how it is called.
    pub pointer: Pointer,
    /// What is sent after a reconnect; `{last}` is the newest value, as JSON.
    pub send: Template,
}

impl Resume {
    /// The name that stands for the newest value.
    pub const LAST: &'static str = "last";
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
    /// Whether the feed is opened at the start, and kept. Default false.
    pub eager: bool,
    /// How often the feed is pinged. Default 20 s.
    pub ping: Duration,
    /// How long its pong may take. Default 10 s.
    pub pong: Duration,
    /// How long it may send no message. Default `None` (`"0"`): for ever.
    pub silence: Option<Duration>,
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
    /// The newest event for each key, then the next event.
    Snapshot,
    /// All that the log holds, as `earliest`.
    Replay,
    /// `{ replay = N }`: so many events.
    Newest(u64),
    /// `{ replay = "5m" }`: events that are not older.
    Recent(Duration),
    /// The oldest event in the log.
    Earliest,
}

/// `on_gap`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGap {
    /// What the log still has.
    Available,
    /// The newest event for each key, then the next event.
    Snapshot,
    /// The next event.
    Live,
}

/// `snapshot = { keys, bytes }`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SnapshotCaps {
    /// Keys. Default 10 000.
    pub keys: NonZeroUsize,
    /// Bytes of their events. Default 16 MiB.
    pub bytes: u64,
}

/// `slow.policy`: what happens to a subscriber that is too slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlowPolicy {
    /// It is cut off, and comes back.
    #[default]
    Disconnect,
    /// It goes on at the newest event, and is told what it missed.
    Skip,
    /// It gets the newest event for each key until it has caught up.
    Conflate,
}

/// `slow = { policy, … }`: what makes a subscriber too slow, and what happens then.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slow {
    /// What happens then. Default disconnect.
    pub policy: SlowPolicy,
    /// More events behind than this. Default 5 000.
    pub events: u64,
    /// More bytes behind than this. Default 4 MiB.
    pub bytes: u64,
    /// Behind an event that is older than this. Default `None` (`"0"`): any age.
    pub age: Option<Duration>,
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
    /// Clients that may come back in a second after an end of ours. Default 1 000.
    pub accept_rate: u32,
}

/// `publish.url`: where messages for a source of server-sent events go.
#[derive(Debug, Clone, PartialEq)]
pub struct PostUrl {
    /// Where it is, in clear text or over TLS.
    pub server: ServerAddr,
    /// Path and query; a name's value is percent-encoded as one segment.
    pub path: Template,
}

/// `publish = { … }`
#[derive(Debug, Clone, PartialEq)]
pub struct Publish {
    /// Where messages go by `POST` while the source is one of server-sent events; `None`: no source is.
    pub url: Option<PostUrl>,
    /// Bytes of one message; 413 beyond. Default 64 KiB.
    pub max_size: usize,
    /// Messages a second of one session, or of one client's address; 429 beyond. Default none (`"0"`).
    pub rate: Option<NonZeroU32>,
    /// How the feed's answer to a message is found. Default none: a message has no answer.
    pub reply: Option<Reply>,
}

/// `publish.reply = { match, timeout }`
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// JSON pointer (RFC 6901): the answer is the feed's next message whose value there equals the sent one's.
    pub pointer: Arc<str>,
    /// How long the answer may take; 504 then. Default 5 s.
    pub timeout: Duration,
}

//! What a bridge is to do.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use crate::config::model::Mapping;
use crate::net::Authority;
use crate::route::Template;

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

/// `publish = { … }`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Publish {
    /// Bytes of one message; 413 beyond. Default 64 KiB.
    pub max_size: usize,
}

//! `[bridge.NAME]`: a feed that is fanned out to browsers.

use crate::config::model::{Binary, Mode, Newline, OnGap, SlowPolicy};
use crate::config::schema::collection::OneOrMany;
use crate::config::schema::feed::{Connect, FeedUrl};
use crate::config::schema::mapping;
use crate::config::schema::opening::{Keepalive, RequestText, Resume};
use crate::config::schema::publish::{CloseMap, Publish};
use crate::config::schema::scalar::{Integer, OneOf, Word};
use crate::config::schema::table::table;
use crate::config::schema::upstream::UpstreamTls;
use crate::config::units::{DAY, GIB, HOUR, KIB, MIB, MINUTE, Period, SECOND, Size, TimeLimit};

table! {
    /// `[bridge.NAME]`: one feed for many clients, who read it as server-sent events.
    Bridge, "`[bridge.NAME]`", "a table, `[bridge.NAME]`" {
        /// `"ws://feed:9000/ws/{room}"`, or `wss://`, or `http://` and `https://` for a source of server-sent events; with names of the route's path in path and query; a list is for fail-over. Required.
        source: OneOrMany<FeedUrl>,
        /// `"shared"` (the default): one connection to the feed serves all clients of a channel. `"session"`: each client has
        /// its own, which ends when the feed closes it.
        mode: OneOf<Mode>,
        /// Which clients share a connection to the feed. Default: all whose values are equal for the names that `source` and
        /// `connect.send` use. Besides the names of the route's path, `{query.name}` is a parameter of the client's query, and
        /// `{header.name}` a field of its request.
        share_key: RequestText,
        /// How a connection to the feed is opened.
        connect: Connect,
        /// How `wss://` and `https://` sources are spoken to.
        tls: UpstreamTls,
        /// What a WebSocket feed wants to hear from time to time. Default: nothing.
        keepalive: Keepalive,
        /// How a WebSocket feed goes on where it was after a break; clients are then told of no gap. Default: it cannot.
        resume: Resume,
        /// How long to wait before the feed is connected to again.
        reconnect: Reconnect,
        /// How long a feed is kept, and how it is seen to be alive.
        idle: Idle,
        /// The longest message; longer ones are left out, which clients are told. Default `"1MiB"`, up to `"256MiB"`.
        max_message: Size<1, { 256 * MIB }>,
        /// How much of the past is kept for clients that come back.
        replay: Replay,
        /// What of a message becomes the event.
        event: mapping::Event,
        /// Whether each message is sent as `{"type":"text","data":…,"time":…}`, with `"binary"` and base64 for a binary one; the time
        /// in milliseconds since 1970. Default `false`.
        envelope: bool,
        /// What becomes of the line ends of a text: `"split"` (the default), which makes LF of each, or `"json"`: the text is sent as
        /// a JSON string, in which they stay what they are.
        newline: OneOf<Newline>,
        /// Which messages a client gets, by its query.
        filter: mapping::Filter,
        /// Where in a JSON message it says what it is about, `"/symbol"`. A newer message about the same takes its place in a snapshot
        /// and where messages are conflated; all messages without a key count as one. Default: none.
        key: mapping::Pointer,
        /// How much is kept of what is newest for each key.
        snapshot: mapping::Snapshot,
        /// Where a new client starts: `"live"` (the default), `"snapshot"`: the newest message for each key, `"replay"` or `"earliest"`:
        /// all that is kept. `{ replay = 100 }` and `{ replay = "5m" }`: a part of it.
        start: mapping::StartAt,
        /// Where a client goes on whose place is no longer kept: `"available"` (the default), `"snapshot"` or `"live"`.
        on_gap: OneOf<OnGap>,
        /// When a client is too slow.
        slow: Slow,
        /// A comment to each client after this much silence. Default `"15s"`, from `"1s"` to `"1h"`; `"0"`: never.
        heartbeat: TimeLimit<SECOND, HOUR>,
        /// `true`: the heartbeat is an event `streamgate.ping`, which pages can see, and not a comment. Default `false`.
        heartbeat_event: bool,
        /// How long clients are told to wait before they come back.
        retry: Retry,
        /// How much one bridge may take.
        limits: BridgeLimits,
        /// Whether clients may send messages to the feed by `POST`.
        publish: Publish,
        /// In session mode: close codes of the feed after which a client is not to come back, and the status it gets if it
        /// does: `{ 4401 = 401 }`; 204, 401, 403, 404 and 410 are possible. Default `{ 1000 = 204 }`, which stays beside
        /// others.
        close_map: CloseMap,
        /// Whether each client first gets an event `streamgate.open`. Default `true`.
        open_event: bool,
        /// Where the past is kept: `"memory"` (the default).
        store: OneOf<Store>,
        /// What a binary message becomes: `"base64"` (the default) or `"envelope"`, as an event `binary`; `"utf8"`: a text where it is
        /// UTF-8, else base64; `"reject"`: nothing.
        binary: OneOf<Binary>,
    }
}

table! {
    /// `reconnect = { … }`: waits grow from `initial` to `max`, each a random part of it.
    Reconnect, "`reconnect` of a `[bridge.NAME]`", "a table, `reconnect = { … }`" {
        /// The first wait at most. Default `"250ms"`.
        initial: Period<10, { 5 * MINUTE }>,
        /// Any wait at most. Default `"30s"`.
        max: Period<10, HOUR>,
    }
}

table! {
    /// `idle = { … }` of a bridge.
    Idle, "`idle` of a `[bridge.NAME]`", "a table, `idle = { … }`" {
        /// How long the feed is kept after its last client. Default `"60s"`, up to `"1d"`.
        linger: Period<0, DAY>,
        /// Whether the feed is opened when streamgate starts and kept open without clients; only for a feed that is the same
        /// for all. Default `false`.
        eager: bool,
        /// How often a WebSocket feed is pinged. To a source of server-sent events, which has no pings, TCP sends probes
        /// instead. Default `"20s"`.
        ping: Period<100, HOUR>,
        /// How long its pong may take. Default `"10s"`.
        pong: Period<100, { 5 * MINUTE }>,
        /// How long a feed may send nothing that counts: no message, or to an event stream no byte. Then it is connected to
        /// anew. Default `"0"`: for ever.
        silence: TimeLimit<100, DAY>,
    }
}

table! {
    /// `replay = { … }`: what is kept of each channel; all three bounds are in force.
    Replay, "`replay` of a `[bridge.NAME]`", "a table, `replay = { … }`" {
        /// Events. Default `10000`.
        events: Integer<1, 10_000_000>,
        /// Bytes of encoded events. Default `"64MiB"`.
        bytes: Size<KIB, { 64 * GIB }>,
        /// Age. Default `"10m"`, up to `"30d"`.
        age: Period<100, { 30 * DAY }>,
    }
}

table! {
    /// `slow = { … }`: what happens to a client that is further behind.
    Slow, "`slow` of a `[bridge.NAME]`", "a table, `slow = { … }`" {
        /// `"disconnect"` (the default): it is cut off, comes back and goes on where it was. `"skip"`: it goes on at the newest
        /// message, and is told how many it missed. `"conflate"`: it gets only the newest message for each key until it has caught up.
        policy: OneOf<SlowPolicy>,
        /// Events behind. Default `5000`.
        events: Integer<1, 10_000_000>,
        /// Bytes behind. Default `"4MiB"`.
        bytes: Size<1, { 64 * GIB }>,
        /// Age of the oldest message that it has not got. Default `"0"`: any.
        age: TimeLimit<100, DAY>,
        /// How long a write may make no progress. Default `"30s"`.
        stall: Period<100, HOUR>,
    }
}

table! {
    /// `retry = { … }`: each client is told `base` and a random part of `spread`, so that they do not return at once.
    Retry, "`retry` of a `[bridge.NAME]`", "a table, `retry = { … }`" {
        /// Default `"2s"`, at least `"250ms"`.
        base: Period<250, HOUR>,
        /// Default `"3s"`.
        spread: Period<0, HOUR>,
    }
}

table! {
    /// `limits = { … }` of a bridge.
    BridgeLimits, "`limits` of a `[bridge.NAME]`", "a table, `limits = { … }`" {
        /// Clients at the same time. Default `20000`.
        subscribers: Integer<1, 10_000_000>,
        /// Channels (different values of the path's names) at the same time. Default `1000`.
        channels: Integer<1, 1_000_000>,
        /// How long a client may stay, shortened by up to a tenth at random. Default `"0"`: no limit.
        max_age: TimeLimit<SECOND, { 365 * DAY }>,
        /// Clients that are sent away at once are told to come back no faster than so many a second. Default `1000`.
        accept_rate: Integer<1, 1_000_000>,
    }
}

impl Word for Mode {
    const EXPECTED: &'static str = "a bridge's mode";
    const WORDS: &'static [(&'static str, Self)] =
        &[("shared", Mode::Shared), ("session", Mode::Session)];
}

/// `store`: where the log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    /// In this process.
    Memory,
}

impl Word for Store {
    const EXPECTED: &'static str = "a store";
    const WORDS: &'static [(&'static str, Self)] = &[("memory", Store::Memory)];
}

impl Word for SlowPolicy {
    const EXPECTED: &'static str = "a policy for slow clients";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("disconnect", SlowPolicy::Disconnect),
        ("skip", SlowPolicy::Skip),
        ("conflate", SlowPolicy::Conflate),
    ];
}

impl Word for OnGap {
    const EXPECTED: &'static str = "a place to go on";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("available", OnGap::Available),
        ("snapshot", OnGap::Snapshot),
        ("live", OnGap::Live),
    ];
}

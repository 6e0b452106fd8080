//! `[server]` and `[log]`: the process.

use tracing::Level;

use crate::config::model::{EncodedSlashes, LogFormat};
use crate::config::schema::scalar::{Integer, OneOf, Share, Text, Word};
use crate::config::schema::table::table;
use crate::config::units::{HOUR, Period};

table! {
    /// `[server]`: the process.
    Server, "`[server]`", "a table, `[server]`" {
        /// Worker threads, each with its own runtime. `0` (the default): one per core. Up to 1024.
        workers: Integer<0, 1024>,
        /// How long live connections get when the process stops. Default `"30s"`, up to `"1h"`; `"0"`: none.
        drain_timeout: Period<0, HOUR>,
        /// How much of `drain_timeout` each kind gets of what is live.
        drain: Drain,
        /// Paths with `%2F` in them: `"reject"` (the default) answers 400, `"keep"` passes them on as they came; here they never
        /// count as a border of segments, and a `{name}` of a route's path does not take them. See that your backends agree.
        encoded_slashes: OneOf<EncodedSlashes>,
        /// A directory, relative to this file, where the logs of bridges are kept while the process does not run, so that clients
        /// go on where they were. It has to exist and to be writable. Default: systemd's `$STATE_DIRECTORY`; without that none, and
        /// clients are told of a gap after a restart.
        state_dir: Text,
        /// Whether a change of the configuration's files (with those included, certificates, keys, secrets and pages) reloads it, a
        /// moment after the last change. `false`: only SIGHUP and `streamgate reload` do. Default `true`.
        watch: bool,
    }
}

/// One kind's time in a drain.
pub(crate) type DrainTime = Period<0, HOUR>;

table! {
    /// `drain`: how much of `drain_timeout` each kind gets. What has more is cut with `drain_timeout`.
    Drain, "`drain`", "a table, `drain = { websockets = \"60s\" }`" {
        /// Requests and their responses. Over HTTP/2 they share a connection with streams, and are cut with it. Default:
        /// `drain_timeout`.
        requests: DrainTime,
        /// Event streams that pass through; they end over the first half of it. Default: `drain_timeout`.
        event_streams: DrainTime,
        /// WebSockets that pass through; they end over the first half of it. Default: `drain_timeout`.
        websockets: DrainTime,
        /// Subscribers of a bridge; they end over the first half of it, and within a second where a new process follows.
        /// Default: `drain_timeout`.
        subscribers: DrainTime,
    }
}

table! {
    /// `[log]`: what is written to stdout.
    Log, "`[log]`", "a table, `[log]`" {
        /// `error`, `warn`, `info` (the default), `debug` or `trace`.
        level: OneOf<Level>,
        /// `text` for people, `json` with one object a line, or `auto` (the default): text on a terminal, else JSON. Where stdout is
        /// the journal, `text` and `auto` put its priority in front of each line, which journald takes off again.
        format: OneOf<LogFormat>,
        /// Whether each request and each stream is logged. Default `true`.
        access: bool,
        /// The share of requests that are logged, `0.0` to `1.0` (the default), among those that went well and were quick; their records
        /// then have it as `sample`. Always logged are streamgate's own errors, 5xx, what was cut off, what was slow, and streams.
        sample: Share,
        /// From here on until the head of the response a request is slow. Default `"1s"`, up to `"1h"`; `"0"`: each is.
        slow: Period<0, HOUR>,
    }
}

impl Word for EncodedSlashes {
    const EXPECTED: &'static str = "what is done with `%2F`";
    const WORDS: &'static [(&'static str, Self)] =
        &[("reject", Self::Reject), ("keep", Self::Keep)];
}

impl Word for Level {
    const EXPECTED: &'static str = "a log level";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("error", Level::ERROR),
        ("warn", Level::WARN),
        ("info", Level::INFO),
        ("debug", Level::DEBUG),
        ("trace", Level::TRACE),
    ];
}

impl Word for LogFormat {
    const EXPECTED: &'static str = "a log format";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", LogFormat::Auto),
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
    ];
}

//! `[server]` and `[log]`: the process.

use tracing::Level;

use crate::config::model::LogFormat;
use crate::config::schema::scalar::{Integer, OneOf, Word};
use crate::config::schema::table::table;
use crate::config::units::{HOUR, Period};

table! {
    /// `[server]`: the process.
    Server, "`[server]`", "a table, `[server]`" {
        /// Worker threads, each with its own runtime. `0` (the default): one per core. Up to 1024.
        workers: Integer<0, 1024>,
        /// How long live connections get when the process stops. Default `"30s"`, up to `"1h"`; `"0"`: none.
        drain_timeout: Period<0, HOUR>,
    }
}

table! {
    /// `[log]`: what is written to stdout.
    Log, "`[log]`", "a table, `[log]`" {
        /// `error`, `warn`, `info` (the default), `debug` or `trace`.
        level: OneOf<Level>,
        /// `text` for people, `json` with one object a line, or `auto` (the default): text on a terminal, else JSON.
        format: OneOf<LogFormat>,
        /// Whether each request and each stream is logged. Default `true`.
        access: bool,
    }
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

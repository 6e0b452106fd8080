//! What is logged, and in which form.

use std::time::Duration;

/// `[log]`
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Log {
    /// What is logged. Default info.
    pub level: tracing::Level,
    /// In which form. Default auto.
    pub format: LogFormat,
    /// Whether requests and streams are logged. Default true.
    pub access: bool,
    /// Which requests are.
    pub sampling: Sampling,
}

/// `sample` and `slow` of `[log]`: which requests are logged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// The share of those that went well and were quick, 0 to 1. Default 1.
    pub share: f64,
    /// From here on until the head of the response a request is slow. Default 1 s.
    pub slow: Duration,
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

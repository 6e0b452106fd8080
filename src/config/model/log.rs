//! What is logged, and in which form.

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

//! Traces: how many, and where they go.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Uri};

use crate::net::ServerAddr;
use crate::tls::client::ServerTls;

/// `[trace]`
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    /// The share of requests that are sampled where nobody who is believed has decided it, 0 to 1. Default 1.
    pub sample: f64,
    /// `otlp`: where spans go. `None`: nowhere.
    pub export: Option<Arc<Export>>,
}

/// Where spans go, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Export {
    /// The collector.
    pub server: ServerAddr,
    /// For `https://`.
    pub tls: Option<ServerTls>,
    /// The path of its traces: that of `otlp` with `/v1/traces` behind it.
    pub path: Uri,
    /// `headers`. Each value is marked sensitive.
    pub headers: HeaderMap,
    /// What this gate is called. Default `streamgate`.
    pub service_name: String,
    /// For one request. Default 10 s.
    pub timeout: Duration,
}

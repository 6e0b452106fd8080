//! The labels of the metrics. Each takes its values from a small set: routes and servers of the configuration, and words
//! of our own. Paths, hosts and addresses of clients are never among them.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;

/// Requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Answered {
    pub(super) route: Arc<str>,
    pub(super) status: &'static str,
}

/// What is told of a route as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfRoute {
    pub(super) route: Arc<str>,
}

/// What is told of a kind of stream as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfKind {
    pub(super) kind: &'static str,
}

/// Streams of one kind on one route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Streams {
    pub(super) kind: &'static str,
    pub(super) route: Arc<str>,
}

/// Ended streams.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Closed {
    pub(super) kind: &'static str,
    pub(super) route: Arc<str>,
    pub(super) cause: &'static str,
}

/// Ended WebSockets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct CloseCodes {
    pub(super) route: Arc<str>,
    pub(super) code: &'static str,
}

/// Streams that were not to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Refused {
    pub(super) route: Arc<str>,
    pub(super) limit: &'static str,
}

/// Event streams that were taken up again.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Resumed {
    pub(super) route: Arc<str>,
    pub(super) outcome: &'static str,
}

/// Reloads, and spans, by what became of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfOutcome {
    pub(super) outcome: &'static str,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfCertificate {
    pub(super) name: String,
}

/// A server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfServer {
    pub(super) upstream: Arc<str>,
    pub(super) server: String,
}

/// The program.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Program {
    pub(super) version: &'static str,
}

/// What is told of a bridge as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OfBridge {
    pub(super) bridge: Arc<str>,
}

/// Subscribers of a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Subscribers {
    pub(super) bridge: Arc<str>,
    pub(super) kind: &'static str,
}

/// Channels of a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Channels {
    pub(super) bridge: Arc<str>,
    pub(super) upstream: &'static str,
}

/// What happened at a bridge, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Because {
    pub(super) bridge: Arc<str>,
    pub(super) reason: &'static str,
}

/// Slow clients of a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Slow {
    pub(super) bridge: Arc<str>,
    pub(super) policy: &'static str,
}

/// What was posted to a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Posts {
    pub(super) bridge: Arc<str>,
    pub(super) status: &'static str,
}

//! Every metric: its name, its labels, its unit, what it says.
//!
//! `docs/metrics.md` is made from this file, and a test holds it to that. The names have the prefix [`PREFIX`], but for those
//! that all programs have alike ([`PROCESS`]); a unit is appended to them, and counters end in `_total`.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::histogram::{Bounds, Buckets, Histogram, buckets};
use super::labels;

/// What all names begin with.
const PREFIX: &str = "streamgate";

/// What the names begin with that Prometheus's own libraries give to all programs, so that dashboards know them.
const PROCESS: &str = "process_";

/// From the backend's byte read to the client's socket having taken it: 50 µs to 1 s.
pub(super) const DELAYS: Bounds = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000,
];

/// Until the head of a response: 1 ms to a minute.
pub(super) const HEADS: Bounds = &[
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

/// A stream's life: a second to a week.
pub(super) const LIVES: Bounds = &[
    1_000_000,
    10_000_000,
    60_000_000,
    300_000_000,
    1_800_000_000,
    3_600_000_000,
    14_400_000_000,
    43_200_000_000,
    86_400_000_000,
    604_800_000_000,
];

/// How far a subscriber of a bridge is behind: 10 ms to five minutes.
pub(super) const LAGS: Bounds = &[
    10_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
];

/// A gauge of seconds.
type Seconds = Gauge<f64, AtomicU64>;

/// A counter of seconds.
type SecondsTotal = Counter<f64, AtomicU64>;

/// One metric.
pub(super) struct Entry {
    /// Without prefix, unit and `_total`.
    name: &'static str,
    unit: Option<&'static str>,
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "for docs/metrics.md, dashboard and alerts")
    )]
    labels: &'static [&'static str],
    /// A sentence without its full stop, which the exposition adds.
    help: &'static str,
}

/// Makes the struct that holds all metrics, and its registration, from one table, so that no metric is without its entry.
macro_rules! catalog {
    ($($field:ident: $metric:ty = $make:expr, $entry:expr;)+) => {
        /// The metrics of the process.
        #[derive(Debug)]
        pub(super) struct Catalog {
            $(pub(super) $field: $metric,)+
        }

        impl Catalog {
            /// All of them, at nothing, made known to `registry`.
            pub(super) fn register(registry: &mut Registry) -> Self {
                $(let $field: $metric = $make; $entry.register(registry, $field.clone());)+
                Self { $($field,)+ }
            }

            /// A line of a table in Markdown for each metric: name, type, labels, meaning.
            #[cfg(test)]
            pub(super) fn reference(&self) -> Vec<String> {
                vec![$($entry.reference(type_of(&self.$field)),)+]
            }

            /// The name of each metric as it is exposed, with its type and the names of its labels.
            #[cfg(test)]
            pub(super) fn names(&self) -> Vec<(String, &'static str, &'static [&'static str])> {
                vec![$({
                    let kind = type_of(&self.$field);
                    ($entry.full_name(kind), kind, $entry.labels)
                },)+]
            }
        }
    };
}

catalog! {
    build: Family<labels::Program, Gauge> = Family::default(), Entry {
        name: "build_info", unit: None, labels: &["version"],
        help: "Always 1, with the version of the program",
    };
    draining: Gauge = Gauge::default(), Entry {
        name: "draining", unit: None, labels: &[],
        help: "1 while the process drains, else 0",
    };
    cpu: SecondsTotal = Counter::default(), Entry {
        name: "process_cpu", unit: Some("seconds"), labels: &[],
        help: "Time of processors that the process has used",
    };
    memory: Gauge = Gauge::default(), Entry {
        name: "process_resident_memory", unit: Some("bytes"), labels: &[],
        help: "Memory of the process",
    };
    started: Seconds = Gauge::default(), Entry {
        name: "process_start_time", unit: Some("seconds"), labels: &[],
        help: "When the process began, since 1970",
    };
    open_files: Gauge = Gauge::default(), Entry {
        name: "process_open_fds", unit: None, labels: &[],
        help: "Files that the process has open; each connection is one",
    };
    files_limit: Gauge = Gauge::default(), Entry {
        name: "process_max_fds", unit: None, labels: &[],
        help: "Files that it may have open",
    };
    connections: Gauge = Gauge::default(), Entry {
        name: "connections", unit: None, labels: &[],
        help: "Connections of clients that live now",
    };
    connections_limit: Gauge = Gauge::default(), Entry {
        name: "connections_limit", unit: None, labels: &[],
        help: "What `limits.connections` allows of them",
    };
    connections_refused: Counter = Counter::default(), Entry {
        name: "connections_refused", unit: None, labels: &[],
        help: "Connections that were closed at once because their client had `limits.connections_per_ip`",
    };
    generations: Gauge = Gauge::default(), Entry {
        name: "configurations_live", unit: None, labels: &[],
        help: "Configurations that are held: the one in force, and older ones that a request still uses",
    };
    requests: Family<labels::Answered, Counter> = Family::default(), Entry {
        name: "requests", unit: None, labels: &["route", "status"],
        help: "Requests that have ended, or become streams, by the status of their response",
    };
    response_head: Family<labels::OfRoute, Histogram, Buckets> = buckets(HEADS), Entry {
        name: "response_head", unit: Some("seconds"), labels: &["route"],
        help: "Time from a request's head to the head of its response; a body's or a stream's length is no part of it",
    };
    streams: Family<labels::Streams, Gauge> = Family::default(), Entry {
        name: "streams", unit: None, labels: &["kind", "route"],
        help: "Long streams that live now",
    };
    opened: Family<labels::Streams, Counter> = Family::default(), Entry {
        name: "streams_opened", unit: None, labels: &["kind", "route"],
        help: "Long streams that were opened",
    };
    closed: Family<labels::Closed, Counter> = Family::default(), Entry {
        name: "streams_closed", unit: None, labels: &["kind", "route", "cause"],
        help: "Long streams that have ended, by the word that the access log has as their reason",
    };
    refused: Family<labels::Refused, Counter> = Family::default(), Entry {
        name: "streams_refused", unit: None, labels: &["route", "limit"],
        help: "Long streams that a limit of the route refused: that of the route, of one client, or of one user",
    };
    too_fast: Family<labels::OfRoute, Counter> = Family::default(), Entry {
        name: "requests_rate_limited", unit: None, labels: &["route"],
        help: "Requests that came faster than `limits.rate` of the route",
    };
    life: Family<labels::OfKind, Histogram, Buckets> = buckets(LIVES), Entry {
        name: "stream_life", unit: Some("seconds"), labels: &["kind"],
        help: "How long the long streams that have ended had lived",
    };
    bytes_in: Family<labels::Streams, Counter> = Family::default(), Entry {
        name: "stream_received", unit: Some("bytes"), labels: &["kind", "route"],
        help: "Bytes from clients within long streams, live ones too",
    };
    bytes_out: Family<labels::Streams, Counter> = Family::default(), Entry {
        name: "stream_sent", unit: Some("bytes"), labels: &["kind", "route"],
        help: "Bytes to clients within long streams, live ones too",
    };
    messages_in: Family<labels::Streams, Counter> = Family::default(), Entry {
        name: "stream_received", unit: Some("messages"), labels: &["kind", "route"],
        help: "Messages from clients within long streams, where they are counted",
    };
    messages_out: Family<labels::Streams, Counter> = Family::default(), Entry {
        name: "stream_sent", unit: Some("messages"), labels: &["kind", "route"],
        help: "Messages to clients within long streams, where they are counted",
    };
    delay: Family<labels::OfKind, Histogram, Buckets> = buckets(DELAYS), Entry {
        name: "stream_added_delay", unit: Some("seconds"), labels: &["kind"],
        help: "Time from reading a backend's bytes to the client's socket having taken them",
    };
    heartbeats: Family<labels::OfKind, Counter> = Family::default(), Entry {
        name: "heartbeats", unit: None, labels: &["kind"],
        help: "Heartbeats that were sent: pings within WebSockets, comments within event streams",
    };
    close_codes: Family<labels::CloseCodes, Counter> = Family::default(), Entry {
        name: "websocket_closes", unit: None, labels: &["route", "code"],
        help: "WebSockets that have ended, by the code of the first Close; 1005: it had none, 1006: there was no Close",
    };
    resumed: Family<labels::Resumed, Counter> = Family::default(), Entry {
        name: "stream_resumptions", unit: None, labels: &["route", "outcome"],
        help: "Event streams whose backend broke off: taken up again, refused by the backend, or given up",
    };
    up: Family<labels::OfServer, Gauge> = Family::default(), Entry {
        name: "upstream_up", unit: None, labels: &["upstream", "server"],
        help: "1 while a server's health checks find it up, or there are none, else 0",
    };
    under_way: Family<labels::OfServer, Gauge> = Family::default(), Entry {
        name: "upstream_live", unit: None, labels: &["upstream", "server"],
        help: "Requests and streams under way at a server",
    };
    certificates: Family<labels::OfCertificate, Gauge> = Family::default(), Entry {
        name: "certificate_expiry_timestamp", unit: Some("seconds"), labels: &["name"],
        help: "When a certificate in force expires, by its first name",
    };
    reloads: Family<labels::OfOutcome, Counter> = Family::default(), Entry {
        name: "reloads", unit: None, labels: &["outcome"],
        help: "Reloads of the configuration: done, without a change, or refused",
    };
    reloaded: Family<labels::OfOutcome, Gauge> = Family::default(), Entry {
        name: "last_reload_timestamp", unit: Some("seconds"), labels: &["outcome"],
        help: "When the last reload with this outcome was",
    };
    bridge_subscribers: Family<labels::Subscribers, Gauge> = Family::default(), Entry {
        name: "bridge_subscribers", unit: None, labels: &["bridge", "kind"],
        help: "Clients of a bridge that are there now",
    };
    bridge_drain_left: Family<labels::OfBridge, Gauge> = Family::default(), Entry {
        name: "bridge_drain_left", unit: None, labels: &["bridge"],
        help: "Clients that are still to leave; 0 while the process does not drain",
    };
    bridge_channels: Family<labels::Channels, Gauge> = Family::default(), Entry {
        name: "bridge_channels", unit: None, labels: &["bridge", "upstream"],
        help: "Open channels, in session mode one for each session, by where their feed stands",
    };
    bridge_feeds_lost: Family<labels::Because, Counter> = Family::default(), Entry {
        name: "bridge_feeds_lost", unit: None, labels: &["bridge", "reason"],
        help: "Feeds that were open and were lost, in order or not; all but a session's are then opened again",
    };
    bridge_feeds_refused: Family<labels::Because, Counter> = Family::default(), Entry {
        name: "bridge_feeds_refused", unit: None, labels: &["bridge", "reason"],
        help: "Attempts to open a feed that failed",
    };
    bridge_events: Family<labels::OfBridge, Counter> = Family::default(), Entry {
        name: "bridge_events", unit: None, labels: &["bridge"],
        help: "Events that were written to the logs, once for all clients; gaps are events, too",
    };
    bridge_log_events: Family<labels::OfBridge, Gauge> = Family::default(), Entry {
        name: "bridge_log_events", unit: None, labels: &["bridge"],
        help: "Events that the logs hold now",
    };
    bridge_log_bytes: Family<labels::OfBridge, Gauge> = Family::default(), Entry {
        name: "bridge_log", unit: Some("bytes"), labels: &["bridge"],
        help: "Bytes of the events that the logs hold now",
    };
    bridge_log_age: Family<labels::OfBridge, Seconds> = Family::default(), Entry {
        name: "bridge_log_oldest_age", unit: Some("seconds"), labels: &["bridge"],
        help: "Age of the oldest event that a log holds; 0 when there is none",
    };
    bridge_memory: Gauge = Gauge::default(), Entry {
        name: "bridge_memory", unit: Some("bytes"), labels: &[],
        help: "Memory of the logs of all bridges, with the forms of their events for each kind of client",
    };
    bridge_memory_limit: Gauge = Gauge::default(), Entry {
        name: "bridge_memory_limit", unit: Some("bytes"), labels: &[],
        help: "What `limits.bridge_memory` allows of it",
    };
    bridge_replayed: Family<labels::OfBridge, Counter> = Family::default(), Entry {
        name: "bridge_replayed", unit: Some("events"), labels: &["bridge"],
        help: "Events of the past that streams began with, before the clients' filters",
    };
    bridge_gaps: Family<labels::Because, Counter> = Family::default(), Entry {
        name: "bridge_gaps", unit: None, labels: &["bridge", "reason"],
        help: "Gaps that were told: one in a log counts once for all its clients, a client's own for itself",
    };
    bridge_slow: Family<labels::Slow, Counter> = Family::default(), Entry {
        name: "bridge_slow_clients", unit: None, labels: &["bridge", "policy"],
        help: "Clients that were too slow, by what became of them",
    };
    bridge_lag: Family<labels::OfBridge, Histogram, Buckets> = buckets(LAGS), Entry {
        name: "bridge_lag", unit: Some("seconds"), labels: &["bridge"],
        help: "Age of the first event that a client has not got yet, 0 if it has all: all clients of a channel that have caught up, once a second at most, as events come",
    };
    bridge_rejected: Family<labels::Because, Counter> = Family::default(), Entry {
        name: "bridge_rejected", unit: None, labels: &["bridge", "reason"],
        help: "Clients that were sent away",
    };
    bridge_posts: Family<labels::Posts, Counter> = Family::default(), Entry {
        name: "bridge_posts", unit: None, labels: &["bridge", "status"],
        help: "What clients posted, by the status of the answer; of a WebSocket's messages by the one that a `POST` would have had",
    };
    bridge_unfit: Family<labels::Because, Counter> = Family::default(), Entry {
        name: "bridge_unfit_messages", unit: None, labels: &["bridge", "reason"],
        help: "Messages of feeds that were not passed on as they are meant to be",
    };
    bridge_taken_over: Family<labels::OfBridge, Counter> = Family::default(), Entry {
        name: "bridge_takeovers", unit: None, labels: &["bridge"],
        help: "Clients whose session another client, or their own next stream, took over",
    };
    spans: Family<labels::OfOutcome, Counter> = Family::default(), Entry {
        name: "trace_spans", unit: None, labels: &["outcome"],
        help: "Spans of `[trace] otlp`, by what became of them",
    };
    log_lines_dropped: Counter = Counter::default(), Entry {
        name: "log_lines_dropped", unit: None, labels: &[],
        help: "Lines of the log that were dropped because nobody read them",
    };
}

impl Entry {
    fn register(&self, registry: &mut Registry, metric: impl Metric) {
        let registry = if self.name.starts_with(PROCESS) {
            registry
        } else {
            registry.sub_registry_with_prefix(PREFIX)
        };
        match self.unit {
            Some(unit) => {
                let unit = Unit::Other(unit.to_owned());
                registry.register_with_unit(self.name, self.help, unit, metric);
            }
            None => registry.register(self.name, self.help, metric),
        }
    }
}

#[cfg(test)]
impl Entry {
    fn full_name(&self, metric_type: &str) -> String {
        let mut parts = vec![self.name];
        if !self.name.starts_with(PROCESS) {
            parts.insert(0, PREFIX);
        }
        parts.extend(self.unit);
        parts.extend((metric_type == "counter").then_some("total"));
        parts.join("_")
    }

    fn reference(&self, metric_type: &str) -> String {
        let labels: Vec<_> = self
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        format!(
            "| `{}` | {metric_type} | {} | {}. |",
            self.full_name(metric_type),
            labels.join(", "),
            self.help
        )
    }
}

#[cfg(test)]
fn type_of(metric: &impl prometheus_client::encoding::EncodeMetric) -> &'static str {
    use prometheus_client::metrics::MetricType;
    match metric.metric_type() {
        MetricType::Counter => "counter",
        MetricType::Gauge => "gauge",
        MetricType::Histogram => "histogram",
        MetricType::Info => "info",
        MetricType::Unknown => "unknown",
    }
}

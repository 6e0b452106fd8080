//! Metrics: what is counted, and how it is exposed (OpenMetrics, or the older text of Prometheus).
//!
//! Requests and streams count into cells of their own worker (`tally`); each worker's tick adds them to the metrics of
//! the process by [`Metrics::fold`]. So counting takes no lock and no atomic, and what is exposed is exact but for the last
//! tick. What the process knows anyway (connections, certificates, servers, bridges) is set when it is asked for.
//!
//! Labels are bounded: routes and servers of the configuration, and words of our own. Counters outlive reloads, and so do
//! the series of a route that is gone, until the process ends.

mod bridges;
mod catalog;
mod histogram;
mod labels;
#[cfg(test)]
mod named;
mod process;
mod tally;
#[cfg(test)]
mod tests;
mod text;
mod totals;
mod words;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding;
use prometheus_client::registry::Registry;

pub use bridges::{BridgeLogs, BridgeStanding, ByWord, Lag, LagSample, LogMemory};
use catalog::Catalog;
use process::Usage;
pub(crate) use tally::StreamTally;
use tally::Tally;
pub use text::Format;
use totals::AllTotals;
pub use totals::{CLASSES, Totals};

use crate::observe::access::Kind;
use crate::observe::trace;

thread_local! {
    static TALLY: Tally = Tally::default();
}

/// The metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    catalog: Catalog,
    totals: AllTotals,
}

/// Which limit refused a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamLimit {
    /// That of the route.
    Route,
    /// That of one client on the route.
    Client,
    /// That of one user on the route.
    User,
}

impl StreamLimit {
    const ALL: [Self; 3] = [Self::Route, Self::Client, Self::User];

    fn label(self) -> &'static str {
        match self {
            Self::Route => "route",
            Self::Client => "client",
            Self::User => "user",
        }
    }
}

/// What became of an event stream whose backend broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumption {
    /// It goes on: the client has noticed nothing.
    Resumed,
    /// The backend answered in a way that ends it.
    Refused,
    /// The backend did not come back in time.
    GaveUp,
}

impl Resumption {
    const ALL: [Self; 3] = [Self::Resumed, Self::Refused, Self::GaveUp];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Resumed => "resumed",
            Self::Refused => "refused",
            Self::GaveUp => "gave_up",
        }
    }
}

/// How a reload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// The new configuration is in force.
    Done,
    /// Nothing was different.
    Unchanged,
    /// It was refused: the old configuration stays.
    Refused,
}

impl Reload {
    fn label(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

/// What the process knows at a moment without having counted it.
#[derive(Debug, Default)]
pub struct Standing {
    /// Whether the process drains.
    pub is_draining: bool,
    /// Connections of clients.
    pub connections: usize,
    /// How many there may be.
    pub connections_limit: usize,
    /// Connections that were closed because their client had too many, since the start.
    pub connections_refused: u64,
    /// Configurations that are held.
    pub generations: usize,
    /// Lines of the log that nobody read, since the start.
    pub log_lines_dropped: usize,
    /// The certificates in force: name, and end in seconds since 1970.
    pub certificates: Vec<(String, i64)>,
    /// The servers of the upstreams in force.
    pub servers: Vec<Server>,
    /// The bridges in force.
    pub bridges: Vec<BridgeStanding>,
    /// The memory of their logs.
    pub log_memory: LogMemory,
}

/// A server of an upstream.
#[derive(Debug)]
pub struct Server {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// Its address, as the configuration names it.
    pub server: String,
    /// Whether it is up.
    pub is_up: bool,
    /// Requests and streams under way.
    pub live: usize,
}

impl Metrics {
    /// All of them, at nothing.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let catalog = Catalog::register(&mut registry);
        let version = labels::Program {
            version: env!("CARGO_PKG_VERSION"),
        };
        catalog.build.get_or_create(&version).set(1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        catalog.started.set(now.unwrap_or_default().as_secs_f64());
        Self {
            registry,
            catalog,
            totals: AllTotals::default(),
        }
    }

    /// Adds what this thread has counted since it was called last. It may wait for [`Metrics::expose`] on another thread
    /// the first time that it meets a series.
    pub fn fold(&self) {
        TALLY.with(|tally| tally.fold(&self.catalog, &self.totals));
    }

    /// What was counted of all routes, but for the last tick.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals.sum()
    }

    /// What was counted on the route of this name, but for the last tick.
    #[must_use]
    pub fn totals_of(&self, route: &str) -> Totals {
        self.totals.known(route).unwrap_or_default()
    }

    /// A reload has ended.
    pub fn reloaded(&self, outcome: Reload) {
        let labels = labels::OfOutcome {
            outcome: outcome.label(),
        };
        self.catalog.reloads.get_or_create(&labels).inc();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_secs();
        let at = self.catalog.reloaded.get_or_create_owned(&labels);
        at.set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    /// All metrics as text, with what is known just now.
    #[must_use]
    pub fn expose(&self, standing: &Standing, format: Format) -> String {
        self.set(standing);
        let mut text = String::with_capacity(16 * 1024);
        encoding::text::encode(&mut text, &self.registry)
            .expect("a string takes whatever is written, and no metric has an error of its own");
        match format {
            Format::OpenMetrics => text,
            Format::Prometheus => text::prometheus(&text),
        }
    }

    fn set(&self, standing: &Standing) {
        let catalog = &self.catalog;
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        catalog.draining.set(i64::from(standing.is_draining));
        catalog.set_usage(&Usage::read());
        catalog.set_spans(trace::outcomes());
        catalog.connections.set(number(standing.connections));
        let limit = number(standing.connections_limit);
        catalog.connections_limit.set(limit);
        catalog.generations.set(number(standing.generations));
        let refused = standing.connections_refused;
        let told = catalog.connections_refused.get();
        catalog
            .connections_refused
            .inc_by(refused.saturating_sub(told));
        let dropped = standing.log_lines_dropped as u64;
        let told = catalog.log_lines_dropped.get();
        catalog
            .log_lines_dropped
            .inc_by(dropped.saturating_sub(told));
        catalog.set_bridges(&standing.bridges, &standing.log_memory);
        // What is gone is not told any more.
        catalog.certificates.clear();
        for (name, expiry) in &standing.certificates {
            let labels = labels::OfCertificate { name: name.clone() };
            let known = catalog.certificates.get_or_create_owned(&labels);
            // Of two with the same name the one that ends first is what somebody must know.
            let earlier = Some(known.get()).filter(|known| *known != 0);
            known.set(earlier.map_or(*expiry, |earlier| earlier.min(*expiry)));
        }
        catalog.up.clear();
        catalog.under_way.clear();
        for server in &standing.servers {
            let labels = labels::OfServer {
                upstream: server.upstream.clone(),
                server: server.server.clone(),
            };
            let up = catalog.up.get_or_create_owned(&labels);
            up.set(i64::from(server.is_up));
            let live = catalog.under_way.get_or_create_owned(&labels);
            live.inc_by(number(server.live));
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// A limit of this route has refused a stream.
pub fn stream_refused(route: &Arc<str>, limit: StreamLimit) {
    TALLY.with(|tally| tally.route(Some(route)).refused(limit));
}

/// A request has come faster than its route allows.
pub fn too_fast(route: &Arc<str>) {
    TALLY.with(|tally| tally.route(Some(route)).too_fast());
}

/// A request has ended. `head`: the status of its response, and how long it took.
pub(super) fn requested(route: Option<&Arc<str>>, head: Option<(u16, Duration)>) {
    // It may be dropped with its thread, when nobody counts any more.
    let _ = TALLY.try_with(|tally| tally.route(route).requested(head));
}

/// A stream has been opened.
pub(super) fn opened(kind: Kind, route: &Arc<str>) -> std::rc::Rc<StreamTally> {
    TALLY.with(|tally| tally.open(kind, route))
}

/// A WebSocket has ended with this code.
pub(super) fn close_code(route: &Arc<str>, code: u16) {
    let _ = TALLY.try_with(|tally| tally.route(Some(route)).close_code(code));
}

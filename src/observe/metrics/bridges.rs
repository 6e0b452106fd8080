//! What is told of bridges: they count by themselves, and are read when somebody asks.
//!
//! Invariant: what is told of a bridge is told anew each time, so that one that is gone is not told any more.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::catalog::{Catalog, LAGS};
use super::histogram::{Histogram, Observations};
use super::labels;

/// Numbers by a word, each word once.
pub type ByWord = Vec<(&'static str, u64)>;

/// A bridge at one moment. Each number but those of what lives now only rises while the bridge lives.
#[derive(Debug)]
pub struct BridgeStanding {
    /// Its name.
    pub name: Arc<str>,
    /// Live subscribers by kind.
    pub subscribers: ByWord,
    /// Subscribers that are still to leave, in a drain.
    pub drain_left: usize,
    /// Live channels by where their feed stands.
    pub channels: ByWord,
    /// What the logs of its channels hold.
    pub logs: BridgeLogs,
    /// Events that were ever appended to a log.
    pub events: u64,
    /// Open feeds that were lost, by why.
    pub feeds_lost: ByWord,
    /// Attempts to open a feed that failed, by why.
    pub feeds_refused: ByWord,
    /// Events of the past that subscriptions began with.
    pub replayed: u64,
    /// Gaps by reason.
    pub gaps: ByWord,
    /// What became of slow clients.
    pub slow: ByWord,
    /// How far subscribers are behind.
    pub lag: Lag,
    /// Who was sent away, by why.
    pub rejected: ByWord,
    /// Posts by status.
    pub posts: ByWord,
    /// Messages that could not be passed on as they came, by why.
    pub unfit: ByWord,
    /// Subscribers whose session another took over.
    pub taken_over: u64,
}

/// What the logs of a bridge hold together.
#[derive(Debug, Default)]
pub struct BridgeLogs {
    /// Events.
    pub events: u64,
    /// Their bytes, as they are sent by HTTP/1.1.
    pub bytes: u64,
    /// Age of the oldest.
    pub oldest: Duration,
}

/// The memory of all logs of the process.
#[derive(Debug, Default)]
pub struct LogMemory {
    /// Bytes in use.
    pub used: u64,
    /// Bytes that may be.
    pub limit: u64,
}

/// How far a bridge's subscribers are behind, sampled from time to time by each worker.
#[derive(Debug, Clone)]
pub struct Lag(Histogram);

impl Default for Lag {
    fn default() -> Self {
        Self(Histogram::new(LAGS))
    }
}

/// A worker's own observations of lag that are not added yet.
#[derive(Debug)]
pub struct LagSample(Observations);

impl Default for LagSample {
    fn default() -> Self {
        Self(Observations::new(LAGS))
    }
}

impl LagSample {
    /// A subscriber is so far behind.
    pub fn observe(&self, behind: Duration) {
        self.0.observe(behind);
    }

    /// Adds what was observed, and forgets it.
    pub fn add_to(&self, lag: &Lag) {
        self.0.add_to(|| lag.0.clone());
    }
}

impl Catalog {
    pub(super) fn set_bridges(&self, bridges: &[BridgeStanding], memory: &LogMemory) {
        self.bridge_memory.set(signed(memory.used));
        self.bridge_memory_limit.set(signed(memory.limit));
        self.clear_bridges();
        for bridge in bridges {
            self.set_bridge(bridge);
        }
    }

    fn clear_bridges(&self) {
        self.bridge_subscribers.clear();
        self.bridge_drain_left.clear();
        self.bridge_channels.clear();
        self.bridge_log_events.clear();
        self.bridge_log_bytes.clear();
        self.bridge_log_age.clear();
        self.bridge_events.clear();
        self.bridge_feeds_lost.clear();
        self.bridge_feeds_refused.clear();
        self.bridge_replayed.clear();
        self.bridge_gaps.clear();
        self.bridge_slow.clear();
        self.bridge_lag.clear();
        self.bridge_rejected.clear();
        self.bridge_posts.clear();
        self.bridge_unfit.clear();
        self.bridge_taken_over.clear();
    }

    fn set_bridge(&self, standing: &BridgeStanding) {
        let name = || standing.name.clone();
        let of = labels::OfBridge { bridge: name() };
        set(&self.bridge_subscribers, &standing.subscribers, |kind| {
            let bridge = name();
            labels::Subscribers { bridge, kind }
        });
        set(&self.bridge_channels, &standing.channels, |upstream| {
            let bridge = name();
            labels::Channels { bridge, upstream }
        });
        let because = |reason| labels::Because {
            bridge: name(),
            reason,
        };
        count(&self.bridge_feeds_lost, &standing.feeds_lost, because);
        count(&self.bridge_feeds_refused, &standing.feeds_refused, because);
        count(&self.bridge_gaps, &standing.gaps, because);
        count(&self.bridge_rejected, &standing.rejected, because);
        count(&self.bridge_unfit, &standing.unfit, because);
        count(&self.bridge_slow, &standing.slow, |policy| {
            let bridge = name();
            labels::Slow { bridge, policy }
        });
        count(&self.bridge_posts, &standing.posts, |status| {
            let bridge = name();
            labels::Posts { bridge, status }
        });
        for (family, value) in [
            (&self.bridge_drain_left, standing.drain_left as u64),
            (&self.bridge_log_events, standing.logs.events),
            (&self.bridge_log_bytes, standing.logs.bytes),
        ] {
            family.get_or_create_owned(&of).set(signed(value));
        }
        for (family, value) in [
            (&self.bridge_events, standing.events),
            (&self.bridge_replayed, standing.replayed),
            (&self.bridge_taken_over, standing.taken_over),
        ] {
            family.get_or_create_owned(&of).inc_by(value);
        }
        let age = standing.logs.oldest.as_secs_f64();
        self.bridge_log_age.get_or_create_owned(&of).set(age);
        let lag = self.bridge_lag.get_or_create_owned(&of);
        lag.add(&standing.lag.0);
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn set<L>(family: &Family<L, Gauge>, values: &ByWord, labels: impl Fn(&'static str) -> L)
where
    L: Clone + Hash + Eq + EncodeLabelSet,
{
    for (word, value) in values {
        let gauge = family.get_or_create_owned(&labels(word));
        gauge.set(signed(*value));
    }
}

fn count<L>(family: &Family<L, Counter>, values: &ByWord, labels: impl Fn(&'static str) -> L)
where
    L: Clone + Hash + Eq + EncodeLabelSet,
{
    for (word, value) in values {
        family.get_or_create_owned(&labels(word)).inc_by(*value);
    }
}

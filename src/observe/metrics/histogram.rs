//! Histograms of durations that cost a worker two additions an observation.
//!
//! Each worker counts into [`Observations`] of its own; what it has counted is added to the [`Histogram`] of the process
//! from time to time. A reader may find the buckets of an addition that is still under way: the next one has all of it.

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds of buckets in microseconds, in order.
pub(super) type Bounds = &'static [u64];

/// A whole process's histogram.
#[derive(Debug, Clone)]
pub(super) struct Histogram(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bounds: Bounds,
    /// One for each bound, and one for what is longer than all.
    counts: Box<[AtomicU64]>,
    micros: AtomicU64,
}

impl Histogram {
    /// An empty one.
    pub(super) fn new(bounds: Bounds) -> Self {
        let counts = std::iter::repeat_with(AtomicU64::default);
        Self(Arc::new(Shared {
            bounds,
            counts: counts.take(bounds.len() + 1).collect(),
            micros: AtomicU64::new(0),
        }))
    }

    /// Adds what another with the same bounds has.
    pub(super) fn add(&self, other: &Self) {
        for (count, more) in self.0.counts.iter().zip(&other.0.counts) {
            count.fetch_add(more.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let micros = other.0.micros.load(Ordering::Relaxed);
        self.0.micros.fetch_add(micros, Ordering::Relaxed);
    }
}

/// Makes histograms.
#[derive(Debug, Clone)]
pub(super) struct Buckets(Bounds);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0)
    }
}

/// A family of histograms with these bounds.
pub(super) fn buckets<L: Clone + Eq + std::hash::Hash>(
    bounds: Bounds,
) -> Family<L, Histogram, Buckets> {
    Family::new_with_constructor(Buckets(bounds))
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = self.0.bounds.iter().map(|bound| *bound as f64 / 1e6);
        let counts = self
            .0
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds
            .chain(std::iter::once(f64::INFINITY))
            .zip(counts)
            .collect();
        // Not a number of its own: it has to fit the buckets.
        let count = buckets.iter().map(|(_bound, count)| count).sum();
        let seconds = self.0.micros.load(Ordering::Relaxed) as f64 / 1e6;
        encoder.encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// What one worker has observed and not yet added.
#[derive(Debug)]
pub(super) struct Observations {
    bounds: Bounds,
    counts: Box<[Cell<u64>]>,
    micros: Cell<u64>,
    any: Cell<bool>,
}

impl Observations {
    /// None yet.
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            counts: vec![Cell::new(0); bounds.len() + 1].into(),
            micros: Cell::new(0),
            any: Cell::new(false),
        }
    }

    /// One more.
    pub(super) fn observe(&self, length: Duration) {
        let micros = u64::try_from(length.as_micros()).unwrap_or(u64::MAX);
        // There are few bounds, and most observations are short.
        let bucket = self.bounds.iter().take_while(|bound| micros > **bound);
        let count = &self.counts[bucket.count()];
        count.set(count.get() + 1);
        self.micros.set(self.micros.get().saturating_add(micros));
        self.any.set(true);
    }

    /// Adds them to `total`, which has the same bounds, and forgets them.
    pub(super) fn add_to(&self, total: impl FnOnce() -> Histogram) {
        if !self.any.take() {
            return;
        }
        let Histogram(total) = total();
        for (count, total) in self.counts.iter().zip(&total.counts) {
            total.fetch_add(count.take(), Ordering::Relaxed);
        }
        total
            .micros
            .fetch_add(self.micros.take(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_counts_in_the_first_bucket_that_holds_it() {
        let observed = Observations::new(&[10, 100]);
        for micros in [0, 10, 11, 100, 101, 5_000_000] {
            observed.observe(Duration::from_micros(micros));
        }
        let total = Histogram::new(&[10, 100]);
        observed.add_to(|| total.clone());
        observed.add_to(|| panic!("nothing is left to add"));
        let counts: Vec<_> = total
            .0
            .counts
            .iter()
            .map(|c| c.load(Ordering::Relaxed))
            .collect();
        assert_eq!(counts, [2, 2, 2]);
        assert_eq!(total.0.micros.load(Ordering::Relaxed), 5_000_222);
    }
}

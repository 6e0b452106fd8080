//! Latency histograms and error counts of one worker, and their sum.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

pub struct Tally {
    pub ok: u64,
    pub errors: u64,
    pub bytes: u64,
    pub first_error: Option<String>,
    hist: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            ok: 0,
            errors: 0,
            bytes: 0,
            first_error: None,
            hist: Histogram::new_with_bounds(1, 120_000_000_000, 3).expect("bounds"),
        }
    }
}

impl Tally {
    pub fn hit(&mut self, ns: u64, bytes: usize) {
        self.ok += 1;
        self.bytes += bytes as u64;
        self.hist.saturating_record(ns.max(1));
    }

    pub fn miss(&mut self, why: impl std::fmt::Display) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| format!("{why:#}"));
    }

    pub fn add(&mut self, o: Tally) {
        self.ok += o.ok;
        self.errors += o.errors;
        self.bytes += o.bytes;
        self.first_error = self.first_error.take().or(o.first_error);
        self.hist.add(o.hist).expect("same bounds");
    }

    pub fn json(&self, wall: Duration) -> Value {
        let us = |q: f64| self.hist.value_at_quantile(q) as f64 / 1e3;
        json!({
            "units": self.ok,
            "errors": self.errors,
            "first_error": self.first_error,
            "bytes": self.bytes,
            "wall_s": wall.as_secs_f64(),
            "per_s": self.ok as f64 / wall.as_secs_f64(),
            "p50_us": us(0.5), "p90_us": us(0.9), "p99_us": us(0.99), "p999_us": us(0.999),
            "max_us": self.hist.max() as f64 / 1e3,
        })
    }
}

/// Sums the workers' tallies, and keeps what they hold open alive.
pub async fn collect<T: Send + 'static>(
    mut set: JoinSet<(Tally, T)>,
    limit_s: u64,
) -> anyhow::Result<(Tally, Vec<T>)> {
    let (mut sum, mut open) = (Tally::default(), Vec::new());
    let end = Instant::now() + Duration::from_secs(limit_s);
    while let Some(r) = tokio::time::timeout_at(end, set.join_next())
        .await
        .map_err(|_| anyhow::anyhow!("measured part took more than {limit_s} s"))?
    {
        let (t, o) = r?;
        sum.add(t);
        open.push(o);
    }
    Ok((sum, open))
}

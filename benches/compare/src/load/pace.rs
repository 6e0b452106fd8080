//! When the units of work of an open loop may start.

use std::time::Duration;

use streamgate_compare::now_ns;
use tokio::time::Instant;

/// When each unit of work of one worker may start.
pub struct Pace {
    next: Option<Instant>,
    step: Duration,
}

impl Pace {
    /// Worker `i` of `n` that share `rate` per second; rate 0: at once.
    pub fn new(start: Instant, rate: f64, i: usize, n: usize) -> Self {
        let per = |k: f64| Duration::from_secs_f64(if rate > 0.0 { k / rate } else { 0.0 });
        Pace {
            next: (rate > 0.0).then(|| start + per(i as f64)),
            step: per(n as f64),
        }
    }

    /// Waits for the turn; returns the time from which latency counts: now where
    /// it slept, the planned time where it came late (no coordinated omission).
    pub async fn turn(&mut self) -> u64 {
        let Some(at) = self.next else { return now_ns() };
        self.next = Some(at + self.step);
        let late = Instant::now().saturating_duration_since(at);
        if late.is_zero() {
            tokio::time::sleep_until(at).await;
            now_ns()
        } else {
            now_ns() - late.as_nanos() as u64
        }
    }
}

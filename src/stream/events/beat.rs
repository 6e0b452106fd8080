//! A heartbeat's clock.

use std::time::Duration;

use tokio::time::Instant;

/// When a silent client is told that its stream lives.
pub(super) struct Heartbeat {
    /// Each stream's own: what the route says, give or take a tenth.
    pub(super) every: Duration,
    pub(super) due: Instant,
}

impl Heartbeat {
    /// One that begins now.
    pub(super) fn new(every: Duration) -> Self {
        let every = every.mul_f64(0.9 + 0.2 * fastrand::f64());
        Self {
            every,
            due: Instant::now() + every,
        }
    }
}

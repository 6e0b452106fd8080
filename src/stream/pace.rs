//! How fast messages may come: the generic cell rate algorithm, which is a token bucket in one moment.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::model::MessageRate;

/// A bucket that holds `burst` messages and fills at a steady rate.
#[derive(Debug)]
pub(super) struct Pace {
    /// What one message costs.
    cost: Duration,
    /// What may be owed at most: the whole bucket but one message.
    slack: Duration,
    /// When everything that was taken is paid for.
    paid: Instant,
}

impl Pace {
    /// A full bucket.
    pub(super) fn new(rate: MessageRate, now: Instant) -> Self {
        let cost = Duration::from_secs(1) / rate.per_second.get();
        Self {
            cost,
            slack: cost * (rate.burst.get() - 1),
            paid: now,
        }
    }

    /// Takes one message out; false if there is none.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let owed_since = self.paid.max(now);
        if owed_since.duration_since(now) > self.slack {
            return false;
        }
        self.paid = owed_since + self.cost;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let rate = MessageRate {
            per_second: NonZeroU32::new(10).unwrap(),
            burst: NonZeroU32::new(3).unwrap(),
        };
        let mut pace = Pace::new(rate, begun);
        for (ms, expected) in [
            (0, true),
            (0, true),
            (0, true),
            (0, false),
            (99, false),
            (100, true),
            (150, false),
            (200, true),
            (10_000, true),
            (10_000, true),
            (10_000, true),
            (10_000, false),
        ] {
            assert_eq!(pace.take(at(ms)), expected, "{ms}");
        }
    }
}

//! Two clocks read at one moment, to tell the age of an event over a stop.
//!
//! A log's events have times of the monotonic clock, which means nothing to another process; the wall clock does, but
//! may be set. So what it makes of a time is never in the future.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    now: Instant,
    /// Milliseconds since 1970.
    wall: u64,
}

impl Clock {
    /// Reads both.
    pub(super) fn read() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let wall = wall.map_or(0, |since| since.as_millis() as u64);
        Self::at(Instant::now(), wall)
    }

    /// Both at a moment that was read before.
    pub(super) fn at(now: Instant, wall: u64) -> Self {
        Self { now, wall }
    }

    pub(super) fn now(self) -> Instant {
        self.now
    }

    /// What the wall clock said at `time`.
    pub(super) fn to_wall(self, time: Instant) -> u64 {
        let ago = self.now.saturating_duration_since(time).as_millis();
        self.wall.saturating_sub(ago as u64)
    }

    /// When the wall clock said so; `None`: longer ago than the monotonic clock can tell.
    pub(super) fn moment(self, wall: u64) -> Option<Instant> {
        let ago = self.wall.saturating_sub(wall);
        self.now.checked_sub(Duration::from_millis(ago))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_a_stop_and_is_never_in_the_future() {
        let now = Instant::now();
        let before = Clock::at(now, 1_000_000);
        let five_seconds_ago = now.checked_sub(Duration::from_secs(5)).unwrap();
        let wall = before.to_wall(five_seconds_ago);
        assert_eq!(wall, 995_000);
        let after = Clock::at(now, 1_003_000);
        let age = now - after.moment(wall).unwrap();
        assert_eq!(age, Duration::from_secs(8));
        let set_back = Clock::at(now, 900_000);
        assert_eq!(set_back.moment(wall), Some(now));
        assert_eq!(before.to_wall(now + Duration::from_secs(1)), 1_000_000);
    }
}

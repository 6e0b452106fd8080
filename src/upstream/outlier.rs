//! Failed requests of one server, counted over a window of time. Pure: the moments come from outside.

use std::collections::VecDeque;

use tokio::time::Instant;

use crate::config::model::Passive;

/// The failures that still count, oldest first: never more than it takes to eject the server.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<Instant>);

impl Window {
    /// One more failure. True: there were enough of them, and counting begins anew.
    pub(super) fn fail(&mut self, now: Instant, rule: &Passive) -> bool {
        while let Some(oldest) = self.0.front()
            && now.saturating_duration_since(*oldest) > rule.window
        {
            self.0.pop_front();
        }
        self.0.push_back(now);
        let enough = self.0.len() >= rule.failures as usize;
        if enough {
            self.0.clear();
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const RULE: Passive = Passive {
        failures: 3,
        window: Duration::from_secs(10),
        eject: Duration::from_secs(1),
    };

    /// Whether each of the failures, given by its second, ejects.
    fn outcome(seconds: &[u64]) -> Vec<bool> {
        let begun = Instant::now();
        let mut window = Window::default();
        let fail = |second: &u64| window.fail(begun + Duration::from_secs(*second), &RULE);
        seconds.iter().map(fail).collect()
    }

    #[test]
    fn only_failures_within_the_window_count() {
        assert_eq!(outcome(&[0, 1, 2]), [false, false, true]);
        assert_eq!(outcome(&[0, 5, 11, 12]), [false, false, false, true]);
        assert_eq!(outcome(&[0, 11, 22, 33]), [false; 4]);
        // The window's own end still counts.
        assert_eq!(outcome(&[0, 5, 10]), [false, false, true]);
    }

    #[test]
    fn counting_begins_anew_after_an_ejection() {
        let expected = [false, false, true, false, false, true];
        assert_eq!(outcome(&[0, 0, 0, 1, 1, 1]), expected);
    }
}

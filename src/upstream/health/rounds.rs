//! From single checks to up and down. Pure.

use crate::config::model::Health;

/// A server's state, and how many checks in a row have spoken against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounds {
    /// It is up, and has failed so often.
    Up(u32),
    /// It is down, and has succeeded so often.
    Down(u32),
}

/// What a check has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It was up and is down.
    Fell,
    /// It was down and is up.
    Rose,
}

impl Rounds {
    /// Nothing has been checked yet.
    pub(super) fn of(up: bool) -> Self {
        if up { Self::Up(0) } else { Self::Down(0) }
    }

    /// One more check, which succeeded or not.
    pub(super) fn on(&mut self, success: bool, rule: &Health) -> Option<Change> {
        let (next, change) = match (*self, success) {
            (Self::Up(_), true) => (Self::Up(0), None),
            (Self::Down(_), false) => (Self::Down(0), None),
            (Self::Up(failed), false) if failed + 1 >= rule.fall => {
                (Self::Down(0), Some(Change::Fell))
            }
            (Self::Down(succeeded), true) if succeeded + 1 >= rule.rise => {
                (Self::Up(0), Some(Change::Rose))
            }
            (Self::Up(failed), false) => (Self::Up(failed + 1), None),
            (Self::Down(succeeded), true) => (Self::Down(succeeded + 1), None),
        };
        *self = next;
        change
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_takes_fall_failures_and_rise_successes_in_a_row() {
        let rule = Health {
            path: "/".into(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
            status: vec![200..=399],
            host: None,
        };
        let mut rounds = Rounds::of(true);
        // A check a letter; what it changed behind it.
        let story = [
            ("+--+--", vec![None; 6]),
            ("-", vec![Some(Change::Fell)]),
            ("-+-+", vec![None; 4]),
            ("+", vec![Some(Change::Rose)]),
            ("--+--", vec![None; 5]),
            ("-", vec![Some(Change::Fell)]),
        ];
        for (checks, expected) in story {
            let changes: Vec<_> = checks.chars().map(|c| rounds.on(c == '+', &rule)).collect();
            assert_eq!(changes, expected, "{checks}");
        }
    }
}

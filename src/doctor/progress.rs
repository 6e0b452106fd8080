//! What is being done, in plain words on stderr: one line that changes on a terminal, else a line for each step.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often a waiting line changes.
const PERIOD: Duration = Duration::from_secs(1);

/// Goes to the line's beginning and clears it.
const CLEAR: &str = "\r\x1b[2K";

/// Says what is being done.
pub(super) struct Progress {
    is_terminal: bool,
}

impl Progress {
    /// On stderr.
    pub(super) fn start() -> Self {
        Self {
            is_terminal: stderr().is_terminal(),
        }
    }

    /// A step begins.
    pub(super) fn step(&self, words: &str) {
        match self.is_terminal {
            true => self.write(&format!("{CLEAR}{words}…")),
            false => self.write(&format!("{words}\n")),
        }
    }

    /// Says how long `doing` takes, of at most so long.
    pub(super) async fn during<F: Future>(
        &self,
        words: &str,
        most: Duration,
        doing: F,
    ) -> F::Output {
        self.step(&format!("{words}, {} s at most", most.as_secs()));
        let started = Instant::now();
        let mut seconds = interval(PERIOD);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(doing);
        loop {
            tokio::select! {
                output = &mut doing => return output,
                _ = seconds.tick() => {}
            }
            if self.is_terminal {
                let passed = started.elapsed().as_secs();
                self.step(&format!(
                    "{words}, {passed} s of {} s at most",
                    most.as_secs()
                ));
            }
        }
    }

    /// Leaves an empty line for the report.
    pub(super) fn end(&self) {
        if self.is_terminal {
            self.write(CLEAR);
        }
    }

    fn write(&self, text: &str) {
        // Who closed stderr does not want to know.
        let _ = stderr().write_all(text.as_bytes());
    }
}

//! What `doctor --serve` says, and the doctor understands: a number and the time at which it was sent.
//!
//! Invariant: whatever a stranger's stream holds, only a short JSON object with the doctor's own mark is taken for one.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Bytes of a tick at most.
const LONGEST: usize = 256;

/// The type that asks the served app for a [`Tick`] instead of a stream.
pub(super) const MEDIA_TYPE: &str = "application/vnd.streamgate.doctor+json";

/// One number, and when it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tick {
    /// The mark: the version of this form.
    streamgate_doctor: u8,
    /// Counts from 1.
    pub(super) number: u64,
    /// Milliseconds since 1970 by the sender's clock.
    pub(super) sent: u64,
}

impl Tick {
    /// A tick that is sent now.
    pub(super) fn now(number: u64) -> Self {
        Self {
            streamgate_doctor: 1,
            number,
            sent: milliseconds(),
        }
    }

    /// As JSON, in one line.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("three numbers are JSON")
    }

    /// The tick that a text is, if it is one.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        if text.len() > LONGEST {
            return None;
        }
        let tick: Self = serde_json::from_slice(text).ok()?;
        (tick.streamgate_doctor == 1).then_some(tick)
    }
}

/// This machine's clock, in milliseconds since 1970.
pub(super) fn milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_as_they_were_written_and_nothing_else_is() {
        let tick = Tick::now(7);
        assert_eq!(Tick::read(tick.text().as_bytes()), Some(tick));
        for text in [
            "",
            "{}",
            r#"{"number":1,"sent":1}"#,
            r#"{"streamgate_doctor":2,"number":1,"sent":1}"#,
            r#"{"streamgate_doctor":1,"number":-1,"sent":1}"#,
        ] {
            assert_eq!(Tick::read(text.as_bytes()), None, "{text}");
        }
    }
}

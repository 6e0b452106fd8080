//! Who was sent away, and why: counted by reason, for the operator.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a client was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// `limits.subscribers` is reached.
    Subscribers,
    /// `limits.channels` is reached.
    Channels,
    /// The process stops.
    Draining,
    /// A page of an origin that is not listed, or of another site.
    Origin,
    /// A WebSocket handshake that is none.
    Handshake,
    /// It accepts nothing of what there is.
    Accept,
    /// It asks faster than the route allows.
    Rate,
    /// `limits.streams` of the route, or what a client may have of them, is reached.
    Streams,
}

impl Reason {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 8] = [
        Self::Subscribers,
        Self::Channels,
        Self::Draining,
        Self::Origin,
        Self::Handshake,
        Self::Accept,
        Self::Rate,
        Self::Streams,
    ];

    /// How it is called in logs and metrics: one word.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Subscribers => "subscribers",
            Self::Channels => "channels",
            Self::Draining => "draining",
            Self::Origin => "origin",
            Self::Handshake => "handshake",
            Self::Accept => "accept",
            Self::Rate => "rate",
            Self::Streams => "streams",
        }
    }
}

/// One bridge's counts since it was made.
#[derive(Debug, Default)]
pub struct Rejected([AtomicU64; Reason::ALL.len()]);

impl Rejected {
    /// One more.
    pub fn count(&self, reason: Reason) {
        self.0[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    #[must_use]
    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_count_of_its_own() {
        let rejected = Rejected::default();
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            (0..number).for_each(|_| rejected.count(reason));
        }
        let counts = Reason::ALL.map(|reason| rejected.of(reason));
        assert_eq!(counts, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}

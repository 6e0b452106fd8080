//! What is counted of a bridge, over all its channels and for as long as it lives.
//!
//! All of it is rare, or is added once for many: nothing here is on the way of an event. `standing` hands it to whoever
//! asks. Invariant: what something is counted by is one of a few words, whatever clients and feeds do.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::observe::metrics::Lag;

use super::cursor::Gap;

/// A count that only rises.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn add(&self) {
        self.add_many(1);
    }

    /// So many more.
    pub fn add_many(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How often so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of a few words that something is counted by.
pub trait Word: Copy + PartialEq + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// How it is written in metrics.
    fn label(self) -> &'static str;
}

/// Counts by a word.
#[derive(Debug)]
pub struct CountBy<W>(Box<[Count]>, PhantomData<fn(W)>);

impl<W: Word> Default for CountBy<W> {
    fn default() -> Self {
        let counts = W::ALL.iter().map(|_word| Count::default());
        Self(counts.collect(), PhantomData)
    }
}

impl<W: Word> CountBy<W> {
    /// One more of this.
    pub fn add(&self, word: W) {
        if let Some(place) = W::ALL.iter().position(|other| *other == word) {
            self.0[place].add();
        }
    }

    /// How often so far, for each word.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(Count::count);
        W::ALL.iter().map(|word| word.label()).zip(counts)
    }
}

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$meaning:meta])* $word:ident = $label:literal,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$meaning])* $word,)+ }

        impl Word for $name {
            const ALL: &'static [Self] = &[$(Self::$word,)+];

            fn label(self) -> &'static str {
                match self { $(Self::$word => $label,)+ }
            }
        }
    };
}

words! {
    /// In which way a subscriber is served.
    SubscriberKind {
        /// By an event stream.
        EventStream = "sse",
        /// By a WebSocket.
        WebSocket = "websocket",
        /// By an answer to one long poll.
        LongPoll = "long_poll",
    }
}

words! {
    /// Why a feed was lost, or could not be opened.
    FeedLoss {
        /// There was no connection, or none of TLS.
        Connect = "connect",
        /// The connection broke off, or gave no answer.
        Broken = "broken",
        /// It answered with another status.
        Status = "status",
        /// It answered with what is no handshake, or no event stream.
        Handshake = "handshake",
        /// What is said first was not answered.
        Unanswered = "unanswered",
        /// It broke its protocol.
        Protocol = "protocol",
        /// It sent a text that is not UTF-8.
        InvalidUtf8 = "invalid_utf8",
        /// It closed, or ended, in order.
        Closed = "closed",
        /// It did not answer a ping.
        NoPong = "no_pong",
        /// It was silent for too long.
        Silent = "silent",
        /// It did not take what was sent.
        Stalled = "stalled",
        /// Its address makes no request.
        Request = "request",
    }
}

words! {
    /// Why something is missing.
    GapReason {
        /// It has left the log.
        Evicted = "evicted",
        /// The cursor is of another life of the log.
        Epoch = "epoch",
        /// The cursor is ahead of the log.
        Ahead = "ahead",
        /// The cursor is none.
        BadId = "bad_id",
        /// The client was too slow.
        Slow = "slow",
        /// The message was too large.
        Oversize = "oversize",
        /// The feed was lost for a time.
        UpstreamReconnect = "upstream_reconnect",
    }
}

impl From<Gap> for GapReason {
    fn from(gap: Gap) -> Self {
        match gap {
            Gap::Evicted { .. } => Self::Evicted,
            Gap::Epoch => Self::Epoch,
            Gap::Ahead => Self::Ahead,
            Gap::BadId => Self::BadId,
            Gap::Slow { .. } => Self::Slow,
            Gap::Oversize { .. } => Self::Oversize,
            Gap::UpstreamReconnect { .. } => Self::UpstreamReconnect,
        }
    }
}

/// How posts were answered.
#[derive(Debug, Default)]
pub struct Posts([Count; Posts::STATUSES.len()]);

impl Posts {
    /// The last is any other.
    const STATUSES: [(u16, &'static str); 18] = [
        (200, "200"),
        (204, "204"),
        (400, "400"),
        (401, "401"),
        (403, "403"),
        (404, "404"),
        (408, "408"),
        (409, "409"),
        (410, "410"),
        (413, "413"),
        (415, "415"),
        (422, "422"),
        (429, "429"),
        (500, "500"),
        (502, "502"),
        (503, "503"),
        (504, "504"),
        (0, "other"),
    ];

    /// One more with this status.
    pub fn add(&self, status: http::StatusCode) {
        let known = |(known, _label): &(u16, &str)| *known == status.as_u16();
        let place = Self::STATUSES.iter().position(known);
        self.0[place.unwrap_or(Self::STATUSES.len() - 1)].add();
    }

    /// How many so far, for each status.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let labels = Self::STATUSES.iter().map(|(_status, label)| *label);
        labels.zip(self.0.iter().map(Count::count))
    }
}

/// A bridge's counts.
#[derive(Debug, Default)]
pub struct Counts {
    /// Messages that were not as the mapping expects: no JSON, no such part, not UTF-8. They were sent whole.
    pub unmapped: Count,
    /// Binary messages that were left out, by `binary = "reject"`.
    pub rejected: Count,
    /// Messages that were left out because they are over `max_message`.
    pub oversize: Count,
    /// Connections to feeds that failed with 1007, for a text that is not UTF-8.
    pub invalid_utf8: Count,
    /// Connections to feeds that were open and are lost, in order or not.
    pub feeds_lost: CountBy<FeedLoss>,
    /// Attempts to connect to a feed that failed.
    pub feeds_refused: CountBy<FeedLoss>,
    /// Events in the logs of channels that are gone.
    pub events_of_gone: Count,
    /// Events of the past that subscriptions began with, before their filters.
    pub replayed: Count,
    /// Gaps: in a log, once for all; a subscriber's own, each.
    pub gaps: CountBy<GapReason>,
    /// Clients that were too slow and were cut off.
    pub slow_disconnected: Count,
    /// Clients that took nothing for `slow.stall` and were cut off, whatever the policy.
    pub slow_stalled: Count,
    /// Times that a slow client skipped to the newest event.
    pub slow_skipped: Count,
    /// Times that a slow client began to get only the newest event for each key.
    pub slow_conflated: Count,
    /// How far subscribers are behind.
    pub lag: Lag,
    /// Posts by the status of their answer.
    pub posts: Posts,
    /// Subscribers whose session another took over.
    pub taken_over: Count,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_a_count_and_a_label_of_its_own() {
        let counts = CountBy::<GapReason>::default();
        for (number, reason) in GapReason::ALL.iter().enumerate() {
            (0..number).for_each(|_| counts.add(*reason));
        }
        let (labels, counts): (Vec<_>, Vec<_>) = counts.all().unzip();
        assert_eq!(counts, [0, 1, 2, 3, 4, 5, 6]);
        let distinct: std::collections::BTreeSet<_> = labels.iter().collect();
        assert_eq!(distinct.len(), labels.len());
    }

    #[test]
    fn statuses_that_nobody_expects_share_a_count() {
        let posts = Posts::default();
        for status in [204, 204, 418, 599, 503] {
            posts.add(http::StatusCode::from_u16(status).unwrap());
        }
        let counted: Vec<_> = posts.all().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [("204", 2), ("503", 1), ("other", 2)]);
    }
}

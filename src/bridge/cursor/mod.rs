//! Where a subscriber stands in a log, and where it goes on.
//!
//! Invariant: a subscriber that comes back with a cursor either gets every event after it, or is told of a gap. No
//! cursor whatever leads to a silent loss, to an error, or to waiting for a number that will never come.

mod id;

use tokio::time::Instant;

use crate::config::model::{OnGap, Start, Verdict};

use super::log::{Newest, View};

pub use self::id::{Epoch, EventId, FinalId};

/// Ids are shorter than this; a longer one was not made here.
const LONGEST_ID: usize = 64;
/// Where a client says it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// It says nothing: a new client.
    Absent,
    /// At the log's oldest event.
    Earliest,
    /// At the next event.
    Latest,
    /// Right behind this event.
    Behind(EventId),
    /// At the end of a session that is over for good.
    Over(Verdict),
    /// It says something that no log gave it.
    Unreadable,
}

impl Cursor {
    /// Reads what a client said.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "" => Self::Absent,
            "earliest" => Self::Earliest,
            "latest" => Self::Latest,
            long if long.len() > LONGEST_ID => Self::Unreadable,
            id => match (EventId::parse(id), FinalId::parse(id)) {
                (Some(id), _) => Self::Behind(id),
                (None, Some(over)) => Self::Over(over.verdict),
                (None, None) => Self::Unreadable,
            },
        }
    }
}

/// Something is missing between two events, or may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// Events after the cursor have left the log.
    Evicted {
        /// How many the client will not get.
        missed: u64,
    },
    /// The cursor is of another life of the log.
    Epoch,
    /// The cursor is ahead of the log.
    Ahead,
    /// The cursor is not an id.
    BadId,
    /// The client was too slow.
    Slow {
        /// How many events it will not get, if that is known.
        missed: Option<u64>,
    },
    /// The feed sent a message over the limit.
    Oversize {
        /// Its size, as far as it was announced.
        bytes: u64,
    },
    /// The feed was lost and came back.
    UpstreamReconnect {
        /// How long it was away, in milliseconds.
        down_ms: u64,
    },
}

/// How a subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// The first event it gets.
    pub next: u64,
    /// What it is told first.
    pub gap: Option<Gap>,
    /// Whether it goes on where it was.
    pub resumed: bool,
    /// How many events of the past it gets, if it has no filter.
    pub replay: u64,
    /// Whether these are what is newest for each key, and not all of the log from [`Opening::next`] on.
    pub is_snapshot: bool,
}

/// Where a client with `cursor` begins, in a log of `epoch` as `view` shows it.
#[must_use]
pub fn resolve(cursor: Cursor, epoch: Epoch, view: &View, start: Start, on_gap: OnGap) -> Opening {
    let log = |next| Place {
        next,
        replay: view.head() - next,
        is_snapshot: false,
    };
    let start = || match start {
        Start::Live => log(view.head()),
        Start::Snapshot => snapshot(view),
        Start::Replay | Start::Earliest => log(view.floor()),
        Start::Newest(count) => log(view.head().saturating_sub(count).max(view.floor())),
        Start::Recent(age) => log(Instant::now()
            .checked_sub(age)
            .map_or(view.floor(), |time| view.since(time))),
    };
    let broken = |gap| {
        let place = match on_gap {
            OnGap::Available => log(view.floor()),
            OnGap::Snapshot => snapshot(view),
            OnGap::Live => log(view.head()),
        };
        (place, Some(gap), false)
    };
    let (place, gap, resumed) = match cursor {
        Cursor::Absent => (start(), None, false),
        Cursor::Earliest => (log(view.floor()), None, false),
        Cursor::Latest => (log(view.head()), None, false),
        // Who is told that it is over is not served; nobody gets here with that.
        Cursor::Unreadable | Cursor::Over(_) => broken(Gap::BadId),
        Cursor::Behind(id) if id.epoch != epoch => broken(Gap::Epoch),
        Cursor::Behind(id) => match id.seq.checked_add(1) {
            Some(next) if next < view.floor() => broken(Gap::Evicted {
                missed: missed(view, next, on_gap),
            }),
            Some(next) if next <= view.head() => (log(next), None, true),
            _ => broken(Gap::Ahead),
        },
    };
    Opening {
        next: place.next,
        gap,
        resumed,
        replay: place.replay,
        is_snapshot: place.is_snapshot,
    }
}

/// A place to begin at.
struct Place {
    next: u64,
    replay: u64,
    is_snapshot: bool,
}

/// What is newest for each key; its first event's place, so that who is cut off before it has come gets what follows.
fn snapshot(view: &View) -> Place {
    let (first, count) = view.newest().map_or((None, 0), Newest::extent);
    Place {
        next: first.unwrap_or(view.head()).min(view.head()),
        replay: count,
        is_snapshot: first.is_some(),
    }
}

/// How many events from `next` on a client does not get that goes on as `on_gap` says.
fn missed(view: &View, next: u64, on_gap: OnGap) -> u64 {
    let kept = match on_gap {
        OnGap::Available => view.head() - view.floor(),
        OnGap::Snapshot => view.newest().map_or(0, |newest| newest.count_from(next)),
        OnGap::Live => 0,
    };
    (view.head() - next).saturating_sub(kept)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::bridge::log::tests::{fill, writer};

    const EPOCH: Epoch = Epoch::of(*b"0123456789");
    const OTHER: Epoch = Epoch::of(*b"abcdefghij");

    fn behind(seq: u64) -> Cursor {
        Cursor::Behind(EventId { epoch: EPOCH, seq })
    }

    fn opening(next: u64, gap: Option<Gap>, resumed: bool, replay: u64) -> Opening {
        Opening {
            next,
            gap,
            resumed,
            replay,
            is_snapshot: false,
        }
    }

    #[test]
    fn an_id_that_ends_a_session_says_so_by_itself() {
        let id = EventId {
            epoch: EPOCH,
            seq: 7,
        };
        for verdict in Verdict::ALL {
            let text = FinalId { id, verdict }.to_string();
            assert_eq!(Cursor::parse(&text), Cursor::Over(verdict), "{text}");
            assert!(text.len() < LONGEST_ID);
        }
        assert_eq!(
            Cursor::parse("0123456789-7-end"),
            Cursor::Over(Verdict::Done)
        );
        for text in [
            "0123456789-end",
            "0123456789-7-200",
            "0123456789-7-204",
            "0123456789-7-500",
            "0123456789-7-end-end",
            "-end",
            "0123456789-7-0401",
        ] {
            assert_eq!(Cursor::parse(text), Cursor::Unreadable, "{text}");
        }
    }

    #[test]
    fn every_cursor_has_its_opening() {
        // The log holds 11 to 20.
        let mut writer = writer(10);
        fill(&mut writer, 20);
        let view = writer.log().view();
        let other = Cursor::Behind(EventId {
            epoch: OTHER,
            seq: 15,
        });
        let missed = |missed| Some(Gap::Evicted { missed });
        let (live, available) = (OnGap::Live, OnGap::Available);
        let table = [
            (Cursor::Absent, available, opening(21, None, false, 0)),
            (Cursor::Latest, available, opening(21, None, false, 0)),
            (Cursor::Earliest, available, opening(11, None, false, 10)),
            (behind(15), available, opening(16, None, true, 5)),
            (behind(20), available, opening(21, None, true, 0)),
            (behind(10), available, opening(11, None, true, 10)),
            (behind(9), available, opening(11, missed(1), false, 10)),
            (behind(0), live, opening(21, missed(20), false, 0)),
            (other, available, opening(11, Some(Gap::Epoch), false, 10)),
            (other, live, opening(21, Some(Gap::Epoch), false, 0)),
            (
                behind(21),
                available,
                opening(11, Some(Gap::Ahead), false, 10),
            ),
            (
                behind(u64::MAX),
                live,
                opening(21, Some(Gap::Ahead), false, 0),
            ),
            (
                Cursor::parse("rubbish"),
                live,
                opening(21, Some(Gap::BadId), false, 0),
            ),
            (
                Cursor::parse(&"9".repeat(4_000)),
                live,
                opening(21, Some(Gap::BadId), false, 0),
            ),
        ];
        for (cursor, on_gap, expected) in table {
            let found = resolve(cursor, EPOCH, &view, Start::Live, on_gap);
            assert_eq!(found, expected, "{cursor:?}");
        }
        let starts = [
            (Start::Replay, opening(11, None, false, 10)),
            (Start::Earliest, opening(11, None, false, 10)),
            (Start::Newest(3), opening(18, None, false, 3)),
            (Start::Newest(30), opening(11, None, false, 10)),
            (
                Start::Recent(Duration::from_secs(3600)),
                opening(11, None, false, 10),
            ),
            (Start::Recent(Duration::ZERO), opening(21, None, false, 0)),
            // Nothing is kept for a snapshot here.
            (Start::Snapshot, opening(21, None, false, 0)),
        ];
        for (start, expected) in starts {
            let found = resolve(Cursor::Absent, EPOCH, &view, start, live);
            assert_eq!(found, expected, "{start:?}");
        }
    }

    proptest! {
        #[test]
        fn no_cursor_leads_to_a_silent_loss(
            appended in 0_usize..200,
            kept in 1_usize..100,
            seq in prop_oneof![0_u64..220, any::<u64>()],
            same in any::<bool>(),
            live in any::<bool>(),
        ) {
            let mut writer = writer(kept);
            fill(&mut writer, appended);
            let view = writer.log().view();
            let on_gap = if live { OnGap::Live } else { OnGap::Available };
            let epoch = if same { EPOCH } else { OTHER };
            let cursor = Cursor::Behind(EventId { epoch, seq });
            let opening = resolve(cursor, EPOCH, &view, Start::Live, on_gap);
            // It is either exactly what follows, or a gap; and all that is promised is there.
            prop_assert!(opening.gap.is_some() || (same && opening.next == seq + 1));
            prop_assert_eq!(opening.resumed, opening.gap.is_none());
            prop_assert_eq!(opening.next + opening.replay, view.head());
            for seq in opening.next..view.head() {
                prop_assert!(view.event(seq).is_some());
            }
            if let Some(Gap::Evicted { missed }) = opening.gap {
                prop_assert_eq!(seq + 1 + missed, opening.next);
            }
        }
    }
}

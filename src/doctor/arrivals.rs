//! When what came of a stream, and what that says of the way.
//!
//! An app writes whole events when they happen. What is collected on the way comes in *clumps*: many events at once, and
//! then a pause; where a buffer was full, the clump ends in the middle of an event. No I/O and no clock here.

use std::time::Duration;

/// What comes closer together than this is one clump.
const TOGETHER: Duration = Duration::from_millis(50);

/// A pause behind a clump that an app which was still writing would not have made.
const PAUSE: Duration = Duration::from_millis(300);

/// A pause that is long even for a source that sends in batches.
const LONG_PAUSE: Duration = Duration::from_secs(2);

/// Events that make a clump.
const MANY: u64 = 3;

/// Arrivals that are kept: a flood tells no more.
const MOST: usize = 4096;

/// Bytes that came at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Since the head.
    pub(super) at: Duration,
    /// How many, as they were on the wire.
    pub(super) bytes: u64,
    /// Events that became whole by them.
    pub(super) events: u64,
    /// Whether they end between two events.
    pub(super) is_whole: bool,
}

/// All that came of a stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Arrivals {
    seen: Vec<Arrival>,
    longest_silence: Duration,
    last: Duration,
}

/// What the arrivals look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Nothing came.
    Silent,
    /// Too little came to say.
    Few,
    /// Each came by itself.
    Prompt,
    /// They came in clumps that were cut off where a buffer was full.
    Held {
        /// Bytes of a usual clump.
        bytes: u64,
        /// Events of a usual clump.
        events: u64,
    },
    /// They came in clumps of whole events, as some sources send them too.
    Clumps {
        /// Events of a usual clump.
        events: u64,
        /// The usual pause between two.
        pause: Duration,
    },
}

impl Arrivals {
    /// Takes notice of what came.
    pub(super) fn push(&mut self, arrival: Arrival) {
        self.longest_silence = self.silence(arrival.at).max(self.longest_silence);
        self.last = arrival.at;
        if self.seen.len() < MOST {
            self.seen.push(arrival);
        }
    }

    /// How long nothing has come at a moment.
    pub(super) fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.last)
    }

    /// The longest silence before something came.
    pub(super) fn longest_silence(&self) -> Duration {
        self.longest_silence
    }

    /// When the first came.
    pub(super) fn first(&self) -> Option<Duration> {
        self.seen.first().map(|first| first.at)
    }

    /// How many there were, [`MOST`] at most.
    pub(super) fn count(&self) -> usize {
        self.seen.len()
    }

    /// Between the first and the last.
    pub(super) fn span(&self) -> Duration {
        let first = self.seen.first().map_or(Duration::ZERO, |first| first.at);
        self.last.saturating_sub(first)
    }

    /// What they look like at a moment.
    pub(super) fn pace(&self, now: Duration) -> Pace {
        if self.seen.is_empty() {
            return Pace::Silent;
        }
        let clumps = self.clumps();
        // What came after the last that is kept came at once, for all that is known of it.
        let end = match self.seen.last() {
            Some(kept) if kept.at < self.last => kept.at,
            _ => now,
        };
        let pause = |at: usize| {
            let next = clumps.get(at + 1).map_or(end, |next| next.at);
            next.saturating_sub(clumps[at].until)
        };
        let large = |clump: &&(usize, &Clump)| clump.1.events >= MANY;
        let all: Vec<(usize, &Clump)> = clumps.iter().enumerate().collect();
        let torn = all.iter().filter(large);
        let torn: Vec<&Clump> = torn
            .filter(|(at, clump)| !clump.is_whole && pause(*at) >= PAUSE)
            .map(|(_, clump)| *clump)
            .collect();
        if !torn.is_empty() && torn.len() * 2 >= clumps.len() {
            return Pace::Held {
                bytes: middle(torn.iter().map(|clump| clump.bytes)),
                events: middle(torn.iter().map(|clump| clump.events)),
            };
        }
        // What comes first may be what was missed, or a snapshot: sources send that at once.
        let later: Vec<_> = all.iter().skip(1).collect();
        if later.len() < 2 {
            return match clumps.iter().any(Clump::is_steady) {
                true => Pace::Prompt,
                false => Pace::Few,
            };
        }
        let paused: Vec<_> = later
            .iter()
            .filter(|(at, clump)| clump.events >= MANY && pause(*at) >= LONG_PAUSE)
            .collect();
        if paused.len() * 2 > later.len() {
            let pauses = paused.iter().map(|(at, _)| pause(*at).as_millis() as u64);
            return Pace::Clumps {
                events: middle(paused.iter().map(|(_, clump)| clump.events)),
                pause: Duration::from_millis(middle(pauses)),
            };
        }
        Pace::Prompt
    }

    fn clumps(&self) -> Vec<Clump> {
        let mut clumps: Vec<Clump> = Vec::new();
        for arrival in &self.seen {
            match clumps.last_mut() {
                Some(last) if arrival.at.saturating_sub(last.until) <= TOGETHER => {
                    last.add(arrival)
                }
                _ => clumps.push(Clump::of(arrival)),
            }
        }
        clumps
    }
}

#[derive(Debug, Clone, Copy)]
struct Clump {
    at: Duration,
    until: Duration,
    bytes: u64,
    events: u64,
    is_whole: bool,
}

impl Clump {
    fn of(arrival: &Arrival) -> Self {
        Self {
            at: arrival.at,
            until: arrival.at,
            bytes: arrival.bytes,
            events: arrival.events,
            is_whole: arrival.is_whole,
        }
    }

    fn add(&mut self, arrival: &Arrival) {
        self.until = arrival.at;
        self.bytes += arrival.bytes;
        self.events += arrival.events;
        self.is_whole = arrival.is_whole;
    }

    /// Whether it went on for so long that it is no buffer's content, but a source that speaks all the time.
    fn is_steady(&self) -> bool {
        self.events >= MANY && self.until.saturating_sub(self.at) >= LONG_PAUSE
    }
}

/// The middle one of some numbers; 0 of none.
fn middle(numbers: impl Iterator<Item = u64>) -> u64 {
    let mut sorted: Vec<u64> = numbers.collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each: milliseconds, bytes, events, whether they end between two.
    fn pace(arrivals: &[(u64, u64, u64, bool)], until: u64) -> Pace {
        let mut all = Arrivals::default();
        for &(at, bytes, events, is_whole) in arrivals {
            all.push(Arrival {
                at: Duration::from_millis(at),
                bytes,
                events,
                is_whole,
            });
        }
        all.pace(Duration::from_millis(until))
    }

    #[test]
    fn sources_that_speak_when_they_have_something_are_prompt() {
        let each_second: Vec<_> = (0..6).map(|n| (n * 1000, 60, 1, true)).collect();
        assert_eq!(pace(&each_second, 6000), Pace::Prompt);
        let fast: Vec<_> = (0..500).map(|n| (n * 10, 60, 1, true)).collect();
        assert_eq!(pace(&fast, 5000), Pace::Prompt);
        // More than is kept: nobody has paused behind the last of these.
        let flood = |is_whole| -> Vec<_> {
            let arrivals = 0..2 * MOST as u64;
            arrivals.map(|n| (n, 60, 1, is_whole)).collect()
        };
        assert_eq!(pace(&flood(true), 8200), Pace::Prompt);
        assert_eq!(pace(&flood(false), 8200), Pace::Prompt);
        // A snapshot, then one at a time.
        let snapshot = [(0, 9000, 90, true), (900, 60, 1, true), (2000, 60, 1, true)];
        assert_eq!(pace(&snapshot, 3000), Pace::Prompt);
        // A large event in two pieces.
        let pieces = [(0, 4096, 0, false), (900, 60, 1, true), (2000, 60, 1, true)];
        assert_eq!(pace(&pieces, 3000), Pace::Prompt);
    }

    #[test]
    fn clumps_that_end_within_an_event_were_held() {
        let held = [
            (4000, 3900, 40, false),
            (8000, 4096, 41, false),
            (12_000, 4096, 41, false),
        ];
        let expected = Pace::Held {
            bytes: 4096,
            events: 41,
        };
        assert_eq!(pace(&held, 13_000), expected);
        assert!(matches!(pace(&held[..1], 13_000), Pace::Held { .. }));
        // What is still coming is no pause.
        assert_eq!(pace(&held[..1], 4010), Pace::Few);
    }

    #[test]
    fn clumps_of_whole_events_are_told_as_such() {
        let batches: Vec<_> = (0..4).map(|n| (n * 5000, 600, 5, true)).collect();
        let expected = Pace::Clumps {
            events: 5,
            pause: Duration::from_secs(5),
        };
        assert_eq!(pace(&batches, 16_000), expected);
    }

    #[test]
    fn little_says_nothing() {
        assert_eq!(pace(&[], 9000), Pace::Silent);
        assert_eq!(pace(&[(0, 60, 1, true)], 9000), Pace::Few);
    }

    #[test]
    fn silences_are_between_arrivals() {
        let mut all = Arrivals::default();
        for at in [1, 4, 5] {
            all.push(Arrival {
                at: Duration::from_secs(at),
                bytes: 1,
                events: 1,
                is_whole: true,
            });
        }
        assert_eq!(all.longest_silence(), Duration::from_secs(3));
        assert_eq!(all.silence(Duration::from_secs(9)), Duration::from_secs(4));
        assert_eq!((all.span(), all.count()), (Duration::from_secs(4), 3));
    }
}

//! Taking up what was saved.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::bridge::Bridge;
use crate::bridge::log::{Budget, Note, Writer};
use crate::config::model::Mode;

use super::clock::Clock;
use super::dormant::{Dormant, is_too_old};
use super::fingerprint;
use super::form::{CHANNEL, Digest, END, EVENT, Head, Item, NEWEST};
use super::halt::Halt;
use super::record::{Fault, In};

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Channels that were taken up.
    pub channels: u64,
    /// Events that lie in their logs now.
    pub events: u64,
    /// Channels that were not: their bridge is gone or is fed otherwise, they are too old, or there are too many.
    pub left: u64,
    /// Bytes of all.
    pub bytes: u64,
}

/// A state could not be read to its end.
#[derive(Debug, thiserror::Error)]
#[error("the state of the bridges is damaged")]
pub struct Damaged {
    /// What is wrong.
    #[source]
    pub fault: Fault,
    /// The channels before the damage were whole, and were taken up.
    pub restored: Restored,
}

/// Reads what [`save`](super::save) wrote, and lays each log down in its bridge, where it waits for whoever opens its channel.
/// What is above the caps of the log, of its bridge (`limits.channels`) or of the process (`limits.bridge_memory`), or
/// too old, is left out.
///
/// # Errors
/// [`Damaged`]: the channels before the damage are taken up.
pub fn restore<'a>(
    bridges: impl Iterator<Item = &'a Arc<Bridge>>,
    from: &mut impl Read,
) -> Result<Restored, Damaged> {
    restore_within(Budget::process(), bridges, from)
}

/// The same, with logs that are charged to `budget`.
pub(super) fn restore_within<'a>(
    budget: &'static Budget,
    bridges: impl Iterator<Item = &'a Arc<Bridge>>,
    from: &mut impl Read,
) -> Result<Restored, Damaged> {
    let fed = |bridge: &'a Arc<Bridge>| (bridge, fingerprint::of(bridge.config()));
    let mut reading = Reading {
        bridges: bridges.map(fed).collect(),
        budget,
        clock: Clock::read(),
        restored: Restored::default(),
    };
    match reading.all(from) {
        Ok(bytes) => Ok(Restored {
            bytes,
            ..reading.restored
        }),
        Err(fault) => Err(Damaged {
            fault,
            restored: reading.restored,
        }),
    }
}

struct Reading<'a> {
    bridges: Vec<(&'a Arc<Bridge>, Digest)>,
    budget: &'static Budget,
    clock: Clock,
    restored: Restored,
}

impl<'a> Reading<'a> {
    fn all(&mut self, from: &mut impl Read) -> Result<u64, Fault> {
        let mut read = In::begin(from)?;
        loop {
            let head = match read.record()? {
                (CHANNEL, payload) => Head::read(payload)?,
                (END, []) => return read.end(),
                _ => return Err(Fault::Malformed),
            };
            let mut growing = self.begin(&head);
            let mut last = 0;
            for _ in 0..head.newest {
                let item = item(read.record()?, NEWEST)?;
                if item.seq <= last || item.seq >= head.floor {
                    return Err(Fault::Malformed);
                }
                last = item.seq;
                growing.iter_mut().for_each(|log| log.keep(&item));
                self.make_room();
            }
            for seq in head.floor..head.head {
                let item = item(read.record()?, EVENT)?;
                if item.seq != seq {
                    return Err(Fault::Malformed);
                }
                growing.iter_mut().for_each(|log| log.append(&item));
                self.make_room();
            }
            self.finish(&head, growing);
        }
    }

    /// The log to fill; `None`: this channel's is not wanted.
    fn begin(&self, head: &Head) -> Option<Growing<'a>> {
        let (bridge, _) = self.bridges.iter().find(|(bridge, fingerprint)| {
            *bridge.config().name == *head.bridge && *fingerprint == head.fingerprint
        })?;
        let config = bridge.config();
        let halt = Halt {
            down: self.clock.moment(head.down)?,
            source: usize::try_from(head.source).unwrap_or(0),
            last_id: head.last_id.clone(),
            retry: head.retry.map(Duration::from_millis),
            place: head.place.clone(),
        };
        let is_wanted = config.mode == Mode::Shared
            && !is_too_old(&halt, self.clock.now(), config.replay.age)
            && bridge.dormants().len() < config.limits.channels;
        is_wanted.then(|| Growing {
            bridge,
            writer: Writer::going_on(
                (head.floor, head.forgotten),
                config.replay,
                config.snapshot,
                self.budget,
            ),
            halt,
            clock: self.clock,
            newest: None,
        })
    }

    /// Logs that lie here already hold what was theirs while there were fewer of them, and do not look by themselves. They
    /// are not asked at each event: a sixteenth is soon full again.
    fn make_room(&self) {
        let limit = self.budget.limit();
        if self.budget.used() > limit + limit / 16 {
            self.bridges.iter().for_each(|(bridge, _)| bridge.sweep());
        }
    }

    /// The log is whole: it is laid down.
    fn finish(&mut self, head: &Head, growing: Option<Growing<'a>>) {
        let Some(mut log) = growing else {
            self.restored.left += 1;
            return;
        };
        log.writer.evict(self.clock.now());
        let view = log.writer.log().view();
        self.restored.channels += 1;
        self.restored.events += view.head() - view.floor();
        let dormant = Dormant {
            epoch: head.epoch,
            writer: log.writer,
            halt: log.halt,
        };
        log.bridge.dormants().put(head.key, dormant);
    }
}

/// The record of an event.
fn item<'a>((tag, payload): (u8, &'a [u8]), wanted: u8) -> Result<Item<'a>, Fault> {
    if tag != wanted {
        return Err(Fault::Malformed);
    }
    Item::read(payload)
}

/// A log that is being read.
struct Growing<'a> {
    bridge: &'a Arc<Bridge>,
    writer: Writer,
    halt: Halt,
    clock: Clock,
    /// The time of the newest event so far.
    newest: Option<Instant>,
}

impl Growing<'_> {
    fn keep(&mut self, item: &Item<'_>) {
        // What cannot be told in this machine's time is as old as can be.
        let at = self.clock.moment(item.at).unwrap_or(self.halt.down);
        self.writer
            .keep_newest(item.seq, at, note(item), item.block);
    }

    fn append(&mut self, item: &Item<'_>) {
        let at = self.clock.moment(item.at);
        // The times of a log never fall, whatever the wall clock did.
        let at = at.max(self.newest).unwrap_or(self.halt.down);
        self.newest = Some(at);
        let write = |_seq: u64, out: &mut Vec<u8>| out.extend_from_slice(item.block);
        self.writer.append(at, note(item), write);
    }
}

fn note(item: &Item<'_>) -> Note {
    Note {
        kind: item.kind,
        key: item.key.map(Arc::from),
        tag: item.tag.map(Box::from),
        verbatim: item.verbatim.map(Box::from),
    }
}

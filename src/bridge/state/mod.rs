//! The bridges' logs over a restart: what is written of them, and how they are taken up again.
//!
//! What is saved are the logs of shared channels whose feeds have stopped, with their epochs: a client that comes back
//! after the restart goes on in the same log, and the feed where it stood, if that can be. [`save`] and [`restore`] know
//! nothing of files; [`mod@file`] does.
//!
//! Invariants: a state is read at most once, for two logs that go on from it would give one id to two events. A log
//! is saved only when its writer has stopped, and restored only for a feed that is the same. Whatever is read, also
//! from a state that somebody has forged, takes no more memory than the caps of the bridges allow.

mod clock;
mod dormant;
pub mod file;
mod fingerprint;
mod form;
mod halt;
mod record;
mod restore;

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::config::model;

use super::Bridge;
use super::log::{Event, View};

use self::clock::Clock;
use self::dormant::Kept;
use self::form::{CHANNEL, Digest, END, EVENT, Head, Item, NEWEST};
use self::record::Out;

pub(super) use self::dormant::{Dormant, Dormants};
pub(super) use self::halt::Halt;
pub use self::record::Fault;
pub use self::restore::{Damaged, Restored, restore};

/// How long feeds get to stop.
const FREEZE: Duration = Duration::from_secs(2);

/// What was saved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Saved {
    /// Channels.
    pub channels: u64,
    /// Events of their logs, with those that are only the newest for a key.
    pub events: u64,
    /// Bytes of all.
    pub bytes: u64,
}

/// What a log is found again by: of two bridges that are fed alike it is the same, in every process. A digest by SHA-256,
/// which tells nothing of the secrets in a feed's headers.
#[must_use]
pub fn fingerprint(bridge: &model::Bridge) -> [u8; 32] {
    fingerprint::of(bridge)
}

/// Stops the feeds of all `bridges`: when this returns, no log of a shared channel is appended to, but for those of the
/// feeds that did not stop within two seconds, whose number is returned. [`save`] leaves these out.
///
/// # Cancel safety
/// When it is dropped the feeds stop all the same, until [`thaw`].
pub async fn freeze<'a>(bridges: impl Iterator<Item = &'a Arc<Bridge>>) -> usize {
    let deadline = Instant::now() + FREEZE;
    let channels: Vec<_> = bridges.flat_map(|bridge| bridge.set_frozen(true)).collect();
    let mut late = 0;
    for channel in channels {
        let still = timeout_at(deadline, channel.ice.still()).await;
        late += usize::from(still.is_err());
    }
    late
}

/// As [`freeze`] where no feed runs yet: those that are opened write nothing until [`thaw`].
pub fn begin_frozen<'a>(bridges: impl Iterator<Item = &'a Arc<Bridge>>) {
    bridges.for_each(|bridge| drop(bridge.set_frozen(true)));
}

/// Takes [`freeze`] back: the feeds connect again, and go on where they stopped.
pub fn thaw<'a>(bridges: impl Iterator<Item = &'a Arc<Bridge>>) {
    bridges.for_each(|bridge| drop(bridge.set_frozen(false)));
}

/// Writes the logs of `bridges` whose feeds have stopped. Nothing is held beside one event, but what is written in small
/// pieces is best buffered.
///
/// # Errors
/// Those of `to`.
pub fn save<'a>(
    bridges: impl Iterator<Item = &'a Arc<Bridge>>,
    to: &mut impl Write,
) -> io::Result<Saved> {
    let clock = Clock::read();
    let mut out = Out::begin(to)?;
    let mut saved = Saved::default();
    for bridge in bridges {
        let fingerprint = fingerprint::of(bridge.config());
        for kept in bridge.kept() {
            let view = kept.log.view();
            let older = older(&view);
            let head = head_of(bridge, fingerprint, &kept, (&view, older.len()), clock);
            put(&mut out, CHANNEL, |payload| head.write(payload))?;
            let newest = older.iter().map(|(seq, event)| (NEWEST, *seq, &**event));
            let events = view.events().map(|(seq, event)| (EVENT, seq, event));
            for (tag, seq, event) in newest.chain(events) {
                let item = item_of(seq, event, clock);
                put(&mut out, tag, |payload| item.write(payload))?;
                saved.events += 1;
            }
            saved.channels += 1;
        }
    }
    out.record(END, &[])?;
    saved.bytes = out.bytes();
    Ok(saved)
}

/// One record, whose payload `write` makes.
fn put<W: Write>(
    out: &mut Out<'_, W>,
    tag: u8,
    write: impl FnOnce(&mut Vec<u8>),
) -> io::Result<()> {
    let mut payload = Vec::new();
    write(&mut payload);
    out.record(tag, &payload)
}

/// What is newest for some keys and has left the log.
fn older(view: &View) -> Vec<(u64, Arc<Event>)> {
    let newest = view.newest().map(|newest| newest.cut(1, usize::MAX).events);
    let mut events = newest.unwrap_or_default();
    events.retain(|(seq, _)| *seq < view.floor());
    events
}

fn head_of(
    bridge: &Bridge,
    fingerprint: Digest,
    kept: &Kept,
    (view, newest): (&View, usize),
    clock: Clock,
) -> Head {
    let halt = &kept.halt;
    Head {
        bridge: bridge.config().name.to_string(),
        fingerprint,
        key: kept.key,
        epoch: kept.epoch,
        floor: view.floor(),
        head: view.head(),
        newest: newest as u64,
        forgotten: view
            .newest()
            .map_or(0, |newest| newest.cut(view.head(), 0).forgotten),
        down: clock.to_wall(halt.down),
        source: u32::try_from(halt.source).unwrap_or(0),
        last_id: halt.last_id.clone(),
        retry: halt.retry.map(|retry| retry.as_millis() as u64),
        place: halt.place.clone(),
    }
}

fn item_of(seq: u64, event: &Event, clock: Clock) -> Item<'_> {
    Item {
        seq,
        at: clock.to_wall(event.at()),
        kind: event.kind(),
        key: event.key().map(|key| &**key),
        tag: event.tag(),
        verbatim: event.verbatim(),
        block: event.plain(),
    }
}

#[cfg(test)]
mod tests;

//! A feed's task while there is no connection, and whether anybody still wants the feed.
//!
//! Invariant: nothing that is published waits for a connection to come back.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::bridge::channel::{Channel, Publish};
use crate::bridge::log::Writer;
use crate::lifecycle::drain;

use super::Seat;

/// Old events leave the log within this time after they have become too old.
const EVICTION: Duration = Duration::from_millis(250);

/// Whether anybody still wants the feed.
#[derive(Debug, Default)]
pub(super) struct Linger {
    pub(super) is_draining: bool,
    /// Whether it has heeded that it is to append nothing.
    pub(super) is_frozen: bool,
    pub(super) due: Option<Instant>,
}

/// What the feed is told, or finds on its clock.
pub(super) enum Note {
    Unused,
    Draining,
    Due,
    /// It is to stop, or to go on.
    Ice,
}

/// The feed's task while there is no connection.
pub(super) struct Absence<'a> {
    pub(super) seat: &'a Seat,
    pub(super) writer: &'a mut Writer,
    pub(super) publishes: &'a mut mpsc::Receiver<Publish>,
    pub(super) linger: &'a mut Linger,
}

impl Absence<'_> {
    /// Lets events grow old and publishers know that the feed is down, until the feed is no longer wanted or is to stop.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    pub(super) async fn attend(&mut self, guard: &drain::Guard) {
        loop {
            let due = self.linger.next_due(self.writer);
            let note = tokio::select! {
                note = note(self.seat.channel(), guard, self.linger.is_draining, due) => note,
                // Dropped: the publisher learns that nothing was sent.
                publish = self.publishes.recv() => { drop(publish); continue }
            };
            let now = Instant::now();
            self.writer.evict(now);
            if self.linger.heed(&note, self.seat, now).is_break() {
                return;
            }
        }
    }
}

impl Linger {
    pub(super) fn next_due(&self, writer: &Writer) -> Option<Instant> {
        let eviction = writer.next_expiry().map(|expiry| expiry + EVICTION);
        self.due.into_iter().chain(eviction).min()
    }

    /// Breaks when the channel was given up, which can only be once nobody uses it, and when the feed is to stop or to go
    /// on again.
    pub(super) fn heed(&mut self, note: &Note, seat: &Seat, now: Instant) -> ControlFlow<()> {
        let linger = match self.is_draining {
            true => Duration::ZERO,
            false => seat.bridge().config().idle.linger,
        };
        match note {
            Note::Unused => self.due = Some(now + linger),
            Note::Draining => {
                self.is_draining = true;
                self.due = (seat.channel().users() == 0).then_some(now);
            }
            Note::Due => {}
            Note::Ice => {
                let before = std::mem::replace(&mut self.is_frozen, seat.channel().ice.is_frozen());
                if before != self.is_frozen {
                    return ControlFlow::Break(());
                }
            }
        }
        if self.due.take_if(|due| *due <= now).is_some() && seat.retire() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// # Cancel safety
/// Nothing is lost when it is dropped and called again.
pub(super) async fn note(
    channel: &Channel,
    guard: &drain::Guard,
    is_draining: bool,
    due: Option<Instant>,
) -> Note {
    let timer = async {
        match due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = channel.unused() => Note::Unused,
        _deadline = guard.draining(), if !is_draining => Note::Draining,
        () = channel.ice.changed() => Note::Ice,
        () = timer => Note::Due,
    }
}

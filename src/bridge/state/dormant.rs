//! Logs without a feed: of channels whose feeds ended in a drain, and of channels that were restored.
//!
//! A log lies here, charged to the process's budget like any other and growing old like any other, until somebody opens
//! its channel, it is saved, or it is too old to be of use. Invariant: an epoch is in one place only: live, or here.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::bridge::Bridge;
use crate::bridge::channel::Channel;
use crate::bridge::cursor::Epoch;
use crate::bridge::log::{Log, Writer};
use crate::config::model::Mode;

use super::fingerprint;
use super::form::Digest;
use super::halt::Halt;

/// A channel's log, and where its feed stood.
#[derive(Debug)]
pub(in crate::bridge) struct Dormant {
    pub(in crate::bridge) epoch: Epoch,
    pub(in crate::bridge) writer: Writer,
    pub(in crate::bridge) halt: Halt,
}

/// A bridge's logs without a feed.
#[derive(Debug, Default)]
pub(in crate::bridge) struct Dormants {
    by_key: HashMap<Digest, Dormant>,
    /// Whether feeds are not to append: those that there are, and those that are opened.
    pub(in crate::bridge) is_frozen: bool,
}

/// What of a channel is to be saved.
pub(super) struct Kept {
    pub(super) key: Digest,
    pub(super) epoch: Epoch,
    pub(super) log: Arc<Log>,
    pub(super) halt: Halt,
}

impl Dormants {
    /// The log of the channel with this key, if there is one. Its channel is to go on with it.
    pub(in crate::bridge) fn wake(&mut self, key: &str) -> Option<Dormant> {
        if self.by_key.is_empty() {
            return None;
        }
        self.by_key.remove(&fingerprint::of_text(key))
    }

    /// Lets go of those whose feeds have been down for longest, until there are at most `most`.
    pub(in crate::bridge) fn make_room(&mut self, most: usize) {
        while self.by_key.len() > most {
            let oldest = self.by_key.iter().min_by_key(|(_, one)| one.halt.down);
            let Some(key) = oldest.map(|(key, _)| *key) else {
                return;
            };
            self.by_key.remove(&key);
        }
    }

    /// Lets go of all.
    pub(in crate::bridge) fn clear(&mut self) {
        self.by_key.clear();
    }

    /// The readers' sides of all.
    pub(in crate::bridge) fn logs(&self) -> Vec<Arc<Log>> {
        let all = self.by_key.values();
        all.map(|one| one.writer.log()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(super) fn put(&mut self, key: Digest, dormant: Dormant) {
        self.by_key.insert(key, dormant);
    }

    /// Lets old events go, and logs whose feeds have been down for as long as any event is kept.
    fn sweep(&mut self, now: Instant, age: Duration) {
        self.by_key.retain(|_, one| {
            one.writer.evict(now);
            !is_too_old(&one.halt, now, age)
        });
    }
}

/// Whether all that the log of a feed that stands so may hold is older than `age`.
pub(super) fn is_too_old(halt: &Halt, now: Instant, age: Duration) -> bool {
    now.saturating_duration_since(halt.down) >= age
}

impl Bridge {
    /// A panic under the lock cannot leave it half changed, so a poisoned one is as good as any.
    pub(in crate::bridge) fn dormants(&self) -> MutexGuard<'_, Dormants> {
        let lock = self.live.dormants.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the log of a channel whose feed has ended. Not if somebody has opened a channel of that key meanwhile.
    pub(in crate::bridge) fn lay_down(&self, channel: &Arc<Channel>, dormant: Dormant) {
        let mut channels = self.lock();
        Self::remove(&mut channels, channel);
        if !channels.contains_key(channel.key()) {
            let key = fingerprint::of_text(channel.key());
            self.dormants().put(key, dormant);
        }
    }

    /// Lets go of what is too old in logs without a feed. To be called from time to time.
    pub fn sweep(&self) {
        let age = self.config.replay.age;
        self.dormants().sweep(Instant::now(), age);
    }

    /// Asks all feeds to stop, or takes that back. Sessions' feeds go on: they end with their clients.
    pub(super) fn set_frozen(&self, is_frozen: bool) -> Vec<Arc<Channel>> {
        if self.config.mode == Mode::Session {
            return Vec::new();
        }
        let channels = self.lock();
        self.dormants().is_frozen = is_frozen;
        for channel in channels.values() {
            match is_frozen {
                true => channel.ice.freeze(),
                false => channel.ice.thaw(),
            }
        }
        channels.values().cloned().collect()
    }

    /// Every log whose feed has stopped.
    pub(super) fn kept(&self) -> Vec<Kept> {
        let channels = self.lock();
        let live = channels.values().filter_map(|channel| {
            Some(Kept {
                key: fingerprint::of_text(channel.key()),
                epoch: channel.epoch(),
                log: channel.shared_log(),
                halt: channel.ice.halted()?,
            })
        });
        let mut kept: Vec<_> = live.collect();
        let dormants = self.dormants();
        let dormant = dormants.by_key.iter().map(|(key, one)| Kept {
            key: *key,
            epoch: one.epoch,
            log: one.writer.log(),
            halt: one.halt.clone(),
        });
        kept.extend(dormant);
        kept
    }
}

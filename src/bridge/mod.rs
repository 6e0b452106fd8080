//! The bridge: a feed, fanned out to many clients as server-sent events, with ids, replay and resume.
//!
//! A [`Bridge`] has channels, one for each set of path values; a [`channel::Channel`] has one feed (`source/`) that
//! writes one log; a subscriber (`endpoint/`) is a cursor into the log and a socket. The engine sees bytes and events;
//! only `endpoint/` knows HTTP.
//!
//! Invariant: a channel's users are raised, and a channel is removed, only under the bridge's lock. So a channel that
//! was found is alive, and one that is removed has nobody.

pub mod channel;
pub mod counts;
pub mod cursor;
pub mod endpoint;
pub mod log;
pub mod map;
pub mod rejected;
mod source;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::model::{self, Mapping};
use crate::lifecycle::{drain, tasks};
use crate::route::{Captures, Escape};

use self::channel::Channel;
use self::counts::Counts;
use self::log::{Budget, Writer};
use self::rejected::Rejected;

/// One configured bridge and its live channels. Shared by all workers, and kept by a reload that does not change it.
#[derive(Debug)]
pub struct Bridge {
    config: Arc<model::Bridge>,
    mapping: Arc<Mapping>,
    counts: Arc<Counts>,
    /// A lock that several workers may hold, but taken only when a subscription or a publish opens and when a feed
    /// ends, for a look into a map. Nothing on the way of an event takes it.
    channels: Mutex<HashMap<String, Arc<Channel>>>,
    subscribers: AtomicUsize,
    rejected: Rejected,
}

/// A limit of the bridge is reached: a state that passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// `limits.subscribers`
    #[error("the bridge has `{0}` subscribers already")]
    Subscribers(usize),
    /// `limits.channels`
    #[error("the bridge has `{0}` channels already")]
    Channels(usize),
}

impl Bridge {
    /// A bridge without channels.
    #[must_use]
    pub fn new(config: Arc<model::Bridge>) -> Arc<Self> {
        Arc::new(Self {
            mapping: Arc::new(config.mapping.clone()),
            counts: Arc::default(),
            config,
            channels: Mutex::default(),
            subscribers: AtomicUsize::new(0),
            rejected: Rejected::default(),
        })
    }

    /// What it was made of.
    #[must_use]
    pub fn config(&self) -> &Arc<model::Bridge> {
        &self.config
    }

    /// What was counted since it was made.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Live subscribers on all workers.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.subscribers.load(Ordering::Relaxed)
    }

    /// Who was sent away.
    #[must_use]
    pub fn rejected(&self) -> &Rejected {
        &self.rejected
    }

    /// Live channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.lock().len()
    }

    /// Subscribes to the channel of `captures`, which is opened if there is none: its feed then runs on this worker.
    ///
    /// # Errors
    /// [`Full`]: a limit is reached.
    fn subscribe(
        self: &Arc<Self>,
        captures: &Captures,
        guard: &drain::Guard,
    ) -> Result<Subscription, Full> {
        let limit = self.config.limits.subscribers;
        let below = |count: usize| (count < limit).then_some(count + 1);
        self.subscribers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, below)
            .map_err(|_count| Full::Subscribers(limit))?;
        let counted = Counted(self.clone());
        let lease = self.lease(captures, guard)?;
        Ok(Subscription {
            lease,
            _counted: counted,
        })
    }

    /// Keeps the channel of `captures` open, and opens it if there is none.
    ///
    /// # Errors
    /// [`Full`]: a limit is reached.
    fn lease(self: &Arc<Self>, captures: &Captures, guard: &drain::Guard) -> Result<Lease, Full> {
        let key = self.config.share_key.render(captures, Escape::Verbatim);
        let mut channels = self.lock();
        if let Some(channel) = channels.get(&key) {
            channel.enter();
            return Ok(Lease(channel.clone()));
        }
        let limit = self.config.limits.channels;
        if channels.len() >= limit {
            return Err(Full::Channels(limit));
        }
        let name = match key.as_str() {
            "" => self.config.name.clone(),
            key => format!("{}/{key}", self.config.name).into(),
        };
        let writer = Writer::new(self.config.replay, Budget::process());
        let (mapping, counts) = (self.mapping.clone(), self.counts.clone());
        let (channel, publishes) = Channel::new(key.clone(), name, writer.log(), mapping, counts);
        let channel = Arc::new(channel);
        channels.insert(key, channel.clone());
        drop(channels);
        let seat = source::Seat::new(self.clone(), channel.clone());
        let feed = source::websocket::Feed::new(seat, captures, writer, publishes);
        drop(tasks::spawn(feed.run(guard.clone())));
        Ok(Lease(channel))
    }

    /// Removes `channel` if it has no users, and says whether it did.
    fn retire(&self, channel: &Arc<Channel>) -> bool {
        let mut channels = self.lock();
        if channel.users() > 0 {
            return false;
        }
        Self::remove(&mut channels, channel);
        true
    }

    /// Removes `channel` whatever its users: its feed is gone.
    fn discard(&self, channel: &Arc<Channel>) {
        Self::remove(&mut self.lock(), channel);
    }

    fn remove(channels: &mut HashMap<String, Arc<Channel>>, channel: &Arc<Channel>) {
        if channels
            .get(channel.key())
            .is_some_and(|found| Arc::ptr_eq(found, channel))
        {
            channels.remove(channel.key());
        }
    }

    /// A panic under the lock cannot leave the map half changed, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Channel>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keeps a channel open.
#[derive(Debug)]
struct Lease(Arc<Channel>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Keeps a channel open, and counts as one of the bridge's subscribers.
#[derive(Debug)]
struct Subscription {
    lease: Lease,
    _counted: Counted,
}

impl Subscription {
    fn channel(&self) -> &Arc<Channel> {
        &self.lease.0
    }
}

#[derive(Debug)]
struct Counted(Arc<Bridge>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(crate) mod tests;

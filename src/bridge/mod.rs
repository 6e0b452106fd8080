//! The bridge: a feed, fanned out to many clients as server-sent events, with ids, replay and resume.
//!
//! A [`Bridge`] has channels, one for each set of path values, in session mode one for each client; a [`channel::Channel`] has one feed (`source/`) that
//! writes one log; a subscriber (`endpoint/`) is a cursor into the log and a socket. The engine sees bytes and events;
//! only `endpoint/` knows HTTP.
//!
//! Invariant: a channel's users are raised, and a channel is removed, only under the bridge's lock. So a channel that
//! was found is alive, and one that is removed has nobody.

pub mod channel;
pub mod counts;
pub mod cursor;
pub mod eager;
pub mod endpoint;
mod ice;
pub mod log;
pub mod map;
mod order;
pub mod overview;
mod pace;
pub mod post;
pub mod rejected;
mod repeat;
mod reply;
pub mod session;
mod source;
mod standing;
pub mod state;
mod subscription;
mod values;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::config::model::{self, Mapping};
use crate::lifecycle::removal::Removal;
use crate::lifecycle::{drain, tasks};
use crate::limits;
use crate::net::ClientAddr;
use crate::route::Captures;

use self::channel::{Channel, Publish};
use self::counts::{Counts, SubscriberKind, Word};
use self::cursor::Epoch;
use self::log::{Budget, Writer};
use self::pace::Paces;
use self::rejected::Rejected;
use self::session::{Claim, Session};
use self::state::{Dormants, Halt};
use self::subscription::{Counted, Lease, Subscription};

/// One configured bridge and its live channels. Shared by all workers, and kept by a reload that does not change it.
#[derive(Debug)]
pub struct Bridge {
    config: Arc<model::Bridge>,
    mapping: Arc<Mapping>,
    live: Arc<Live>,
}

/// What lives on when a reload changes only how clients are served.
#[derive(Debug, Default)]
struct Live {
    counts: Arc<Counts>,
    /// A lock that several workers may hold, but taken only when a subscription or a publish opens and when a feed
    /// ends, for a look into a map. Nothing on the way of an event takes it.
    channels: Mutex<HashMap<String, Arc<Channel>>>,
    subscribers: AtomicUsize,
    /// The same by kind, in the order of their numbers.
    kinds: [AtomicUsize; SubscriberKind::ALL.len()],
    rejected: Rejected,
    /// Logs that wait for somebody to open their channels. Locked within the lock of `channels`, where both are.
    dormants: Mutex<Dormants>,
    /// How fast clients publish.
    paces: Paces<Sender>,
    /// Tells that a reload has taken the bridge away, or its feeds.
    removal: Removal,
    /// How long its subscribers have to move over to the bridge that takes its place. Set before `removal` tells, and only where
    /// there is one.
    successor: OnceLock<Duration>,
}

/// Who publishes, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Sender {
    /// In session mode.
    Session(Epoch),
    /// In shared mode: an address, or a network of them.
    Client(IpAddr),
}

impl Sender {
    /// The client at this address that publishes on `channel`.
    fn of(channel: &Channel, client: ClientAddr) -> Self {
        match channel.session() {
            Some(_) => Self::Session(channel.epoch()),
            None => Self::Client(limits::network(client.0.ip())),
        }
    }
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
            config,
            live: Arc::default(),
        })
    }

    /// The bridge that follows this one in a reload: with its channels, their logs and their feeds, if `config` changes
    /// nothing of these; `None` if it does. Who subscribed before is served as before.
    #[must_use]
    pub fn followed_by(&self, config: &Arc<model::Bridge>) -> Option<Arc<Self>> {
        self.config.is_fed_alike(config).then(|| {
            Arc::new(Self {
                config: config.clone(),
                mapping: self.mapping.clone(),
                live: self.live.clone(),
            })
        })
    }

    /// Whether it has the channels of `other`.
    #[must_use]
    pub fn is_successor_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.live, &other.live)
    }

    /// A reload has removed it. What becomes of its subscribers their routes say.
    pub fn removed(&self) {
        // Nobody opens their channels any more; the last client that is kept may stay for long.
        self.dormants().clear();
        self.live.removal.tell();
    }

    /// A reload has put another in its place. Its subscribers end, spread over `window`, and come back to that one.
    pub fn replaced(&self, window: Duration) {
        self.dormants().clear();
        // Once is enough: who is told a second time is about to end.
        let _ = self.live.successor.set(window);
        self.live.removal.tell();
    }

    /// Returns once it is removed (`None`) or replaced, with the time that its subscribers have to move over.
    async fn gone(&self) -> Option<Duration> {
        self.live.removal.told().await;
        self.live.successor.get().copied()
    }

    /// What it was made of.
    #[must_use]
    pub fn config(&self) -> &Arc<model::Bridge> {
        &self.config
    }

    /// What was counted since it was made.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.live.counts
    }

    /// Live subscribers on all workers.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.live.subscribers.load(Ordering::Relaxed)
    }

    /// Who was sent away.
    #[must_use]
    pub fn rejected(&self) -> &Rejected {
        &self.live.rejected
    }

    /// Live channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.lock().len()
    }

    /// Subscribes to the channel of `captures`, or to the session that `claim` names. What is not there is opened: its
    /// feed then runs on this worker.
    ///
    /// # Errors
    /// [`Full`]: a limit is reached.
    fn subscribe(
        self: &Arc<Self>,
        captures: &Captures,
        claim: Claim,
        kind: SubscriberKind,
        guard: &drain::Guard,
    ) -> Result<Subscription, Full> {
        let limit = self.config.limits.subscribers;
        let below = |count: usize| (count < limit).then_some(count + 1);
        self.live
            .subscribers
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, below)
            .map_err(|_count| Full::Subscribers(limit))?;
        let counted = Counted::new(self.clone(), kind);
        let (lease, held) = match self.config.mode {
            model::Mode::Shared => (self.lease(captures, guard)?, None),
            model::Mode::Session => {
                let (lease, held) = self.hold(captures, claim, guard)?;
                (lease, Some(held))
            }
        };
        Ok(Subscription {
            lease,
            held,
            _counted: counted,
            _place: None,
        })
    }

    /// Keeps the channel of `captures` open, and opens it if there is none.
    ///
    /// # Errors
    /// [`Full`]: a limit is reached.
    fn lease(self: &Arc<Self>, captures: &Captures, guard: &drain::Guard) -> Result<Lease, Full> {
        let key = values::key(&self.config, captures);
        let mut channels = self.lock();
        if let Some(channel) = channels.get(&key) {
            channel.enter();
            return Ok(Lease(channel.clone()));
        }
        let name = self.channel_name(&values::shown(&self.config, captures));
        let opened = self.open(&mut channels, (key, name), None)?;
        drop(channels);
        Ok(self.start(opened, captures, guard))
    }

    /// How the channel with these values is called.
    fn channel_name(&self, values: &str) -> Arc<str> {
        match values {
            "" => self.config.name.clone(),
            values => format!("{}/{values}", self.config.name).into(),
        }
    }

    /// A new channel under its key and name, with one user. Its feed is still to be started.
    ///
    /// # Errors
    /// [`Full`]: there are as many as may be.
    fn open(
        &self,
        channels: &mut HashMap<String, Arc<Channel>>,
        (key, name): (String, Arc<str>),
        session: Option<Session>,
    ) -> Result<Opened, Full> {
        let limit = self.config.limits.channels;
        if channels.len() >= limit {
            return Err(Full::Channels(limit));
        }
        let new = || Writer::new(self.config.replay, self.config.snapshot, Budget::process());
        let mut dormants = self.dormants();
        let woken = session.is_none().then(|| dormants.wake(&key)).flatten();
        dormants.make_room(limit - channels.len() - 1);
        let (writer, past) = match woken {
            Some(dormant) => (dormant.writer, Some((dormant.epoch, dormant.halt))),
            None => (new(), None),
        };
        let (mapping, counts) = (self.mapping.clone(), self.live.counts.clone());
        let (channel, publishes) = Channel::new(key.clone(), name, writer.log(), mapping, counts);
        let channel = match (session, &past) {
            (Some(session), _) => channel.of_session(session),
            (None, Some((epoch, _))) => channel.of_epoch(*epoch),
            (None, None) => channel,
        };
        if dormants.is_frozen && channel.session().is_none() {
            channel.ice.freeze();
        }
        drop(dormants);
        let channel = Arc::new(channel);
        channels.insert(key, channel.clone());
        Ok(Opened {
            channel,
            writer,
            publishes,
            halt: past.map(|(_, halt)| halt),
        })
    }

    /// Starts the feed of a new channel on this worker.
    fn start(self: &Arc<Self>, opened: Opened, captures: &Captures, guard: &drain::Guard) -> Lease {
        let Opened {
            channel,
            writer,
            publishes,
            halt,
        } = opened;
        let seat = source::Seat::new(self.clone(), channel.clone());
        let feed = source::feed::Feed::new(seat, captures, (writer, halt), publishes);
        drop(tasks::spawn(feed.run(guard.clone())));
        Lease(channel)
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
            channel.counts().events_of_gone.add_many(channel.appended());
        }
    }

    /// A panic under the lock cannot leave the map half changed, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Channel>>> {
        self.live
            .channels
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A channel without its feed yet.
struct Opened {
    channel: Arc<Channel>,
    writer: Writer,
    publishes: mpsc::Receiver<Publish>,
    /// Where the feed stood that wrote the log before.
    halt: Option<Halt>,
}

#[cfg(test)]
pub(crate) mod tests;

//! One channel: a bridge with one set of path values. One feed, one sequence of events, one log.
//!
//! A channel is shared between workers: its feed writes on one of them, subscribers read on all. It holds no
//! subscriber itself; each worker with subscribers has a waker here, which the feed calls after it has appended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};

use crate::config::model::Mapping;

use super::counts::Counts;
use super::cursor::{Epoch, EventId};
use super::ice::Ice;
use super::log::Log;
use super::map::Upstream;
use super::overview::FeedNotes;
use super::post::{Delivered, Post, Unsent};
use super::repeat::Repeats;
use super::reply::Replies;
use super::session::Session;

/// Publishes that wait for the feed's task; more are refused as if the feed were down, or, where they are posted, wait
/// outside.
const PUBLISHES: usize = 64;

/// Bytes of messages that are posted or wait for it; more are refused as if the server were down. A message beyond it goes
/// alone.
pub(super) const POSTED: usize = 16 << 20;

/// A message for the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// As a text message.
    Text(String),
    /// The same, of which its sender says that it is JSON.
    Json(String),
    /// As a binary message.
    Binary(bytes::Bytes),
}

impl Outgoing {
    /// Bytes that it holds, with itself.
    fn cost(&self) -> usize {
        let payload = match self {
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        };
        payload + size_of::<Self>()
    }
}

/// Messages for the feed, in their order. Dropped unanswered: the feed was lost before they were written.
#[derive(Debug)]
pub struct Publish {
    /// What is to be sent.
    pub messages: Vec<Outgoing>,
    /// How it goes where the feed is a source of events; `None`: it cannot go there.
    pub post: Option<Post>,
    /// Told what became of it. Closed: its publisher has given up, and was told that it was not sent; so it is not.
    pub written: oneshot::Sender<Result<Delivered, Unsent>>,
}

/// What all workers share of a channel.
#[derive(Debug)]
pub struct Channel {
    key: String,
    name: Arc<str>,
    epoch: Epoch,
    log: Arc<Log>,
    mapping: Arc<Mapping>,
    counts: Arc<Counts>,
    /// The number of the first event that was appended in this process, or will be.
    began: u64,
    /// Whether its feed is to stop, and has.
    pub(super) ice: Ice,
    upstream: AtomicU8,
    /// Subscribers and publishers that have it open. Raised only under the bridge's lock.
    users: AtomicUsize,
    /// Told when `users` falls to zero.
    unused: Notify,
    /// Told when `users` rises.
    entered: Notify,
    wakers: ArcSwap<Vec<Arc<Notify>>>,
    publish: mpsc::Sender<Publish>,
    /// Room for what is posted, in bytes.
    room: Semaphore,
    /// Only in session mode.
    session: Option<Session>,
    /// Publishers that wait for the feed's answer.
    pub(super) replies: Replies,
    /// What became of messages that may be sent again.
    pub(super) repeats: Repeats,
    /// What its feed has told of itself.
    pub(super) notes: FeedNotes,
}

impl Channel {
    /// A channel whose feed was never open, with one user; and what its feed is to publish.
    pub(super) fn new(
        key: String,
        name: Arc<str>,
        log: Arc<Log>,
        mapping: Arc<Mapping>,
        counts: Arc<Counts>,
    ) -> (Self, mpsc::Receiver<Publish>) {
        let (publish, publishes) = mpsc::channel(PUBLISHES);
        let channel = Self {
            key,
            name,
            epoch: Epoch::random(),
            began: log.view().head(),
            ice: Ice::default(),
            log,
            mapping,
            counts,
            upstream: AtomicU8::new(Upstream::Connecting as u8),
            users: AtomicUsize::new(1),
            unused: Notify::new(),
            entered: Notify::new(),
            wakers: ArcSwap::default(),
            publish,
            room: Semaphore::new(POSTED),
            session: None,
            replies: Replies::default(),
            repeats: Repeats::default(),
            notes: FeedNotes::default(),
        };
        (channel, publishes)
    }

    /// The same channel as that of one session, whose epoch it has.
    pub(super) fn of_session(self, session: Session) -> Self {
        Self {
            epoch: session.id().epoch(),
            session: Some(session),
            ..self
        }
    }

    /// The same channel as a life of the log that went on, with the log's own epoch.
    pub(super) fn of_epoch(self, epoch: Epoch) -> Self {
        Self { epoch, ..self }
    }

    /// Its session, in session mode.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// What sets it apart from the bridge's other channels.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// How it is called towards clients and in logs.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The same, to be held for longer.
    pub(super) fn shared_log(&self) -> Arc<Log> {
        self.log.clone()
    }

    /// What becomes of its feed's messages.
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Its bridge's counts.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Its log's life.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// How many events were appended in this process.
    pub(super) fn appended(&self) -> u64 {
        self.log.view().head() - self.began
    }

    /// The id of the event numbered `seq`.
    #[must_use]
    pub fn id(&self, seq: u64) -> EventId {
        EventId {
            epoch: self.epoch,
            seq,
        }
    }

    /// Where its feed stands.
    #[must_use]
    pub fn upstream(&self) -> Upstream {
        match self.upstream.load(Ordering::Acquire) {
            up if up == Upstream::Up as u8 => Upstream::Up,
            lost if lost == Upstream::Reconnecting as u8 => Upstream::Reconnecting,
            ended if ended == Upstream::Ended as u8 => Upstream::Ended,
            gone if gone == Upstream::Gone as u8 => Upstream::Gone,
            _ => Upstream::Connecting,
        }
    }

    /// Sends `messages` up the feed, and returns once the last was handed to the feed's socket, or, where the feed is a
    /// source of events, was answered.
    ///
    /// # Errors
    /// [`Unsent::Down`], at once when the feed is not open: nothing waits for it to come back. What goes by `post` needs no
    /// open feed, and may fail in the other ways.
    ///
    /// # Cancel safety
    /// When it is dropped, messages that were not begun with are not sent any more.
    pub async fn publish(
        &self,
        messages: Vec<Outgoing>,
        post: Option<Post>,
    ) -> Result<Delivered, Unsent> {
        if post.is_none() && self.upstream() != Upstream::Up {
            return Err(Unsent::Down);
        }
        let is_posted = post.is_some();
        let cost = messages.iter().map(Outgoing::cost).sum::<usize>();
        // Held until the answer: publishers that wait for a slow server hold their messages.
        let _room = match is_posted {
            true => Some(self.room.try_acquire_many(cost.min(POSTED) as u32)),
            false => None,
        }
        .transpose()
        .map_err(|_full| Unsent::Unavailable { retry_after: None })?;
        let (written, answer) = oneshot::channel();
        let publish = Publish {
            messages,
            post,
            written,
        };
        // A socket that leaves so many waiting is as good as down. Posts take their time, each publisher for itself.
        let is_taken = match is_posted {
            true => self.publish.send(publish).await.is_ok(),
            false => self.publish.try_send(publish).is_ok(),
        };
        if !is_taken {
            return Err(Unsent::Down);
        }
        answer.await.unwrap_or(Err(Unsent::Down))
    }

    /// Says where the feed stands, and wakes every worker that has subscribers.
    pub(super) fn set_upstream(&self, upstream: Upstream) {
        self.notes.moved(self.upstream(), upstream);
        self.upstream.store(upstream as u8, Ordering::Release);
        if upstream != Upstream::Up {
            // What was asked of the connection that is gone is not answered on another.
            self.replies.clear();
        }
        self.wake();
    }

    /// Wakes every worker that has subscribers: something was appended.
    pub(super) fn wake(&self) {
        self.wakers
            .load()
            .iter()
            .for_each(|waker| waker.notify_one());
    }

    /// Adds a worker's waker.
    pub(super) fn enlist(&self, waker: &Arc<Notify>) {
        self.wakers.rcu(|wakers| {
            let mut wakers = Vec::clone(wakers);
            wakers.push(waker.clone());
            wakers
        });
    }

    /// Removes a worker's waker.
    pub(super) fn delist(&self, waker: &Arc<Notify>) {
        self.wakers.rcu(|wakers| {
            let mut wakers = Vec::clone(wakers);
            wakers.retain(|other| !Arc::ptr_eq(other, waker));
            wakers
        });
    }

    pub(super) fn users(&self) -> usize {
        self.users.load(Ordering::Acquire)
    }

    /// One more user. Only under the bridge's lock, so that a channel without users stays so while it is removed.
    pub(super) fn enter(&self) {
        self.users.fetch_add(1, Ordering::AcqRel);
        self.entered.notify_waiters();
    }

    pub(super) fn leave(&self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.unused.notify_one();
        }
    }

    /// Returns when somebody has come since it was first polled.
    ///
    /// # Cancel safety
    /// Who comes while nobody waits is not told of.
    pub(super) async fn entered(&self) {
        self.entered.notified().await;
    }

    /// Returns after the last user has left. One may have come since.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    pub(super) async fn unused(&self) {
        self.unused.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Channel {
        /// A channel without mapping, for tests.
        pub(crate) fn of(log: Arc<Log>) -> (Self, mpsc::Receiver<Publish>) {
            Self::new(
                String::new(),
                "prices".into(),
                log,
                Arc::default(),
                Arc::default(),
            )
        }
    }

    use crate::bridge::log::tests::writer;

    #[tokio::test]
    async fn publishing_waits_for_the_socket_and_never_for_a_feed_that_is_down() {
        let log = writer(1).log();
        let (channel, mut publishes) = Channel::of(log);
        let hello = || vec![Outgoing::Text("hello".into())];
        let publish = || channel.publish(hello(), None);
        assert_eq!(publish().await, Err(Unsent::Down));
        channel.set_upstream(Upstream::Up);
        let written = async {
            let publish = publishes.recv().await.unwrap();
            assert_eq!(publish.messages, hello());
            publish.written.send(Ok(Delivered::Taken)).unwrap();
        };
        let taken = tokio::join!(publish(), written).0;
        assert_eq!(taken, Ok(Delivered::Taken));
        let lost = async { drop(publishes.recv().await) };
        assert_eq!(tokio::join!(publish(), lost).0, Err(Unsent::Down));
    }

    #[tokio::test]
    async fn only_enlisted_workers_are_woken() {
        let log = writer(1).log();
        let (channel, _publishes) = Channel::of(log);
        let (here, there) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        channel.enlist(&here);
        channel.enlist(&there);
        channel.delist(&there);
        channel.wake();
        here.notified().await;
        assert!(channel.wakers.load().len() == 1);
    }
}

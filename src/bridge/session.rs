//! Session mode: a channel for each client, which only that client knows how to come back to.
//!
//! A session's id is 128 random bits, and its log's epoch is made of the id by SHA-256. So the epoch, which stands in
//! each event's id, finds the session for a browser's own reconnect, and tells nothing of the id that a `POST` needs.
//!
//! Invariants: a session has one connection to its feed in its life, and one subscriber at a time; a new one takes over
//! from the one before. It is found only from the place where it was opened: with another room's values, or by another
//! user, it does not exist.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use aws_lc_rs::{constant_time, digest};
use tokio::sync::watch;

use crate::config::model::Verdict;
use crate::lifecycle::drain;
use crate::route::Captures;

use super::channel::Channel;
use super::cursor::{Cursor, Epoch};
use super::order::Order;
use super::{Bridge, Full, Lease};

/// A session's name, known to its client alone: 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// A new one, which nobody can guess.
    #[must_use]
    pub fn random() -> Self {
        let mut bits = [0; 16];
        aws_lc_rs::rand::fill(&mut bits)
            .expect("aws-lc ends the process when there is no randomness");
        Self(bits)
    }

    /// Reads an id as it is written, in lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return None;
        }
        let bits = u128::from_str_radix(text, 16).ok()?;
        Some(Self(bits.to_be_bytes()))
    }

    /// The epoch of the session's log.
    #[must_use]
    pub fn epoch(self) -> Epoch {
        let hash = digest::digest(&digest::SHA256, &self.0);
        Epoch::of_bytes(hash.as_ref())
    }
}

/// As a client is told it.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Who knows it may speak for the client, so that it must not get into a log.
impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(_)")
    }
}

/// How a session's feed came to its end, and so what its client is told last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was lost: the client is to come back, and gets a new session.
    Lost,
    /// It could not be opened: the same, but not soon.
    Refused,
    /// For good: the client is not to come back.
    Final {
        /// The feed's close code, if there was a feed (RFC 6455 §7.4).
        code: Option<u16>,
        /// What it is told if it does.
        verdict: Verdict,
    },
}

/// What sets a channel in session mode apart.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    /// The values of the path's names that its feed is opened with, and who opened it.
    place: String,
    /// How often it was taken over.
    holder: watch::Sender<u64>,
    ending: OnceLock<Ending>,
    /// The order of its messages to the feed.
    pub(super) order: Order,
}

impl Session {
    pub(super) fn new(place: String) -> Self {
        Self {
            id: SessionId::random(),
            place,
            holder: watch::Sender::new(0),
            ending: OnceLock::new(),
            order: Order::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// How it ended, once it has.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.ending.get().copied()
    }

    /// Says how it ends; only the first word counts.
    pub(super) fn end(&self, ending: Ending) {
        self.ending.get_or_init(|| ending);
    }

    /// Makes the caller its subscriber, in place of the one before.
    fn take_over(&self) -> Held {
        self.holder.send_modify(|holder| *holder += 1);
        let holder = self.holder.subscribe();
        let own = *holder.borrow();
        Held { holder, own }
    }
}

/// A subscriber's hold of its session.
#[derive(Debug)]
pub(super) struct Held {
    holder: watch::Receiver<u64>,
    own: u64,
}

/// Ready when something has happened.
pub(super) type Happening = Pin<Box<dyn Future<Output = ()>>>;

impl Held {
    /// Ready when another subscriber has taken the session over.
    pub(super) fn lost(&self) -> Happening {
        let (mut holder, own) = (self.holder.clone(), self.own);
        Box::pin(async move {
            // The subscriber keeps its channel, and so the sender, for as long as it waits here.
            let _ = holder.wait_for(|now| *now != own).await;
        })
    }
}

/// Which session a client says it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Claim {
    /// By its cursor.
    pub(super) epoch: Option<Epoch>,
    /// By its name, which stands in a query and may be older than the cursor.
    pub(super) id: Option<SessionId>,
}

impl Claim {
    /// What a subscriber with this cursor and this `?session=` claims.
    pub(super) fn new(cursor: Cursor, id: Option<SessionId>) -> Self {
        let epoch = match cursor {
            Cursor::Behind(id) => Some(id.epoch),
            _ => None,
        };
        Self { epoch, id }
    }
}

impl Bridge {
    /// The session that `claim` names, taken over from its subscriber; a new one if there is none.
    ///
    /// # Errors
    /// [`Full`]: there are as many sessions as may be.
    pub(super) fn hold(
        self: &Arc<Self>,
        captures: &Captures,
        claim: Claim,
        guard: &drain::Guard,
    ) -> Result<(Lease, Held), Full> {
        let place = super::values::place(&self.config, captures);
        let mut channels = self.lock();
        let by_epoch = |epoch: Epoch| Some(channels.get(&epoch.to_string())?.clone());
        let by_id = |id: SessionId| by_epoch(id.epoch()).filter(|channel| is_named(channel, id));
        let found = claim.epoch.and_then(by_epoch);
        let found = found.or_else(|| claim.id.and_then(by_id));
        let known = found.and_then(|channel| {
            let session = channel.session().filter(|known| known.place == place)?;
            if channel.users() > 0 {
                self.counts().taken_over.add();
            }
            let held = session.take_over();
            channel.enter();
            Some((Lease(channel.clone()), held))
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let session = Session::new(place);
        let held = session.take_over();
        let key = session.id.epoch().to_string();
        let name = self.channel_name(&super::values::shown(&self.config, captures));
        let opened = self.open(&mut channels, (key, name), Some(session))?;
        drop(channels);
        Ok((self.start(opened, captures, guard), held))
    }

    /// The live session of this name, opened with the values of this path. It is not kept open: a session lives for its
    /// subscriber.
    pub(super) fn session(&self, captures: &Captures, id: SessionId) -> Option<Arc<Channel>> {
        let place = super::values::place(&self.config, captures);
        let channel = self.lock().get(&id.epoch().to_string())?.clone();
        let session = channel.session()?;
        (is_named(&channel, id) && session.place == place).then_some(channel)
    }
}

/// The map is asked for a hash of the id, and a hash's bits tell nothing of those of the id; so what is left is to
/// compare the ids in constant time.
fn is_named(channel: &Channel, id: SessionId) -> bool {
    let equal =
        |session: &Session| constant_time::verify_slices_are_equal(&session.id.0, &id.0).is_ok();
    channel.session().is_some_and(equal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling_and_is_not_printed() {
        let id = SessionId::random();
        assert_eq!(SessionId::parse(&id.to_string()), Some(id));
        assert_ne!(SessionId::random(), id);
        assert!(!format!("{id:?}").contains(&id.to_string()));
        assert_eq!(id.epoch(), id.epoch());
        let upper = id.to_string().to_uppercase();
        for text in ["", "0", upper.as_str(), &format!("{id} "), &"g".repeat(32)] {
            let is_it = SessionId::parse(text).is_some();
            assert!(!is_it || text == id.to_string(), "{text}");
        }
    }

    #[tokio::test]
    async fn who_takes_over_is_the_only_one() {
        let session = Session::new(String::new());
        let first = session.take_over();
        let second = session.take_over();
        first.lost().await;
        let lost = second.lost();
        tokio::select! {
            biased;
            () = lost => panic!("nobody has come after it"),
            () = std::future::ready(()) => {}
        }
    }

    #[test]
    fn only_the_first_word_about_an_end_counts() {
        let session = Session::new(String::new());
        assert_eq!(session.ending(), None);
        session.end(Ending::Refused);
        session.end(Ending::Lost);
        assert_eq!(session.ending(), Some(Ending::Refused));
    }
}

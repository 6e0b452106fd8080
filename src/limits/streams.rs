//! The long streams of a route: how many live, and places for those that may.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Crowd, Key, Place};
use crate::config::model::{StreamFate, StreamLimits};
use crate::observe::metrics::StreamLimit;

/// The long streams of one route that live now. It outlives reloads with the route's key; the limits are those of the
/// moment at which a stream begins.
#[derive(Debug, Clone)]
pub struct Streams {
    live: Arc<Live>,
    /// Of those that begin from here.
    fate: StreamFate,
}

#[derive(Debug, Default)]
struct Live {
    total: AtomicUsize,
    /// The same by what becomes of them when a reload removes what they live on, in the order of [`StreamFate::ALL`].
    by_fate: [AtomicUsize; StreamFate::ALL.len()],
    /// By who holds them.
    by_client: Crowd,
    by_user: Crowd,
}

/// One stream's place, given back when it is dropped.
#[derive(Debug)]
pub struct StreamPermit {
    counted: Counted,
    client: Key,
    /// Boxed: there is one for each stream, and most have none.
    _user: Option<Box<Place>>,
}

/// Who wants a stream.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    /// From where.
    pub client: IpAddr,
    /// By which name, where that is known.
    pub user: Option<&'a str>,
}

/// One live stream, until it is dropped.
#[derive(Debug)]
pub struct Counted {
    live: Arc<Live>,
    fate: StreamFate,
}

/// Why a stream has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamsFull {
    /// `streams`
    #[error("the route has as many streams as it may have")]
    Route,
    /// `streams_per_ip`
    #[error("the client has as many streams on the route as it may have")]
    Client,
    /// `streams_per_user`
    #[error("the user has as many streams on the route as it may have")]
    User,
}

impl From<StreamsFull> for StreamLimit {
    fn from(full: StreamsFull) -> Self {
        match full {
            StreamsFull::Route => Self::Route,
            StreamsFull::Client => Self::Client,
            StreamsFull::User => Self::User,
        }
    }
}

impl Default for Streams {
    fn default() -> Self {
        Self {
            live: Arc::default(),
            fate: StreamFate::Keep,
        }
    }
}

impl Streams {
    /// The same streams; of those that begin from here a removal makes `fate`.
    #[must_use]
    pub fn with_fate(&self, fate: StreamFate) -> Self {
        Self {
            live: self.live.clone(),
            fate,
        }
    }

    /// Counts a stream that other limits hold for.
    #[must_use]
    pub fn enter(&self) -> Counted {
        self.count().0
    }

    /// A place for a stream of `holder`.
    ///
    /// # Errors
    /// [`StreamsFull`]: which limit is reached.
    pub fn acquire(
        &self,
        limits: StreamLimits,
        holder: Holder<'_>,
    ) -> Result<StreamPermit, StreamsFull> {
        let (counted, before) = self.count();
        // From here on a refusal gives back by its drop what has been taken.
        if limits.total.is_some_and(|limit| before >= limit.get()) {
            return Err(StreamsFull::Route);
        }
        let user = holder.user.map(|user| {
            let user = Key::of_name(user.as_bytes());
            let place = self.live.by_user.enter(user, limits.per_user);
            place.map(Box::new).ok_or(StreamsFull::User)
        });
        let user = user.transpose()?;
        let client = Key::of_client(holder.client);
        if !self.live.by_client.take(client, limits.per_ip) {
            return Err(StreamsFull::Client);
        }
        Ok(StreamPermit {
            counted,
            client,
            _user: user,
        })
    }

    /// How many there are.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.total.load(Ordering::Acquire)
    }

    /// How many of them have this fate when a reload removes what they live on.
    #[must_use]
    pub fn live_with(&self, fate: StreamFate) -> usize {
        self.live.by_fate[fate as usize].load(Ordering::Acquire)
    }

    /// With how many there were before.
    fn count(&self) -> (Counted, usize) {
        let before = self.live.total.fetch_add(1, Ordering::AcqRel);
        self.live.by_fate[self.fate as usize].fetch_add(1, Ordering::AcqRel);
        let counted = Counted {
            live: self.live.clone(),
            fate: self.fate,
        };
        (counted, before)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.live.total.fetch_sub(1, Ordering::AcqRel);
        self.live.by_fate[self.fate as usize].fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.counted.live.by_client.give_back(self.client);
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    #[test]
    fn streams_are_limited_in_all_and_for_each_client() {
        let limits = StreamLimits {
            total: NonZeroUsize::new(3),
            per_ip: NonZeroUsize::new(2),
            per_user: None,
        };
        let streams = Streams::default();
        let ask = |client: &str| {
            let client = client.parse().unwrap();
            streams.acquire(limits, Holder { client, user: None })
        };
        let first = ask("2001:db8::1").unwrap();
        let second = ask("2001:db8::2").unwrap();
        assert_eq!(ask("2001:db8::3").unwrap_err(), StreamsFull::Client);
        let other = ask("192.0.2.1").unwrap();
        assert_eq!(ask("192.0.2.2").unwrap_err(), StreamsFull::Route);
        drop(first);
        let _again = ask("::ffff:192.0.2.1").unwrap();
        assert_eq!(streams.live(), 3);
        drop((second, other));
        assert_eq!(streams.live(), 1);
        assert_eq!(streams.live.by_client.holders(), 1);
    }

    #[test]
    fn a_user_has_a_limit_wherever_it_comes_from() {
        let limits = StreamLimits {
            per_user: NonZeroUsize::new(1),
            ..StreamLimits::default()
        };
        let streams = Streams::default();
        let ask = |client: &str, user| {
            let client = client.parse().unwrap();
            streams.acquire(limits, Holder { client, user })
        };
        let first = ask("192.0.2.1", Some("ann")).unwrap();
        let again = ask("192.0.2.2", Some("ann")).unwrap_err();
        assert_eq!(again, StreamsFull::User);
        let _others = [Some("bob"), None, None].map(|user| ask("192.0.2.1", user).unwrap());
        drop(first);
        let _again = ask("192.0.2.2", Some("ann")).unwrap();
        assert_eq!(streams.live(), 4);
        assert_eq!(streams.live.by_client.holders(), 2);
    }

    #[test]
    fn a_stream_keeps_the_fate_that_it_began_with() {
        let streams = Streams::default();
        let (kept, closed) = (
            streams.enter(),
            streams.with_fate(StreamFate::Close).enter(),
        );
        let living = || StreamFate::ALL.map(|fate| streams.live_with(fate));
        assert_eq!((living(), streams.live()), ([1, 0, 1], 2));
        drop(kept);
        assert_eq!(living(), [0, 0, 1]);
        drop(closed);
        assert_eq!((living(), streams.live()), ([0; 3], 0));
    }
}

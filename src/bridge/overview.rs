//! A bridge as the operator sees it: its channels, one by one, as they are at this moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Bridge;
use super::channel::Channel;
use super::cursor::EventId;
use super::log::{Event, Log};
use super::map::Upstream;
use super::standing;

/// A bridge's channels.
#[derive(Debug)]
pub struct Overview {
    /// Channels that are open.
    pub total: usize,
    /// Some of them, by name.
    pub channels: Vec<ChannelOverview>,
}

/// A channel.
#[derive(Debug)]
pub struct ChannelOverview {
    /// Its name, as in logs.
    pub name: Arc<str>,
    /// Where its feed stands, in the words of the metrics.
    pub state: &'static str,
    /// Why the feed is not open, as far as it is known.
    pub cause: Option<String>,
    /// For how long it has stood there.
    pub since: Duration,
    /// The source that was asked last: what is spoken, and the server, without the path, which may hold secrets.
    pub url: Option<String>,
    /// Subscribers and publishers that have it open.
    pub users: usize,
    /// Its log.
    pub log: LogOverview,
    /// The newest event's id.
    pub last_id: Option<EventId>,
    /// How often the feed was lost and came back.
    pub reconnects: u64,
}

/// A log.
#[derive(Debug)]
pub struct LogOverview {
    /// Events that it holds.
    pub events: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// The age of the oldest of them.
    pub oldest: Option<Duration>,
}

/// What a feed has told of itself: for people. Locked when the feed is opened and lost, and when somebody looks.
#[derive(Debug)]
pub(super) struct FeedNotes(Mutex<Notes>);

#[derive(Debug)]
struct Notes {
    since: Instant,
    source: Option<String>,
    cause: Option<String>,
    reconnects: u64,
}

impl Default for FeedNotes {
    fn default() -> Self {
        Self(Mutex::new(Notes {
            since: Instant::now(),
            source: None,
            cause: None,
            reconnects: 0,
        }))
    }
}

impl FeedNotes {
    /// This source is asked now.
    pub(super) fn asks(&self, source: String) {
        self.lock().source = Some(source);
    }

    /// It was lost, or could not be opened, for this reason.
    pub(super) fn failed(&self, cause: String) {
        self.lock().cause = Some(cause);
    }

    /// It stands elsewhere than `before`.
    pub(super) fn moved(&self, before: Upstream, to: Upstream) {
        if before == to {
            return;
        }
        let mut notes = self.lock();
        notes.since = Instant::now();
        if to == Upstream::Up {
            notes.cause = None;
            notes.reconnects += u64::from(before != Upstream::Connecting);
        }
    }

    /// Nothing in here can be left half done by a panic.
    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bridge {
    /// Its channels, `most` of them at most: those whose names come first.
    #[must_use]
    pub fn overview(&self, most: usize) -> Overview {
        let mut channels: Vec<_> = self.lock().values().cloned().collect();
        let total = channels.len();
        channels.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        channels.truncate(most);
        Overview {
            total,
            channels: channels.iter().map(|it| ChannelOverview::of(it)).collect(),
        }
    }
}

impl ChannelOverview {
    fn of(channel: &Channel) -> Self {
        let view = channel.log().view();
        let last = view.head().checked_sub(1).filter(|last| *last > 0);
        let notes = channel.notes.lock();
        Self {
            name: channel.name().clone(),
            state: standing::word(channel.upstream()),
            cause: notes.cause.clone(),
            since: notes.since.elapsed(),
            url: notes.source.clone(),
            users: channel.users(),
            log: LogOverview::of(channel.log()),
            last_id: last.map(|last| channel.id(last)),
            reconnects: notes.reconnects,
        }
    }
}

impl LogOverview {
    fn of(log: &Log) -> Self {
        let view = log.view();
        let oldest = view.event(view.floor()).map(Event::at);
        Self {
            events: view.head() - view.floor(),
            bytes: view.bytes_behind(view.floor()),
            oldest: oldest.map(|at| Instant::now().saturating_duration_since(at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::log::tests::{fill, writer};

    #[test]
    fn a_feed_that_comes_back_has_no_cause_and_one_more_return() {
        let notes = FeedNotes::default();
        notes.moved(Upstream::Connecting, Upstream::Up);
        assert_eq!(notes.lock().reconnects, 0);
        notes.failed("reset".to_owned());
        notes.moved(Upstream::Up, Upstream::Reconnecting);
        assert_eq!(notes.lock().cause.as_deref(), Some("reset"));
        notes.moved(Upstream::Reconnecting, Upstream::Up);
        let notes = notes.lock();
        assert_eq!((notes.cause.as_deref(), notes.reconnects), (None, 1));
    }

    #[test]
    fn a_channel_tells_its_log_and_its_newest_event() {
        let mut writer = writer(10);
        let (channel, _publishes) = Channel::of(writer.log());
        let empty = ChannelOverview::of(&channel);
        assert_eq!((empty.last_id, empty.log.events), (None, 0));
        assert_eq!(empty.log.oldest, None);
        fill(&mut writer, 3);
        let filled = ChannelOverview::of(&channel);
        assert_eq!((filled.state, filled.users), ("connecting", 1));
        assert_eq!(filled.last_id, Some(channel.id(3)));
        assert_eq!(filled.log.events, 3);
        assert!(filled.log.bytes > 0 && filled.log.oldest.is_some());
    }
}

//! One open connection to a feed, whatever it speaks.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::bridge::channel::Publish;
use crate::bridge::map;
use crate::config::model::{Bridge, FeedKind};

use super::event_source::{EventSource, Shared};
use super::fault::Fault;
use super::target::{Opening, Target};
use super::websocket::WebSocket;

/// Messages that are read before subscribers are woken, however many are there.
pub(super) const BATCH: usize = 256;

/// What a link did.
#[derive(Debug)]
pub(super) enum Activity {
    /// It read or wrote something.
    Messages {
        /// So many messages were delivered; none: only control frames or comments came, or something was written.
        count: usize,
        /// Whether it has stopped at a bound, and more may be there.
        is_full: bool,
    },
    /// It is of no use any more.
    Lost(Fault),
}

/// What comes from a feed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Incoming<'a> {
    /// A message.
    Message(map::Message<'a>),
    /// In the place of a message of so many bytes, which was too many.
    Oversize(u64),
}

/// An open connection to a feed.
pub(super) enum Link {
    WebSocket(Box<WebSocket>),
    EventSource(Box<EventSource>),
}

impl Link {
    /// Opens a feed at `target`.
    ///
    /// # Cancel safety
    /// Dropping it gives the connection up.
    pub(super) async fn open(
        target: &Target,
        config: &Bridge,
        opening: &Opening,
        resume: Option<String>,
        decoder: &Shared,
    ) -> Result<Self, Fault> {
        match target.kind {
            FeedKind::WebSocket => {
                let open = WebSocket::open(target, config, opening, resume);
                Ok(Self::WebSocket(Box::new(Box::pin(open).await?)))
            }
            FeedKind::EventSource => {
                let open = EventSource::open(target, config, opening, decoder.clone());
                Ok(Self::EventSource(Box::new(Box::pin(open).await?)))
            }
        }
    }

    /// Whether it goes on where the connection before it ended: nothing was missed.
    pub(super) fn is_resumed(&self) -> bool {
        match self {
            Self::WebSocket(link) => link.is_resumed(),
            Self::EventSource(link) => link.is_resumed(),
        }
    }

    /// Whether a publish can be taken: the one before it is written.
    pub(super) fn takes_publish(&self) -> bool {
        match self {
            Self::WebSocket(link) => link.takes_publish(),
            Self::EventSource(_) => true,
        }
    }

    /// Writes `publish`; its publisher is told when the socket has taken the last byte. An event source takes nothing,
    /// which its publisher learns at once.
    pub(super) fn publish(&mut self, publish: Publish) -> Result<(), Fault> {
        match self {
            Self::WebSocket(link) => link.publish(publish),
            Self::EventSource(_) => {
                drop(publish);
                Ok(())
            }
        }
    }

    /// The next moment at which [`Link::tick`] has something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        match self {
            Self::WebSocket(link) => Some(link.next_due()),
            Self::EventSource(link) => link.next_due(),
        }
    }

    /// Sends what is due, and sees a dead feed.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Fault> {
        match self {
            Self::WebSocket(link) => link.tick(now),
            Self::EventSource(link) => link.tick(now),
        }
    }

    /// Gives what is there, up to about [`BATCH`] messages, to `deliver`. Pending only if it did nothing, so that nothing
    /// is lost when the future around it is dropped.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        deliver: &mut impl FnMut(Incoming<'_>),
    ) -> Poll<Activity> {
        match self {
            Self::WebSocket(link) => link.poll(cx, deliver),
            Self::EventSource(link) => link.poll(cx, deliver),
        }
    }

    /// Ends it, with `code` where there are codes, and waits, briefly, for the feed's own close.
    pub(super) async fn close(self, code: CloseCode) {
        if let Self::WebSocket(link) = self {
            link.close(code).await;
        }
    }
}

/// Watches over a feed's silence (`idle.silence`).
#[derive(Debug)]
pub(super) struct Watch(Option<(Duration, Instant)>);

impl Watch {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self(limit.map(|limit| (limit, Instant::now() + limit)))
    }

    pub(super) fn heard(&mut self) {
        if let Some((limit, due)) = &mut self.0 {
            *due = Instant::now() + *limit;
        }
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.0.map(|(_, due)| due)
    }

    pub(super) fn check(&self, now: Instant) -> Result<(), Fault> {
        match self.0 {
            Some((limit, due)) if due <= now => Err(Fault::Silent(limit)),
            _ => Ok(()),
        }
    }
}

//! What a WebSocket client may send to the feed, and on which way it goes.
//!
//! Invariant: a message that was begun with comes to its end, or to a limit, whether its client stays or not.

use std::num::NonZeroU32;
use std::sync::Arc;

use http::StatusCode;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::bridge::channel::{Channel, Outgoing};
use crate::bridge::post::{Address, Delivered, Post, Unsent};
use crate::bridge::{Bridge, Sender};
use crate::lifecycle::{drain, tasks};
use crate::net::ClientAddr;
use crate::observe::access::End;
use crate::websocket::close::CloseCode;

use super::publish::deliver::hand_over;

/// Bytes of a message that is refused anyway.
const UNWANTED: usize = 64 * 1024;

/// A task of its own: a client that leaves behind its message has still sent it.
pub(super) type Sending = JoinHandle<Result<Delivered, Unsent>>;

/// Why a message did not go to the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nothing can be published on this bridge.
    NotAllowed,
    /// The client sends faster than `publish.rate`.
    TooMany,
    /// The feed is not open, or does not take it.
    Unsent(Unsent),
}

impl Refusal {
    /// The status that the same message would have had as a `POST`.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NotAllowed => StatusCode::FORBIDDEN,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Unsent(unsent) => unsent.status(),
        }
    }

    pub(super) fn close(&self) -> (CloseCode, End) {
        match self {
            Self::NotAllowed | Self::TooMany | Self::Unsent(Unsent::Refused(_)) => {
                (CloseCode::Policy, End::Limit)
            }
            Self::Unsent(_) => (CloseCode::TryAgainLater, End::BackendFailed),
        }
    }
}

/// Who may publish what.
pub(super) struct Outlet {
    /// Where messages go.
    pub(super) channel: Arc<Channel>,
    /// Whether they do; else they are refused.
    pub(super) is_open: bool,
    /// Where they go by `POST`, where the feed is a source of events.
    pub(super) address: Option<Arc<Address>>,
    /// Held as long as one is under way.
    pub(super) guard: drain::Guard,
    /// Bytes of one message.
    pub(super) max_size: usize,
    /// How many messages a second; `None`: no limit.
    pub(super) pace: Option<Pace>,
}

/// A client's share of what may be published.
pub(super) struct Pace {
    bridge: Arc<Bridge>,
    sender: Sender,
    rate: NonZeroU32,
}

impl Pace {
    /// Whether one more message is within the rate. All that a client sends counts, by `POST` too.
    fn allows_one(&self) -> bool {
        let paces = &self.bridge.live.paces;
        paces
            .take(self.sender, 1, self.rate, Instant::now())
            .is_ok()
    }
}

impl Outlet {
    /// What a client of this bridge may say.
    pub(super) fn of(
        bridge: &Arc<Bridge>,
        channel: &Arc<Channel>,
        client: ClientAddr,
        guard: &drain::Guard,
    ) -> Self {
        let publish = bridge.config().publish.as_ref();
        let pace = |rate| Pace {
            bridge: bridge.clone(),
            sender: Sender::of(channel, client),
            rate,
        };
        Self {
            channel: channel.clone(),
            is_open: publish.is_some(),
            address: None,
            guard: guard.clone(),
            max_size: publish.map_or(UNWANTED, |publish| publish.max_size),
            pace: publish.and_then(|publish| publish.rate).map(pace),
        }
    }

    /// Begins to send `message`, if it may be sent.
    pub(super) fn begin(&self, message: Outgoing) -> Result<Sending, Refusal> {
        if !self.is_open {
            return Err(Refusal::NotAllowed);
        }
        if self.pace.as_ref().is_some_and(|pace| !pace.allows_one()) {
            return Err(Refusal::TooMany);
        }
        let (channel, guard) = (self.channel.clone(), self.guard.clone());
        let post = self
            .address
            .clone()
            .map(|address| Post { address, key: None });
        Ok(tasks::spawn(async move {
            let handed = hand_over(&channel, vec![message], post).await;
            drop(guard);
            handed
        }))
    }

    /// Counts a message by the status that it would have had as a `POST`.
    pub(super) fn count(&self, status: StatusCode) {
        self.channel.counts().posts.add(status);
    }
}

//! A message on its way to the feed: its turn, the socket, and the feed's answer.
//!
//! It runs in a task of its own, so that it comes to its end whether its client stays or not. Each of its waits has a
//! limit, and the task holds the worker's drain.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::bridge::channel::{Channel, Outgoing};
use crate::bridge::map::Upstream;
use crate::bridge::order::Place;
use crate::bridge::post::{Delivered, Post, Unsent};
use crate::bridge::repeat::{First, Outcome};
use crate::bridge::reply::Awaited;
use crate::config::model::Reply;
use crate::lifecycle::drain;

use super::Target;

/// How long the feed may take to accept a message.
const WRITE: Duration = Duration::from_secs(15);
/// How long it may take until all messages of a request are posted and answered.
const POSTED: Duration = Duration::from_secs(30);

/// Messages that are to be sent, in their order and together.
pub(super) struct Delivery {
    pub(super) target: Target,
    pub(super) messages: Vec<Outgoing>,
    /// How they go where the feed is a source of events.
    pub(super) post: Option<Post>,
    /// Their place in the order of a session.
    pub(super) number: Option<u64>,
    pub(super) reply: Option<Reply>,
    /// Who is to know what became of them.
    pub(super) first: Option<First>,
    pub(super) _guard: drain::Guard,
}

/// Why messages were not sent, or not all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Undelivered {
    /// They did not reach the feed, or it refused them.
    Unsent(Unsent),
    /// The session is over.
    Over,
    /// Too many wait for their answers.
    Crowded,
    /// Others must come first.
    TooEarly {
        /// The number of the next.
        expected: u64,
    },
}

impl Delivery {
    /// Sends the messages, and waits for the answer if there is to be one.
    pub(super) async fn run(mut self) -> Result<Outcome, Undelivered> {
        let first = self.first.take();
        let outcome = self.send().await?;
        if let Some(first) = first {
            first.answer(outcome.clone(), Instant::now());
        }
        Ok(outcome)
    }

    async fn send(self) -> Result<Outcome, Undelivered> {
        let channel = self.target.channel().clone();
        let turn = match enter(&channel, self.number).await {
            None => None,
            Some(Place::Next(turn)) => Some(turn),
            Some(Place::Sent) => return Ok(Outcome::Sent),
            Some(Place::TooEarly { expected }) => return Err(Undelivered::TooEarly { expected }),
        };
        // Before the message is sent: the answer may be quick.
        let awaited = self.awaited(&channel)?;
        let delivered = hand_over(&channel, self.messages, self.post).await;
        let delivered = delivered.map_err(|unsent| undelivered(&channel, unsent))?;
        if let Some(turn) = turn {
            turn.sent();
        }
        let (Some(awaited), Some(reply)) = (awaited, self.reply) else {
            return Ok(match delivered {
                Delivered::Taken => Outcome::Sent,
                Delivered::Answered(answered) => Outcome::Answered(answered),
            });
        };
        match timeout(reply.timeout, awaited.found()).await {
            Ok(Some(found)) => Ok(Outcome::Replied(found.into())),
            Ok(None) | Err(_) => Ok(Outcome::Unanswered),
        }
    }

    /// The answer to a message that is sent alone. Which answer were that of several?
    fn awaited(&self, channel: &Channel) -> Result<Option<Awaited>, Undelivered> {
        match (&self.reply, self.messages.as_slice()) {
            (Some(reply), [Outgoing::Text(text) | Outgoing::Json(text)]) => channel
                .replies
                .expect(&reply.pointer, text)
                .map_err(|_crowded| Undelivered::Crowded),
            _ => Ok(None),
        }
    }
}

async fn enter(channel: &Channel, number: Option<u64>) -> Option<Place> {
    Some(channel.session()?.order.enter(number?).await)
}

/// Hands `messages` to the feed's task, and waits for what becomes of them, but not for ever.
///
/// # Cancel safety
/// As [`Channel::publish`].
pub(in crate::bridge::endpoint) async fn hand_over(
    channel: &Channel,
    messages: Vec<Outgoing>,
    post: Option<Post>,
) -> Result<Delivered, Unsent> {
    // Who is not written to a socket in time is not sent any more; who is posted may be.
    let (limit, late) = match &post {
        None => (WRITE, Unsent::Down),
        Some(_) => (POSTED, Unsent::Late),
    };
    let sent = timeout(limit, channel.publish(messages, post)).await;
    sent.unwrap_or(Err(late))
}

/// A session without its feed is over; else the feed may come.
fn undelivered(channel: &Channel, unsent: Unsent) -> Undelivered {
    let is_over = channel.upstream() == Upstream::Gone || was_lost(channel);
    if unsent == Unsent::Down && channel.session().is_some() && is_over {
        return Undelivered::Over;
    }
    Undelivered::Unsent(unsent)
}

fn was_lost(channel: &Channel) -> bool {
    channel
        .session()
        .is_some_and(|session| session.ending().is_some())
}

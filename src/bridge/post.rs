//! Messages that go by `POST` (`publish.url`): where they go, and what may come back.
//!
//! Owns the words that publishers and the feed's task have for it; the requests themselves are made in `source/posts`. An
//! address is made by the publisher, of the configuration in force, and so follows a reload that keeps the feed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::config::model::Bridge;
use crate::net::ServerAddr;
use crate::route::template::HEADER;
use crate::route::{Captures, Escape};

/// Where a channel's messages go.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) server: ServerAddr,
    /// The request's target; it may hold what is nobody's business, and is not logged.
    pub(super) path: String,
    /// What is sent as for the source: the client's own fields, and those that are configured.
    pub(super) fields: HeaderMap,
}

impl Address {
    /// The address for these values; `None`: messages have a connection to go by.
    pub(super) fn of(config: &Bridge, captures: &Captures) -> Option<Arc<Self>> {
        let url = config.publish.as_ref()?.url.as_ref()?;
        let mut fields = forwarded(config, captures);
        fields.extend(config.connect.headers.clone());
        Some(Arc::new(Self {
            server: url.server.clone(),
            path: url.path.render(captures, Escape::PathSegment),
            fields,
        }))
    }
}

/// The fields of a client's request that are passed on (`connect.forward`).
pub(super) fn forwarded(config: &Bridge, captures: &Captures) -> HeaderMap {
    let mut forwarded = HeaderMap::new();
    for name in &config.connect.forward {
        forwarded.extend(field(name, captures).map(|value| (name.clone(), value)));
    }
    forwarded
}

/// What the client's request said in this field; nothing is printed of it.
fn field(name: &HeaderName, captures: &Captures) -> Option<HeaderValue> {
    let value = captures.get(&format!("{HEADER}{name}"))?;
    let mut value = HeaderValue::from_str(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// How messages are posted.
#[derive(Debug, Clone)]
pub struct Post {
    pub(super) address: Arc<Address>,
    /// The client's `Idempotency-Key`.
    pub(super) key: Option<HeaderValue>,
}

/// What a server answered to a message: a success that has something to say, or a refusal that means the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Its status, as the client gets it.
    pub status: StatusCode,
    /// `Content-Type` of the body.
    pub content_type: Option<HeaderValue>,
    /// Up to 64 KiB; empty where it was longer.
    pub body: Bytes,
    /// When to try again, where the server says so in seconds.
    pub retry_after: Option<Duration>,
}

/// What became of messages that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// They were handed to the feed's socket, or a server has taken them and had nothing to say.
    Taken,
    /// A server has taken the only one, and answered.
    Answered(Answered),
}

/// Why messages did not arrive, or not all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// The feed is not open, or has too much to send already: nothing, or not all of it, was sent.
    #[error("the feed takes no message now")]
    Down,
    /// There is no connection to the server, or it cannot take messages now.
    #[error("the server takes no message now")]
    Unavailable {
        /// When to try again, where the server says so.
        retry_after: Option<Duration>,
    },
    /// The server does not want the message.
    #[error("the server refused a message with status `{}`", .0.status)]
    Refused(Answered),
    /// What the server answered is nothing that a client can be told, or it broke off. It may have the message.
    #[error("the server did not answer as it should")]
    BadAnswer,
    /// The server did not answer in time. It may have the message.
    #[error("the server did not answer a message in time")]
    Late,
}

impl Unsent {
    /// The status that says so.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Down | Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Refused(answered) => answered.status,
            Self::BadAnswer => StatusCode::BAD_GATEWAY,
            Self::Late => StatusCode::GATEWAY_TIMEOUT,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;
    use crate::bridge::channel::{Channel, Outgoing, POSTED};
    use crate::bridge::log::tests::writer;
    use crate::net::Authority;

    #[tokio::test]
    async fn of_ten_thousand_publishers_no_more_wait_than_there_is_room_for() {
        let (channel, mut publishes) = Channel::of(writer(1).log());
        let post = || {
            let server = ServerAddr::from(Authority {
                host: "app".into(),
                port: 80,
            });
            let address = Arc::new(Address {
                server,
                path: "/say".into(),
                fields: http::HeaderMap::new(),
            });
            Some(Post { address, key: None })
        };
        let message = || vec![Outgoing::Binary(vec![0; 64 * 1024].into())];
        let mut waiting: Vec<_> = (0..10_000)
            .map(|_| Box::pin(channel.publish(message(), post())))
            .collect();
        let mut refused = 0;
        for publisher in &mut waiting {
            if let Poll::Ready(outcome) = futures_util::poll!(publisher) {
                assert_eq!(outcome, Err(Unsent::Unavailable { retry_after: None }));
                refused += 1;
            }
        }
        assert_eq!(refused, 10_000 - 255);
        drop(waiting);
        while publishes.try_recv().is_ok() {}
        let large = vec![Outgoing::Binary(vec![0; POSTED + 1].into())];
        let alone = async { drop(publishes.recv().await) };
        let (outcome, ()) = tokio::join!(channel.publish(large, post()), alone);
        assert_eq!(outcome, Err(Unsent::Down), "it was taken, and dropped");
    }
}

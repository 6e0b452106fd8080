//! Why a feed is not, or no longer, open.

use std::time::Duration;

use http::StatusCode;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::bridge::counts::FeedLoss;
use crate::upstream::connect::ConnectError;
use crate::upstream::http1::{ExchangeError, ReplyError};
use crate::websocket::deflate::Unagreed;
use crate::websocket::handshake::HandshakeFault;
use crate::websocket::sieve::SieveFault;

/// Why a feed is not, or no longer, open.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// No connection, or not one of TLS.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The configured address does not make a request.
    #[error("the request cannot be written")]
    Request,
    /// No answer.
    #[error("{0}")]
    Exchange(ExchangeError),
    /// An answer that opens nothing.
    #[error("the feed answered with status `{0}`")]
    Status(StatusCode),
    /// An event stream that is none.
    #[error("the answer is not `text/event-stream`")]
    ContentType,
    /// An event stream that is compressed, which was not asked for (RFC 9110 §12.5.3).
    #[error("the event stream is compressed, and was to be `identity`")]
    Encoded,
    /// The feed has said that it has ended for good: 204 to an event source.
    #[error("the feed has ended, as it says")]
    Finished,
    /// The answer does not fit the handshake.
    #[error(transparent)]
    Handshake(#[from] HandshakeFault),
    /// The answer chose an extension that was not offered so.
    #[error(transparent)]
    Extension(#[from] Unagreed),
    /// What is sent at the beginning was not answered as expected.
    #[error("no answer to a text of `connect.send` within `{0:?}`")]
    Unanswered(Duration),
    /// More came before that answer than is held.
    #[error("too much came before the answer to a text of `connect.send`")]
    TooEarly,
    /// The feed broke the connection or the protocol.
    #[error("{0}")]
    WebSocket(Box<tungstenite::Error>),
    /// Its frames are not those of RFC 6455 or RFC 7692.
    #[error(transparent)]
    Frames(#[from] SieveFault),
    /// The stream of events broke off.
    #[error("{0}")]
    Reply(ReplyError),
    /// The stream of events ended, in order.
    #[error("the event stream has ended")]
    Ended,
    /// The feed closed it, in order.
    #[error("closed by the feed with code `{0}`")]
    Closed(u16),
    /// A text message that is not UTF-8 (RFC 6455 §8.1).
    #[error("a text message is not UTF-8")]
    InvalidUtf8,
    /// A ping without an answer.
    #[error("no pong in time")]
    NoPong,
    /// Nothing that counts came for too long.
    #[error("silent for `{0:?}`")]
    Silent(Duration),
    /// It does not take what is written.
    #[error("it did not take a message within `{0:?}`")]
    Stalled(Duration),
}

impl From<tungstenite::Error> for Fault {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Utf8(_) => Self::InvalidUtf8,
            tungstenite::Error::Io(error) => {
                let frames = error.get_ref().and_then(|inner| inner.downcast_ref());
                match frames {
                    Some(frames) => Self::Frames(*frames),
                    None => Self::WebSocket(Box::new(tungstenite::Error::Io(error))),
                }
            }
            other => Self::WebSocket(Box::new(other)),
        }
    }
}

impl Fault {
    /// What it is counted by.
    pub(super) fn word(&self) -> FeedLoss {
        match self {
            Self::Connect(_) => FeedLoss::Connect,
            Self::Request => FeedLoss::Request,
            Self::Exchange(_) | Self::WebSocket(_) | Self::Reply(_) => FeedLoss::Broken,
            Self::Status(_) => FeedLoss::Status,
            Self::ContentType | Self::Encoded | Self::Handshake(_) | Self::Extension(_) => {
                FeedLoss::Handshake
            }
            Self::Unanswered(_) | Self::TooEarly => FeedLoss::Unanswered,
            Self::Frames(_) => FeedLoss::Protocol,
            Self::Finished | Self::Ended | Self::Closed(_) => FeedLoss::Closed,
            Self::InvalidUtf8 => FeedLoss::InvalidUtf8,
            Self::NoPong => FeedLoss::NoPong,
            Self::Silent(_) => FeedLoss::Silent,
            Self::Stalled(_) => FeedLoss::Stalled,
        }
    }

    /// The close code the feed is owed, if the connection can still carry one (RFC 6455 §7.4.1).
    pub(super) fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::InvalidUtf8 | Self::Frames(SieveFault::Inflate(_)) => Some(CloseCode::Invalid),
            Self::Frames(SieveFault::Framing(_)) => Some(CloseCode::Protocol),
            Self::NoPong | Self::Silent(_) => Some(CloseCode::Away),
            _ => None,
        }
    }
}

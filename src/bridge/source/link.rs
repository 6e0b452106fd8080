//! One open connection to a WebSocket feed (RFC 6455), and how it is opened.
//!
//! Invariant: a link never stops reading while it writes. What it writes stays in tungstenite's buffer until the socket
//! takes it, one publish at a time, under a deadline.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::header;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use tungstenite::error::CapacityError;
use tungstenite::handshake::client::generate_key;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, WebSocketConfig};

use crate::bridge::channel::{Outgoing, Publish};
use crate::bridge::map;
use crate::config::model::{Bridge, FeedIdle};
use crate::net::Authority;
use crate::route::{Captures, Escape};
use crate::upstream::connect::{self, ConnectError};

const CONNECT: Duration = Duration::from_secs(10);
/// The handshake and the messages of `connect.send` together.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the feed may leave what was written to it in our buffer.
const WRITE: Duration = Duration::from_secs(10);
/// How long a close may take; after it the connection is dropped.
const CLOSE: Duration = Duration::from_secs(1);
/// Messages that are read before subscribers are woken, however many are there.
const BATCH: usize = 256;

/// One address of a feed, with the channel's values in its path.
#[derive(Debug)]
pub(super) struct Target {
    /// Where; the path may hold secrets and is not logged.
    pub(super) authority: Authority,
    path: String,
}

impl Target {
    /// The targets of a bridge's channel, in the order of the fail-over list.
    pub(super) fn all(config: &Bridge, captures: &Captures) -> Vec<Self> {
        let target = |source: &crate::config::model::Source| Self {
            authority: source.authority.clone(),
            path: source.path.render(captures, Escape::PathSegment),
        };
        config.source.iter().map(target).collect()
    }

    /// RFC 6455 §4.1. The configured fields cannot replace those of the handshake.
    fn handshake(&self, config: &Bridge) -> Result<http::Request<()>, http::Error> {
        let authority = self.authority.to_string();
        let uri = format!("ws://{authority}{}", self.path);
        let mut request = http::Request::get(uri).body(())?;
        let headers = request.headers_mut();
        headers.extend(config.connect.headers.clone());
        let key = generate_key();
        let protocols = config.connect.subprotocols.join(", ");
        let fields = [
            (header::HOST, authority.as_str()),
            (header::CONNECTION, "Upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            (header::SEC_WEBSOCKET_KEY, key.as_str()),
            (header::SEC_WEBSOCKET_PROTOCOL, protocols.as_str()),
        ];
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            headers.insert(name, http::HeaderValue::from_str(value)?);
        }
        Ok(request)
    }
}

/// Why a feed is not, or no longer, open.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// No TCP connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The configured path or fields do not make a request.
    #[error("the handshake cannot be written")]
    Request(#[from] http::Error),
    /// The feed refused the handshake, or broke the connection or the protocol.
    #[error("{0}")]
    WebSocket(Box<tungstenite::Error>),
    /// No handshake in time.
    #[error("no handshake within `{HANDSHAKE:?}`")]
    Handshake,
    /// The feed closed it, in order.
    #[error("closed by the feed with code `{0}`")]
    Closed(u16),
    /// A text message that is not UTF-8 (RFC 6455 §8.1).
    #[error("a text message is not UTF-8")]
    InvalidUtf8,
    /// A message over `max_message`.
    #[error("a message of `{0}` bytes is over the limit")]
    Oversize(u64),
    /// A ping without an answer.
    #[error("no pong in time")]
    Silent,
    /// It does not take what is written.
    #[error("it did not take a message within `{WRITE:?}`")]
    Stalled,
}

impl From<tungstenite::Error> for Fault {
    fn from(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Utf8(_) => Self::InvalidUtf8,
            tungstenite::Error::Capacity(CapacityError::MessageTooLong { size, .. }) => {
                Self::Oversize(size as u64)
            }
            other => Self::WebSocket(Box::new(other)),
        }
    }
}

impl Fault {
    /// The close code the feed is owed, if the connection can still carry one (RFC 6455 §7.4.1).
    pub(super) fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::InvalidUtf8 => Some(CloseCode::Invalid),
            Self::Oversize(_) => Some(CloseCode::Size),
            _ => None,
        }
    }
}

/// What a link did.
#[derive(Debug)]
pub(super) enum Activity {
    /// This many messages were appended; none: only a control frame came, or something was written.
    Messages(usize),
    /// It is of no use any more.
    Lost(Fault),
}

/// An open connection to a feed.
pub(super) struct Link {
    ws: Box<WebSocketStream<TcpStream>>,
    idle: FeedIdle,
    ping_due: Instant,
    pong_due: Option<Instant>,
    /// Until when what was written must have been taken; `None`: nothing is unwritten.
    write_due: Option<Instant>,
    /// Who is to be told when it was.
    written: Option<oneshot::Sender<()>>,
    /// Found behind messages that had to be delivered first.
    lost: Option<Fault>,
}

impl Link {
    /// Connects, shakes hands and sends `greetings`.
    ///
    /// # Cancel safety
    /// Dropping it gives the connection up.
    pub(super) async fn open(
        target: &Target,
        config: &Bridge,
        greetings: &[String],
    ) -> Result<Self, Fault> {
        let tcp = connect::tcp(&target.authority, CONNECT).await?;
        let request = target.handshake(config)?;
        // The defaults reserve 128 KiB for each connection, and accept messages of 64 MiB.
        let limits = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(0)
            .max_message_size(Some(config.max_message))
            .max_frame_size(Some(config.max_message));
        let shake = async {
            let (mut ws, _response) = client_async_with_config(request, tcp, Some(limits)).await?;
            for greeting in greetings {
                ws.feed(tungstenite::Message::text(greeting.as_str()))
                    .await?;
            }
            ws.flush().await?;
            Ok(ws)
        };
        let shaken: Result<_, tungstenite::Error> = timeout(HANDSHAKE, Box::pin(shake))
            .await
            .map_err(|_elapsed| Fault::Handshake)?;
        Ok(Self {
            ws: Box::new(shaken?),
            idle: config.idle,
            ping_due: Instant::now() + config.idle.ping,
            pong_due: None,
            write_due: None,
            written: None,
            lost: None,
        })
    }

    /// Whether a publish can be taken: the one before it is written.
    pub(super) fn takes_publish(&self) -> bool {
        self.write_due.is_none()
    }

    /// Writes `publish`; its publisher is told when the socket has taken the last byte.
    pub(super) fn publish(&mut self, publish: Publish) -> Result<(), Fault> {
        for message in publish.messages {
            self.write(match message {
                Outgoing::Text(text) => tungstenite::Message::text(text),
                Outgoing::Binary(bytes) => tungstenite::Message::Binary(bytes),
            })?;
        }
        self.written = Some(publish.written);
        Ok(())
    }

    fn write(&mut self, message: tungstenite::Message) -> Result<(), Fault> {
        self.ws.start_send_unpin(message)?;
        self.write_due.get_or_insert(Instant::now() + WRITE);
        Ok(())
    }

    /// The next moment at which [`Link::tick`] has something to do.
    pub(super) fn next_due(&self) -> Instant {
        let others = self.pong_due.into_iter().chain(self.write_due);
        others.fold(self.ping_due, Instant::min)
    }

    /// Sends a ping that is due, and sees a dead feed.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Fault> {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        if is_due(self.write_due) {
            return Err(Fault::Stalled);
        }
        if is_due(self.pong_due) {
            return Err(Fault::Silent);
        }
        if self.ping_due <= now {
            self.ping_due = now + self.idle.ping;
            self.pong_due.get_or_insert(now + self.idle.pong);
            self.write(tungstenite::Message::Ping(bytes::Bytes::new()))?;
        }
        Ok(())
    }

    /// Gives every message that is there, up to [`BATCH`], to `deliver`. Pending only if it did nothing, so that
    /// nothing is lost when the future around it is dropped.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        deliver: &mut impl FnMut(map::Message<'_>),
    ) -> Poll<Activity> {
        if let Some(fault) = self.lost.take() {
            return Poll::Ready(Activity::Lost(fault));
        }
        let flushed = match self.poll_written(cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(fault)) => return Poll::Ready(Activity::Lost(fault)),
            Poll::Pending => false,
        };
        let (mut messages, mut frames) = (0, 0);
        while messages < BATCH && self.lost.is_none() {
            let Poll::Ready(next) = self.ws.poll_next_unpin(cx) else {
                break;
            };
            frames += 1;
            match next {
                Some(Ok(message)) => messages += self.hear(message, deliver),
                Some(Err(error)) => self.lost = Some(error.into()),
                None => self.lost = Some(Fault::Closed(CloseCode::Abnormal.into())),
            }
        }
        if frames == 0 && !flushed {
            return Poll::Pending;
        }
        if messages == 0
            && let Some(fault) = self.lost.take()
        {
            return Poll::Ready(Activity::Lost(fault));
        }
        Poll::Ready(Activity::Messages(messages))
    }

    /// Ready when something was unwritten and is written now.
    fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if self.write_due.is_none() {
            return Poll::Pending;
        }
        std::task::ready!(self.ws.poll_flush_unpin(cx))?;
        self.write_due = None;
        if let Some(written) = self.written.take() {
            // A publisher that has gone away does not want to know.
            let _ = written.send(());
        }
        Poll::Ready(Ok(()))
    }

    /// Counts one for a message, none for a control frame. Whatever is heard shows that the feed lives.
    fn hear(
        &mut self,
        message: tungstenite::Message,
        deliver: &mut impl FnMut(map::Message<'_>),
    ) -> usize {
        self.pong_due = None;
        match message {
            tungstenite::Message::Text(text) => deliver(map::Message::Text(text.as_str())),
            tungstenite::Message::Binary(bytes) => deliver(map::Message::Binary(&bytes)),
            tungstenite::Message::Close(frame) => {
                let code = frame.map_or(CloseCode::Status, |frame| frame.code);
                self.lost = Some(Fault::Closed(code.into()));
                return 0;
            }
            _ => return 0,
        }
        1
    }

    /// Closes with `code` and waits, briefly, for the feed's own close.
    pub(super) async fn close(mut self, code: CloseCode) {
        let deadline = Instant::now() + CLOSE;
        let frame = CloseFrame {
            code,
            reason: "".into(),
        };
        // The connection is given up: what goes wrong with it now changes nothing.
        let goodbye = tungstenite::Message::Close(Some(frame));
        let _ = timeout_at(deadline, self.ws.send(goodbye)).await;
        let end = poll_fn(|cx| {
            loop {
                match std::task::ready!(self.ws.poll_next_unpin(cx)) {
                    Some(Ok(message)) if !message.is_close() => {}
                    _ => return Poll::Ready(()),
                }
            }
        });
        let _ = timeout_at(deadline, end).await;
    }
}

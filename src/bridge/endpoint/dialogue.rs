//! What a WebSocket client says, and what it is answered: messages for the feed, pings, pongs, the Close.
//!
//! Owns no socket: the subscriber's task gives the stream to read from, and takes the frames that are to be written at the
//! next border between two. Invariants: one message of the client is under way to the feed and one more waits; while it
//! does, or while answers are not taken, nothing is read, so that a client's own TCP holds it back. A message that did not
//! reach the feed is never passed over in silence: it is refused by `streamgate.error`, or, where the subprotocol has no
//! words of ours, by a Close.

use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, timeout};

use crate::bridge::channel::{Channel, Outgoing};
use crate::bridge::log::Form;
use crate::bridge::log::form;
use crate::bridge::{Bridge, Sender};
use crate::net::ClientAddr;
use crate::observe::access::End;
use crate::tls::ClientStream;
use crate::websocket::boundary::{self, Extensions, Opcode};
use crate::websocket::close::CloseCode;
use crate::websocket::frame;
use crate::websocket::inbound::{Inbound, Item};

use super::clock::Ping;

/// A client of which nothing is heard for so long is pinged.
const PING: Duration = Duration::from_secs(20);
/// And so long its pong may take.
const PONG: Duration = Duration::from_secs(10);
/// How long the feed's socket may take to accept a message.
const HAND_OVER: Duration = Duration::from_secs(15);
/// Answers of ours that may wait to be written.
const ANSWERS: usize = 4 * 1024;
/// Bytes of a message that is refused anyway.
const UNWANTED: usize = 64 * 1024;
/// Pieces that are read before other tasks of the worker have their turn.
const TURNS: usize = 32;

type Sending = Pin<Box<dyn Future<Output = Result<(), Refusal>>>>;

/// Why a message did not go to the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// Nothing can be published on this bridge.
    NotAllowed,
    /// The client sends faster than `publish.rate`.
    TooMany,
    /// The feed is not open, or does not take it.
    FeedDown,
}

impl Refusal {
    /// The status that the same message would have had as a `POST`.
    fn status(self) -> u16 {
        match self {
            Self::NotAllowed => 403,
            Self::TooMany => 429,
            Self::FeedDown => 503,
        }
    }

    fn close(self) -> (CloseCode, End) {
        match self {
            Self::NotAllowed | Self::TooMany => (CloseCode::Policy, End::Limit),
            Self::FeedDown => (CloseCode::TryAgainLater, End::BackendFailed),
        }
    }
}

/// Who may publish what.
pub(super) struct Outlet {
    /// Where messages go; `None`: they are refused.
    pub(super) channel: Option<Arc<Channel>>,
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
    pub(super) fn of(bridge: &Arc<Bridge>, channel: &Arc<Channel>, client: ClientAddr) -> Self {
        let publish = bridge.config().publish.as_ref();
        let pace = |rate| Pace {
            bridge: bridge.clone(),
            sender: Sender::of(channel, client),
            rate,
        };
        Self {
            channel: publish.is_some().then(|| channel.clone()),
            max_size: publish.map_or(UNWANTED, |publish| publish.max_size),
            pace: publish.and_then(|publish| publish.rate).map(pace),
        }
    }
}

/// One client's side of the conversation.
pub(super) struct Dialogue {
    inbound: Inbound,
    form: Form,
    channel: Option<Arc<Channel>>,
    pace: Option<Pace>,
    sending: Option<Sending>,
    waiting: Option<Outgoing>,
    /// Read and not looked at yet.
    unread: Bytes,
    /// The answer to the client's last ping: earlier ones need none (RFC 6455 §5.5.3).
    pong: Option<Vec<u8>>,
    answers: Vec<u8>,
    heard: Instant,
    asked: Option<Instant>,
    /// Whether nothing is read now, because of the feed or of what the client does not take.
    is_held_back: bool,
    /// What is to be said with our Close, once one is due.
    close: Option<(u16, &'static str)>,
    peer_has_closed: bool,
}

impl Dialogue {
    /// A conversation that begins now, with what the client has sent behind its handshake.
    pub(super) fn new(form: Form, extensions: Extensions, outlet: Outlet, early: Bytes) -> Self {
        Self {
            inbound: Inbound::new(extensions, outlet.max_size),
            form,
            channel: outlet.channel,
            pace: outlet.pace,
            sending: None,
            waiting: None,
            unread: early,
            pong: None,
            answers: Vec::new(),
            heard: Instant::now(),
            asked: None,
            is_held_back: false,
            close: None,
            peer_has_closed: false,
        }
    }

    /// Hears what the client says. Ready when it is the end of the conversation.
    pub(super) fn poll(
        &mut self,
        stream: &mut ClientStream,
        cx: &mut Context<'_>,
        mut received: impl FnMut(usize),
    ) -> Poll<End> {
        for _ in 0..TURNS {
            if let Poll::Ready(Err(end)) = self.poll_publish(cx) {
                return Poll::Ready(end);
            }
            if self.waiting.is_some() || self.answers.len() > ANSWERS {
                // It may have said much that we do not hear: that is no silence of its own.
                self.is_held_back = true;
                return Poll::Pending;
            }
            if std::mem::take(&mut self.is_held_back) {
                self.heard = Instant::now();
                self.asked = None;
            }
            if self.unread.is_empty() {
                match ready!(poll_read(stream, cx)) {
                    Ok(bytes) if !bytes.is_empty() => self.unread = bytes,
                    _ended_or_broken => return Poll::Ready(End::Client),
                }
                received(self.unread.len());
                self.heard = Instant::now();
                self.asked = None;
            }
            if let Err(end) = self.take_in() {
                return Poll::Ready(end);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Takes the next item out of what was read.
    fn take_in(&mut self) -> Result<(), End> {
        let mut rest = &self.unread[..];
        let item = self.inbound.next(&mut rest);
        let taken = self.unread.len() - rest.len();
        self.unread.advance(taken);
        let item = item.map_err(|fault| {
            let code = fault.code();
            self.close = Some((code.code(), code.reason()));
            match code {
                CloseCode::TooBig => End::Limit,
                _ => End::Protocol,
            }
        })?;
        match item {
            None | Some(Item::Pong) => {}
            Some(Item::Text(text)) => self.waiting = Some(Outgoing::Text(text)),
            Some(Item::Binary(bytes)) => self.waiting = Some(Outgoing::Binary(bytes.into())),
            Some(Item::Ping(payload)) => self.pong = Some(payload),
            Some(Item::Close(code)) => {
                self.peer_has_closed = true;
                // The same code goes back (RFC 6455 §5.5.1); for a Close without one, the usual.
                self.close = Some((code.unwrap_or(CloseCode::Normal.code()), ""));
                return Err(End::Client);
            }
        }
        Ok(())
    }

    /// Hands messages to the feed, one after the other.
    fn poll_publish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            if let Some(sending) = &mut self.sending {
                let sent = ready!(sending.as_mut().poll(cx));
                self.sending = None;
                if let Err(refusal) = sent {
                    self.refuse(refusal)?;
                }
            }
            let Some(message) = self.waiting.take() else {
                return Poll::Ready(Ok(()));
            };
            let Some(channel) = self.channel.clone() else {
                self.refuse(Refusal::NotAllowed)?;
                continue;
            };
            if self.pace.as_ref().is_some_and(|pace| !pace.allows_one()) {
                self.refuse(Refusal::TooMany)?;
                continue;
            }
            self.sending = Some(Box::pin(async move {
                let sent = timeout(HAND_OVER, channel.publish(vec![message])).await;
                match sent {
                    Ok(Ok(())) => Ok(()),
                    _ => Err(Refusal::FeedDown),
                }
            }));
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> Result<(), End> {
        if matches!(self.form, Form::WsJson | Form::WsJsonDeflated) {
            let status = refusal.status();
            let text = format!(r#"{{"event":"streamgate.error","status":{status}}}"#);
            self.answers
                .extend_from_slice(&form::frame(Opcode::Text, text.as_bytes()));
            return Ok(());
        }
        let (code, end) = refusal.close();
        self.close = Some((code.code(), code.reason()));
        Err(end)
    }

    /// Lays a ping ready.
    pub(super) fn ping(&mut self) {
        self.asked = Some(Instant::now());
        self.answers
            .extend_from_slice(&frame::ping(boundary::Sender::Server, b"liveness"));
    }

    /// Whether the client is to be pinged, or its pong is awaited; neither while it is not heard.
    pub(super) fn liveness(&self) -> Option<Ping> {
        if self.is_held_back {
            return None;
        }
        Some(match self.asked {
            Some(asked) => Ping::Awaited(asked + PONG),
            None => Ping::Due(self.heard + PING),
        })
    }

    /// Whether there is something to be written at the next border.
    pub(super) fn has_answers(&self) -> bool {
        self.pong.is_some() || !self.answers.is_empty()
    }

    /// What is to be written at the next border: whole frames.
    pub(super) fn take_answers(&mut self) -> Bytes {
        let mut answers = std::mem::take(&mut self.answers);
        if let Some(payload) = self.pong.take() {
            answers.extend_from_slice(&form::frame(Opcode::Pong, &payload));
        }
        answers.into()
    }

    /// The Close that is due for a subscription that ends so, and its code; `None`: the client hears nothing more. `going` is
    /// what a drain says.
    pub(super) fn close_frame(&self, end: End, going: CloseCode) -> Option<(u16, Bytes)> {
        let ours = match end {
            End::Slow | End::BackendFailed => Some(CloseCode::TryAgainLater),
            End::Age => Some(CloseCode::GoingAway),
            End::Drain => Some(going),
            End::Backend | End::TakenOver => Some(CloseCode::Normal),
            _ => None,
        };
        let ours = ours.map(|ours| (ours.code(), ours.reason()));
        let (code, reason) = self.close.or(ours)?;
        let frame = frame::close(boundary::Sender::Server, code, reason);
        Some((code, frame.into()))
    }

    /// Ready when the client's Close has come, or its end (RFC 6455 §7.1.1). What it says before is not heard any more.
    pub(super) fn poll_closed(
        &mut self,
        stream: &mut ClientStream,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        while !self.peer_has_closed {
            if self.unread.is_empty() {
                match ready!(poll_read(stream, cx)) {
                    Ok(bytes) if !bytes.is_empty() => self.unread = bytes,
                    _ended_or_broken => return Poll::Ready(()),
                }
            }
            let mut rest = &self.unread[..];
            let item = self.inbound.next(&mut rest);
            let taken = self.unread.len() - rest.len();
            self.unread.advance(taken);
            // After a fault a Close may still be found; where nobody knows where one would begin, the client's end is.
            self.peer_has_closed = matches!(item, Ok(Some(Item::Close(_))));
        }
        Poll::Ready(())
    }
}

/// What has come; nothing at the end.
fn poll_read(stream: &mut ClientStream, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
    let mut scratch = [MaybeUninit::uninit(); 4 * 1024];
    let mut read = ReadBuf::uninit(&mut scratch);
    ready!(Pin::new(stream).poll_read(cx, &mut read))?;
    Poll::Ready(Ok(Bytes::copy_from_slice(read.filled())))
}

//! What a WebSocket client says, and what it is answered: messages for the feed, pings, pongs, the Close.
//!
//! Owns no socket: the subscriber's task gives the stream to read from, and takes the frames that are to be written at the
//! next border between two. Invariants: one message of the client is under way to the feed and one more waits; while it
//! does, or while answers are not taken, nothing is read, so that a client's own TCP holds it back. A message that did not
//! reach the feed is never passed over in silence: it is refused by `streamgate.error`, or, where the subprotocol has no
//! words of ours, by a Close.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::StatusCode;
use serde::de::IgnoredAny;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::Instant;

use crate::bridge::channel::Outgoing;
use crate::bridge::log::Form;
use crate::bridge::log::form;
use crate::bridge::post::Unsent;
use crate::observe::access::End;
use crate::tls::ClientStream;
use crate::websocket::boundary::{self, Extensions, Opcode};
use crate::websocket::close::{BY_OPERATOR, CloseCode};
use crate::websocket::frame;
use crate::websocket::inbound::{Inbound, Item};

use super::clock::Ping;
use super::outlet::{Outlet, Refusal, Sending};

/// A client of which nothing is heard for so long is pinged.
const PING: Duration = Duration::from_secs(20);
/// And so long its pong may take.
const PONG: Duration = Duration::from_secs(10);
/// Answers of ours that may wait to be written.
const ANSWERS: usize = 4 * 1024;
/// Pieces that are read before other tasks of the worker have their turn.
const TURNS: usize = 32;

/// One client's side of the conversation.
pub(super) struct Dialogue {
    inbound: Inbound,
    form: Form,
    outlet: Outlet,
    /// Messages that it has said and that were not asked for yet.
    messages: u64,
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
            outlet,
            messages: 0,
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
            Some(Item::Text(text)) => self.say(self.outgoing(text)),
            Some(Item::Binary(bytes)) => self.say(Outgoing::Binary(bytes.into())),
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

    fn say(&mut self, message: Outgoing) {
        self.messages += 1;
        self.waiting = Some(message);
    }

    /// A client that has chosen JSON says by it that what looks like an object or a list is one.
    fn outgoing(&self, text: String) -> Outgoing {
        let is_json = self.outlet.address.is_some()
            && self.has_words()
            && text.trim_start().starts_with(['{', '['])
            && serde_json::from_str::<IgnoredAny>(&text).is_ok();
        match is_json {
            true => Outgoing::Json(text),
            false => Outgoing::Text(text),
        }
    }

    /// Whether its subprotocol has words of streamgate's own.
    fn has_words(&self) -> bool {
        matches!(self.form, Form::WsJson | Form::WsJsonDeflated)
    }

    /// How many messages it has said since this was asked last.
    pub(super) fn take_messages(&mut self) -> u64 {
        std::mem::take(&mut self.messages)
    }

    /// Hands messages to the feed, one after the other.
    fn poll_publish(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            if let Some(sending) = &mut self.sending {
                let sent = ready!(Pin::new(sending).poll(cx));
                self.sending = None;
                match sent.unwrap_or(Err(Unsent::Down)) {
                    Ok(_delivered) => self.outlet.count(StatusCode::NO_CONTENT),
                    Err(unsent) => self.refuse(&Refusal::Unsent(unsent))?,
                }
            }
            let Some(message) = self.waiting.take() else {
                return Poll::Ready(Ok(()));
            };
            match self.outlet.begin(message) {
                Ok(sending) => self.sending = Some(sending),
                Err(refusal) => self.refuse(&refusal)?,
            }
        }
    }

    fn refuse(&mut self, refusal: &Refusal) -> Result<(), End> {
        let status = refusal.status();
        self.outlet.count(status);
        if self.has_words() {
            let status = status.as_u16();
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
            End::Expired => Some(CloseCode::TokenExpired),
            End::Age | End::Removed => Some(CloseCode::GoingAway),
            End::Drain => Some(going),
            End::Backend | End::TakenOver => Some(CloseCode::Normal),
            _ => None,
        };
        let ours = match end {
            End::Operator => Some((CloseCode::GoingAway.code(), BY_OPERATOR)),
            _ => ours.map(|ours| (ours.code(), ours.reason())),
        };
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

//! One open connection to a WebSocket feed (RFC 6455), and how it is opened.
//!
//! The handshake is made by our own HTTP/1.1 client; from then on tungstenite speaks the protocol, behind a
//! [sieve](crate::websocket::sieve).
//!
//! Invariant: a link never stops reading while it writes. What it writes stays in tungstenite's buffer until the socket
//! takes it, one publish at a time, under a deadline.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, HeaderValue, header};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use crate::bridge::channel::{Outgoing, Publish};
use crate::bridge::map;
use crate::bridge::post::{Delivered, Unsent};
use crate::config::model::{Bridge, Expected, FeedIdle, Keepalive};
use crate::json::Json;
use crate::websocket::boundary::Extensions;
use crate::websocket::deflate;
use crate::websocket::handshake::{self, Key};
use crate::websocket::sieve::Sieve;

use super::fault::Fault;
use super::link::{Activity, BATCH, Incoming, Watch};
use super::sieved::Sieved;
use super::target::{Opening, Target};

/// How long the feed may leave what was written to it in our buffer.
const WRITE: Duration = Duration::from_secs(10);
/// How long a close may take; after it the connection is dropped.
const CLOSE: Duration = Duration::from_secs(1);
/// Messages that are held at most while an answer to a greeting is waited for.
const EARLY: usize = 1024;
/// Frames that are read in one go: pings are no messages, and may come without end.
const FRAMES: usize = 4 * BATCH;
/// Bytes of messages after which no more is read in one go: a few bytes on the wire may inflate to a whole message.
const BATCH_BYTES: u64 = 1 << 20;

/// An open connection to a feed.
pub(super) struct WebSocket {
    ws: WebSocketStream<Sieved>,
    idle: FeedIdle,
    ping_due: Instant,
    pong_due: Option<Instant>,
    /// Until when what was written must have been taken; `None`: nothing is unwritten.
    write_due: Option<Instant>,
    /// Who is to be told when it was.
    written: Option<oneshot::Sender<Result<Delivered, Unsent>>>,
    keepalive: Option<(Keepalive, Instant)>,
    watch: Watch,
    /// Whether the feed was told where to go on.
    resumed: bool,
    /// Came while an answer to a greeting was waited for.
    early: VecDeque<tungstenite::Message>,
    /// Found behind messages that had to be delivered first.
    lost: Option<Fault>,
}

impl WebSocket {
    /// Connects, shakes hands, sends the greetings, and then `resume`.
    ///
    /// # Cancel safety
    /// Dropping it gives the connection up.
    pub(super) async fn open(
        target: &Target,
        config: &Bridge,
        opening: &Opening,
        resume: Option<String>,
    ) -> Result<Self, Fault> {
        let now = Instant::now();
        let mut link = Self {
            ws: shake(target, config, opening).await?,
            idle: config.idle,
            ping_due: now + config.idle.ping,
            pong_due: None,
            write_due: None,
            written: None,
            keepalive: config
                .keepalive
                .clone()
                .map(|keepalive| (keepalive.clone(), now + keepalive.every)),
            watch: Watch::new(config.idle.silence),
            resumed: resume.is_some(),
            early: VecDeque::new(),
            lost: None,
        };
        for greeting in &opening.greetings {
            link.send(&greeting.text).await?;
            if let Some(expected) = &greeting.expect {
                let answered = link.answered(expected, config.max_message);
                let in_time = timeout(expected.timeout, answered).await;
                in_time.map_err(|_late| Fault::Unanswered(expected.timeout))??;
            }
        }
        if let Some(resume) = &resume {
            link.send(resume).await?;
        }
        Ok(link)
    }

    async fn send(&mut self, text: &str) -> Result<(), Fault> {
        let sent = self.ws.send(tungstenite::Message::text(text));
        let in_time = timeout(WRITE, sent).await;
        in_time.map_err(|_late| Fault::Stalled(WRITE))??;
        Ok(())
    }

    /// Waits for the answer to a greeting, and holds what else comes.
    async fn answered(&mut self, expected: &Expected, most: usize) -> Result<(), Fault> {
        let mut held = 0;
        loop {
            let next = self.ws.next().await;
            let message = next.unwrap_or(Err(tungstenite::Error::ConnectionClosed))?;
            match &message {
                tungstenite::Message::Text(text) if expected.is_met_by(text) => return Ok(()),
                tungstenite::Message::Close(frame) => return Err(closed(frame.as_ref())),
                tungstenite::Message::Text(_) | tungstenite::Message::Binary(_) => {}
                // A mark stands for a message too.
                tungstenite::Message::Pong(pong) if Sieve::mark(pong).is_some() => {}
                _ => continue,
            }
            held += message.len();
            if held > most.max(EARLY) || self.early.len() >= EARLY {
                return Err(Fault::TooEarly);
            }
            self.early.push_back(message);
        }
    }

    /// Whether it goes on where the connection before it ended.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Whether a publish can be taken: the one before it is written.
    pub(super) fn takes_publish(&self) -> bool {
        self.write_due.is_none()
    }

    /// Writes `publish`; its publisher is told when the socket has taken the last byte. Who does not wait any more was
    /// told that nothing was sent.
    pub(super) fn publish(&mut self, publish: Publish) -> Result<(), Fault> {
        if publish.written.is_closed() {
            return Ok(());
        }
        for message in publish.messages {
            self.write(match message {
                Outgoing::Text(text) | Outgoing::Json(text) => tungstenite::Message::text(text),
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
        let keepalive = self.keepalive.as_ref().map(|(_, due)| *due);
        let others = [self.pong_due, self.write_due, keepalive, self.watch.due()];
        let others = others.into_iter().flatten();
        others.fold(self.ping_due, Instant::min)
    }

    /// Sends a ping that is due, and sees a dead feed.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Fault> {
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        if is_due(self.write_due) {
            return Err(Fault::Stalled(WRITE));
        }
        if is_due(self.pong_due) {
            return Err(Fault::NoPong);
        }
        self.watch.check(now)?;
        if let Some((keepalive, due)) = self.keepalive.as_mut().filter(|(_, due)| *due <= now) {
            *due = now + keepalive.every;
            let text = tungstenite::Message::text(keepalive.text.as_str());
            self.write(text)?;
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
        deliver: &mut impl FnMut(Incoming<'_>),
    ) -> Poll<Activity> {
        if let Some(fault) = self.lost.take() {
            return Poll::Ready(Activity::Lost(fault));
        }
        let flushed = match self.poll_written(cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(fault)) => return Poll::Ready(Activity::Lost(fault)),
            Poll::Pending => false,
        };
        let (mut messages, mut frames, mut bytes) = (0, 0, 0);
        let is_full =
            |frames, messages, bytes| frames >= FRAMES || messages >= BATCH || bytes >= BATCH_BYTES;
        while !is_full(frames, messages, bytes) && self.lost.is_none() {
            let next = match self.early.pop_front() {
                Some(early) => Some(Ok(early)),
                None => match self.ws.poll_next_unpin(cx) {
                    Poll::Ready(next) => next,
                    Poll::Pending => break,
                },
            };
            frames += 1;
            match next {
                Some(Ok(message)) => {
                    bytes += weight(&message);
                    messages += self.hear(message, deliver);
                }
                Some(Err(error)) => self.lost = Some(error.into()),
                None => self.lost = Some(Fault::Closed(CloseCode::Abnormal.into())),
            }
        }
        if self.ws.get_mut().take_heard() {
            self.pong_due = None;
        }
        if frames == 0 && !flushed {
            return Poll::Pending;
        }
        if messages == 0
            && let Some(fault) = self.lost.take()
        {
            return Poll::Ready(Activity::Lost(fault));
        }
        Poll::Ready(Activity::Messages {
            count: messages,
            is_full: is_full(frames, messages, bytes),
        })
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
            let _ = written.send(Ok(Delivered::Taken));
        }
        Poll::Ready(Ok(()))
    }

    /// Counts one for what is delivered, none for a control frame.
    fn hear(
        &mut self,
        message: tungstenite::Message,
        deliver: &mut impl FnMut(Incoming<'_>),
    ) -> usize {
        match message {
            tungstenite::Message::Text(text) if self.is_keepalive(&text) => return 0,
            tungstenite::Message::Text(text) => {
                deliver(Incoming::Message(map::Message::Text(text.as_str())));
            }
            tungstenite::Message::Binary(bytes) => {
                deliver(Incoming::Message(map::Message::Binary(&bytes)));
            }
            tungstenite::Message::Pong(pong) => match Sieve::mark(&pong) {
                Some(bytes) => deliver(Incoming::Oversize(bytes)),
                None => return 0,
            },
            tungstenite::Message::Close(frame) => {
                self.lost = Some(closed(frame.as_ref()));
                return 0;
            }
            _ => return 0,
        }
        self.watch.heard();
        1
    }

    fn is_keepalive(&self, text: &str) -> bool {
        let answer = self
            .keepalive
            .as_ref()
            .map(|(keepalive, _)| &keepalive.drop);
        answer.is_some_and(|answer| answer.as_deref() == Some(text))
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

/// What a message costs to take in; of one in whose place a mark stands, what was inflated or dropped of it.
fn weight(message: &tungstenite::Message) -> u64 {
    let mark = match message {
        tungstenite::Message::Pong(pong) => Sieve::mark(pong),
        _ => None,
    };
    mark.unwrap_or(message.len() as u64)
}

fn closed(frame: Option<&CloseFrame>) -> Fault {
    let code = frame.map_or(CloseCode::Status, |frame| frame.code);
    Fault::Closed(code.into())
}

/// The handshake (RFC 6455 §4.1).
async fn shake(
    target: &Target,
    config: &Bridge,
    opening: &Opening,
) -> Result<WebSocketStream<Sieved>, Fault> {
    let key = Key::generate();
    let mut fields = HeaderMap::new();
    let protocols = config.connect.subprotocols.join(", ");
    let compression = match config.connect.compression {
        true => deflate::AGREEMENT.as_bytes(),
        false => b"",
    };
    let all = [
        (header::CONNECTION, &b"Upgrade"[..]),
        (header::UPGRADE, b"websocket"),
        (header::SEC_WEBSOCKET_VERSION, b"13"),
        (header::SEC_WEBSOCKET_KEY, key.as_bytes()),
        (header::SEC_WEBSOCKET_PROTOCOL, protocols.as_bytes()),
        (header::SEC_WEBSOCKET_EXTENSIONS, compression),
    ];
    for (name, value) in all.into_iter().filter(|(_, value)| !value.is_empty()) {
        let value = HeaderValue::from_bytes(value).map_err(|_invalid| Fault::Request)?;
        fields.insert(name, value);
    }
    let (head, reply) = target.ask(config, opening, &fields).await?;
    if head.status != http::StatusCode::SWITCHING_PROTOCOLS {
        return Err(Fault::Status(head.status));
    }
    handshake::check_response(head.status, &head.headers, &key)?;
    handshake::check_choice(&fields, &head.headers)?;
    let extensions = match deflate::agreed(&head.headers)? {
        true => Extensions::Negotiated,
        false => Extensions::None,
    };
    let sieve = Sieve::new(config.max_message, extensions);
    let sieved = Sieved::new(reply.into_socket(), sieve);
    // The defaults reserve 128 KiB for each connection, and accept messages of 64 MiB.
    let limits = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(0)
        .max_message_size(Some(config.max_message))
        .max_frame_size(Some(config.max_message));
    Ok(WebSocketStream::from_raw_socket(sieved, Role::Client, Some(limits)).await)
}

impl Expected {
    /// Whether a message is the answer that is waited for.
    fn is_met_by(&self, text: &str) -> bool {
        let part = Json::parse(text).and_then(|json| json.at(&self.pointer));
        part.is_some_and(|part| {
            let value = self.value.as_deref();
            value.is_none_or(|value| part.text() == value)
        })
    }
}

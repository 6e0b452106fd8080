//! A WebSocket, opened as a browser opens it, and measured.
//!
//! Owns what is seen of it, and no judgement but when enough was seen. It says nothing to the app: a ping at the
//! beginning, pongs, and the Close. Whoever listens to a silent one sends no ping either, for that would keep it alive.

use std::time::Duration;

use http::header;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout, timeout_at};

use crate::tls::client::Offer;
use crate::websocket::boundary::{Extensions, Opcode};
use crate::websocket::deflate;
use crate::websocket::handshake::{self, Key};

use super::ask::{AskError, Head, get};
use super::connect::Door;
use super::frames::{Frame, Frames, FramesError};
use super::probe::Clock;
use super::target::{Patience, Target};
use super::tick::{Tick, milliseconds};

/// What is below the frames.
type Io = TokioIo<Upgraded>;

/// How long the handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// How long a Close may be waited for.
const CLOSE: Duration = Duration::from_secs(3);

/// What the ping carries.
const PING: [u8; 8] = *b"sgdoctor";

/// Messages whose delay is kept.
const MOST_DELAYS: usize = 4096;

/// What is enough, where nobody asked for more.
const ENOUGH_FRAMES: u64 = 5;
const ENOUGH_TIME: Duration = Duration::from_secs(5);

/// Whether the doctor speaks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// It sends a ping at once.
    Pings,
    /// It says nothing.
    Listens,
}

/// A WebSocket as it was seen.
#[derive(Debug)]
pub(super) struct Seen {
    /// The answer's head; `None`: none came.
    pub(super) head: Option<Head>,
    /// What is wrong with a 101.
    pub(super) fault: Option<String>,
    /// What came behind it.
    pub(super) heard: Heard,
    /// How it ended.
    pub(super) end: End,
    /// How long it was open.
    pub(super) lasted: Duration,
}

/// What came.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Messages' frames.
    pub(super) messages: u64,
    /// Pings of the other side.
    pub(super) pings: u64,
    /// How long our ping took to come back.
    pub(super) pong: Option<Duration>,
    /// How long each of the served app's ticks was on the way.
    pub(super) delays: Vec<Duration>,
    /// The longest silence before a frame came.
    pub(super) longest_silence: Duration,
    /// When the last frame came.
    last: Duration,
}

/// How a WebSocket ended.
#[derive(Debug)]
pub(super) enum End {
    /// There was none.
    Refused,
    /// There was no answer.
    Unanswered(AskError),
    /// We closed it; the other side's code, and how long it took, if it answered.
    Ours(Option<(Option<u16>, Duration)>),
    /// The other side closed it: code and reason.
    Closed(Option<u16>, String),
    /// It ended without a Close: 1006 for a browser.
    Torn(String),
}

impl Seen {
    /// Whether there was a WebSocket.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.end, End::Refused | End::Unanswered(_))
    }

    /// Whether the other side ended it.
    pub(super) fn was_ended(&self) -> bool {
        matches!(self.end, End::Closed(..) | End::Torn(_))
    }

    /// How long nothing had come when it ended.
    pub(super) fn last_silence(&self) -> Duration {
        self.lasted.saturating_sub(self.heard.last)
    }

    fn none(head: Option<Head>, end: End) -> Self {
        Self {
            head,
            fault: None,
            heard: Heard::default(),
            end,
            lasted: Duration::ZERO,
        }
    }
}

impl Heard {
    fn take(&mut self, frame: &Frame, now: Duration, clock: Option<Clock>) {
        // A Close ends a silence and does not break it: it may be that of a limit.
        if frame.opcode == Opcode::Close {
            return;
        }
        self.longest_silence = now.saturating_sub(self.last).max(self.longest_silence);
        self.last = now;
        match frame.opcode {
            Opcode::Ping => self.pings += 1,
            Opcode::Pong if frame.control() == PING => self.pong = Some(now),
            Opcode::Text | Opcode::Binary | Opcode::Continuation => self.messages += 1,
            Opcode::Pong | Opcode::Close => {}
        }
        let tick = frame.text().and_then(|text| Tick::read(&text));
        if let (Some(tick), Some(clock)) = (tick, clock)
            && self.delays.len() < MOST_DELAYS
        {
            self.delays.push(clock.delay(tick.sent, milliseconds()));
        }
    }

    /// What was heard where the last frame came at a moment.
    #[cfg(test)]
    pub(super) fn until(last: Duration) -> Self {
        Self {
            last,
            ..Self::default()
        }
    }

    fn is_enough(&self, now: Duration) -> bool {
        let frames = self.messages + self.pings;
        frames >= ENOUGH_FRAMES && now >= ENOUGH_TIME && self.pong.is_some()
    }
}

/// Opens it and listens.
pub(super) async fn listen(
    door: &Door,
    target: &Target,
    manner: Manner,
    clock: Option<Clock>,
) -> Seen {
    let until = Instant::now() + target.patience.limit();
    let key = Key::generate();
    let key_text = std::str::from_utf8(key.as_bytes()).unwrap_or_default();
    let origin = target.origin();
    let fields = [
        (header::CONNECTION, "Upgrade"),
        (header::UPGRADE, "websocket"),
        (header::SEC_WEBSOCKET_VERSION, "13"),
        (header::SEC_WEBSOCKET_KEY, key_text),
        (header::SEC_WEBSOCKET_EXTENSIONS, deflate::AGREEMENT),
        (header::ORIGIN, origin.as_str()),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    let answer = match get(door, target, Offer::Http1, &fields, HANDSHAKE).await {
        Ok(answer) => answer,
        Err(error) => return Seen::none(None, End::Unanswered(error)),
    };
    let head = answer.head.clone();
    if let Err(fault) = handshake::check_response(head.status, &head.fields, &key) {
        let mut seen = Seen::none(Some(head), End::Refused);
        seen.fault = Some(fault.to_string());
        return seen;
    }
    let choice = handshake::check_choice(&answer.asked, &head.fields);
    // The connection's task has to live until hyper has let go of the socket.
    let upgraded = hyper::upgrade::on(answer.response).await;
    let upgraded = match upgraded {
        Ok(upgraded) => upgraded,
        Err(error) => return Seen::none(Some(head), End::Torn(error.to_string())),
    };
    let (extensions, fault) = match deflate::agreed(&head.fields) {
        Ok(true) => (Extensions::Negotiated, None),
        Ok(false) => (Extensions::None, None),
        Err(fault) => (Extensions::Negotiated, Some(fault.to_string())),
    };
    let fault = fault.or(choice.err().map(|fault| fault.to_string()));
    let mut socket = Frames::new(TokioIo::new(upgraded), extensions);
    let since = Instant::now();
    let mut heard = Heard::default();
    let end = converse(
        &mut socket,
        &mut heard,
        (since, until),
        manner,
        (target.patience, clock),
    );
    let end = end.await;
    let lasted = since.elapsed();
    let end = match end {
        Some(end) => end,
        None => End::Ours(close(&mut socket).await),
    };
    Seen {
        head: Some(head),
        fault,
        heard,
        end,
        lasted,
    }
}

/// Listens until the other side ends it; `None`: until enough was seen, or the time is over.
async fn converse(
    socket: &mut Frames<Io>,
    heard: &mut Heard,
    (since, until): (Instant, Instant),
    manner: Manner,
    (patience, clock): (Patience, Option<Clock>),
) -> Option<End> {
    if manner == Manner::Pings
        && let Err(error) = socket.ping(&PING).await
    {
        return Some(torn(&error));
    }
    loop {
        let frame = match timeout_at(until, socket.next()).await {
            Err(_time_is_over) => return None,
            Ok(Err(error)) => return Some(torn(&error)),
            Ok(Ok(frame)) => frame,
        };
        heard.take(&frame, since.elapsed(), clock);
        match frame.opcode {
            Opcode::Close => {
                let (code, reason) = frame.close();
                // The other side ends the connection; whether it hears us changes nothing.
                let _ = socket.close(code.unwrap_or(1000)).await;
                return Some(End::Closed(code, reason));
            }
            Opcode::Ping => {
                if let Err(error) = socket.pong(frame.control()).await {
                    return Some(torn(&error));
                }
            }
            _ => {}
        }
        let may_end = matches!(patience, Patience::AtMost(_));
        if may_end && heard.is_enough(since.elapsed()) {
            return None;
        }
    }
}

/// Closes with 1000 and waits for the answer: its code, and how long it took.
async fn close(socket: &mut Frames<Io>) -> Option<(Option<u16>, Duration)> {
    let asked = Instant::now();
    socket.close(1000).await.ok()?;
    let answer = async {
        loop {
            match socket.next().await {
                Ok(frame) if frame.opcode == Opcode::Close => return Some(frame.close().0),
                Ok(_) => {}
                Err(_ended) => return None,
            }
        }
    };
    let code = timeout(CLOSE, answer).await.ok()??;
    Some((code, asked.elapsed()))
}

fn torn(error: &FramesError) -> End {
    End::Torn(crate::respond::chain(error))
}

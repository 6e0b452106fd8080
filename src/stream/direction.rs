//! One direction of a tunnel: the bytes of a source to a sink, as they come; and, between two frames, what streamgate
//! has to say to the sink itself.
//!
//! Owns the order on the wire, not the reasons: when to ping and when to close is the tunnel's part. Invariants: what
//! came from the source reaches the sink once and in order, until a Close of our own has been said, or the direction
//! is silenced; a frame of our own never stands within another one.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::follow::{Follower, MAX_HELD};
use super::pump::Outflow;
use crate::lifecycle::scratch;
use crate::websocket::boundary::Sender;
use crate::websocket::close::CloseCode;
use crate::websocket::frame::{self, PingPayload};

/// What has happened in a direction. Each is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happened {
    /// The source has ended in order.
    SourceEnded,
    /// The source's connection broke.
    SourceBroke,
    /// The sink's connection broke. What still comes from the source is thrown away.
    SinkBroke,
    /// The source sent what is forbidden; it has not passed.
    Fault(CloseCode),
}

/// What has come since the last look.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    /// Anything at all.
    pub(super) anything: bool,
    /// More than pings, pongs and the answers to our own, and it passes.
    pub(super) activity: bool,
}

/// One direction.
pub(super) struct Direction {
    /// Who sends in it, and in whose name our own frames are sent.
    sender: Sender,
    outflow: Outflow,
    follower: Follower,
    /// Read from the source before the tunnel began.
    early: Bytes,
    held: Held,
    source: Source,
    sink: Sink,
    /// Whether what has passed ends with a frame.
    is_between: bool,
    close: Option<Box<[u8]>>,
    has_said_close: bool,
    ping: Option<Box<[u8]>>,
    heard: Heard,
    moved: u64,
}

/// A piece of a frame that is held back until more of it is there.
#[derive(Default)]
struct Held {
    bytes: [u8; MAX_HELD],
    length: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Open,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sink {
    /// It gets what comes.
    Open,
    /// It gets nothing more of the source; what is on its way is still written.
    Silenced,
    /// The same, and then it is told the end.
    Finishing,
    /// It has been told the end, or broke.
    Over,
}

impl Direction {
    /// A direction whose sink gets `greeting` first, which is no frame; `early` was read from its source already.
    pub(super) fn new(sender: Sender, follower: Follower, greeting: Bytes, early: Bytes) -> Self {
        Self {
            sender,
            outflow: Outflow::new(greeting),
            follower,
            early,
            held: Held::default(),
            source: Source::Open,
            sink: Sink::Open,
            is_between: true,
            close: None,
            has_said_close: false,
            ping: None,
            heard: Heard::default(),
            moved: 0,
        }
    }

    /// Bytes that came from the source.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// What its frames say.
    pub(super) fn follower(&self) -> &Follower {
        &self.follower
    }

    /// What has come since this was called last.
    pub(super) fn take_heard(&mut self) -> Heard {
        std::mem::take(&mut self.heard)
    }

    /// Whether the source has sent its Close, or we have said ours in its place.
    pub(super) fn has_closed(&self) -> bool {
        self.has_said_close || self.follower.close_code().is_some()
    }

    /// Whether nothing more will come of the source.
    pub(super) fn is_source_over(&self) -> bool {
        self.source == Source::Over
    }

    /// Whether the source has nothing more to say: it has sent its Close, or ended, or does not speak in frames.
    pub(super) fn has_said_all(&self) -> bool {
        self.is_source_over() || self.follower.close_code().is_some() || self.follower.is_lost()
    }

    /// Whether nothing of the source passes any more, and the sink has not been told the end.
    pub(super) fn is_silenced(&self) -> bool {
        self.sink == Sink::Silenced
    }

    /// Whether a Close is still to be said, or on its way.
    pub(super) fn is_speaking(&self) -> bool {
        self.close.is_some() || self.sink == Sink::Silenced && self.outflow.is_blocked()
    }

    /// Whether the sink has been told the end, or broke.
    pub(super) fn is_sink_over(&self) -> bool {
        self.sink == Sink::Over
    }

    /// Whether nothing is left to do.
    pub(super) fn is_over(&self) -> bool {
        self.is_source_over() && self.is_sink_over()
    }

    /// Whether the sink does not take what there is for it, so that the source is not read.
    pub(super) fn is_blocked(&self) -> bool {
        self.outflow.is_blocked()
    }

    /// Whether a frame of our own may still be said.
    pub(super) fn may_speak(&self) -> bool {
        self.sink == Sink::Open && !self.follower.is_lost() && !self.has_closed()
    }

    /// Whether a ping has not gone out yet.
    pub(super) fn has_unsent_ping(&self) -> bool {
        self.ping.is_some()
    }

    /// The payload of a ping to the source of this direction, whose pong will not pass.
    pub(super) fn await_pong(&mut self) -> PingPayload {
        self.follower.await_pong()
    }

    /// Whether the source itself has pinged the sink since the sink was heard last, and the ping is out.
    pub(super) fn has_passed_ping(&self) -> bool {
        self.follower.has_pinged() && !self.is_blocked()
    }

    /// The sink has been heard: it owes nobody an answer.
    pub(super) fn sink_was_heard(&mut self) {
        self.follower.forget_ping();
    }

    /// Pings the sink, between the next two frames.
    pub(super) fn ping(&mut self, payload: &PingPayload) {
        if self.may_speak() {
            self.ping = Some(frame::ping(self.sender, payload).into());
        }
    }

    /// Sends the sink a Close after the frame that is passing; from then on nothing passes. Where no Close can be sent,
    /// for one has passed or these are no frames, it only is silent from now on.
    pub(super) fn close(&mut self, code: u16, reason: &str) {
        if self.sink != Sink::Open || self.close.is_some() {
            return;
        }
        let is_lost = self.follower.is_lost() && !self.is_between;
        let is_stuck = self.is_source_over() && !self.is_between;
        if is_lost || is_stuck {
            return self.silence();
        }
        self.close = Some(if self.follower.passes_close() {
            // Nothing follows a Close but the end (RFC 6455 §5.5.1).
            Box::default()
        } else {
            frame::close(self.sender, code, reason).into()
        });
    }

    /// Lets nothing pass any more, wherever the last frame stands.
    pub(super) fn silence(&mut self) {
        if self.sink == Sink::Open {
            self.sink = Sink::Silenced;
        }
        (self.close, self.ping) = (None, None);
    }

    /// Tells the sink the end once all that is on its way is written.
    pub(super) fn finish(&mut self) {
        if self.sink != Sink::Over {
            self.silence();
            self.sink = Sink::Finishing;
        }
    }

    /// Goes on. Ready when something has happened; pending when either side has to do something first, or nothing is
    /// left to do.
    pub(super) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
    ) -> Poll<Happened>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            match self.poll_sink(cx, sink) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_broken)) => {
                    self.silence();
                    self.outflow = Outflow::default();
                    self.sink = Sink::Over;
                    return Poll::Ready(Happened::SinkBroke);
                }
                // While it is stuck nothing is read that would have to be kept. What is thrown away is read.
                Poll::Pending if self.sink == Sink::Open => return Poll::Pending,
                Poll::Pending => {}
            }
            if self.source == Source::Over {
                return Poll::Pending;
            }
            if let Some(happened) = ready!(self.poll_source(cx, source, sink)) {
                return Poll::Ready(happened);
            }
        }
    }

    fn poll_sink<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
    ) -> Poll<std::io::Result<()>> {
        if self.sink == Sink::Over {
            return Poll::Ready(Ok(()));
        }
        ready!(self.outflow.poll_clear(cx, sink))?;
        if self.is_between && (self.ping.is_some() || self.close.is_some()) {
            self.speak(cx, sink)?;
            ready!(self.outflow.poll_clear(cx, sink))?;
        }
        if self.sink == Sink::Finishing {
            ready!(Pin::new(sink).poll_shutdown(cx))?;
            self.sink = Sink::Over;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what we have to say ourselves; to be called between two frames.
    fn speak<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
    ) -> std::io::Result<()> {
        if self.sink != Sink::Open {
            return Ok(());
        }
        if let Some(close) = self.close.take() {
            self.ping = None;
            self.sink = Sink::Silenced;
            self.has_said_close = true;
            return self.outflow.write(cx, sink, &close);
        }
        match self.ping.take() {
            Some(ping) => self.outflow.write(cx, sink, &ping),
            None => Ok(()),
        }
    }

    fn poll_source<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
    ) -> Poll<Option<Happened>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        scratch::with(|buffer| {
            buffer.put_slice(self.held.bytes());
            let held = buffer.filled().len();
            if self.early.is_empty() {
                match ready!(Pin::new(source).poll_read(cx, buffer)) {
                    Ok(()) => {}
                    // A TLS peer that left without close_notify: an end all the same.
                    Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {}
                    Err(_broken) => return Poll::Ready(Some(self.ended(Happened::SourceBroke))),
                }
            } else {
                let early = self
                    .early
                    .split_to(self.early.len().min(buffer.remaining()));
                buffer.put_slice(&early);
            }
            let data = buffer.filled_mut();
            if data.len() == held {
                return Poll::Ready(Some(self.ended(Happened::SourceEnded)));
            }
            self.moved += (data.len() - held) as u64;
            Poll::Ready(self.pass(cx, sink, data))
        })
    }

    fn ended(&mut self, happened: Happened) -> Happened {
        self.source = Source::Over;
        // A part of a head tells nobody anything.
        self.held = Held::default();
        if self.close.is_some() && !self.is_between {
            // The frame that it was to come after will never be whole.
            self.silence();
        }
        happened
    }

    /// Lets pass what may pass, and frames of our own where they fit in.
    fn pass<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
        data: &mut [u8],
    ) -> Option<Happened> {
        let followed = self.follower.follow(data);
        self.held.keep(&data[followed.hold.clone()]);
        self.heard.anything = true;
        if self.sink != Sink::Open {
            // What reaches nobody keeps nothing alive.
            return None;
        }
        self.heard.activity |= followed.active;
        let written = match followed.border {
            Some(border) if self.ping.is_some() || self.close.is_some() => {
                let (before, after) = data[..followed.pass].split_at(border);
                self.outflow
                    .write(cx, sink, before)
                    .and_then(|()| self.speak(cx, sink))
                    .and_then(|()| match self.sink {
                        Sink::Open => self.outflow.write(cx, sink, after),
                        _ => Ok(()),
                    })
            }
            _ => self.outflow.write(cx, sink, &data[..followed.pass]),
        };
        self.is_between = followed.fault.is_some() || self.follower.is_between_frames();
        if written.is_err() {
            self.silence();
            self.outflow = Outflow::default();
            self.sink = Sink::Over;
            return Some(Happened::SinkBroke);
        }
        followed.fault.map(Happened::Fault)
    }
}

impl Held {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.bytes[..bytes.len()].copy_from_slice(bytes);
        self.length = bytes.len() as u8;
    }
}

//! A WebSocket passed through: its two directions, its clocks, and how it ends.
//!
//! Each direction ends by itself (half-close, in either order), as long as its peer has said its Close, or does not
//! speak in frames at all. Everything else ends with a Close of ours to whoever is still there, between two frames, and
//! not with a torn connection: see `stream/ending`. Invariant: a tunnel that is ending is done within
//! seconds, whatever its peers do.

mod start;
#[cfg(test)]
mod tests;

pub use start::{Opening, run};

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::observe::access::{End, StreamRecord};
use crate::stream::direction::{Direction, Happened};
use crate::stream::ending::{Ending, Left, Settled, Words};
use crate::stream::heartbeat::{Beat, Heartbeat, Reach};
use crate::stream::lifetime::{Alarm, Expired, Lifetime};
use crate::stream::meter::Meter;
use crate::tls::{ClientStream, ServerStream};
use crate::websocket::close::{self, CloseCode};

/// One of the two peers, and the direction that it is the source of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    Client,
    Backend,
}

struct Tunnel<C, B> {
    client: C,
    backend: B,
    up: Direction,
    down: Direction,
    life: Lifetime,
    alarm: Alarm,
    /// The client's and the backend's.
    heart: Option<Box<[Heartbeat; 2]>>,
    meter: Meter,
    /// Who ended its direction first.
    first: Option<End>,
    /// The code of a Close of our own.
    said: Option<u16>,
    ending: Option<Ending>,
}

/// A peer that owes the answer to a Close, and says nothing at all for so long, gives none.
const UNANSWERED: Duration = Duration::from_secs(60);

fn end_by(peer: Peer) -> End {
    match peer {
        Peer::Client => End::Client,
        Peer::Backend => End::Backend,
    }
}

impl Tunnel<ClientStream, ServerStream> {
    /// As [`Tunnel::poll_telling`], and ready too when the operator wants its end: `Ok`, like all that comes from outside.
    fn poll_heeding(
        &mut self,
        cx: &mut Context<'_>,
        record: &mut StreamRecord,
    ) -> Poll<Result<End, End>> {
        if let Poll::Ready(end) = record.poll_end(cx) {
            return Poll::Ready(Ok(end));
        }
        self.poll_telling(cx, record).map(Err)
    }

    /// Goes on, and tells `record` what has passed.
    fn poll_telling(&mut self, cx: &mut Context<'_>, record: &mut StreamRecord) -> Poll<End> {
        let begun = Instant::now();
        let end = self.poll_heeding_resets(cx);
        self.meter.tell(record, begun, &self.up, &self.down);
        end
    }

    /// A client that resets its stream within HTTP/2 is gone, also while nothing is read from it.
    fn poll_heeding_resets(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.ending.is_none() && self.client.poll_reset(cx).is_ready() {
            self.on(Peer::Client, Happened::SourceBroke, Instant::now());
        }
        self.poll(cx)
    }
}

impl<C, B> Tunnel<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    /// A tunnel that begins now between these two, with a direction up and one down.
    fn new(
        (client, backend): (C, B),
        (up, down): (Direction, Direction),
        life: Lifetime,
        heart: Option<Box<[Heartbeat; 2]>>,
    ) -> Self {
        Self {
            client,
            backend,
            up,
            down,
            life,
            alarm: Alarm::default(),
            heart,
            meter: Meter::default(),
            first: None,
            said: None,
            ending: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let up = self.up.poll(cx, &mut self.client, &mut self.backend);
            let down = self.down.poll(cx, &mut self.backend, &mut self.client);
            let now = Instant::now();
            self.listen(now);
            if let Poll::Ready(happened) = up {
                self.on(Peer::Client, happened, now);
            }
            if let Poll::Ready(happened) = down {
                self.on(Peer::Backend, happened, now);
            }
            if up.is_ready() || down.is_ready() {
                continue;
            }
            match self.settle(now) {
                Settled::Done(end) => return Poll::Ready(end),
                Settled::Changed => continue,
                Settled::Waiting => {}
            }
            std::task::ready!(self.alarm.poll(cx, self.due()));
            self.tick(Instant::now());
        }
    }

    /// Ends it from outside, with a Close to both sides. `going` is what a drain says.
    fn cut(&mut self, end: End, going: CloseCode, finish_by: Instant) {
        let words = match end {
            End::BackendUnhealthy => Words {
                client: CloseCode::TryAgainLater,
                backend: CloseCode::GoingAway,
                because: None,
            },
            End::Operator => Words::of_operator(),
            End::Drain => Words::same(going),
            End::Expired => Words::same(CloseCode::TokenExpired),
            _ => Words::same(CloseCode::GoingAway),
        };
        self.close_both(end, words, finish_by);
    }

    fn close_both(&mut self, end: End, words: Words, finish_by: Instant) {
        if self.ending.is_some() {
            return;
        }
        self.said = Some(words.client.code());
        let reason = |code: CloseCode| words.because.unwrap_or(code.reason());
        self.up.close(words.backend.code(), reason(words.backend));
        self.down.close(words.client.code(), reason(words.client));
        self.ending = Some(Ending::begin(end, Left::Both, finish_by));
    }

    /// Takes note of what has come.
    fn listen(&mut self, now: Instant) {
        let heard = [self.up.take_heard(), self.down.take_heard()];
        for (heard, to) in heard.iter().zip([&mut self.down, &mut self.up]) {
            if heard.anything {
                to.sink_was_heard();
            }
        }
        if heard.iter().any(|heard| heard.activity) {
            self.life.touch();
            // The route's limit for a stream's life holds to the end.
            if let Some(ending) = &mut self.ending
                && self.life.expired(now).is_none()
            {
                ending.activity(now);
            }
        }
        for (peer, direction) in [(Peer::Client, &self.up), (Peer::Backend, &self.down)] {
            if self.first.is_none() && direction.has_closed() {
                self.first = Some(end_by(peer));
                self.life.limit_silence(UNANSWERED);
            }
        }
        let peers = self.heart.iter_mut().flat_map(|heart| heart.iter_mut());
        for (peer, heard) in peers.zip(heard) {
            if heard.anything {
                peer.hear(now);
            }
        }
    }

    /// The direction from `peer`, and the one to it.
    fn directions(&mut self, peer: Peer) -> (&mut Direction, &mut Direction) {
        match peer {
            Peer::Client => (&mut self.up, &mut self.down),
            Peer::Backend => (&mut self.down, &mut self.up),
        }
    }

    fn on(&mut self, source: Peer, happened: Happened, now: Instant) {
        let (from, to) = self.directions(source);
        match happened {
            Happened::Fault(code) => {
                let end = match code {
                    CloseCode::Protocol => End::Protocol,
                    _ => End::Limit,
                };
                self.close_both(end, Words::same(code), now + Ending::FINISH);
            }
            Happened::SourceEnded if from.has_closed() || from.follower().is_lost() => {
                from.finish();
                self.first = self.first.or(Some(end_by(source)));
            }
            // In frames, an end without a Close is none.
            Happened::SourceEnded => self.lost(source, now),
            Happened::SourceBroke => {
                // Nobody is there to hear the rest.
                to.silence();
                self.lost(source, now);
            }
            // It may have said something before it broke: its own direction goes on to its end.
            Happened::SinkBroke => {
                let sink = match source {
                    Peer::Client => Peer::Backend,
                    Peer::Backend => Peer::Client,
                };
                self.begin_end_of(sink, now);
            }
        }
    }

    /// `peer` went without a Close: the other side is told.
    fn lost(&mut self, peer: Peer, now: Instant) {
        let code = match peer {
            Peer::Client => CloseCode::GoingAway,
            Peer::Backend => CloseCode::TryAgainLater,
        };
        let (from, to) = self.directions(peer);
        match to.follower().close_code() {
            // The other side is waiting for an answer to its own Close.
            Some(theirs) if close::may_be_sent(theirs) => from.close(theirs, ""),
            _ => {
                from.close(code.code(), code.reason());
                self.said = self.said.or(Some(code.code()));
            }
        }
        self.begin_end_of(peer, now);
    }

    fn begin_end_of(&mut self, peer: Peer, now: Instant) {
        let end = match peer {
            Peer::Client => End::Client,
            Peer::Backend => End::BackendFailed,
        };
        let end = self.first.unwrap_or(end);
        self.ending
            .get_or_insert_with(|| Ending::begin(end, Left::One, now + Ending::FINISH));
    }

    /// Goes on with an end that has begun, and sees one that the peers have agreed on.
    fn settle(&mut self, now: Instant) -> Settled {
        if let Some(ending) = &mut self.ending {
            return ending.settle(&mut self.up, &mut self.down, now);
        }
        if self.up.is_over() && self.down.is_over() {
            return Settled::Done(self.first.unwrap_or(End::Backend));
        }
        if self.up.has_closed() && self.down.has_closed() {
            let end = self.first.unwrap_or(End::Backend);
            self.ending = Some(Ending::begin(end, Left::Both, now));
            return Settled::Changed;
        }
        Settled::Waiting
    }

    /// Something is due: silence, age, a ping, a pong that did not come.
    fn tick(&mut self, now: Instant) {
        if self.ending.is_some() {
            // What is due then is settled at the next look.
            return;
        }
        if let Some(expired) = self.life.expired(now) {
            let end = match expired {
                Expired::Idle => self.first.unwrap_or(End::Idle),
                Expired::Age => End::Age,
            };
            let words = Words::same(CloseCode::GoingAway);
            return self.close_both(end, words, now + Ending::FINISH);
        }
        for peer in [Peer::Client, Peer::Backend] {
            self.beat(peer, now);
        }
    }

    fn beat(&mut self, peer: Peer, now: Instant) {
        let (from, to) = match peer {
            Peer::Client => (&mut self.up, &mut self.down),
            Peer::Backend => (&mut self.down, &mut self.up),
        };
        let Some(hearts) = &mut self.heart else {
            return;
        };
        // Bytes that are no frames have no pongs, and who has said its Close owes none.
        let may_answer = !from.has_said_all() && to.may_speak();
        let reach = Reach {
            is_heard: may_answer && !from.is_blocked() && !to.has_unsent_ping(),
            sent: to.moved(),
        };
        match hearts[peer as usize].beat(now, reach) {
            Beat::Wait => {}
            // Who gets two pings may answer the last one alone (RFC 6455 §5.5.3), and ours would take the other one's answer
            // away from whoever asked. The answer to theirs tells us as much.
            Beat::Ping if to.has_passed_ping() => {}
            Beat::Ping => {
                to.ping(&from.await_pong());
                self.meter.pinged();
            }
            Beat::Dead => {
                to.silence();
                let (end, code) = match peer {
                    Peer::Client => (End::ClientDead, CloseCode::GoingAway),
                    Peer::Backend => (End::BackendDead, CloseCode::TryAgainLater),
                };
                from.close(code.code(), code.reason());
                self.said = Some(code.code());
                // What it has half sent will never be whole.
                self.ending = Some(Ending::begin(end, Left::Both, now));
            }
        }
    }

    /// The code with which it ended: of whoever was the first to say one.
    fn close_code(&self) -> Option<u16> {
        let (up, down) = (self.up.follower(), self.down.follower());
        self.said.or(match self.first {
            Some(End::Client) => up.close_code(),
            _ => down.close_code().or(up.close_code()),
        })
    }

    fn due(&self) -> Option<Instant> {
        if let Some(ending) = &self.ending {
            return Some(ending.due());
        }
        let hearts = self.heart.iter().flat_map(|heart| heart.iter());
        hearts.map(Heartbeat::due).chain(self.life.due()).min()
    }
}

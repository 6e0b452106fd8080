//! A stream from its server to its client, wherever the client is: what is next for it, and when.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use super::beat::Heartbeat;
use super::passage::Passage;
use super::resume::{Outcome, Resumption};
use super::source::{Read, Source};
use super::{Content, Opening, Over, Step};
use crate::lifecycle::drain::{self, Living};
use crate::limits::StreamPermit;
use crate::observe::access::{End, StreamRecord};
use crate::observe::metrics::Resumption as Resumed;
use crate::sse::encode;
use crate::sse::position::Position;
use crate::stream::lifetime::{Alarm, Expired, Lifetime};
use crate::stream::{Losses, cut_short, ending};
use crate::upstream::Lease;
use crate::upstream::http1::ReplyError;

/// A stream that is to end at the next border.
#[derive(Debug, Clone, Copy)]
struct Finishing {
    end: End,
    /// Without a border until then it breaks off.
    by: Instant,
    has_said_retry: bool,
}

/// How long an event that is half sent may take to its end, in an end of ours that is no drain.
const FINISH: Duration = Duration::from_secs(5);
/// What a client is told to wait at least before it returns from an end of ours, and how much more at most: all of them
/// return to whoever comes after us.
const RETURN: std::ops::Range<u64> = 250..3_250;

/// A stream.
pub(super) struct Flow {
    /// `None`: it is being asked for again, or over.
    source: Option<Source>,
    passage: Passage,
    resumption: Option<Box<Resumption>>,
    heartbeat: Option<Heartbeat>,
    life: Lifetime,
    alarm: Alarm,
    /// What ends it before its time.
    cut: Pin<Box<dyn Future<Output = End>>>,
    finishing: Option<Finishing>,
    over: Option<Over>,
    /// How its server broke it off, once it is over for that.
    fault: Option<Box<ReplyError>>,
    /// What stands behind all data, until the client has got that.
    trailers: Option<Box<HeaderMap>>,
    /// When the server's bytes came that the client may not have yet.
    came: Option<Instant>,
    /// `None`: it is written.
    record: Option<StreamRecord>,
    lease: Option<Lease>,
    losses: Arc<Losses>,
    guard: drain::Guard,
    permit: Option<StreamPermit>,
}

impl Flow {
    pub(super) fn new(opening: Opening) -> Self {
        let Opening { content, life, .. } = opening;
        let (resumption, passage) = match opening.resume {
            Some((resumption, last_id)) if content == Content::Events => (
                Some(Box::new(resumption)),
                Passage::resumable(last_id.as_deref()),
            ),
            _ => (None, Passage::new(content)),
        };
        let heartbeat = opening
            .heartbeat
            .filter(|_every| content == Content::Events);
        let mut flow = Self {
            source: Some(opening.source),
            passage,
            resumption,
            heartbeat: heartbeat.map(Heartbeat::new),
            life,
            alarm: Alarm::default(),
            cut: Box::pin(std::future::pending()),
            finishing: None,
            over: None,
            fault: None,
            trailers: None,
            came: None,
            record: Some(opening.record),
            lease: Some(opening.lease),
            losses: opening.losses,
            guard: opening.guard,
            permit: Some(opening.permit),
        };
        flow.watch();
        flow
    }

    /// What is next for the client, which has taken all that came before. What is [`Step::Written`] is in `out`.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Step> {
        self.measure();
        let empty = out.len();
        loop {
            self.poll_cut(cx);
            let now = Instant::now();
            // A server that always has something leaves no other moment to look at it.
            if self.life.expired(now) == Some(Expired::Age) {
                self.expire(now);
            }
            self.own_word(now, out);
            if out.len() > empty {
                return Poll::Ready(self.passed(out.len() - empty, Step::Written));
            }
            if let Some(over) = self.over {
                let trailers = self.trailers.take();
                return Poll::Ready(trailers.map_or(Step::Over(over), Step::Trailers));
            }
            if let Poll::Ready(given) = self.poll_server(cx, out) {
                let (bytes, step) = match given {
                    Some(data) => (data.len(), Step::Bytes(data)),
                    None => (out.len() - empty, Step::Written),
                };
                if bytes == 0 {
                    continue;
                }
                self.came = Some(Instant::now());
                self.resumption.iter_mut().for_each(|it| it.is_well());
                return Poll::Ready(self.passed(bytes, step));
            }
            ready!(self.alarm.poll(cx, self.due()));
            self.expire(Instant::now());
        }
    }

    /// Ready when the stream is over for a client that does not take what it was given.
    pub(super) fn poll_blocked(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.poll_cut(cx);
            let by = self.finishing.map(|finishing| finishing.by);
            if let Some(finishing) = self.finishing
                && Instant::now() >= finishing.by
            {
                self.end_by(finishing.end, Over::Broken);
                return Poll::Ready(());
            }
            ready!(self.alarm.poll(cx, by.or_else(|| self.life.due())));
            self.expire(Instant::now());
        }
    }

    /// How the server broke the stream off, if it did. What HTTP/2 said of it can be said to the client.
    pub(super) fn take_fault(&mut self) -> Option<Box<ReplyError>> {
        self.fault.take()
    }

    /// Looks for more from the server: what there is may be in `out` too, and may be nothing.
    fn poll_server(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Option<Bytes>> {
        let Some(source) = &mut self.source else {
            return self.poll_resumed(cx).map(|()| None);
        };
        let passage = &mut self.passage;
        let read = ready!(source.poll(cx, |data| passage.pass(data, out)));
        match read {
            Read::Lent => self.life.touch(),
            Read::Given(data) if data.is_empty() => {}
            Read::Given(data) => {
                self.life.touch();
                if self.passage.is_clear() {
                    self.passage.note(&data);
                    return Poll::Ready(Some(data));
                }
                self.passage.pass(&data, out);
            }
            Read::Closed | Read::Broken(_) if self.break_off() => {}
            Read::Ended | Read::Closed => self.complete(None, out),
            Read::Trailers(fields) => self.complete(Some(fields), out),
            Read::Broken(fault) => {
                self.fault = Some(Box::new(fault));
                self.end_by(End::BackendFailed, Over::Broken);
            }
            Read::RequestBroken => self.end_by(End::Client, Over::Broken),
        }
        Poll::Ready(None)
    }

    /// The server has ended the stream in order. What it left unfinished goes before its trailers.
    fn complete(&mut self, trailers: Option<HeaderMap>, out: &mut Vec<u8>) {
        let before = out.len();
        self.passage.finish(out);
        // The record closes before the client has this.
        let rest = out.len() - before;
        self.record.iter_mut().for_each(|record| record.sent(rest));
        self.trailers = trailers.map(Box::new);
        self.end_by(End::Backend, Over::Whole);
    }

    /// Looks whether a stream that broke goes on.
    fn poll_resumed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let position = self.passage.position();
        let last_id = position.and_then(Position::last_id);
        let retry = position.and_then(Position::retry);
        let Some(resumption) = &mut self.resumption else {
            self.end_by(End::BackendFailed, Over::Broken);
            return Poll::Ready(());
        };
        match ready!(resumption.poll(cx, last_id, retry)) {
            Outcome::Taken { source, lease } => {
                let down = resumption.down();
                if let Some(record) = &mut self.record {
                    record.taken_up(lease.addr(), down);
                }
                self.source = Some(source);
                self.lease = Some(lease);
                self.watch();
            }
            // The client asks for itself when this one ends, and hears the same.
            Outcome::Refused(_status) => {
                self.resumed(Resumed::Refused);
                self.end_by(End::Backend, Over::Whole);
            }
            Outcome::GivenUp => {
                self.resumed(Resumed::GaveUp);
                self.end_by(End::BackendFailed, Over::Broken);
            }
        }
        Poll::Ready(())
    }

    fn resumed(&mut self, outcome: Resumed) {
        self.record
            .iter_mut()
            .for_each(|record| record.resumed(outcome));
    }

    /// Lets the server go, to ask for the stream again. False: it cannot be taken up where it is.
    fn break_off(&mut self) -> bool {
        let (Some(resumption), Some(position)) = (&mut self.resumption, self.passage.position())
        else {
            return false;
        };
        resumption.begin(position.retry());
        self.passage.broke();
        self.source = None;
        self.lease = None;
        self.watch();
        true
    }

    /// Watches for what ends the stream before its time.
    fn watch(&mut self) {
        let guard = self.guard.clone();
        let moment = self.passage.content().moment();
        self.cut = match self.losses.watch(self.lease.as_ref()) {
            Some(loss) => Box::pin(async move { cut_short(&guard, moment, loss).await }),
            None => Box::pin(async move {
                ending(&guard, moment).await;
                End::Drain
            }),
        };
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) {
        while self.finishing.is_none() && self.over.is_none() {
            if let Some(record) = &self.record
                && let Poll::Ready(end) = record.poll_end(cx)
            {
                return self.finish(end, Instant::now() + FINISH);
            }
            let Poll::Ready(end) = self.cut.as_mut().poll(cx) else {
                return;
            };
            // Another server may have the rest. What may still end the stream is watched anew, and at once.
            if end == End::BackendUnhealthy && self.break_off() {
                continue;
            }
            let now = Instant::now();
            let by = match self
                .guard
                .deadline_of(Living::EventStream)
                .filter(|_| end == End::Drain)
            {
                Some(deadline) => now + deadline.saturating_duration_since(now) * 3 / 4,
                None => now + FINISH,
            };
            self.finish(end, by);
        }
    }

    /// The stream is to end at the next border.
    fn finish(&mut self, end: End, by: Instant) {
        self.record.iter_mut().for_each(|record| record.ending(end));
        self.passage.stop_at_border();
        self.finishing = Some(Finishing {
            end,
            by: match self.passage.content() {
                Content::Events => by,
                Content::Opaque => Instant::now(),
            },
            has_said_retry: false,
        });
    }

    /// Its time may be over.
    fn expire(&mut self, now: Instant) {
        if self.finishing.is_some() {
            return;
        }
        match self.life.expired(now) {
            Some(Expired::Idle) => self.finish(End::Idle, now + FINISH),
            Some(Expired::Age) => self.finish(End::Age, now + FINISH),
            None => {}
        }
    }

    /// Says what is due, where there is room for it.
    fn own_word(&mut self, now: Instant, out: &mut Vec<u8>) {
        let may_speak = self.passage.may_speak();
        if self.over.is_some() {
            return;
        }
        if let Some(finishing) = &mut self.finishing {
            let end = finishing.end;
            if !may_speak {
                if now >= finishing.by {
                    self.end_by(end, Over::Broken);
                }
            } else if finishing.has_said_retry {
                self.end_by(end, Over::Whole);
            } else {
                finishing.has_said_retry = true;
                encode::retry(fastrand::u64(RETURN), out);
                encode::end(out);
            }
            return;
        }
        let Some(heartbeat) = &mut self.heartbeat else {
            return;
        };
        if may_speak && now >= heartbeat.due {
            encode::comment("", out);
            encode::end(out);
            self.passage.spoke();
            self.record.iter_mut().for_each(StreamRecord::heartbeat);
        }
    }

    /// So many bytes go to the client.
    fn passed(&mut self, bytes: usize, step: Step) -> Step {
        self.record.iter_mut().for_each(|record| record.sent(bytes));
        if let Some(heartbeat) = &mut self.heartbeat {
            heartbeat.due = Instant::now() + heartbeat.every;
        }
        step
    }

    /// The client has taken all that it was given.
    fn measure(&mut self) {
        if let (Some(came), Some(record)) = (self.came.take(), &mut self.record) {
            record.delayed(came.elapsed());
        }
    }

    /// When it is to be looked again at the latest.
    fn due(&self) -> Option<Instant> {
        let by = self.finishing.map(|finishing| finishing.by);
        let heartbeat = self.heartbeat.as_ref().map(|heartbeat| heartbeat.due);
        let heartbeat = heartbeat.filter(|_due| self.passage.may_speak());
        let life = self.life.due().filter(|_due| by.is_none());
        [by, heartbeat, life].into_iter().flatten().min()
    }

    /// It is dropped: by its client, or at a drain's deadline, when its record says by itself what ended it.
    pub(super) fn dropped(&mut self) {
        let deadline = self.guard.order().map(|order| order.deadline());
        if deadline.is_none_or(|deadline| Instant::now() < deadline) {
            self.end_by(End::Client, Over::Broken);
        }
    }

    /// It has ended, and why; only the first reason counts.
    pub(super) fn end_by(&mut self, end: End, over: Over) {
        self.source = None;
        self.resumption = None;
        // Whoever reads of the end may come for the place.
        drop((self.lease.take(), self.permit.take()));
        if let Some(record) = self.record.take() {
            record.close(end, self.life.silence());
        }
        self.over.get_or_insert(over);
    }
}

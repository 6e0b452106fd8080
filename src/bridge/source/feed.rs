//! The task of a feed: it connects, writes the channel's log, publishes, and comes back after a loss.
//!
//! It runs on the worker whose subscriber opened the channel, and ends when the channel has had no user for `linger`;
//! in a drain at once. It holds its worker's drain guard only for the feed's courtesy close: without users it never
//! keeps the worker from ending.

use std::future::poll_fn;
use std::ops::ControlFlow;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tungstenite::protocol::frame::coding::CloseCode;

use crate::bridge::channel::Publish;
use crate::bridge::cursor::Gap;
use crate::bridge::log::Writer;
use crate::bridge::map::{self, Upstream};
use crate::bridge::session::Ending;
use crate::bridge::state::Halt;
use crate::lifecycle::drain;
use crate::route::Captures;

use super::absence::{Absence, Linger, Note, note};
use super::event_source::Shared;
use super::fault::Fault;
use super::link::{Activity, Incoming, Link};
use super::place::Place;
use super::posts::{Permit, Posts};
use super::target::{Opening, Target};
use super::{Event, Life, STABLE, Seat, State, event_source, verdict};

/// A channel's feed.
pub(in crate::bridge) struct Feed {
    pub(super) seat: Seat,
    pub(super) targets: Vec<Target>,
    opening: Opening,
    /// Where an event source stands.
    pub(super) decoder: Shared,
    /// Where a WebSocket feed that can go on stands.
    pub(super) place: Option<Place>,
    /// The source that said so; `None`: none was open yet.
    pub(super) placed: Option<usize>,
    pub(super) life: Life,
    pub(super) writer: Writer,
    publishes: mpsc::Receiver<Publish>,
    posts: Posts,
    pub(super) linger: Linger,
    /// Since when it has been down, after it was up.
    pub(super) down: Option<Instant>,
    /// Its worker's drain, once it runs.
    pub(super) guard: Option<drain::Guard>,
}

/// What happened to an open feed.
enum Happened {
    Noted(Note),
    Link(Activity),
    Publish(Option<(Publish, Permit)>),
}

impl Feed {
    /// The feed of a new channel. `halt` is where the one stood that wrote the log before.
    pub(in crate::bridge) fn new(
        seat: Seat,
        captures: &Captures,
        (writer, halt): (Writer, Option<Halt>),
        publishes: mpsc::Receiver<Publish>,
    ) -> Self {
        let config = seat.bridge().config();
        let targets = Target::all(config, captures);
        let life = Life::new(targets.len(), config.reconnect);
        let opening = Opening::of(config, captures);
        let place = config.resume.as_ref();
        let place = place.map(|resume| Place::new(resume, captures));
        let decoder = event_source::shared(config.max_message);
        let feed = Self {
            posts: Posts::new(config.clone()),
            seat,
            targets,
            opening,
            decoder,
            place,
            placed: None,
            life,
            writer,
            publishes,
            linger: Linger::default(),
            down: None,
            guard: None,
        };
        match halt {
            Some(halt) => feed.going_on(halt),
            None => feed,
        }
    }

    /// The feed's whole life.
    pub(in crate::bridge) async fn run(mut self, guard: drain::Guard) {
        self.guard = Some(guard.clone());
        loop {
            while let ControlFlow::Continue(()) = self.turn(&guard).await {}
            if !self.linger.is_frozen || self.thawed(&guard).await.is_break() {
                break;
            }
        }
        tracing::info!(channel = %self.seat.channel().name(), "feed closed");
    }

    /// One attempt, the connection's life if it succeeds, and the wait after it.
    async fn turn(&mut self, guard: &drain::Guard) -> ControlFlow<()> {
        let opened = {
            let config = self.seat.bridge().config().clone();
            let target = &self.targets[self.life.source()];
            let goes_on = self.goes_on();
            let resume = self.place.as_ref().filter(|_| goes_on);
            let resume = resume.and_then(Place::text);
            let decoder = match goes_on {
                true => self.decoder.clone(),
                false => event_source::shared(config.max_message),
            };
            self.seat.channel().notes.asks(target.shown());
            let mut absence = Absence {
                seat: &self.seat,
                writer: &mut self.writer,
                publishes: &mut self.publishes,
                posts: &self.posts,
                kind: target.kind,
                linger: &mut self.linger,
            };
            let attempt = Link::open(target, &config, &self.opening, resume, &decoder);
            tokio::select! {
                // First: a feed that is to stop does not even begin to connect.
                biased;
                () = absence.attend(guard) => return ControlFlow::Break(()),
                opened = Box::pin(attempt) => opened,
            }
        };
        let fault = match opened {
            Ok(mut link) => match self.serve(&mut link, guard).await {
                Ok(()) => {
                    self.rest();
                    link.close(self.farewell()).await;
                    return ControlFlow::Break(());
                }
                Err(fault) => {
                    self.lose(link, &fault).await;
                    if let Some(session) = self.seat.channel().session() {
                        session.end(verdict::of_loss(&fault, self.seat.bridge().config()));
                        tracing::info!(channel = %self.seat.channel().name(), cause = %fault, "session ended");
                        return ControlFlow::Break(());
                    }
                    fault
                }
            },
            Err(fault) if self.seat.channel().session().is_some() => {
                return self.refused(&fault);
            }
            Err(Fault::Finished) => return self.ended(guard).await,
            Err(fault) => {
                let counts = self.seat.channel().counts();
                counts.feeds_refused.add(fault.word());
                fault
            }
        };
        self.wait(&fault, guard).await
    }

    /// A session's feed could not be opened. Each source is asked once, at once: a client waits.
    fn refused(&mut self, fault: &Fault) -> ControlFlow<()> {
        let source = &self.targets[self.life.source()].server;
        let channel = self.seat.channel();
        tracing::warn!(channel = %channel.name(), %source, error = %fault, "feed not open");
        channel.counts().feeds_refused.add(fault.word());
        self.life.on(Event::Lost);
        let ending = verdict::of_refusal(fault);
        if ending == Ending::Refused && (self.life.failures() as usize) < self.targets.len() {
            self.life.on(Event::Waited);
            return ControlFlow::Continue(());
        }
        if let Some(session) = channel.session() {
            session.end(ending);
        }
        ControlFlow::Break(())
    }

    /// Whether what was said of the feed's place means something to the source that is connected to next.
    fn goes_on(&self) -> bool {
        let next = &self.targets[self.life.source()];
        let is_known = |placed: usize| self.targets[placed].is_same(next);
        self.seat.bridge().config().across_sources || self.placed.is_none_or(is_known)
    }

    pub(super) fn absence(&mut self) -> Absence<'_> {
        Absence {
            seat: &self.seat,
            writer: &mut self.writer,
            publishes: &mut self.publishes,
            posts: &self.posts,
            kind: self.targets[self.life.source()].kind,
            linger: &mut self.linger,
        }
    }

    fn farewell(&self) -> CloseCode {
        if self.linger.is_draining || self.linger.is_frozen {
            return CloseCode::Away;
        }
        CloseCode::Normal
    }

    /// Waits before the next attempt. Breaks when the feed is no longer wanted.
    async fn wait(&mut self, fault: &Fault, guard: &drain::Guard) -> ControlFlow<()> {
        let source = &self.targets[self.life.source()].server;
        self.seat.channel().notes.failed(fault.to_string());
        let channel = self.seat.channel().name();
        self.life.on(Event::Lost);
        let asked = self.decoder.borrow().position().retry();
        let asked = asked.filter(|_| self.goes_on()).unwrap_or_default();
        let wait = self.life.wait(fastrand::f64()).max(asked);
        tracing::warn!(%channel, %source, error = %fault, retry_ms = wait.as_millis() as u64, "feed lost");
        let due = Instant::now() + wait;
        let mut absence = self.absence();
        tokio::select! {
            () = absence.attend(guard) => return ControlFlow::Break(()),
            () = sleep_until(due) => {}
        }
        self.life.on(Event::Waited);
        ControlFlow::Continue(())
    }

    /// The feed has said that it has ended: it is asked again only when somebody comes, and no sooner than after
    /// `reconnect.max`.
    async fn ended(&mut self, guard: &drain::Guard) -> ControlFlow<()> {
        let channel = self.seat.channel().clone();
        tracing::info!(channel = %channel.name(), "feed ended, as it says");
        channel.set_upstream(Upstream::Ended);
        // Clients that come one after another are not to be a storm of requests.
        let soonest = Instant::now() + self.seat.bridge().config().reconnect.max;
        let wanted = async {
            channel.entered().await;
            sleep_until(soonest).await;
        };
        let mut absence = self.absence();
        tokio::select! {
            () = absence.attend(guard) => ControlFlow::Break(()),
            () = wanted => ControlFlow::Continue(()),
        }
    }

    /// Serves an open feed until it is no longer wanted.
    ///
    /// # Errors
    /// The [`Fault`] that ended it.
    async fn serve(&mut self, link: &mut Link, guard: &drain::Guard) -> Result<(), Fault> {
        self.enter(link);
        let proven = Instant::now() + STABLE;
        let channel = self.seat.channel().clone();
        loop {
            let fresh = self.life.state() == State::Fresh;
            let due = [
                link.next_due(),
                fresh.then_some(proven),
                self.linger.next_due(&self.writer),
            ];
            let due = due.into_iter().flatten().min();
            let writer = &mut self.writer;
            let mut place = self.place.as_mut();
            let mut deliver = |incoming: Incoming<'_>| match incoming {
                Incoming::Oversize(bytes) => {
                    channel.counts().oversize.add();
                    map::append_gap(writer, &channel, Gap::Oversize { bytes });
                }
                Incoming::Message(message) => {
                    if let map::Message::Text(text) = message {
                        channel.replies.hear(text);
                        place.iter_mut().for_each(|place| place.follow(text));
                    }
                    // Only now: the wait for it may have been long, and its age counts from here.
                    map::append(writer, Instant::now(), &channel, message);
                }
            };
            let happened = tokio::select! {
                note = note(&channel, guard, self.linger.is_draining, due) => Happened::Noted(note),
                activity = poll_fn(|cx| link.poll(cx, &mut deliver)) => Happened::Link(activity),
                publish = self.posts.next(&mut self.publishes), if link.takes_publish() => Happened::Publish(publish),
            };
            match happened {
                Happened::Noted(note) => {
                    let now = Instant::now();
                    link.tick(now)?;
                    if proven <= now {
                        self.life.on(Event::Proved);
                    }
                    self.writer.evict(now);
                    if self.linger.heed(&note, &self.seat, now).is_break() {
                        return Ok(());
                    }
                }
                Happened::Link(Activity::Messages { count, is_full }) => {
                    if count > 0 {
                        self.life.on(Event::Proved);
                        channel.wake();
                    }
                    if is_full {
                        // A flood must not keep this worker's clients from what it brings them.
                        tokio::task::yield_now().await;
                    }
                }
                Happened::Link(Activity::Lost(fault)) => return Err(fault),
                Happened::Publish(Some(publish)) => link.publish(publish, &self.posts, guard)?,
                // The channel holds the sender and lives as long as this task.
                Happened::Publish(None) => return Ok(()),
            }
        }
    }

    /// The feed is open: what may have been missed is told before anything new.
    fn enter(&mut self, link: &Link) {
        if !self.goes_on() {
            self.place.iter_mut().for_each(Place::forget);
        }
        self.decoder = match link.decoder() {
            Some(decoder) => decoder.clone(),
            // What comes by a WebSocket moves no source of events on: asked behind its old id, it would say it again.
            None => event_source::shared(self.seat.bridge().config().max_message),
        };
        self.placed = Some(self.life.source());
        self.life.on(Event::Opened);
        let channel = self.seat.channel();
        let source = &self.targets[self.life.source()].server;
        tracing::info!(channel = %channel.name(), %source, "feed open");
        if let Some(down) = self.down.take().filter(|_| !link.is_resumed()) {
            let down_ms = down.elapsed().as_millis() as u64;
            map::append_gap(
                &mut self.writer,
                channel,
                Gap::UpstreamReconnect { down_ms },
            );
        }
        channel.set_upstream(Upstream::Up);
    }

    /// The feed is lost: subscribers are told, and the feed is, if it can still be.
    async fn lose(&mut self, link: Link, fault: &Fault) {
        let channel = self.seat.channel();
        channel.counts().feeds_lost.add(fault.word());
        if matches!(fault, Fault::InvalidUtf8) {
            channel.counts().invalid_utf8.add();
        }
        self.down = Some(Instant::now());
        if channel.session().is_none() {
            channel.set_upstream(Upstream::Reconnecting);
        }
        if let Some(code) = fault.close_code() {
            link.close(code).await;
        }
    }
}

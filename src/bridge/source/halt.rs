//! A feed that stops and may go on: in this process, when a restart has failed, or in the next one.
//!
//! Invariants: a feed that has said that it rests appends nothing until it says that it writes. A log whose feed ends in
//! a drain, in whatever way, is laid down in its bridge, with where the feed stood at that moment.

use std::ops::ControlFlow;

use tokio::time::Instant;

use crate::bridge::ice::Pen;
use crate::bridge::map::Upstream;
use crate::bridge::state::{Dormant, Halt};
use crate::lifecycle::drain;
use crate::sse::decode::Decoder;
use crate::sse::position::Position;

use super::feed::Feed;
use super::{Event, State};

impl Feed {
    /// The same feed, in the place of one that stood there.
    pub(super) fn going_on(mut self, halt: Halt) -> Self {
        self.down = Some(halt.down);
        // A state may name a source that there is not: what is said of its place means nothing then.
        if halt.source >= self.targets.len() {
            return self;
        }
        let position = Position::new(halt.last_id).with_retry(halt.retry);
        let limit = self.seat.bridge().config().max_message;
        self.decoder.replace(Decoder::going_on(limit, position));
        if let Some(place) = &mut self.place {
            place.go_on(halt.place);
        }
        self.life.begin_at(halt.source);
        self.placed = Some(halt.source);
        self
    }

    /// Where it stands; `None`: it was never open.
    fn halt(&self) -> Option<Halt> {
        let is_open = matches!(self.life.state(), State::Fresh | State::Stable);
        let down = if is_open {
            Some(Instant::now())
        } else {
            self.down
        };
        let decoder = self.decoder.borrow();
        let position = decoder.position();
        Some(Halt {
            down: down?,
            source: self.placed.unwrap_or_else(|| self.life.source()),
            last_id: position.last_id().map(<[u8]>::to_vec),
            retry: position.retry(),
            place: self
                .place
                .as_ref()
                .and_then(|place| place.last())
                .map(str::to_owned),
        })
    }

    /// If it is to stop: from here on it appends nothing.
    pub(super) fn rest(&mut self) {
        if !self.linger.is_frozen {
            return;
        }
        let halt = self.halt();
        self.down = halt.as_ref().map(|halt| halt.down);
        self.life.on(Event::Halted);
        let channel = self.seat.channel();
        if channel.upstream() == Upstream::Up {
            channel.set_upstream(Upstream::Reconnecting);
        }
        channel.ice.set_pen(Pen::Rests(halt));
    }

    /// Rests until it is to go on, or breaks when it is no longer wanted.
    pub(super) async fn thawed(&mut self, guard: &drain::Guard) -> ControlFlow<()> {
        self.rest();
        self.absence().attend(guard).await;
        if self.linger.is_frozen {
            return ControlFlow::Break(());
        }
        self.seat.channel().ice.set_pen(Pen::Writes);
        ControlFlow::Continue(())
    }

    /// Whether its log is to be kept for the next process.
    fn is_to_be_kept(&self) -> bool {
        let is_draining = self.guard.as_ref().is_some_and(drain::Guard::is_draining);
        let is_over = is_draining || self.linger.is_frozen;
        is_over && self.seat.channel().session().is_none() && !std::thread::panicking()
    }
}

impl Drop for Feed {
    /// Also where the worker cuts it off.
    fn drop(&mut self) {
        let halt = self.is_to_be_kept().then(|| self.halt()).flatten();
        if let Some(halt) = halt {
            let channel = self.seat.channel().clone();
            let dormant = Dormant {
                epoch: channel.epoch(),
                writer: self.writer.take(),
                halt,
            };
            self.seat.bridge().lay_down(&channel, dormant);
        }
    }
}

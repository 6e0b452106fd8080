//! Where a channel's events come from: the life of its feed, and the feeds themselves.
//!
//! [`Life`] decides without any I/O: which address is next, how long to wait, when a feed counts as stable.

mod absence;
mod event_source;
mod fault;
pub(super) mod feed;
mod halt;
mod link;
mod place;
mod sieved;
mod target;
mod verdict;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use crate::config::model::Backoff;

use super::Bridge;
use super::channel::Channel;
use super::map::Upstream;

/// The feed's place in its bridge: when the feed's task ends, whether in order or not, the channel is no longer found
/// and its subscribers are told that nothing will come.
#[derive(Debug)]
pub(super) struct Seat {
    bridge: Arc<Bridge>,
    channel: Arc<Channel>,
}

impl Seat {
    pub(super) fn new(bridge: Arc<Bridge>, channel: Arc<Channel>) -> Self {
        Self { bridge, channel }
    }

    pub(super) fn bridge(&self) -> &Bridge {
        &self.bridge
    }

    pub(super) fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// Gives the channel up if nobody uses it, and says whether that is so.
    pub(super) fn retire(&self) -> bool {
        self.bridge.retire(&self.channel)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.bridge.discard(&self.channel);
        self.channel.set_upstream(Upstream::Gone);
        self.channel.ice.leave();
    }
}

/// Where a feed stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// A connection is being opened.
    Connecting,
    /// Open, but neither a message nor time has shown that it will last.
    Fresh,
    /// Open, and it has lasted.
    Stable,
    /// Waiting before the next attempt.
    Waiting,
}

/// What happens to a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The handshake is done and the first messages are sent.
    Opened,
    /// It has proved itself: a message came, or it was open for [`STABLE`].
    Proved,
    /// The attempt failed, or the connection is gone, cleanly or not.
    Lost,
    /// The wait is over.
    Waited,
    /// It was stopped, whatever it was at, through no fault of the source.
    Halted,
}

/// A feed that is open for this long is stable also without a message.
pub(super) const STABLE: Duration = Duration::from_secs(10);

/// A feed's life, without its I/O.
#[derive(Debug)]
pub(super) struct Life {
    state: State,
    sources: usize,
    source: usize,
    failures: u32,
    backoff: Backoff,
}

impl Life {
    /// A feed that is about to connect to the first of `sources`.
    pub(super) fn new(sources: usize, backoff: Backoff) -> Self {
        Self {
            state: State::Connecting,
            sources,
            source: 0,
            failures: 0,
            backoff,
        }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// Attempts and connections that were lost since the last proof.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    /// Which of the sources is to be connected to.
    pub(super) fn source(&self) -> usize {
        self.source
    }

    /// What happened; an event that means nothing in this state changes nothing.
    pub(super) fn on(&mut self, event: Event) {
        self.state = match (self.state, event) {
            (State::Connecting, Event::Opened) => State::Fresh,
            (State::Fresh, Event::Proved) => {
                self.failures = 0;
                State::Stable
            }
            (State::Connecting | State::Fresh | State::Stable, Event::Lost) => {
                self.failures = self.failures.saturating_add(1);
                self.source = (self.source + 1) % self.sources.max(1);
                State::Waiting
            }
            (State::Waiting, Event::Waited) | (_, Event::Halted) => State::Connecting,
            (state, _) => state,
        };
    }

    /// Makes this source the next.
    pub(super) fn begin_at(&mut self, source: usize) {
        self.source = source % self.sources.max(1);
    }

    /// How long to wait: full jitter, so between nothing and a ceiling that doubles with each failure. `chance` is
    /// random, from 0 to 1.
    pub(super) fn wait(&self, chance: f64) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(20);
        let ceiling = self.backoff.initial.saturating_mul(1 << doublings);
        ceiling.min(self.backoff.max).mul_f64(chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        initial: Duration::from_millis(250),
        max: Duration::from_secs(30),
    };

    #[test]
    fn each_transition() {
        use Event::{Halted, Lost, Opened, Proved, Waited};
        use State::{Connecting, Fresh, Stable, Waiting};
        let table = [
            (vec![], Connecting),
            (vec![Opened], Fresh),
            (vec![Opened, Proved], Stable),
            (vec![Lost], Waiting),
            (vec![Opened, Lost], Waiting),
            (vec![Opened, Proved, Lost], Waiting),
            (vec![Lost, Waited], Connecting),
            (vec![Lost, Opened, Proved, Lost], Waiting),
            (vec![Waited, Proved], Connecting),
            (vec![Opened, Opened, Waited], Fresh),
            (vec![Opened, Halted], Connecting),
            (vec![Lost, Halted], Connecting),
        ];
        for (events, expected) in table {
            let mut life = Life::new(1, BACKOFF);
            events.iter().for_each(|event| life.on(*event));
            assert_eq!(life.state(), expected, "{events:?}");
        }
    }

    #[test]
    fn waits_double_up_to_the_limit_and_only_a_proof_resets_them() {
        let mut life = Life::new(1, BACKOFF);
        let mut ceilings = Vec::new();
        for _ in 0..9 {
            life.on(Event::Lost);
            ceilings.push(life.wait(1.0).as_millis());
            life.on(Event::Waited);
        }
        let expected = [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000];
        assert_eq!(ceilings, expected);
        life.on(Event::Opened);
        life.on(Event::Lost);
        assert_eq!(life.wait(1.0), BACKOFF.max);
        assert_eq!(life.wait(0.0), Duration::ZERO);
        life.on(Event::Waited);
        life.on(Event::Opened);
        life.on(Event::Proved);
        life.on(Event::Lost);
        assert_eq!(life.wait(1.0), BACKOFF.initial);
    }

    #[test]
    fn a_loss_goes_on_to_the_next_source() {
        let mut life = Life::new(3, BACKOFF);
        let mut sources = Vec::new();
        for _ in 0..4 {
            sources.push(life.source());
            life.on(Event::Lost);
            life.on(Event::Waited);
        }
        assert_eq!(sources, [0, 1, 2, 0]);
    }
}

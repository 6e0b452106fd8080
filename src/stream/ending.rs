//! The end of a tunnel, in order (RFC 6455 §7.1): what is half sent is finished, each side gets a Close and has time
//! to answer it, then the connections are shut down, the client's by us first, and what still comes is read and dropped
//! so that no reset takes the Close away from whoever has not read it yet.
//!
//! No I/O: the directions do what they are told here. Each stage has its limit in time, so the end comes whatever the
//! peers do.

use std::time::Duration;

use tokio::time::Instant;

use super::direction::Direction;
use crate::observe::access::End;
use crate::websocket::close::{self, CloseCode};

/// What both sides are told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words {
    pub(super) client: CloseCode,
    pub(super) backend: CloseCode,
    /// In the place of the codes' own reasons.
    pub(super) because: Option<&'static str>,
}

impl Words {
    /// The same to both.
    pub(super) fn same(code: CloseCode) -> Self {
        Self {
            client: code,
            backend: code,
            because: None,
        }
    }

    /// What the operator says who ends a stream.
    pub(super) fn of_operator() -> Self {
        Self {
            because: Some(close::BY_OPERATOR),
            ..Self::same(CloseCode::GoingAway)
        }
    }
}

/// Who is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Left {
    /// Both: it is streamgate that ends the tunnel, or they have agreed on it.
    Both,
    /// One of them. As long as something comes of what the other one sent before, it has time.
    One,
}

/// A tunnel that is ending.
#[derive(Debug)]
pub(super) struct Ending {
    end: End,
    left: Left,
    stage: Stage,
    due: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Frames that are half sent are finished, and Closes said.
    Saying,
    /// The peers answer them.
    Waiting,
    /// The connections are shut down.
    Leaving,
}

/// What has come of a look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// It goes on as it is.
    Waiting,
    /// A direction has something to do.
    Changed,
    /// It is over.
    Done(End),
}

impl Ending {
    /// How long a frame that is half sent may take to its end.
    pub(super) const FINISH: Duration = Duration::from_secs(5);
    /// How long a peer may take to answer a Close.
    const ANSWER: Duration = Duration::from_secs(2);
    /// How long a peer may take to hear the end of its connection.
    const LEAVE: Duration = Duration::from_secs(1);

    /// Closes are to be said, at the latest at `finish_by`.
    pub(super) fn begin(end: End, left: Left, finish_by: Instant) -> Self {
        Self {
            end,
            left,
            stage: Stage::Saying,
            due: finish_by,
        }
    }

    /// When [`Ending::settle`] is to be asked at the latest.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Something that passes has come.
    pub(super) fn activity(&mut self, now: Instant) {
        if self.left == Left::One && self.stage == Stage::Waiting {
            self.due = now + Self::ANSWER;
        }
    }

    /// Goes on as far as it can.
    pub(super) fn settle(
        &mut self,
        up: &mut Direction,
        down: &mut Direction,
        now: Instant,
    ) -> Settled {
        let is_due = now >= self.due;
        match self.stage {
            Stage::Saying => {
                if !is_due && (up.is_speaking() || down.is_speaking()) {
                    return Settled::Waiting;
                }
                for direction in [up, down] {
                    if direction.is_speaking() {
                        direction.silence();
                    }
                }
                self.enter(Stage::Waiting, now + Self::ANSWER)
            }
            Stage::Waiting => {
                // A server closes the TCP connection first (RFC 6455 §7.1.1): we do so to the client, who has nothing more
                // to say; the backend does so to us. Who could not be told by a Close is told by the end.
                let client = down.is_silenced() && (!down.has_closed() || up.has_said_all());
                let backend = up.is_silenced() && (!up.has_closed() || down.is_source_over());
                if client {
                    down.finish();
                }
                if backend {
                    up.finish();
                }
                if client || backend {
                    return Settled::Changed;
                }
                if is_due || up.is_sink_over() && down.is_sink_over() {
                    up.finish();
                    down.finish();
                    return self.enter(Stage::Leaving, now + Self::LEAVE);
                }
                Settled::Waiting
            }
            Stage::Leaving => {
                if is_due || up.is_over() && down.is_over() {
                    return Settled::Done(self.end);
                }
                Settled::Waiting
            }
        }
    }

    fn enter(&mut self, stage: Stage, due: Instant) -> Settled {
        (self.stage, self.due) = (stage, due);
        Settled::Changed
    }
}

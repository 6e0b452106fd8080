//! The requests of an HTTP/1.1 connection, judged before the server that parses them sees them.
//!
//! Owns where each request begins and ends, and whether it may be passed on (RFC 9112 §2.2, 3, 5, 6; RFC 9110 §5.5): a
//! server's parser is made to be lenient, and what it forgives two parsers may read in two ways. No I/O, and no copy of
//! any byte: who reads the connection keeps what is not passed. Invariants: a head is passed whole, or not at all; any split
//! of the bytes gives the same verdicts; nothing is passed behind a refused head, and nothing behind a request that is not
//! answered yet: it may have asked for another protocol, and a server that lies over bytes it cannot use yet does not
//! see its client leave.

mod fault;
mod head;

pub use fault::Fault;
pub use head::{Bounds, Outline};

use head::{BodyLength, Head};

use crate::http::chunked::{ChunkError, Decoder, Piece};

/// Why no more is passed on for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// A head is not whole yet.
    Partial,
    /// The last request is to be answered first: then [`Inbound::resume`].
    Unanswered,
    /// The same for one that asks for another protocol: what follows may not be HTTP.
    Undecided,
    /// A head is refused. For good.
    Refused(Fault),
    /// The body under way is broken. For good.
    Broken(ChunkError),
}

/// Where a connection has been read up to.
#[derive(Debug)]
pub struct Inbound {
    bounds: Bounds,
    state: State,
    heads: u64,
}

#[derive(Debug)]
enum State {
    Head(Head),
    /// A body, and whether its request asks for another protocol.
    Body {
        left: u64,
        upgrade: bool,
    },
    Chunked {
        decoder: Decoder,
        upgrade: bool,
    },
    Unanswered,
    Undecided,
    /// A head, as far as it was read, and what is wrong with it.
    Refused(Head, Fault),
    Broken(ChunkError),
}

impl Inbound {
    /// Before a connection's first byte.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            state: State::Head(Head::default()),
            heads: 0,
        }
    }

    /// How many whole heads have been passed.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a part of a head has come and is not passed. `waiting` is what was not passed yet.
    #[must_use]
    pub fn is_within_head(&self, waiting: &[u8]) -> bool {
        matches!(&self.state, State::Head(head) if head.has_begun(waiting))
    }

    /// Reads on. `input` begins with the first byte that was not passed yet, however often it was shown before; so many
    /// of its bytes may be passed on now. The rest waits for what is said with it.
    pub fn follow(&mut self, input: &[u8]) -> (usize, Option<Halt>) {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match self.step(rest) {
                Ok(0) if rest.is_empty() => return (at, None),
                Ok(passed) => at += passed,
                Err(Halt::Partial) if rest.is_empty() => return (at, None),
                Err(halt) => return (at, Some(halt)),
            }
        }
    }

    /// What is known of the request whose head is not whole or is refused. `waiting` is what was not passed of it.
    #[must_use]
    pub fn outline(&self, waiting: &[u8]) -> Outline {
        match &self.state {
            State::Head(head) | State::Refused(head, _) => head.outline(waiting),
            _ => Outline::default(),
        }
    }

    /// The last request has been answered, in HTTP: what follows is the next one.
    pub fn resume(&mut self) {
        if matches!(self.state, State::Unanswered | State::Undecided) {
            self.state = State::Head(Head::default());
        }
    }

    /// Passes what one state can. Passing nothing without a halt changes the state, or the input is empty.
    fn step(&mut self, rest: &[u8]) -> Result<usize, Halt> {
        match &mut self.state {
            State::Head(head) => match head.read(rest, self.bounds) {
                Ok(None) => Err(Halt::Partial),
                Ok(Some(whole)) => {
                    self.heads += 1;
                    self.state = after(whole.body, whole.upgrade);
                    Ok(whole.length)
                }
                Err(fault) => {
                    self.state = State::Refused(std::mem::take(head), fault);
                    Err(Halt::Refused(fault))
                }
            },
            State::Body { left, upgrade } => {
                let length = usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                *left -= length as u64;
                if *left == 0 {
                    self.state = next(*upgrade);
                }
                Ok(length)
            }
            State::Chunked { decoder, upgrade } => match decoder.decode(rest) {
                Ok(step) => {
                    if step.piece == Piece::End || decoder.is_done() {
                        self.state = next(*upgrade);
                    }
                    Ok(step.consumed)
                }
                Err(error) => {
                    self.state = State::Broken(error);
                    Err(Halt::Broken(error))
                }
            },
            State::Unanswered => Err(Halt::Unanswered),
            State::Undecided => Err(Halt::Undecided),
            State::Refused(_, fault) => Err(Halt::Refused(*fault)),
            State::Broken(error) => Err(Halt::Broken(*error)),
        }
    }
}

fn after(body: BodyLength, upgrade: bool) -> State {
    match body {
        BodyLength::Known(0) => next(upgrade),
        BodyLength::Known(left) => State::Body { left, upgrade },
        BodyLength::Chunked => State::Chunked {
            decoder: Decoder::new(),
            upgrade,
        },
    }
}

fn next(upgrade: bool) -> State {
    if upgrade {
        return State::Undecided;
    }
    State::Unanswered
}

#[cfg(test)]
mod tests;

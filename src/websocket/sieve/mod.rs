//! What of a feed's frames tungstenite gets to see: a filter between the socket and the protocol.
//!
//! tungstenite can neither skip a message that is too large nor inflate one. The sieve does both in front of it, and
//! leaves the rest of RFC 6455 to it: UTF-8, pings, closes. It follows the frames by [`Boundary`]. A message that is whole
//! in one frame and not compressed passes as it comes; a fragmented or compressed one is held and passes as one frame.
//!
//! In the place of a message that is too large it puts a [mark](Sieve::mark): a pong with a payload. So the mark comes out
//! of tungstenite exactly between the messages that were before and behind it. A feed cannot forge one: the payloads of its
//! own pongs, which nobody asked for, are taken off.
//!
//! Invariants: what is held of a message never exceeds the limit, or for a compressed one what could still inflate to less
//! ([`Sieve::new`]); whatever comes in, what goes out is whole frames,
//! none of which is fragmented or has a reserved bit.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use thiserror::Error;

use super::boundary::{
    Boundary, Event, Extensions, FrameHead, MAX_HEAD, Opcode, Sender, Violation,
};
use super::deflate::{self, InflateFault};

/// RSV1: the message is compressed (RFC 7692 §6).
const COMPRESSED: u8 = 0x4;
const FIN: u8 = 0x80;

/// What a feed may not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SieveFault {
    /// It breaks the framing (RFC 6455 §5).
    #[error(transparent)]
    Framing(#[from] Violation),
    /// It breaks the compression (RFC 7692).
    #[error(transparent)]
    Inflate(InflateFault),
}

/// Follows the frames of one connection to a feed.
#[derive(Debug)]
pub struct Sieve {
    boundary: Boundary,
    /// Bytes of a message, inflated.
    limit: usize,
    /// A head of which a part is missing.
    partial: Vec<u8>,
    /// What happens to the payload of the frame under way.
    way: Way,
    /// The fragmented or compressed message under way.
    held: Option<Held>,
    /// Bytes of the message under way that is too large.
    dropped: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It goes out as it comes.
    Pass,
    /// It is gathered in `held`.
    Hold,
    /// It is dropped, and its bytes are counted.
    Drop,
    /// It is dropped, and nobody asks for its bytes. Between two frames there are none.
    Ignore,
}

#[derive(Debug)]
struct Held {
    opcode: Opcode,
    compressed: bool,
    message: Vec<u8>,
}

impl Sieve {
    /// The filter of a new connection, for messages of at most `limit` bytes. `extensions` says whether compressed ones
    /// may come; an eighth more than `limit` is held of one, for what cannot be compressed takes a little more.
    #[must_use]
    pub fn new(limit: usize, extensions: Extensions) -> Self {
        Self {
            boundary: Boundary::new(Sender::Server, extensions),
            limit,
            partial: Vec::new(),
            way: Way::Ignore,
            held: None,
            dropped: None,
        }
    }

    /// What a pong says, if it is a mark: the bytes of the message in whose place it stands. Of one that inflates to too
    /// much only that is known, and it counts as one byte more than the limit.
    #[must_use]
    pub fn mark(pong: &[u8]) -> Option<u64> {
        pong.try_into().ok().map(u64::from_be_bytes)
    }

    /// Takes from `input` and writes behind `out` what is to be seen of it, until `out` has at least `enough` bytes.
    /// Nothing written: all is taken.
    ///
    /// # Errors
    /// [`SieveFault`]: the connection is to be failed. What was written before is sound.
    pub fn push(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
        enough: usize,
    ) -> Result<(), SieveFault> {
        self.complete_head(input, out)?;
        while out.len() < enough {
            let before = *input;
            let event = self.boundary.next(input)?;
            let taken = &before[..before.len() - input.len()];
            match event {
                Some(Event::Head(head)) => self.begin(head, taken, out),
                Some(Event::End { message, .. }) => {
                    self.payload(taken, out);
                    self.way = Way::Ignore;
                    if message {
                        self.end(out)?;
                    }
                }
                None => {
                    self.payload(taken, out);
                    if !input.is_empty() {
                        self.partial = input.to_vec();
                        *input = &[];
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    fn complete_head(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<(), SieveFault> {
        if self.partial.is_empty() || input.is_empty() {
            return Ok(());
        }
        let had = self.partial.len();
        let more = input.len().min(MAX_HEAD - had);
        let mut head = std::mem::take(&mut self.partial);
        head.extend_from_slice(&input[..more]);
        if let Some(Event::Head(whole)) = self.boundary.next(&mut &head[..])? {
            *input = &input[whole.length - had..];
            self.begin(whole, &head[..whole.length], out);
            return Ok(());
        }
        *input = &input[more..];
        self.partial = head;
        Ok(())
    }

    fn begin(&mut self, head: FrameHead, bytes: &[u8], out: &mut Vec<u8>) {
        self.way = match head.opcode {
            Opcode::Pong => {
                write_head(Opcode::Pong, 0, out);
                Way::Ignore
            }
            Opcode::Close | Opcode::Ping => {
                out.extend_from_slice(bytes);
                Way::Pass
            }
            Opcode::Continuation => self.go_on(head.payload),
            Opcode::Text | Opcode::Binary => self.begin_message(head, bytes, out),
        };
    }

    fn begin_message(&mut self, head: FrameHead, bytes: &[u8], out: &mut Vec<u8>) -> Way {
        let compressed = head.rsv & COMPRESSED != 0;
        if head.payload > self.most(compressed) {
            self.dropped = Some(0);
            return Way::Drop;
        }
        if !compressed && head.fin {
            out.extend_from_slice(bytes);
            return Way::Pass;
        }
        self.held = Some(Held {
            opcode: head.opcode,
            compressed,
            message: Vec::new(),
        });
        Way::Hold
    }

    /// A further frame of the message under way.
    fn go_on(&mut self, payload: u64) -> Way {
        let Some(held) = &self.held else {
            return Way::Drop;
        };
        let have = held.message.len() as u64;
        if payload > self.most(held.compressed) - have {
            self.give_up(have);
            return Way::Drop;
        }
        Way::Hold
    }

    /// Bytes that a message may have on the wire.
    fn most(&self, compressed: bool) -> u64 {
        let limit = self.limit as u64;
        if compressed {
            return limit + limit / 8 + 64;
        }
        limit
    }

    fn payload(&mut self, part: &[u8], out: &mut Vec<u8>) {
        match self.way {
            Way::Pass => out.extend_from_slice(part),
            Way::Hold => {
                // Its head was compared with what may be held.
                if let Some(held) = &mut self.held {
                    held.message.extend_from_slice(part);
                }
            }
            Way::Drop => {
                let dropped = self.dropped.get_or_insert_default();
                *dropped = dropped.saturating_add(part.len() as u64);
            }
            Way::Ignore => {}
        }
    }

    /// The message under way is too large.
    fn give_up(&mut self, bytes: u64) {
        self.held = None;
        self.dropped = Some(bytes);
    }

    /// A message has ended.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), SieveFault> {
        if let Some(held) = self.held.take() {
            match held.whole(self.limit) {
                Ok(message) => {
                    write_head(held.opcode, message.len(), out);
                    out.extend_from_slice(&message);
                }
                Err(InflateFault::TooLong { limit }) => self.dropped = Some(limit as u64 + 1),
                Err(corrupt) => return Err(SieveFault::Inflate(corrupt)),
            }
        }
        if let Some(bytes) = self.dropped.take() {
            write_head(Opcode::Pong, size_of::<u64>(), out);
            out.extend_from_slice(&bytes.to_be_bytes());
        }
        Ok(())
    }
}

impl Held {
    fn whole(&self, limit: usize) -> Result<Cow<'_, [u8]>, InflateFault> {
        if self.compressed {
            return deflate::inflate(&self.message, limit).map(Cow::Owned);
        }
        Ok(Cow::Borrowed(&self.message))
    }
}

/// The head of a whole frame from a server (RFC 6455 §5.2).
fn write_head(opcode: Opcode, length: usize, out: &mut Vec<u8>) {
    out.push(FIN | opcode.bits());
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < 126 => out.push(short),
        (_, Ok(medium)) => {
            out.push(126);
            out.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

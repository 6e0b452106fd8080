//! A client's messages out of its frames (RFC 6455 §5.4, RFC 7692 §6.2), without I/O.
//!
//! Owns the payloads: they are unmasked, put together, inflated, and text is held to UTF-8. Where frames begin and end, and
//! whether they may stand where they stand, [`super::boundary`] knows. Invariants: however the bytes are split, the items are
//! the same; no more is kept than a message's limit; after a fault nothing
//! is given but the client's Close, whatever comes.

#[cfg(test)]
mod tests;

use thiserror::Error;

use super::boundary::{
    Boundary, Event, Extensions, FrameHead, MAX_HEAD, Opcode, Sender, Violation,
};
use super::close::{CloseCode, may_be_sent};
use super::deflate::{self, InflateFault};
use super::frame;

/// RSV1, as [`FrameHead::rsv`] has it: the message is compressed.
const COMPRESSED: u8 = 4;

/// A whole message, or a whole control frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
    /// A ping with its payload.
    Ping(Vec<u8>),
    /// A pong.
    Pong,
    /// A Close; its code, where it has one.
    Close(Option<u16>),
}

/// What the client did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    /// The bytes are not those of RFC 6455 §5.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// A Close with half a code, or one that nobody may send.
    #[error("the Close has no code that may be sent")]
    CloseCode,
    /// A text, or a Close's reason, that is not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
    /// A message that is longer than it may be, inflated or not.
    #[error("the message is longer than `{limit}` bytes")]
    TooLong {
        /// What is allowed, in bytes.
        limit: usize,
    },
    /// A compressed message that deflate did not make.
    #[error("the compressed message is not sound")]
    Corrupt,
}

impl Fault {
    /// What the client is told with the Close.
    #[must_use]
    pub const fn code(self) -> CloseCode {
        match self {
            Self::Violation(_) | Self::CloseCode => CloseCode::Protocol,
            Self::NotUtf8 | Self::Corrupt => CloseCode::InvalidText,
            Self::TooLong { .. } => CloseCode::TooBig,
        }
    }
}

/// Reads what one client sends.
#[derive(Debug)]
pub struct Inbound {
    boundary: Boundary,
    limit: usize,
    /// The beginning of a head that is not there as a whole.
    partial: ([u8; MAX_HEAD], usize),
    frame: Option<Frame>,
    message: Vec<u8>,
    control: Vec<u8>,
    /// What the message is whose first frame has come.
    begun: Option<Begun>,
    /// Whether something was wrong: nothing is kept or given any more but the Close.
    is_lost: bool,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    is_control: bool,
    key: [u8; 4],
    /// Bytes of the payload that have come.
    at: usize,
}

#[derive(Debug, Clone, Copy)]
struct Begun {
    is_text: bool,
    is_compressed: bool,
}

impl Inbound {
    /// A reader of messages up to `limit` bytes.
    #[must_use]
    pub fn new(extensions: Extensions, limit: usize) -> Self {
        Self {
            boundary: Boundary::new(Sender::Client, extensions),
            limit,
            partial: ([0; MAX_HEAD], 0),
            frame: None,
            message: Vec::new(),
            control: Vec::new(),
            begun: None,
            is_lost: false,
        }
    }

    /// The next item in `bytes`, of which what it takes is cut off. `Ok(None)`: all is taken.
    ///
    /// # Errors
    /// The first thing that is wrong; the connection is to be closed with [`Fault::code`]. Afterwards the only
    /// item is the client's Close, as long as it is known where frames begin.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Item>, Fault> {
        let item = self.read(bytes);
        if item.is_err() {
            self.is_lost = true;
            self.message = Vec::new();
        }
        item
    }

    fn read(&mut self, bytes: &mut &[u8]) -> Result<Option<Item>, Fault> {
        loop {
            if self.frame.is_none() {
                let Some(head) = self.head(bytes)? else {
                    return Ok(None);
                };
                self.begin(head)?;
            }
            let given = *bytes;
            let event = self.boundary.next(bytes)?;
            self.take(&given[..given.len() - bytes.len()]);
            let Some(Event::End { opcode, message }) = event else {
                return Ok(None);
            };
            self.frame = None;
            if let Some(item) = self.end(opcode, message)? {
                return Ok(Some(item));
            }
        }
    }

    /// The next frame's head; what there is of one that is not whole is kept.
    fn head(&mut self, bytes: &mut &[u8]) -> Result<Option<FrameHead>, Fault> {
        let (buffer, kept) = &mut self.partial;
        if *kept == 0 {
            if let Some(Event::Head(head)) = self.boundary.next(bytes)? {
                return Ok(Some(head));
            }
            *kept = bytes.len();
            buffer[..*kept].copy_from_slice(bytes);
            *bytes = &[];
            return Ok(None);
        }
        // One byte at a time: a head must not take a byte of what follows it.
        while let Some((first, rest)) = bytes.split_first() {
            buffer[*kept] = *first;
            *kept += 1;
            *bytes = rest;
            let event = self.boundary.next(&mut &buffer[..*kept]);
            if event != Ok(None) {
                *kept = 0;
            }
            if let Some(Event::Head(head)) = event? {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    fn begin(&mut self, head: FrameHead) -> Result<(), Fault> {
        let is_control = head.opcode.is_control();
        self.frame = Some(Frame {
            is_control,
            // A client's frames have one, else the tracker had refused them.
            key: head.mask.unwrap_or_default(),
            at: 0,
        });
        if !is_control && !self.is_lost {
            let left = (self.limit - self.message.len()) as u64;
            if head.payload > left {
                return Err(Fault::TooLong { limit: self.limit });
            }
        }
        if matches!(head.opcode, Opcode::Text | Opcode::Binary) {
            self.begun = Some(Begun {
                is_text: head.opcode == Opcode::Text,
                is_compressed: head.rsv & COMPRESSED != 0,
            });
        }
        Ok(())
    }

    fn take(&mut self, payload: &[u8]) {
        let Some(frame) = self.frame.as_mut().filter(|_frame| !self.is_lost) else {
            return;
        };
        let whole = if frame.is_control {
            &mut self.control
        } else {
            &mut self.message
        };
        let from = whole.len();
        whole.extend_from_slice(payload);
        let mut key = frame.key;
        key.rotate_left(frame.at % 4);
        frame::mask(&mut whole[from..], key);
        frame.at += payload.len();
    }

    fn end(&mut self, opcode: Opcode, is_message: bool) -> Result<Option<Item>, Fault> {
        if self.is_lost {
            return Ok((opcode == Opcode::Close).then_some(Item::Close(None)));
        }
        if opcode.is_control() {
            let payload = std::mem::take(&mut self.control);
            return Ok(Some(match opcode {
                Opcode::Ping => Item::Ping(payload),
                Opcode::Close => Item::Close(close_code(&payload)?),
                _ => Item::Pong,
            }));
        }
        let Some(begun) = self.begun.filter(|_begun| is_message) else {
            return Ok(None);
        };
        self.begun = None;
        let mut message = std::mem::take(&mut self.message);
        if begun.is_compressed {
            message = deflate::inflate(&message, self.limit).map_err(|fault| match fault {
                InflateFault::TooLong { limit } => Fault::TooLong { limit },
                InflateFault::Corrupt => Fault::Corrupt,
            })?;
        }
        if !begun.is_text {
            return Ok(Some(Item::Binary(message)));
        }
        String::from_utf8(message)
            .map(|text| Some(Item::Text(text)))
            .map_err(|_bad| Fault::NotUtf8)
    }
}

/// The code of a Close with this payload (RFC 6455 §5.5.1).
fn close_code(payload: &[u8]) -> Result<Option<u16>, Fault> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() {
            Ok(None)
        } else {
            Err(Fault::CloseCode)
        };
    };
    let code = u16::from_be_bytes(*code);
    if !may_be_sent(code) {
        return Err(Fault::CloseCode);
    }
    std::str::from_utf8(reason).map_err(|_bad| Fault::NotUtf8)?;
    Ok(Some(code))
}

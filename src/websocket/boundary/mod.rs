//! Where the frames of one direction begin and end (RFC 6455 §5.2), by their heads alone.
//!
//! Owns no buffer and no clock: payloads are skipped in one step, whatever their length, and are never looked at. A
//! head of which a part has come stays with the caller, who gives it again with more; so however the bytes are split,
//! the events are the same.
//!
//! Invariant: what breaks RFC 6455 is told once; from then on the tracker is lost, and says nothing more.

#[cfg(test)]
mod tests;

use thiserror::Error;

/// The longest head: two bytes, a length of eight, a masking key of four.
pub const MAX_HEAD: usize = 14;

/// The longest payload of a control frame (RFC 6455 §5.5).
pub const MAX_CONTROL: u64 = 125;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Who sends in this direction. A client masks its frames, a server does not (RFC 6455 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Its frames are masked.
    Client,
    /// Its frames are not.
    Server,
}

/// Whether the handshake agreed on extensions, which give the reserved bits a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extensions {
    /// No reserved bit may be set.
    None,
    /// RSV1 may be set on the first frame of a message (RFC 7692 §6).
    Negotiated,
}

/// What a frame is (RFC 6455 §11.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// A further part of a message.
    Continuation,
    /// The beginning of a text message.
    Text,
    /// The beginning of a binary message.
    Binary,
    /// The last frame of a direction.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Opcode {
    fn parse(bits: u8) -> Option<Self> {
        Some(match bits {
            CONTINUATION => Self::Continuation,
            TEXT => Self::Text,
            BINARY => Self::Binary,
            CLOSE => Self::Close,
            PING => Self::Ping,
            PONG => Self::Pong,
            _ => return None,
        })
    }

    /// The number on the wire.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::Continuation => CONTINUATION,
            Self::Text => TEXT,
            Self::Binary => BINARY,
            Self::Close => CLOSE,
            Self::Ping => PING,
            Self::Pong => PONG,
        }
    }

    /// Whether it may stand between the frames of a message (RFC 6455 §5.5).
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }
}

/// A frame's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// What the frame is.
    pub opcode: Opcode,
    /// Whether the message ends with it.
    pub fin: bool,
    /// RSV1, RSV2, RSV3 as the bits 4, 2, 1.
    pub rsv: u8,
    /// The masking key.
    pub mask: Option<[u8; 4]>,
    /// Bytes of the payload.
    pub payload: u64,
    /// Bytes of the head itself.
    pub length: usize,
}

/// What a tracker tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A head is there as a whole; its payload follows.
    Head(FrameHead),
    /// The frame has ended.
    End {
        /// What the frame was.
        opcode: Opcode,
        /// Whether a message ended with it.
        message: bool,
    },
}

/// In what the bytes are not those of RFC 6455 §5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Violation {
    /// Opcodes 3 to 7 and 11 to 15 are reserved.
    #[error("the opcode `{0}` is reserved")]
    Opcode(u8),
    /// A reserved bit has no meaning here.
    #[error("a reserved bit is set")]
    Reserved,
    /// Control frames are whole.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// Control frames are short.
    #[error("a control frame has more than 125 bytes")]
    LongControl,
    /// There is no message to continue.
    #[error("a continuation continues no message")]
    Continuation,
    /// A message begins before the last one has ended.
    #[error("a message begins within another one")]
    Interleaved,
    /// A client's frame is not masked, or a server's is.
    #[error("the frame's masking is not that of its sender")]
    Masking,
    /// A length takes more bytes than it needs, or has its highest bit set.
    #[error("the frame's length is not in its shortest form")]
    Length,
}

/// Follows the frames of one direction.
#[derive(Debug, Clone)]
pub struct Boundary {
    sender: Sender,
    extensions: Extensions,
    /// The frame whose payload is passing.
    current: Option<Current>,
    /// Whether a message has begun and not ended.
    within_message: bool,
    lost: bool,
}

#[derive(Debug, Clone, Copy)]
struct Current {
    opcode: Opcode,
    fin: bool,
    left: u64,
}

impl Boundary {
    /// A tracker that stands before the first frame.
    #[must_use]
    pub const fn new(sender: Sender, extensions: Extensions) -> Self {
        Self {
            sender,
            extensions,
            current: None,
            within_message: false,
            lost: false,
        }
    }

    /// The next event in `bytes`, of which what it takes is cut off. `Ok(None)`: all is taken, but for a head of which
    /// a part is missing, at most [`MAX_HEAD`]` - 1` bytes, which are to be given again with what follows.
    ///
    /// # Errors
    /// The first thing that breaks RFC 6455; the offending frame's head is left in `bytes`. Afterwards all bytes are
    /// taken, and there are no events.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Event>, Violation> {
        if self.lost {
            *bytes = &[];
            return Ok(None);
        }
        let Some(current) = &mut self.current else {
            return self.begin(bytes);
        };
        let taken = usize::try_from(current.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        *bytes = &bytes[taken..];
        current.left -= taken as u64;
        if current.left > 0 {
            return Ok(None);
        }
        let Current { opcode, fin, .. } = *current;
        self.current = None;
        if !opcode.is_control() {
            self.within_message = !fin;
        }
        let message = fin && !opcode.is_control();
        Ok(Some(Event::End { opcode, message }))
    }

    /// Whether what has been taken ends with a frame.
    #[must_use]
    pub const fn is_between_frames(&self) -> bool {
        self.current.is_none() && !self.lost
    }

    /// Whether what has been taken ends with a message, or is nothing.
    #[must_use]
    pub const fn is_between_messages(&self) -> bool {
        let within_data = match &self.current {
            Some(current) => !current.opcode.is_control(),
            None => false,
        };
        !self.lost && !self.within_message && !within_data
    }

    /// Whether something broke RFC 6455: nobody knows any more where frames begin.
    #[must_use]
    pub const fn is_lost(&self) -> bool {
        self.lost
    }

    fn begin(&mut self, bytes: &mut &[u8]) -> Result<Option<Event>, Violation> {
        match self.head(bytes) {
            Ok(None) => Ok(None),
            Ok(Some(head)) => {
                *bytes = &bytes[head.length..];
                self.current = Some(Current {
                    opcode: head.opcode,
                    fin: head.fin,
                    left: head.payload,
                });
                Ok(Some(Event::Head(head)))
            }
            Err(violation) => {
                self.lost = true;
                Err(violation)
            }
        }
    }

    /// Reads a head in the order of the wire; each byte is judged as soon as it is there.
    fn head(&self, bytes: &[u8]) -> Result<Option<FrameHead>, Violation> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let (fin, rsv, bits) = (first & 0x80 != 0, (first >> 4) & 0x7, first & 0xf);
        let opcode = Opcode::parse(bits).ok_or(Violation::Opcode(bits))?;
        self.check_first(opcode, fin, rsv)?;
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        let (masked, short) = (second & 0x80 != 0, u64::from(second & 0x7f));
        if masked != (self.sender == Sender::Client) {
            return Err(Violation::Masking);
        }
        if opcode.is_control() && short > MAX_CONTROL {
            return Err(Violation::LongControl);
        }
        let (payload, at) = match short {
            126 => match bytes.get(2..4) {
                Some(&[high, low]) => (u64::from(u16::from_be_bytes([high, low])), 4),
                _ => return Ok(None),
            },
            127 => match bytes.get(2..10).and_then(|long| long.try_into().ok()) {
                Some(long) => (u64::from_be_bytes(long), 10),
                None => return Ok(None),
            },
            short => (short, 2),
        };
        let shortest = match at {
            4 => payload >= 126,
            10 => payload > u64::from(u16::MAX) && payload >> 63 == 0,
            _ => true,
        };
        if !shortest {
            return Err(Violation::Length);
        }
        let length = if masked { at + 4 } else { at };
        if bytes.len() < length {
            return Ok(None);
        }
        Ok(Some(FrameHead {
            opcode,
            fin,
            rsv,
            mask: bytes[at..length].try_into().ok(),
            payload,
            length,
        }))
    }

    fn check_first(&self, opcode: Opcode, fin: bool, rsv: u8) -> Result<(), Violation> {
        let begins = matches!(opcode, Opcode::Text | Opcode::Binary);
        let allowed = match self.extensions {
            Extensions::Negotiated if begins => 0x4,
            _ => 0,
        };
        if rsv & !allowed != 0 {
            return Err(Violation::Reserved);
        }
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }
        if opcode == Opcode::Continuation && !self.within_message {
            return Err(Violation::Continuation);
        }
        if begins && self.within_message {
            return Err(Violation::Interleaved);
        }
        Ok(())
    }
}

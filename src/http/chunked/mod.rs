//! The chunked transfer coding (RFC 9112 §7.1), without I/O.
//!
//! Owns a strict decoder that copies no data, and the few bytes around an encoded chunk. Invariants: the decoder
//! consumes nothing behind the coding's last byte; it gives the same data however the input is split; it holds a few
//! words and, once trailers begin, at most 8 KiB. Strictness is what keeps us and whoever wrote the body
//! of one mind about where it ends: no bare LF, no white space around the size, no size that overflows.

use std::ops::Range;

use http::HeaderMap;
use thiserror::Error;

use crate::http::trailers;

/// What stands behind the data of a chunk.
pub const TAIL: &[u8] = b"\r\n";
/// The last chunk with an empty trailer section.
pub const LAST: &[u8] = b"0\r\n\r\n";

/// Room for what stands before the data of a chunk, whatever its size.
pub const HEAD_ROOM: usize = 18;

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// Digits of a size, leading zeros included.
const SIZE_DIGITS: u8 = 16;
/// Bytes of one chunk's extensions, which are skipped (RFC 9112 §7.1.1: a recipient ought to limit them).
const EXTENSION_MAX: u16 = 256;
/// Bytes of the trailer section.
const TRAILERS_MAX: usize = 8 * 1024;

/// Why a chunked body cannot be read on. The connection cannot be used any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ChunkError {
    /// The size is missing or has another character in it.
    #[error("chunk size is not a hexadecimal number")]
    Size,
    /// More than 16 digits, or more than half of what 64 bits hold.
    #[error("chunk size is too large")]
    SizeTooLarge,
    /// A control character in an extension.
    #[error("chunk extension holds a control character")]
    Extension,
    /// More than 256 bytes of extensions.
    #[error("chunk extensions are longer than 256 bytes")]
    ExtensionTooLong,
    /// CR and LF, which belong together, do not stand together where they must.
    #[error("chunk framing has a line end other than CRLF")]
    LineEnd,
    /// The data goes on behind the size that was announced.
    #[error("chunk data is longer than its size")]
    DataTooLong,
    /// A line in the trailer section is no field.
    #[error("trailer section holds a line that is no field")]
    Trailer,
    /// More than 8 KiB of trailers.
    #[error("trailer section is longer than 8 KiB")]
    TrailersTooLong,
}

/// What one call of [`Decoder::decode`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// What they were.
    pub piece: Piece,
}

/// What the consumed bytes were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Sizes, line ends, trailers: nothing to pass on. All input is consumed.
    Framing,
    /// Data at these places of the input, never empty; what stands before it was framing.
    Data(Range<usize>),
    /// The body is complete. What follows in the input is not part of it.
    End,
}

/// Where a chunked body has been read up to.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    lines: Vec<u8>,
    trailers: Option<HeaderMap>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size {
        digits: u8,
        size: u64,
    },
    Extension {
        length: u16,
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// Between the lines of the trailer section.
    LineStart,
    Line,
    LineLf,
    LastLf,
    Done,
}

impl Default for State {
    fn default() -> Self {
        Self::Size { digits: 0, size: 0 }
    }
}

impl Decoder {
    /// Before the first byte of a body.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the body was read to its end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether a chunk has ended and the next has not begun: only here can a chunk be put in.
    #[must_use]
    pub fn is_between_chunks(&self) -> bool {
        self.state == State::default()
    }

    /// Reads on, up to the end of the next data, of the body or of the input. Once the body is complete every
    /// further call consumes nothing and says [`Piece::End`] again.
    ///
    /// # Errors
    /// The first violation of the coding; the decoder is not to be used any more.
    pub fn decode(&mut self, input: &[u8]) -> Result<Step, ChunkError> {
        let mut at = 0;
        loop {
            if self.state == State::Done {
                return Ok(Step {
                    consumed: at,
                    piece: Piece::End,
                });
            }
            let rest = &input[at..];
            if rest.is_empty() {
                return Ok(Step {
                    consumed: at,
                    piece: Piece::Framing,
                });
            }
            match self.state {
                State::Data { left } => {
                    // Not more than the input holds, so it fits.
                    let length =
                        usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    let left = left - length as u64;
                    self.state = if left == 0 {
                        State::DataCr
                    } else {
                        State::Data { left }
                    };
                    let end = at + length;
                    return Ok(Step {
                        consumed: end,
                        piece: Piece::Data(at..end),
                    });
                }
                State::Line => at += self.read_line(rest)?,
                _ => {
                    self.read_byte(rest[0])?;
                    at += 1;
                }
            }
        }
    }

    /// The trailer section's fields, after [`Piece::End`] and once. `None`: there were none. Fields that may not
    /// stand there are left out (RFC 9110 §6.5.1).
    pub fn trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }

    fn read_byte(&mut self, byte: u8) -> Result<(), ChunkError> {
        self.state = match (self.state, byte) {
            (State::Size { digits, size }, _) => after_size(digits, size, byte)?,
            (State::Extension { size, .. }, b'\r') => State::SizeLf { size },
            (State::Extension { length, size }, _) => {
                if byte == 0x7f || (byte < b' ' && byte != b'\t') {
                    return Err(ChunkError::Extension);
                }
                if length == EXTENSION_MAX {
                    return Err(ChunkError::ExtensionTooLong);
                }
                State::Extension {
                    length: length + 1,
                    size,
                }
            }
            (State::SizeLf { size: 0 }, b'\n') => State::LineStart,
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataCr, _) => return Err(ChunkError::DataTooLong),
            (State::DataLf, b'\n') => State::default(),
            (State::LineStart, b'\r') => State::LastLf,
            (State::LineStart, b'\n') => return Err(ChunkError::LineEnd),
            (State::LineStart, _) => {
                self.push_line(&[byte])?;
                State::Line
            }
            (State::LineLf, b'\n') => {
                self.push_line(b"\r\n")?;
                State::LineStart
            }
            (State::LastLf, b'\n') => {
                self.finish()?;
                State::Done
            }
            (State::SizeLf { .. } | State::DataLf | State::LineLf | State::LastLf, _) => {
                return Err(ChunkError::LineEnd);
            }
            (State::Data { .. } | State::Line | State::Done, _) => {
                unreachable!("`decode` keeps these states to itself")
            }
        };
        Ok(())
    }

    /// Reads the rest of a trailer line, with its CR if the input reaches that far.
    fn read_line(&mut self, rest: &[u8]) -> Result<usize, ChunkError> {
        let Some(end) = memchr::memchr2(b'\r', b'\n', rest) else {
            self.push_line(rest)?;
            return Ok(rest.len());
        };
        if rest[end] == b'\n' {
            return Err(ChunkError::LineEnd);
        }
        self.push_line(&rest[..end])?;
        self.state = State::LineLf;
        Ok(end + 1)
    }

    fn push_line(&mut self, bytes: &[u8]) -> Result<(), ChunkError> {
        if self.lines.len() + bytes.len() > TRAILERS_MAX {
            return Err(ChunkError::TrailersTooLong);
        }
        self.lines.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ChunkError> {
        let lines = std::mem::take(&mut self.lines);
        let fields = trailers::parse(lines).ok_or(ChunkError::Trailer)?;
        self.trailers = (!fields.is_empty()).then_some(fields);
        Ok(())
    }
}

fn after_size(digits: u8, size: u64, byte: u8) -> Result<State, ChunkError> {
    if let Some(digit) = char::from(byte).to_digit(16) {
        if digits == SIZE_DIGITS {
            return Err(ChunkError::SizeTooLarge);
        }
        // Sixteen digits fit into 64 bits.
        return Ok(State::Size {
            digits: digits + 1,
            size: size << 4 | u64::from(digit),
        });
    }
    if digits == 0 {
        return Err(ChunkError::Size);
    }
    if size > u64::MAX / 2 {
        return Err(ChunkError::SizeTooLarge);
    }
    match byte {
        b'\r' => Ok(State::SizeLf { size }),
        b';' => Ok(State::Extension { length: 1, size }),
        b'\n' => Err(ChunkError::LineEnd),
        _ => Err(ChunkError::Size),
    }
}

/// Appends what stands before the data of a chunk: `1a\r\n`. A chunk of no length would end the body, so `len` is
/// never 0; [`LAST`] or [`trailer_section`] end it.
pub fn head(len: usize, out: &mut Vec<u8>) {
    debug_assert_ne!(len, 0, "a chunk without data ends the body");
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    out.extend(
        (0..digits)
            .rev()
            .map(|place| DIGITS[len >> (4 * place) & 0xf]),
    );
    out.extend_from_slice(b"\r\n");
}

/// Makes a chunk of the data in `frame`, which begins behind [`HEAD_ROOM`] bytes for its head. Without data it is empty, for
/// such a chunk would end the body.
pub fn enclose(frame: &mut Vec<u8>) -> &[u8] {
    let Some(length) = frame
        .len()
        .checked_sub(HEAD_ROOM)
        .filter(|length| *length > 0)
    else {
        return &[];
    };
    let mut start = HEAD_ROOM - TAIL.len();
    frame[start..HEAD_ROOM].copy_from_slice(TAIL);
    let mut left = length;
    while left > 0 {
        start -= 1;
        frame[start] = DIGITS[left & 0xf];
        left >>= 4;
    }
    frame.extend_from_slice(TAIL);
    &frame[start..]
}

/// Appends the last chunk with these trailers, without those that may not stand there (RFC 9110 §6.5.1).
pub fn trailer_section(fields: &HeaderMap, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    trailers::write(fields, out);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests;

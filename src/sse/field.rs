//! Lines of an event stream as fields: the lexer under [`position`](super::position) and [`decode`](super::decode).
//!
//! Holds no more than a field's name: values are given out in the parts in which they come, and lines of no meaning
//! (comments, unknown fields) are skipped. Works on bytes: all names and line ends are ASCII, so that decoding a value by
//! itself gives what decoding the whole stream would.

use memchr::memchr2;

use super::bom::BOM;

/// The fields that have a meaning. Their names are case-sensitive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Data,
    Event,
    Id,
    Retry,
}

impl Field {
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"data" => Self::Data,
            b"event" => Self::Event,
            b"id" => Self::Id,
            b"retry" => Self::Retry,
            _ => return None,
        })
    }

    /// The field whose whole name and colon begin `data`, and what lies behind them.
    fn leading(data: &[u8]) -> Option<(Self, &[u8])> {
        Some(match data {
            [b'd', b'a', b't', b'a', b':', value @ ..] => (Self::Data, value),
            [b'e', b'v', b'e', b'n', b't', b':', value @ ..] => (Self::Event, value),
            [b'i', b'd', b':', value @ ..] => (Self::Id, value),
            [b'r', b'e', b't', b'r', b'y', b':', value @ ..] => (Self::Retry, value),
            _ => return None,
        })
    }
}

/// What a stream is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'d> {
    /// A part of a field's value, not empty. The one space behind the colon is not in it.
    Part(Field, &'d [u8]),
    /// The line of a field ends: its value is whole. A field may have had no part at all.
    End(Field),
    /// An empty line.
    Block,
}

/// The longest name of a field that has a meaning.
const MAX_NAME: usize = 5;

/// Splits a stream into tokens.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fields {
    state: State,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    /// So many bytes of a byte order mark have come, and nothing else.
    #[default]
    Beginning,
    Bom(u8),
    LineStart,
    /// Behind a CR: an LF belongs to the same line end.
    LineStartCr,
    Name {
        bytes: [u8; MAX_NAME],
        length: u8,
    },
    /// Behind the colon, where one space is skipped.
    Colon(Field),
    Value(Field),
    /// In a comment or in a field of no meaning.
    Skip,
}

impl Fields {
    /// The next token of `data`, which shrinks to what lies behind it. `None` when nothing of `data` is left.
    pub(super) fn next<'d>(&mut self, data: &mut &'d [u8]) -> Option<Token<'d>> {
        loop {
            let (&byte, rest) = data.split_first()?;
            match self.state {
                State::Value(field) => return Some(self.value(field, data)),
                State::Skip => {
                    let end = memchr2(b'\r', b'\n', data);
                    *data = &data[end.unwrap_or(data.len())..];
                    let (&byte, rest) = data.split_first()?;
                    *data = rest;
                    self.state = State::after_end(byte);
                }
                State::Colon(field) => {
                    self.state = State::Value(field);
                    if byte == b' ' {
                        *data = rest;
                    }
                }
                // A line that comes whole is not read byte by byte.
                State::LineStart if let Some((field, value)) = Field::leading(data) => {
                    *data = value;
                    self.state = State::Colon(field);
                }
                _ => {
                    *data = rest;
                    if let Some(token) = self.name(byte) {
                        return Some(token);
                    }
                }
            }
        }
    }

    /// A part of the value, or its end.
    fn value<'d>(&mut self, field: Field, data: &mut &'d [u8]) -> Token<'d> {
        let length = memchr2(b'\r', b'\n', data).unwrap_or(data.len());
        if length > 0 {
            let (part, rest) = data.split_at(length);
            *data = rest;
            return Token::Part(field, part);
        }
        self.state = State::after_end(data[0]);
        *data = &data[1..];
        Token::End(field)
    }

    /// A byte at a line's beginning or in a field's name.
    fn name(&mut self, byte: u8) -> Option<Token<'static>> {
        match (self.state, byte) {
            (State::LineStartCr, b'\n') => self.state = State::LineStart,
            (State::Name { bytes, length }, b'\r' | b'\n') => {
                self.state = State::after_end(byte);
                return Field::named(&bytes[..usize::from(length)]).map(Token::End);
            }
            (State::Bom(_), b'\r' | b'\n') => self.state = State::after_end(byte),
            (_, b'\r' | b'\n') => {
                self.state = State::after_end(byte);
                return Some(Token::Block);
            }
            (State::Name { bytes, length }, b':') => {
                let field = Field::named(&bytes[..usize::from(length)]);
                self.state = field.map_or(State::Skip, State::Colon);
            }
            (State::Name { bytes, length }, _) => self.state = State::named(bytes, length, byte),
            (State::Beginning, _) if byte == BOM[0] => self.state = State::Bom(1),
            (State::Bom(1), _) if byte == BOM[1] => self.state = State::Bom(2),
            (State::Bom(2), _) if byte == BOM[2] => self.state = State::LineStart,
            // No name begins with a part of the mark.
            (State::Bom(_), _) | (_, b':') => self.state = State::Skip,
            _ => self.state = State::named([0; MAX_NAME], 0, byte),
        }
        None
    }
}

impl State {
    const fn after_end(byte: u8) -> Self {
        if byte == b'\r' {
            return Self::LineStartCr;
        }
        Self::LineStart
    }

    fn named(mut bytes: [u8; MAX_NAME], length: u8, byte: u8) -> Self {
        let Some(place) = bytes.get_mut(usize::from(length)) else {
            return Self::Skip;
        };
        *place = byte;
        Self::Name {
            bytes,
            length: length + 1,
        }
    }
}

//! Where the events of a stream that passes through begin and end.
//!
//! Lines end by LF, CRLF or a lone CR, in any mixture; an empty line ends a block (WHATWG HTML, "Parsing an event
//! stream"). Only between two blocks may something that the server did not send be written. Comments and blocks of an id
//! alone are blocks as any other. Nothing is buffered, and what the lines say is never looked at.
//!
//! Invariant: however the bytes are split, the places are the same, but for one: a CR is the end of its line at once,
//! though an LF that follows belongs to it too. Both places, in between and behind, are between events: a client that
//! gets `CR`, something of ours, `LF` sees one empty line more, and an empty line that ends no block dispatches nothing
//! and changes no id.

#[cfg(test)]
mod tests;

use memchr::memchr2;

use super::bom::BOM;

/// Follows an event stream and knows its boundaries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Boundary {
    state: State,
}

/// What the bytes so far end with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing: a byte order mark may come.
    #[default]
    Beginning,
    /// The first byte of what may be a byte order mark, and is a line's beginning otherwise.
    OneOfBom,
    /// Two bytes of it.
    TwoOfBom,
    /// An empty line, or the byte order mark.
    Between,
    /// An empty line ended by CR: an LF belongs to the same end.
    BetweenCr,
    /// A line's byte.
    Line,
    /// The end of a line that was not empty.
    LineEnd,
    /// The same by CR: an LF belongs to the same end.
    LineEndCr,
}

impl Boundary {
    /// Between two events of a stream that has begun: a byte order mark that comes now is a part of a line, as it is
    /// for the client. For what follows a break, and for streams that [`Bom`](super::bom::Bom) strips.
    #[must_use]
    pub const fn begun() -> Self {
        Self {
            state: State::Between,
        }
    }

    /// Follows `data`, and says the last place in it which stands between two events: the count of bytes up to there,
    /// from 1 to the length of `data`. `None` when no block ends in it.
    ///
    /// The place is the length of `data` exactly when [`is_between_events`](Self::is_between_events) holds after it.
    pub fn follow(&mut self, data: &[u8]) -> Option<usize> {
        let (mut last, mut at) = (None, 0);
        while at < data.len() {
            if self.state == State::Line {
                // Long lines are crossed in one step.
                let Some(end) = memchr2(b'\r', b'\n', &data[at..]) else {
                    return last;
                };
                at += end;
            }
            self.state = self.state.behind(data[at]);
            at += 1;
            if self.is_between_events() {
                last = Some(at);
            }
        }
        last
    }

    /// Whether all that was followed ends between two events, or nothing was followed yet.
    #[must_use]
    pub const fn is_between_events(&self) -> bool {
        matches!(
            self.state,
            State::Beginning | State::Between | State::BetweenCr
        )
    }
}

impl State {
    const fn behind(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Line, b'\n') => Self::LineEnd,
            (Self::Line | Self::OneOfBom | Self::TwoOfBom, b'\r') => Self::LineEndCr,
            (Self::OneOfBom | Self::TwoOfBom, b'\n') | (Self::LineEndCr, b'\n') => Self::LineEnd,
            (_, b'\n') => Self::Between,
            (_, b'\r') => Self::BetweenCr,
            (Self::Beginning, byte) if byte == BOM[0] => Self::OneOfBom,
            (Self::OneOfBom, byte) if byte == BOM[1] => Self::TwoOfBom,
            (Self::TwoOfBom, byte) if byte == BOM[2] => Self::Between,
            _ => Self::Line,
        }
    }
}

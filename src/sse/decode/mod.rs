//! An event stream's events, as an `EventSource` dispatches them (WHATWG HTML, "Interpreting an event stream").
//!
//! For streams that are consumed. Owns the block under way and nothing else: no connection, no clock. What a connection's
//! end cuts off is discarded, as the chapter demands. Two things differ from a browser, both for bounds: an event that is
//! larger than the limit is left out and told, and an id that could not be sent back is none (see [`Position`]).
//!
//! Invariant: an [`Event`]'s block has ended, and its id is the [position](Decoder::position)'s.

#[cfg(test)]
mod tests;

use super::field::{Field, Token};
use super::position::Position;

/// The limit of an event, in bytes, where nothing else is said: 1 MiB.
pub const DEFAULT_LIMIT: usize = 1 << 20;

/// An event that a client would dispatch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its type; `None` (or an empty `event` field) means `message`.
    pub name: Option<String>,
    /// The values of its `data` fields, joined by LF. What is no UTF-8 is replaced by U+FFFD.
    pub data: String,
    /// The last event ID in force: the block's own, else that of an earlier one. `None` when there is none or it is not
    /// [known](Position::is_known).
    pub id: Option<String>,
}

/// What a stream gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An event.
    Event(Event),
    /// A block whose `data` and `event` values passed the limit, in its place. Its id and its reconnection time count.
    Oversize {
        /// The bytes of those values.
        bytes: u64,
    },
}

/// Decodes one feed, over as many connections as it takes.
#[derive(Debug, Clone)]
pub struct Decoder {
    limit: usize,
    position: Position,
    block: Block,
}

/// The block under way, as far as it has come.
#[derive(Debug, Clone, Default)]
struct Block {
    /// The bytes of its values, held or, past the limit, dropped.
    bytes: u64,
    data: Vec<u8>,
    /// The value of the last `event` line.
    name: Vec<u8>,
    /// The value of the `event` line under way.
    next_name: Vec<u8>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT, None)
    }
}

impl Decoder {
    /// A decoder that goes on behind the event `last_id`, and holds at most `limit` bytes of an event: the values of
    /// its `data` and `event` fields together, with a line end for each `data`.
    #[must_use]
    pub fn new(limit: usize, last_id: Option<Vec<u8>>) -> Self {
        Self {
            limit,
            position: Position::new(last_id),
            block: Block::default(),
        }
    }

    /// A decoder that goes on where another left off.
    #[must_use]
    pub fn going_on(limit: usize, position: Position) -> Self {
        Self {
            limit,
            position,
            block: Block::default(),
        }
    }

    /// The next item of `data`, which shrinks to what lies behind it. `None` when all of `data` was taken in.
    pub fn next(&mut self, data: &mut &[u8]) -> Option<Item> {
        while let Some(token) = self.position.next(data) {
            match token {
                Token::Part(field, part) => self.block.push(field, part, self.limit),
                Token::End(field) => self.block.end(field, self.limit),
                Token::Block => {
                    let block = std::mem::take(&mut self.block);
                    if let Some(item) = self.dispatch(block) {
                        return Some(item);
                    }
                }
            }
        }
        None
    }

    /// Where the feed stands: the id to go on from, and the reconnection time that it asked for.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Discards the block under way: the connection has ended, and the feed goes on on another one.
    pub fn begin_again(&mut self) {
        self.position.forget_half();
        self.block = Block::default();
    }

    fn dispatch(&self, block: Block) -> Option<Item> {
        if !block.fits(self.limit) {
            return Some(Item::Oversize { bytes: block.bytes });
        }
        let mut data = block.data;
        // Each `data` field left a line end: without one there was no field, and nothing is dispatched.
        data.pop()?;
        let name = text(block.name);
        let id = self.position.last_id();
        Some(Item::Event(Event {
            name: (!name.is_empty()).then_some(name),
            data: text(data),
            id: id.map(|id| text(id.to_vec())),
        }))
    }
}

impl Block {
    fn push(&mut self, field: Field, part: &[u8], limit: usize) {
        if matches!(field, Field::Id | Field::Retry) {
            return;
        }
        self.bytes = self.bytes.saturating_add(part.len() as u64);
        if !self.fits(limit) {
            *self = Self {
                bytes: self.bytes,
                ..Self::default()
            };
            return;
        }
        let value = match field {
            Field::Data => &mut self.data,
            _ => &mut self.next_name,
        };
        value.extend_from_slice(part);
    }

    fn end(&mut self, field: Field, limit: usize) {
        match field {
            Field::Data => self.push(field, b"\n", limit),
            Field::Event => self.name = std::mem::take(&mut self.next_name),
            Field::Id | Field::Retry => {}
        }
    }

    const fn fits(&self, limit: usize) -> bool {
        self.bytes <= limit as u64
    }
}

/// Decodes a value as the stream is decoded: what is no UTF-8 becomes U+FFFD. A value lies between ASCII bytes, so it
/// decodes the same by itself.
fn text(value: Vec<u8>) -> String {
    String::from_utf8(value)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

//! What an `EventSource` would know after the blocks that it got: where to go on after a break.
//!
//! Follows a stream that passes through without holding it: of a value no more is kept than an id of [`MAX_ID`] bytes.
//!
//! Invariant: what [`Position::last_id`] says was committed by a whole block. An id in a block that never ended is not
//! known to the client, so a stream taken up behind it would lose that block.

use std::time::Duration;

use super::field::{Field, Fields, Token};

/// The longest id in bytes that can be gone on from.
pub const MAX_ID: usize = 1024;

/// The longest reconnection time that is believed.
pub const MAX_RETRY: Duration = Duration::from_hours(1);

/// Follows an event stream and knows the last event ID and the reconnection time.
#[derive(Debug, Clone)]
pub struct Position {
    fields: Fields,
    /// The id as of the last whole block.
    committed: Id,
    /// The id that the block under way gives itself.
    pending: Option<Id>,
    /// The value of the `id` line under way.
    value: Value,
    retry: Retry,
    reconnection: Option<Duration>,
    has_data: bool,
    has_dispatched: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Id {
    /// Empty: none.
    Known(Vec<u8>),
    /// Too long, or not to be sent in a header field.
    Unknown,
}

/// The value of an `id` line, as far as it has come.
#[derive(Debug, Clone, Default)]
struct Value {
    bytes: Vec<u8>,
    is_too_long: bool,
    has_nul: bool,
}

/// The value of a `retry` line, as far as it has come: `None` when there is no digit yet.
#[derive(Debug, Clone, Copy, Default)]
struct Retry {
    milliseconds: Option<u64>,
    is_broken: bool,
}

impl Position {
    /// The position of a client that came with `last_id` (its `Last-Event-ID`), or with none.
    #[must_use]
    pub fn new(last_id: Option<Vec<u8>>) -> Self {
        Self {
            fields: Fields::default(),
            committed: Id::of(last_id.unwrap_or_default()),
            pending: None,
            value: Value::default(),
            retry: Retry::default(),
            reconnection: None,
            has_data: false,
            has_dispatched: false,
        }
    }

    /// The same where the stream has already asked for a reconnection time.
    #[must_use]
    pub fn with_retry(self, reconnection: Option<Duration>) -> Self {
        let reconnection = reconnection.map(|time| time.min(MAX_RETRY));
        Self {
            reconnection,
            ..self
        }
    }

    /// Follows the stream's next bytes, however it is split.
    pub fn follow(&mut self, mut data: &[u8]) {
        while self.next(&mut data).is_some() {}
    }

    /// Takes notice of the next token of `data`, which shrinks to what lies behind it. A block has taken its effect
    /// when its end is told.
    pub(super) fn next<'d>(&mut self, data: &mut &'d [u8]) -> Option<Token<'d>> {
        let token = self.fields.next(data)?;
        match token {
            Token::Part(Field::Id, part) => self.value.push(part),
            Token::Part(Field::Retry, part) => self.retry.push(part),
            Token::End(Field::Id) => self.end_id(),
            Token::End(Field::Retry) => self.end_retry(),
            Token::End(Field::Data) => self.has_data = true,
            Token::Block => self.end_block(),
            Token::Part(Field::Data | Field::Event, _) | Token::End(Field::Event) => {}
        }
        Some(token)
    }

    /// The last event ID, as the last whole block left it, fit for a `Last-Event-ID` header field. `None` when there is
    /// none, and when it is not [known](Self::is_known).
    #[must_use]
    pub fn last_id(&self) -> Option<&[u8]> {
        match &self.committed {
            Id::Known(id) if !id.is_empty() => Some(id),
            Id::Known(_) | Id::Unknown => None,
        }
    }

    /// Whether the last event ID is known: false after one that is longer than [`MAX_ID`] or has a control character,
    /// until a later block gives another. A stream cannot be taken up from there.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.committed != Id::Unknown
    }

    /// The reconnection time that the stream gave last, at most [`MAX_RETRY`]. It counts at once, not from the block's
    /// end.
    #[must_use]
    pub fn retry(&self) -> Option<Duration> {
        self.reconnection
    }

    /// Whether a whole block dispatched an event or gave an id (an empty one too): a client that gets the stream from
    /// its beginning again would see something twice.
    #[must_use]
    pub fn has_dispatched(&self) -> bool {
        self.has_dispatched
    }

    /// Forgets what was followed since the last boundary: the stream broke there, and begins anew on another
    /// connection. A byte order mark may lead again.
    pub fn forget_half(&mut self) {
        self.fields = Fields::default();
        self.pending = None;
        self.value = Value::default();
        self.retry = Retry::default();
        self.has_data = false;
    }

    fn end_id(&mut self) {
        let value = std::mem::take(&mut self.value);
        // An id with NUL is as if it were not there, even when it is too long.
        if value.has_nul {
            return;
        }
        self.pending = Some(if value.is_too_long {
            Id::Unknown
        } else {
            Id::of(value.bytes)
        });
    }

    fn end_retry(&mut self) {
        let retry = std::mem::take(&mut self.retry);
        if let (Some(milliseconds), false) = (retry.milliseconds, retry.is_broken) {
            self.reconnection = Some(Duration::from_millis(milliseconds).min(MAX_RETRY));
        }
    }

    fn end_block(&mut self) {
        self.has_dispatched |= self.has_data || self.pending.is_some();
        self.has_data = false;
        if let Some(id) = self.pending.take() {
            self.committed = id;
        }
    }
}

impl Id {
    fn of(bytes: Vec<u8>) -> Self {
        let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
        if bytes.len() > MAX_ID || bytes.iter().any(is_control) {
            return Self::Unknown;
        }
        Self::Known(bytes)
    }
}

impl Value {
    fn push(&mut self, part: &[u8]) {
        self.has_nul |= memchr::memchr(0, part).is_some();
        self.is_too_long |= self.bytes.len() + part.len() > MAX_ID;
        if self.is_too_long {
            self.bytes = Vec::new();
            return;
        }
        self.bytes.extend_from_slice(part);
    }
}

impl Retry {
    fn push(&mut self, part: &[u8]) {
        for byte in part {
            if !byte.is_ascii_digit() {
                self.is_broken = true;
                return;
            }
            let digits = self.milliseconds.unwrap_or(0);
            let digits = digits
                .saturating_mul(10)
                .saturating_add((byte - b'0').into());
            self.milliseconds = Some(digits);
        }
    }
}

#[cfg(test)]
mod tests;

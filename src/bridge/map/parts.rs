//! The parts of a message that a mapping asks for, and whether all that it expects was there.
//!
//! Invariant: a message is parsed once at most, and not before a part is asked for.

use std::borrow::Cow;

use crate::json::{Json, Pointer};

/// A key or a filter's value that is longer is none: what is kept for each of them is bounded.
pub(super) const LONGEST_VALUE: usize = 256;

/// A message's parts. It is parsed when the first one is asked for.
pub(super) struct Parts<'a> {
    text: &'a str,
    json: Option<Option<Json<'a>>>,
    /// Something that the mapping expects is not there.
    pub(super) is_amiss: bool,
}

impl<'a> Parts<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            json: None,
            is_amiss: false,
        }
    }

    /// The part at `pointer`; the message is amiss when it is no JSON.
    pub(super) fn find(&mut self, pointer: &Pointer) -> Option<Json<'a>> {
        let json = *self.json.get_or_insert_with(|| Json::parse(self.text));
        self.is_amiss |= json.is_none();
        json?.at(pointer).filter(|part| !part.is_null())
    }

    /// The same; the message is amiss when it is not there, too.
    pub(super) fn part(&mut self, pointer: &Pointer) -> Option<Json<'a>> {
        let part = self.find(pointer);
        self.is_amiss |= part.is_none();
        part
    }

    /// The part as a short text.
    pub(super) fn value(&mut self, pointer: &Pointer) -> Option<Cow<'a, str>> {
        let value = self.part(pointer).map(Json::text);
        let value = value.filter(|value| value.len() <= LONGEST_VALUE);
        self.is_amiss |= value.is_none();
        value
    }
}

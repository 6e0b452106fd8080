//! `event`, `filter`, `key` and the like of a bridge: what becomes of a feed's messages.

use toml::Spanned;
use toml::de::DeValue;

use crate::config::model::{self, Binary, Newline, Start};
use crate::config::schema::decode::{Decode, Reader, mismatch};
use crate::config::schema::form::Form;
use crate::config::schema::scalar::{Integer, OneOf, Refusal, Scalar, Word};
use crate::config::schema::table::{Table, table};
use crate::config::units::{DAY, KIB, MIB, Period, Size};
use crate::json;
use crate::sse::encode::is_event_name;

table! {
    /// `event = { … }`: what of a message becomes the event.
    Event, "`event` of a `[bridge.NAME]`", "a table, `event = { … }`" {
        /// The event's name: a word, or where it is in a JSON message, `"/type"`. A name that is not made of up to 64 letters,
        /// digits, `_`, `.`, `:` and `-`, or that browsers or streamgate use, is left out. Default: events have no name.
        name: EventName,
        /// The part of a JSON message that is sent, `"/payload"`; a string there without its quotes. A message that has no such
        /// part is sent whole. Default: the whole message.
        data: Pointer,
    }
}

table! {
    /// `filter = { … }`: each client chooses by its query, `?symbol=A&symbol=B`.
    Filter, "`filter` of a `[bridge.NAME]`", "a table, `filter = { … }`" {
        /// The parameter's name. A client without it gets all messages. Required.
        query: Parameter,
        /// Where the value is in a JSON message, `"/symbol"`; messages without it go to clients without a filter only. Required.
        pointer: Pointer,
    }
}

table! {
    /// `snapshot = { … }`: how much is kept of what is newest for each key.
    Snapshot, "`snapshot` of a `[bridge.NAME]`", "a table, `snapshot = { … }`" {
        /// Keys; beyond, those that changed the longest ago are forgotten. Default `10000`.
        keys: Integer<1, 10_000_000>,
        /// Bytes of their events. Default `"16MiB"`.
        bytes: Size<KIB, { 1024 * MIB }>,
    }
}

/// A JSON pointer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pointer(pub(crate) json::Pointer);

impl Scalar for Pointer {
    const EXPECTED: &'static str = "a JSON pointer such as \"/symbol\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Err(Refusal::malformed("it is empty"));
        }
        json::Pointer::parse(text)
            .map(Self)
            .map_err(|error| Refusal::malformed(error.to_string()))
    }
}

/// The name of events, or where it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct EventName(pub(crate) model::EventName);

impl Scalar for EventName {
    const EXPECTED: &'static str = "an event's name such as \"tick\" or \"/type\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.starts_with('/') {
            return Pointer::parse(text).map(|pointer| Self(model::EventName::At(pointer.0)));
        }
        if !is_event_name(text) {
            return Err(Refusal::malformed(
                "it has 1 to 64 letters, digits, `_`, `.`, `:` or `-`, and is not `open`, `error`, `message` or `streamgate.*`",
            ));
        }
        Ok(Self(model::EventName::Fixed(text.to_owned())))
    }
}

/// The name of a parameter in a query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Parameter(pub(crate) String);

impl Scalar for Parameter {
    const EXPECTED: &'static str = "a parameter's name such as \"symbol\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(Refusal::malformed(
                "it is made of letters, digits, `_`, `.` and `-`",
            ));
        }
        let taken = [
            "lastEventId",
            "last_event_id",
            "evs_last_event_id",
            "after",
            "session",
            "ticket",
        ];
        if taken.contains(&text) {
            return Err(Refusal::malformed("it has a meaning of its own"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl Word for Newline {
    const EXPECTED: &'static str = "a form for line ends";
    const WORDS: &'static [(&'static str, Self)] =
        &[("split", Newline::Split), ("json", Newline::Json)];
}

impl Word for Binary {
    const EXPECTED: &'static str = "a form for binary messages";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("base64", Binary::Base64),
        ("utf8", Binary::Utf8),
        ("envelope", Binary::Envelope),
        ("reject", Binary::Reject),
    ];
}

impl Word for Start {
    const EXPECTED: &'static str = "a place to start";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("live", Start::Live),
        ("snapshot", Start::Snapshot),
        ("replay", Start::Replay),
        ("earliest", Start::Earliest),
    ];
}

/// A word, or how much of the past.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StartAt(pub(crate) Start);

impl Decode for StartAt {
    const EXPECTED: &'static str = "a place to start: a word, or `{ replay = 100 }`";

    fn form() -> Form {
        Form::Either(vec![<OneOf<Start> as Decode>::form(), StartTable::form()])
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(_) => OneOf::decode(value, reader).map(|OneOf(start)| Self(start)),
            DeValue::Table(_) => {
                let table = StartTable::decode(value, reader)?;
                if table.replay.is_absent() && !table.has_unknown_key() {
                    let message = "`start` has no `replay`: how many events, or how old";
                    reader.diagnostics.error(table.place(), message);
                }
                table.replay.value().map(|past| Self(past.0))
            }
            _ => {
                mismatch(value, Self::EXPECTED, reader);
                None
            }
        }
    }
}

table! {
    /// `start = { … }`: a part of what is kept.
    StartTable, "`start` of a `[bridge.NAME]`", "a table, `start = { replay = 100 }`" {
        /// So many events, `100`, or those that are not older, `"5m"`.
        replay: Past,
    }
}

/// A part of the past, by count or by age.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Past(Start);

impl Decode for Past {
    const EXPECTED: &'static str = "a number of events, or a duration such as \"5m\"";

    fn form() -> Form {
        Form::Either(vec![
            Integer::<1, 10_000_000>::form(),
            <Period<100, { 30 * DAY }> as Decode>::form(),
        ])
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Integer(_) => Integer::<1, 10_000_000>::decode(value, reader)
                .map(|count| Self(Start::Newest(count.0))),
            DeValue::String(_) => Period::<100, { 30 * DAY }>::decode(value, reader)
                .map(|age| Self(Start::Recent(age.0))),
            _ => {
                mismatch(value, Self::EXPECTED, reader);
                None
            }
        }
    }
}

//! From a feed's message to an event, as the bridge's [`Mapping`] says.
//!
//! A message that is not what the mapping expects (no JSON, no such part) is never dropped for it: it is sent whole, and
//! counted. Only `binary = "reject"` drops. Whatever is in a message, it can end neither a field nor the event.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::time::Instant;

use crate::bridge::channel::Channel;
use crate::bridge::counts::Counts;
use crate::bridge::cursor::EventId;
use crate::bridge::log::{Kind, Note, Writer};
use crate::config::model::{Binary, EventName, Mapping, Newline};
use crate::json::{Json, Pointer};
use crate::sse::encode::{self, is_event_name};

use super::envelope::envelope;
use super::parts::Parts;

/// What a feed sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
    /// An event of a feed that has names for its events. A name that a client must not see is left out.
    Event {
        /// The event's name.
        name: &'a str,
        /// Its data.
        text: &'a str,
    },
}

/// Appends a feed's message to its channel's log, and returns its number; `None`, when the bridge has no event for it.
pub fn append(
    writer: &mut Writer,
    now: Instant,
    channel: &Channel,
    message: Message<'_>,
) -> Option<u64> {
    let mapped = Mapped::of(message, channel.mapping(), channel.counts())?;
    let note = mapped.note();
    Some(writer.append(now, note, |seq, out| mapped.encode(channel.id(seq), out)))
}

/// A message, ready to be encoded.
#[derive(Debug, PartialEq, Eq)]
pub struct Mapped<'a> {
    kind: Kind,
    name: Option<Cow<'a, str>>,
    data: Data<'a>,
    key: Option<Cow<'a, str>>,
    tag: Option<Cow<'a, str>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Data<'a> {
    Text(Cow<'a, str>),
    Base64(&'a [u8]),
}

impl<'a> Mapped<'a> {
    /// What `mapping` makes of a message; `None`, when it leaves it out. What was not as expected is counted.
    #[must_use]
    pub fn of(message: Message<'a>, mapping: &Mapping, counts: &Counts) -> Option<Self> {
        match message {
            Message::Text(text) => Some(Self::text(None, text, mapping, counts)),
            Message::Event { name, text } => Some(Self::text(Some(name), text, mapping, counts)),
            Message::Binary(bytes) => Self::binary(bytes, mapping, counts),
        }
    }

    fn text(given: Option<&'a str>, text: &'a str, mapping: &Mapping, counts: &Counts) -> Self {
        let mut parts = Parts::new(text);
        let name = match &mapping.name {
            Some(EventName::Fixed(name)) => Some(Cow::Owned(name.clone())),
            // Not every message needs a name of its own; one that may not be used is left out.
            Some(EventName::At(pointer)) => parts.find(pointer).map(Json::text),
            None => None,
        };
        let name = name
            .or(given.map(Cow::Borrowed))
            .filter(|name| is_event_name(name));
        let data = match &mapping.data {
            Some(pointer) => parts.part(pointer).map_or(Cow::Borrowed(text), Json::text),
            None => Cow::Borrowed(text),
        };
        let mut value =
            |pointer: Option<&Pointer>| pointer.and_then(|pointer| parts.value(pointer));
        let key = value(mapping.key.as_ref());
        let tag = value(mapping.filter.as_ref().map(|filter| &filter.pointer));
        if parts.is_amiss {
            counts.unmapped.add();
        }
        let data = match (mapping.envelope, mapping.newline) {
            (true, _) => Cow::Owned(envelope("text", &data)),
            (false, Newline::Json) => Cow::Owned(json(&data)),
            (false, Newline::Split) => data,
        };
        Self {
            kind: Kind::Message,
            name,
            data: Data::Text(data),
            key,
            tag,
        }
    }

    fn binary(bytes: &'a [u8], mapping: &Mapping, counts: &Counts) -> Option<Self> {
        let whole = |kind, name: Option<&'a str>, data| Self {
            kind,
            name: name.map(Cow::Borrowed),
            data,
            key: None,
            tag: None,
        };
        let wrapped = || Data::Text(Cow::Owned(envelope("binary", &STANDARD.encode(bytes))));
        let base64 = || whole(Kind::Binary, Some("binary"), Data::Base64(bytes));
        Some(match mapping.binary {
            Binary::Reject => {
                counts.rejected.add();
                return None;
            }
            Binary::Utf8 => match std::str::from_utf8(bytes) {
                Ok(text) => Self::text(None, text, mapping, counts),
                Err(_) if mapping.envelope => whole(Kind::Message, Some("binary"), wrapped()),
                Err(_) => {
                    counts.unmapped.add();
                    base64()
                }
            },
            Binary::Envelope => whole(Kind::Message, Some("binary"), wrapped()),
            Binary::Base64 if mapping.envelope => whole(Kind::Message, None, wrapped()),
            Binary::Base64 => base64(),
        })
    }

    /// What the log keeps of it besides its bytes.
    #[must_use]
    pub fn note(&self) -> Note {
        let verbatim = match &self.data {
            Data::Text(text) if text.contains('\r') => Some(Box::from(&**text)),
            Data::Text(_) | Data::Base64(_) => None,
        };
        Note {
            kind: self.kind,
            key: self.key.as_deref().map(Arc::from),
            tag: self.tag.as_deref().map(Box::from),
            verbatim,
        }
    }

    /// Encodes it as one event.
    pub fn encode(&self, id: EventId, out: &mut Vec<u8>) {
        id.write(out);
        if let Some(name) = &self.name {
            encode::event(name, out);
        }
        match &self.data {
            Data::Text(text) => encode::data(text.as_bytes(), out),
            Data::Base64(bytes) => base64_data(bytes, out),
        }
        encode::end(out);
    }
}

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

/// A `data` field with `bytes` in base64, written in place.
fn base64_data(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    let start = out.len();
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    let written = STANDARD
        .encode_slice(bytes, &mut out[start..])
        .expect("base64 needs four bytes for each three, begun ones included");
    out.truncate(start + written);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::cursor::Epoch;
    use crate::config::model::FilterRule;
    use crate::sse::encode::tests::{Decoded, decode};

    const ID: u64 = 7;

    fn pointer(text: &str) -> Option<Pointer> {
        Some(Pointer::parse(text).unwrap())
    }

    fn mapped(message: Message<'_>, mapping: &Mapping) -> (Decoded, Note, u64) {
        let counts = Counts::default();
        let mapped = Mapped::of(message, mapping, &counts).unwrap();
        let (epoch, mut out) = (Epoch::random(), Vec::new());
        let id = EventId { epoch, seq: ID };
        mapped.encode(id, &mut out);
        let mut decoded = decode(&out);
        assert_eq!((decoded.len(), &decoded[0].id), (1, &id.to_string()));
        (decoded.remove(0), mapped.note(), counts.unmapped.count())
    }

    #[test]
    fn each_kind_of_message_becomes_one_event() {
        let table = [
            (Message::Text(r#"{"a":1}"#), "", r#"{"a":1}"#),
            (Message::Text(""), "", ""),
            (Message::Text("a\r\nb\n"), "", "a\nb\n"),
            (
                Message::Event {
                    name: "tick",
                    text: "a",
                },
                "tick",
                "a",
            ),
            (
                Message::Event {
                    name: "error",
                    text: "a",
                },
                "",
                "a",
            ),
            (Message::Binary(&[0xff, 0, 1]), "binary", "/wAB"),
            (Message::Binary(b"ab"), "binary", "YWI="),
            (Message::Binary(b""), "binary", ""),
        ];
        for (sent, event, data) in table {
            let (decoded, note, unmapped) = mapped(sent, &Mapping::default());
            assert_eq!((&*decoded.event, &*decoded.data), (event, data));
            assert_eq!((note.key, note.tag, unmapped), (None, None, 0));
        }
    }

    #[test]
    fn a_name_is_fixed_or_in_the_message_and_otherwise_left_out() {
        let at = EventName::At(Pointer::parse("/type").unwrap());
        let fixed = EventName::Fixed("tick".into());
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(65));
        let table = [
            (&fixed, "no JSON", "tick", 0),
            (&at, r#"{"type":"a.b:c-1_"}"#, "a.b:c-1_", 0),
            (&at, r#"{"type":5}"#, "5", 0),
            (&at, r#"{"type":"open"}"#, "", 0),
            (&at, r#"{"type":"streamgate.gap"}"#, "", 0),
            (&at, r#"{"type":"a\ndata: forged"}"#, "", 0),
            (&at, r#"{"type":null}"#, "", 0),
            (&at, &long, "", 0),
            (&at, r#"{}"#, "", 0),
            (&at, "no JSON", "", 1),
        ];
        for (name, text, expected, unmapped) in table {
            let mapping = Mapping {
                name: Some(name.clone()),
                ..Mapping::default()
            };
            let (decoded, _, counted) = mapped(Message::Text(text), &mapping);
            assert_eq!((&*decoded.event, &*decoded.data), (expected, text));
            assert_eq!(counted, unmapped, "{text}");
        }
    }

    #[test]
    fn a_part_is_sent_alone_and_a_message_without_it_whole() {
        let mapping = Mapping {
            data: pointer("/payload"),
            ..Mapping::default()
        };
        let table = [
            (r#"{"payload":{"a": 1},"b":2}"#, r#"{"a": 1}"#, 0),
            (r#"{"payload":"a\r\nb"}"#, "a\nb", 0),
            (r#"{"b":2}"#, r#"{"b":2}"#, 1),
            ("{", "{", 1),
        ];
        for (text, data, unmapped) in table {
            let (decoded, _, counted) = mapped(Message::Text(text), &mapping);
            assert_eq!((&*decoded.data, counted), (data, unmapped));
        }
    }

    #[test]
    fn line_ends_survive_where_they_are_to() {
        let mapping = Mapping {
            newline: Newline::Json,
            ..Mapping::default()
        };
        let (decoded, note, _) = mapped(Message::Text("a\r\nb\r"), &mapping);
        assert_eq!((&*decoded.data, note.verbatim), (r#""a\r\nb\r""#, None));
        let (_, note, _) = mapped(Message::Text("a\rb"), &Mapping::default());
        assert_eq!(note.verbatim.as_deref(), Some("a\rb"));
    }

    #[test]
    fn an_envelope_says_what_it_holds_and_when_it_came() {
        let enveloped = |envelope, binary, sent, event: &str, kind, data| {
            let mapping = Mapping {
                envelope,
                binary,
                ..Mapping::default()
            };
            let (decoded, note, _) = mapped(sent, &mapping);
            let json: serde_json::Value = serde_json::from_str(&decoded.data).unwrap();
            assert_eq!((&json["type"], &json["data"]), (&kind, &data));
            assert!(json["time"].as_u64().unwrap() > 1_600_000_000_000);
            assert_eq!((&*decoded.event, note.kind), (event, Kind::Message));
        };
        let (text, bytes) = (Message::Text("a\nb"), Message::Binary(b"ab"));
        let value = |text: &str| serde_json::Value::from(text);
        enveloped(true, Binary::Base64, text, "", value("text"), value("a\nb"));
        enveloped(
            true,
            Binary::Base64,
            bytes,
            "",
            value("binary"),
            value("YWI="),
        );
        enveloped(
            false,
            Binary::Envelope,
            bytes,
            "binary",
            value("binary"),
            value("YWI="),
        );
        enveloped(true, Binary::Utf8, bytes, "", value("text"), value("ab"));
    }

    #[test]
    fn binary_messages_become_what_is_asked_for() {
        let mapping = |binary| Mapping {
            binary,
            ..Mapping::default()
        };
        let (decoded, note, _) = mapped(Message::Binary("ü".as_bytes()), &mapping(Binary::Utf8));
        assert_eq!((&*decoded.event, &*decoded.data), ("", "ü"));
        assert_eq!(note.kind, Kind::Message);
        let (decoded, note, counted) = mapped(Message::Binary(&[0xff]), &mapping(Binary::Utf8));
        assert_eq!((&*decoded.event, &*decoded.data), ("binary", "/w=="));
        assert_eq!((note.kind, counted), (Kind::Binary, 1));
        let counts = Counts::default();
        let rejected = Mapped::of(Message::Binary(b"x"), &mapping(Binary::Reject), &counts);
        assert_eq!((rejected, counts.rejected.count()), (None, 1));
    }

    #[test]
    fn key_and_tag_are_short_values_of_the_message() {
        let filter = FilterRule {
            query: "symbol".into(),
            pointer: Pointer::parse("/symbol").unwrap(),
        };
        let mapping = Mapping {
            key: pointer("/id"),
            filter: Some(filter),
            ..Mapping::default()
        };
        let long = format!(r#"{{"id":"{}","symbol":"A"}}"#, "x".repeat(257));
        let table = [
            (r#"{"id":5,"symbol":"A\u0042"}"#, Some("5"), Some("AB"), 0),
            (r#"{"id":null,"symbol":"A"}"#, None, Some("A"), 1),
            (&long, None, Some("A"), 1),
            ("text", None, None, 1),
        ];
        for (text, key, tag, unmapped) in table {
            let (_, note, counted) = mapped(Message::Text(text), &mapping);
            assert_eq!((note.key.as_deref(), note.tag.as_deref()), (key, tag));
            assert_eq!(counted, unmapped);
        }
    }
}

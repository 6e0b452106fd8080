//! The forms of an event: how its bytes look to each kind of client.
//!
//! All are made from the event as SSE, which [`crate::sse::encode`] wrote: so all clients are told the same.

use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Version;
use serde::Serialize;

use crate::websocket::boundary::Opcode;
use crate::websocket::deflate;

use super::budget::Account;
use super::event::Kind;

/// How the events are written to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// SSE in HTTP/1.1 chunks, one an event (RFC 9112 §7.1).
    SseChunked,
    /// SSE without framing: HTTP/2 has its own, HTTP/1.0 ends with the connection.
    SsePlain,
    /// `{"event":…,"id":…,"data":…}`, for a long poll. A part of [`Form::WsJson`].
    Json,
    /// The same as one WebSocket text frame (RFC 6455 §5.6), for the subprotocol `streamgate.v1.json`.
    WsJson,
    /// The data alone as one WebSocket frame, for `streamgate.v1.raw`: text, or the bytes of a binary message. Only
    /// messages of the feed have it.
    WsRaw,
    /// [`Form::WsJson`] compressed (RFC 7692) where that is shorter, for clients that agreed to it.
    WsJsonDeflated,
    /// [`Form::WsRaw`] compressed in the same way.
    WsRawDeflated,
}

impl Form {
    /// The form of an event stream for a client of this version on a socket of its own (RFC 9112 §7.1).
    #[must_use]
    pub fn for_version(version: Version) -> Self {
        if version > Version::HTTP_10 {
            Self::SseChunked
        } else {
            Self::SsePlain
        }
    }
}

/// Forms that are made when they are asked for.
#[derive(Debug)]
pub(super) struct Forms {
    /// The log's, which is charged with what is made, for as long as it is there.
    account: Arc<Account>,
    json: OnceLock<Bytes>,
    raw: OnceLock<Bytes>,
    json_deflated: OnceLock<Bytes>,
    raw_deflated: OnceLock<Bytes>,
}

impl Forms {
    pub(super) fn new(account: Arc<Account>) -> Self {
        Self {
            account,
            json: OnceLock::new(),
            raw: OnceLock::new(),
            json_deflated: OnceLock::new(),
            raw_deflated: OnceLock::new(),
        }
    }

    /// The form's bytes, made by `make` if this is the first that asks.
    pub(super) fn get(&self, form: Form, make: impl FnOnce() -> Bytes) -> &Bytes {
        match form {
            Form::WsRaw => &self.raw,
            Form::WsJsonDeflated => &self.json_deflated,
            Form::WsRawDeflated => &self.raw_deflated,
            _ => &self.json,
        }
        .get_or_init(|| {
            let made = make();
            self.account.charge(made.len() as u64);
            made
        })
    }
}

impl Drop for Forms {
    fn drop(&mut self) {
        let forms = [
            &self.json,
            &self.raw,
            &self.json_deflated,
            &self.raw_deflated,
        ];
        let made = forms.into_iter().filter_map(OnceLock::get);
        self.account
            .release(made.map(|form| form.len() as u64).sum());
    }
}

/// One event as JSON.
#[derive(Serialize)]
struct Object<'a> {
    event: &'a str,
    id: Option<&'a str>,
    data: &'a str,
}

/// `block`, an event as SSE from the one encoder, as one WebSocket frame. `verbatim` is the data where SSE has changed
/// its line ends. Nothing for what has no such form: a block without data, and in [`Form::WsRaw`] what is no message.
#[must_use]
pub fn encode(form: Form, kind: Kind, block: &[u8], verbatim: Option<&str>) -> Bytes {
    let fields = Fields::read(block);
    let Some(data) = fields.data.as_deref() else {
        return Bytes::new();
    };
    let data = verbatim.unwrap_or(data);
    match form {
        Form::WsRaw => match kind {
            Kind::Message => frame(Opcode::Text, data.as_bytes()),
            // What the mapping encoded is decoded without fault.
            Kind::Binary => frame(Opcode::Binary, &STANDARD.decode(data).unwrap_or_default()),
            Kind::Gap | Kind::Marker => Bytes::new(),
        },
        _ => {
            let object = Object {
                event: fields.event.unwrap_or("message"),
                id: fields.id,
                data,
            };
            let json = serde_json::to_vec(&object).expect("strings are JSON");
            frame(Opcode::Text, &json)
        }
    }
}

/// `plain`, a frame that [`frame`] made, with its payload compressed; itself, where that is not shorter.
#[must_use]
pub fn deflated(plain: &Bytes) -> Bytes {
    match (plain.first(), deflate::compress(payload(plain))) {
        (Some(first), Some(shorter)) => frame_of(first | COMPRESSED, &shorter),
        _ => plain.clone(),
    }
}

/// A whole message as one frame of a server (RFC 6455 §5.2): unmasked, final.
#[must_use]
pub fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
    frame_of(FINAL | opcode.bits(), payload)
}

/// FIN, and RSV1, which says that a message is compressed (RFC 7692 §6).
const FINAL: u8 = 0x80;
const COMPRESSED: u8 = 0x40;

fn frame_of(first: u8, payload: &[u8]) -> Bytes {
    let mut frame = Vec::with_capacity(payload.len() + 10);
    frame.push(first);
    match payload.len() {
        short @ 0..126 => frame.push(short as u8),
        medium @ 126..=0xffff => {
            frame.push(126);
            frame.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            frame.push(127);
            frame.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame.into()
}

/// The payload of a frame that [`frame`] made.
pub(super) fn payload(frame: &[u8]) -> &[u8] {
    let head = match frame.get(1) {
        None => 0,
        Some(126) => 4,
        Some(127) => 10,
        Some(_) => 2,
    };
    &frame[head..]
}

/// The fields of one block that the one encoder wrote: each line ends with LF, one space follows each colon but that of
/// an empty value.
#[derive(Debug, Default, PartialEq, Eq)]
struct Fields<'a> {
    id: Option<&'a str>,
    event: Option<&'a str>,
    data: Option<String>,
}

impl<'a> Fields<'a> {
    fn read(block: &'a [u8]) -> Self {
        let mut fields = Self::default();
        // The encoder is given `str`s and ASCII; anything else would be a block without fields.
        let block = std::str::from_utf8(block).unwrap_or_default();
        for line in block.split_terminator('\n') {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "id" => fields.id = Some(value),
                "event" => fields.event = Some(value),
                "data" => match &mut fields.data {
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                    empty => *empty = Some(value.to_owned()),
                },
                _ => {}
            }
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::websocket::boundary::{Boundary, Event, Extensions, Sender};

    const BLOCK: &[u8] = b"id: 0123456789-7\nevent: tick\ndata: a \"b\"\ndata: \n\n";

    fn text(form: Form, kind: Kind, block: &[u8], verbatim: Option<&str>) -> String {
        let frame = encode(form, kind, block, verbatim);
        String::from_utf8(payload(&frame).to_vec()).unwrap()
    }

    #[test]
    fn the_forms_say_what_the_block_says() {
        let json = r#"{"event":"tick","id":"0123456789-7","data":"a \"b\"\n"}"#;
        assert_eq!(text(Form::WsJson, Kind::Message, BLOCK, None), json);
        assert_eq!(text(Form::WsRaw, Kind::Message, BLOCK, None), "a \"b\"\n");
        assert_eq!(text(Form::WsRaw, Kind::Message, BLOCK, Some("\r")), "\r");
        let unnamed = r#"{"event":"message","id":null,"data":""}"#;
        assert_eq!(
            text(Form::WsJson, Kind::Message, b"data:\n\n", None),
            unnamed
        );
        let binary = encode(
            Form::WsRaw,
            Kind::Binary,
            b"event: binary\ndata: /wAB\n\n",
            None,
        );
        assert_eq!(binary, &[0x82, 3, 0xff, 0, 1][..]);
    }

    #[test]
    fn what_is_no_message_has_no_raw_form_and_what_has_no_data_none_at_all() {
        for kind in [Kind::Gap, Kind::Marker] {
            assert!(encode(Form::WsRaw, kind, BLOCK, None).is_empty());
            assert!(!encode(Form::WsJson, kind, BLOCK, None).is_empty());
        }
        for block in [&b"id: 0123456789-7\n\n"[..], b"retry: 5\n\n", b":\n\n"] {
            assert!(encode(Form::WsJson, Kind::Marker, block, None).is_empty());
        }
        assert_eq!(payload(b""), b"");
    }

    #[test]
    fn a_compressed_form_is_read_back_and_a_short_one_is_sent_as_it_is() {
        let long = frame(Opcode::Text, "tick ".repeat(100).as_bytes());
        let compressed = deflated(&long);
        assert_eq!(compressed[0], 0xc1);
        assert!(compressed.len() < long.len() / 4);
        let inflated = deflate::inflate(payload(&compressed), 1_000).unwrap();
        assert_eq!(inflated, payload(&long));
        let short = frame(Opcode::Text, b"tick");
        assert_eq!(deflated(&short).as_ptr(), short.as_ptr());
        assert!(deflated(&Bytes::new()).is_empty());
    }

    #[test]
    fn frames_of_every_length_are_sound() {
        for len in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
            let sent = vec![b'x'; len];
            let frame = frame(Opcode::Text, &sent);
            assert_eq!(payload(&frame), sent);
            let (mut boundary, mut rest) =
                (Boundary::new(Sender::Server, Extensions::None), &frame[..]);
            let head = boundary.next(&mut rest).unwrap();
            assert!(matches!(head, Some(Event::Head(_))), "{head:?}");
            let end = boundary.next(&mut rest).unwrap();
            assert!(matches!(end, Some(Event::End { .. })), "{end:?}");
            assert!(rest.is_empty());
        }
    }
}

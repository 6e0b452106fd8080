//! From a feed's message to an event, and what streamgate itself tells a subscriber.
//!
//! All of it goes through [`crate::sse::encode`]. Nothing here knows who reads it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::sse::encode;

use super::channel::Channel;
use super::cursor::{EventId, FinalId, Gap, Opening};

/// What a feed sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
}

/// Where a channel's feed stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Upstream {
    /// It was never open.
    Connecting,
    /// It is open.
    Up,
    /// It was open and is to be again.
    Reconnecting,
    /// Its task has ended: nothing will come any more.
    Gone,
}

/// Encodes a feed's message: text as it is, binary as `event: binary` in base64 on one line.
pub fn message(message: Message<'_>, id: EventId, out: &mut Vec<u8>) {
    id.write(out);
    match message {
        Message::Text(text) => encode::data(text.as_bytes(), out),
        Message::Binary(bytes) => {
            encode::event("binary", out);
            base64_data(bytes, out);
        }
    }
    encode::end(out);
}

/// Encodes a gap. `id` is the place just before the next event, so that the gap is told once.
pub fn gap(gap: Gap, id: EventId, out: &mut Vec<u8>) {
    let payload = match gap {
        Gap::Evicted { missed } => format!(r#"{{"reason":"evicted","missed":{missed}}}"#),
        Gap::Epoch => r#"{"reason":"epoch","missed":null}"#.to_owned(),
        Gap::Ahead => r#"{"reason":"ahead"}"#.to_owned(),
        Gap::BadId => r#"{"reason":"bad_id"}"#.to_owned(),
        Gap::Oversize { bytes } => format!(r#"{{"reason":"oversize","bytes":{bytes}}}"#),
        Gap::UpstreamReconnect { down_ms } => {
            format!(r#"{{"reason":"upstream_reconnect","down_ms":{down_ms}}}"#)
        }
    };
    id.write(out);
    own("streamgate.gap", &payload, out);
}

#[derive(Serialize)]
struct Open<'a> {
    channel: &'a str,
    resumed: bool,
    replay: u64,
    /// Only session mode has one.
    session: Option<String>,
}

/// Encodes `streamgate.open`, with the start cursor as its id.
pub fn open(channel: &Channel, opening: &Opening, id: EventId, out: &mut Vec<u8>) {
    let payload = Open {
        channel: channel.name(),
        resumed: opening.resumed,
        replay: opening.replay,
        session: channel.session().map(|session| session.id().to_string()),
    };
    let payload = serde_json::to_string(&payload).expect("strings, numbers and bools are JSON");
    id.write(out);
    own("streamgate.open", &payload, out);
}

/// Encodes `streamgate.status` about the feed. It has no id: it is not part of the log.
pub fn status(upstream: Upstream, out: &mut Vec<u8>) {
    let payload = match upstream {
        Upstream::Connecting => r#"{"upstream":"connecting"}"#,
        Upstream::Up => r#"{"upstream":"up"}"#,
        Upstream::Reconnecting | Upstream::Gone => r#"{"upstream":"reconnecting"}"#,
    };
    own("streamgate.status", payload, out);
}

/// Why a client's session is over, and it need not come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The feed closed it, with this code if there was a feed.
    Closed {
        /// RFC 6455 §7.4.
        code: Option<u16>,
    },
    /// Another client has it now.
    TakenOver,
}

/// Encodes `streamgate.status` for a session that is over. Its id is the last one.
pub fn over(over: Over, id: FinalId, out: &mut Vec<u8>) {
    let payload = match over {
        Over::Closed { code } => {
            let code = code.map_or("null".to_owned(), |code| code.to_string());
            format!(r#"{{"state":"ended","code":{code}}}"#)
        }
        Over::TakenOver => r#"{"state":"taken_over"}"#.to_owned(),
    };
    encode::id(id.to_string().as_bytes(), out);
    own("streamgate.status", &payload, out);
}

/// Encodes `streamgate.status` for a client that cannot be served now and is about to be sent away.
pub fn busy(out: &mut Vec<u8>) {
    own("streamgate.status", r#"{"state":"busy"}"#, out);
}

fn own(name: &str, payload: &str, out: &mut Vec<u8>) {
    encode::event(name, out);
    encode::data(payload.as_bytes(), out);
    encode::end(out);
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
    use crate::sse::encode::tests::{Decoded, decode};

    fn id() -> EventId {
        EventId {
            epoch: Epoch::random(),
            seq: 7,
        }
    }

    fn decoded(id: EventId, event: &str, data: &str) -> Vec<Decoded> {
        vec![Decoded {
            id: id.to_string(),
            event: event.into(),
            data: data.into(),
        }]
    }

    #[test]
    fn each_kind_of_message_becomes_one_event() {
        let table = [
            (Message::Text(r#"{"a":1}"#), "", r#"{"a":1}"#),
            (Message::Text("a\r\nb\n"), "", "a\nb\n"),
            (Message::Binary(&[0xff, 0, 1]), "binary", "/wAB"),
            (Message::Binary(b"ab"), "binary", "YWI="),
        ];
        for (sent, event, data) in table {
            let (id, mut out) = (id(), Vec::new());
            message(sent, id, &mut out);
            assert_eq!(decode(&out), decoded(id, event, data));
        }
    }

    #[test]
    fn empty_messages_are_events_too() {
        // The decoder's dispatch needs one data field, which an empty text has, too; its data is "".
        let (id, mut out) = (id(), Vec::new());
        message(Message::Text(""), id, &mut out);
        assert!(out.ends_with(b"\ndata:\n\n"));
        assert_eq!(decode(&out), decoded(id, "", ""));
        let mut out = Vec::new();
        message(Message::Binary(b""), id, &mut out);
        assert_eq!(decode(&out), decoded(id, "binary", ""));
    }

    #[test]
    fn gaps_say_what_is_known() {
        let table = [
            (
                Gap::Evicted { missed: 3 },
                r#"{"reason":"evicted","missed":3}"#,
            ),
            (Gap::Epoch, r#"{"reason":"epoch","missed":null}"#),
            (Gap::Ahead, r#"{"reason":"ahead"}"#),
            (Gap::BadId, r#"{"reason":"bad_id"}"#),
            (
                Gap::Oversize { bytes: 9 },
                r#"{"reason":"oversize","bytes":9}"#,
            ),
            (
                Gap::UpstreamReconnect { down_ms: 5 },
                r#"{"reason":"upstream_reconnect","down_ms":5}"#,
            ),
        ];
        for (told, data) in table {
            let (id, mut out) = (id(), Vec::new());
            gap(told, id, &mut out);
            assert_eq!(decode(&out), decoded(id, "streamgate.gap", data));
        }
    }

    #[test]
    fn status_carries_no_id_and_open_does() {
        let mut out = Vec::new();
        status(Upstream::Reconnecting, &mut out);
        assert!(!out.starts_with(b"id"));
        let opening = Opening {
            next: 8,
            gap: None,
            resumed: true,
            replay: 2,
        };
        let (id, mut out) = (id(), Vec::new());
        let log = crate::bridge::log::tests::writer(1).log();
        let (channel, _publishes) = Channel::new(String::new(), "a\"\n".into(), log);
        open(&channel, &opening, id, &mut out);
        let data = r#"{"channel":"a\"\n","resumed":true,"replay":2,"session":null}"#;
        assert_eq!(decode(&out), decoded(id, "streamgate.open", data));
    }
}

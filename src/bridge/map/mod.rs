//! From a feed's message to an event ([`append`]), and what streamgate itself tells a subscriber.
//!
//! All of it goes through [`crate::sse::encode`]. Nothing here knows who reads it.

mod envelope;
mod message;
mod parts;

use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::sse::encode;
pub use crate::sse::encode::is_event_name;

use super::channel::Channel;
use super::cursor::{EventId, FinalId, Gap, Opening};
use super::log::{Note, Writer};

pub use self::message::{Mapped, Message, append};

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
    /// It has said that it has ended. It is asked again when somebody comes.
    Ended,
    /// Its task has ended: nothing will come any more.
    Gone,
}

/// Appends a gap to a channel's log.
pub fn append_gap(writer: &mut Writer, channel: &Channel, told: Gap) -> u64 {
    channel.counts().gaps.add(told.into());
    writer.append(Instant::now(), Note::gap(), |seq, out| {
        gap(told, channel.id(seq), out);
    })
}

/// Encodes a gap. `id` is the place just before the next event, so that the gap is told once.
pub fn gap(gap: Gap, id: EventId, out: &mut Vec<u8>) {
    id.write(out);
    own("streamgate.gap", &gap_payload(gap), out);
}

/// What is told of a gap, as JSON.
#[must_use]
pub fn gap_payload(gap: Gap) -> String {
    match gap {
        Gap::Evicted { missed } => format!(r#"{{"reason":"evicted","missed":{missed}}}"#),
        Gap::Epoch => r#"{"reason":"epoch","missed":null}"#.to_owned(),
        Gap::Ahead => r#"{"reason":"ahead"}"#.to_owned(),
        Gap::BadId => r#"{"reason":"bad_id"}"#.to_owned(),
        Gap::Slow { missed } => match missed {
            Some(missed) => format!(r#"{{"reason":"slow","missed":{missed}}}"#),
            None => r#"{"reason":"slow","missed":null}"#.to_owned(),
        },
        Gap::Oversize { bytes } => format!(r#"{{"reason":"oversize","bytes":{bytes}}}"#),
        Gap::UpstreamReconnect { down_ms } => {
            format!(r#"{{"reason":"upstream_reconnect","down_ms":{down_ms}}}"#)
        }
    }
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
        Upstream::Ended => r#"{"upstream":"ended"}"#,
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

/// Encodes `streamgate.status` for a client that has to say anew who it is.
pub fn expired(out: &mut Vec<u8>) {
    own("streamgate.status", r#"{"state":"token_expired"}"#, out);
}

/// Encodes `streamgate.ping`: a heartbeat that a page can see, with the time in milliseconds after which the next is due.
pub fn ping(every: Duration, out: &mut Vec<u8>) {
    let payload = format!(r#"{{"interval":{}}}"#, every.as_millis());
    own("streamgate.ping", &payload, out);
}

fn own(name: &str, payload: &str, out: &mut Vec<u8>) {
    encode::event(name, out);
    encode::data(payload.as_bytes(), out);
    encode::end(out);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

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
                Gap::Slow { missed: Some(5) },
                r#"{"reason":"slow","missed":5}"#,
            ),
            (
                Gap::Slow { missed: None },
                r#"{"reason":"slow","missed":null}"#,
            ),
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
            is_snapshot: false,
        };
        let (id, mut out) = (id(), Vec::new());
        let log = crate::bridge::log::tests::writer(1).log();
        let (channel, _publishes) = Channel::new(
            String::new(),
            "a\"\n".into(),
            log,
            Arc::default(),
            Arc::default(),
        );
        open(&channel, &opening, id, &mut out);
        let data = r#"{"channel":"a\"\n","resumed":true,"replay":2,"session":null}"#;
        assert_eq!(decode(&out), decoded(id, "streamgate.open", data));
    }
}

//! Another's decoder of event streams, `eventsource-stream`, made to do what the WHATWG text says where it does not:
//!
//! - it cuts a leading byte order mark in the middle, and panics: the mark is taken off, and a comment put in front;
//! - it gives up at bytes that are no UTF-8: it gets them decoded, as the text has it;
//! - it holds a line that ended by CR until it knows whether an LF follows: a byte is put behind;
//! - it tells a reconnection time only with an event of the same block, takes `+5` for one, and none that is too large:
//!   the time is not asked of it for streams of any bytes.
#![allow(dead_code)]

use std::convert::Infallible;

use eventsource_stream::{Event, EventStream};
use futures_util::{FutureExt, StreamExt, stream};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// What a client dispatches of these bytes.
pub fn events(bytes: &[u8]) -> Vec<Event> {
    let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
    let text = format!(":\n{}:", String::from_utf8_lossy(bytes));
    let events = EventStream::new(stream::iter([Ok::<_, Infallible>(text)]));
    let events: Vec<_> = events
        .collect()
        .now_or_never()
        .expect("nothing is waited for");
    let events = events.into_iter();
    events
        .map(|event| event.expect("any text is an event stream"))
        .collect()
}

/// The last event ID behind these bytes, which end between two events.
pub fn last_id(bytes: &[u8]) -> String {
    let events = events(&[bytes, b"data\n\n"].concat());
    events.last().expect("one was put behind").id.clone()
}

/// Lines that have ended, by the definition.
pub fn lines(bytes: &[u8]) -> Vec<String> {
    let bytes = bytes.strip_prefix(BOM).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes)
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let mut lines: Vec<_> = text.split('\n').map(str::to_owned).collect();
    lines.pop();
    lines
}

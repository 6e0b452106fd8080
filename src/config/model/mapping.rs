//! What becomes of a feed's messages.

use crate::json::Pointer;

/// `event`, `envelope`, `newline`, `binary`, `key` and `filter` of a bridge: from a message to an event.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mapping {
    /// `event.name`; `None`: events have no name.
    pub name: Option<EventName>,
    /// `event.data`: the part of a message that is sent; `None`: the whole.
    pub data: Option<Pointer>,
    /// Whether each message is put into `{"type":…,"data":…,"time":…}`.
    pub envelope: bool,
    /// What becomes of the line ends of a text.
    pub newline: Newline,
    /// What becomes of a binary message.
    pub binary: Binary,
    /// What an event is about; a newer one about the same replaces it in a snapshot and where events are conflated.
    pub key: Option<Pointer>,
    /// Which clients get which events; `None`: all get all.
    pub filter: Option<FilterRule>,
}

/// Where an event's name comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventName {
    /// It is always this one.
    Fixed(String),
    /// It is at this place in the message.
    At(Pointer),
}

/// `newline`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Newline {
    /// A line of `data` for each line of the text: a client gets LF for whatever ended it.
    #[default]
    Split,
    /// The text as a JSON string, on one line: a client that parses it gets it as it was.
    Json,
}

/// `binary`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Binary {
    /// Base64 on one line (RFC 4648 §4), as an event `binary`.
    #[default]
    Base64,
    /// As a text message where it is UTF-8, else in base64.
    Utf8,
    /// `{"type":"binary","data":…,"time":…}` with the data in base64, as an event `binary`.
    Envelope,
    /// Left out, and counted.
    Reject,
}

/// `filter = { query, pointer }`: a client gets the messages whose value at the pointer is among its query's values.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterRule {
    /// The parameter's name.
    pub query: String,
    /// Where the value is.
    pub pointer: Pointer,
}

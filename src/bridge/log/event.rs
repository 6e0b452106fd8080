//! One event of a log: its bytes, what it is about, and its other forms.
//!
//! An event is encoded as SSE when it is appended. Each other form is made from that when the first client asks for it,
//! once for all clients. Invariant: a form, once made, never changes.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tokio::time::Instant;

use super::budget::Account;
use super::form::{self, Form, Forms};

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// A message of the feed; its data is text.
    #[default]
    Message,
    /// A message of the feed; its data is base64 of its bytes.
    Binary,
    /// A logged gap: it concerns every client, whatever its filter.
    Gap,
    /// Another word of streamgate's own that is part of the log, for every client.
    Marker,
}

impl Kind {
    /// Whether it came from the feed.
    #[must_use]
    pub fn is_message(self) -> bool {
        matches!(self, Self::Message | Self::Binary)
    }
}

/// What is known of an event besides its bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Note {
    /// What it is.
    pub kind: Kind,
    /// What it is about: a newer event with the same key replaces it in a snapshot and when events are conflated.
    pub key: Option<Arc<str>>,
    /// The value that filters are compared with.
    pub tag: Option<Box<str>>,
    /// The data as it was sent, where SSE does not keep it: it has a carriage return.
    pub verbatim: Option<Box<str>>,
}

impl Note {
    /// The note of a logged gap.
    #[must_use]
    pub fn gap() -> Self {
        Self::of(Kind::Gap)
    }

    /// A note without key and tag.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        Self {
            kind,
            ..Self::default()
        }
    }

    /// Bytes of it beside the event's own.
    fn bytes(&self) -> u64 {
        if self.is_plain() {
            return 0;
        }
        let key = self.key.as_ref().map_or(0, |key| key.len());
        let tag = self.tag.as_ref().map_or(0, |tag| tag.len());
        let verbatim = self.verbatim.as_ref().map_or(0, |text| text.len());
        (size_of::<Self>() + key + tag + verbatim) as u64
    }

    fn is_plain(&self) -> bool {
        self.key.is_none() && self.tag.is_none() && self.verbatim.is_none()
    }
}

/// An event, encoded.
#[derive(Debug)]
pub struct Event {
    framed: Bytes,
    /// Length of the chunk's head within `framed`.
    head: usize,
    /// Bytes of the log up to and with this event, since it began.
    pub(super) end: u64,
    pub(super) at: Instant,
    kind: Kind,
    /// `None`: nothing but the kind is known, as of most events without mapping.
    note: Option<Box<Note>>,
    forms: OnceLock<Box<Forms>>,
    account: Arc<Account>,
}

impl Event {
    /// An event of these bytes, a chunk whose head is `head` bytes long.
    pub(super) fn new(
        (framed, head): (Bytes, usize),
        end: u64,
        at: Instant,
        note: Note,
        account: Arc<Account>,
    ) -> Self {
        account.charge(note.bytes());
        Self {
            account,
            framed,
            head,
            end,
            at,
            kind: note.kind,
            note: (!note.is_plain()).then(|| Box::new(note)),
            forms: OnceLock::new(),
        }
    }

    /// The event as one HTTP chunk (RFC 9112 §7.1).
    #[must_use]
    pub fn framed(&self) -> &Bytes {
        &self.framed
    }

    /// The event without the chunk's framing, for HTTP/2 and HTTP/1.0: a part of [`Event::framed`].
    #[must_use]
    pub fn plain(&self) -> &[u8] {
        &self.framed[self.head..self.framed.len() - 2]
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What it is about.
    #[must_use]
    pub fn key(&self) -> Option<&Arc<str>> {
        self.note.as_ref()?.key.as_ref()
    }

    /// The value that filters are compared with.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.note.as_ref()?.tag.as_deref()
    }

    /// The data as it was sent, where SSE does not keep it.
    #[must_use]
    pub fn verbatim(&self) -> Option<&str> {
        self.note.as_ref()?.verbatim.as_deref()
    }

    /// When it was appended.
    #[must_use]
    pub fn at(&self) -> Instant {
        self.at
    }

    /// Its bytes in this form; none where a client that reads this form is not told of it.
    #[must_use]
    pub fn form(&self, form: Form) -> &[u8] {
        match form {
            Form::SseChunked => &self.framed,
            Form::SsePlain => self.plain(),
            Form::Json => form::payload(self.made(Form::WsJson)),
            _ => self.made(form),
        }
    }

    /// The buffer that [`Event::form`] is a part of, to slice it without a copy.
    #[must_use]
    pub fn owner(&self, form: Form) -> &Bytes {
        match form {
            Form::SseChunked | Form::SsePlain => &self.framed,
            Form::Json | Form::WsJson => self.made(Form::WsJson),
            _ => self.made(form),
        }
    }

    fn made(&self, form: Form) -> &Bytes {
        let verbatim = self.note.as_ref().and_then(|note| note.verbatim.as_deref());
        let new = || Box::new(Forms::new(self.account.clone()));
        let forms = self.forms.get_or_init(new);
        forms.get(form, || match form {
            Form::WsJsonDeflated => form::deflated(self.made(Form::WsJson)),
            Form::WsRawDeflated => form::deflated(self.made(Form::WsRaw)),
            _ => form::encode(form, self.kind, self.plain(), verbatim),
        })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        let note = self.note.as_ref();
        self.account.release(note.map_or(0, |note| note.bytes()));
    }
}

/// Which events of a channel a client gets: those whose tag is among its values, and all that are no messages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter(Box<[Box<str>]>);

impl Filter {
    /// A filter for any of `values`. Two of the same values are equal, whatever their order.
    #[must_use]
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut values: Vec<Box<str>> = values.into_iter().map(Box::from).collect();
        values.sort_unstable();
        values.dedup();
        Self(values.into())
    }

    /// Whether a client with this filter gets `event`.
    #[must_use]
    pub fn lets_pass(&self, event: &Event) -> bool {
        let is_wanted = |tag: &str| self.0.binary_search_by(|value| (**value).cmp(tag)).is_ok();
        !event.kind().is_message() || event.tag().is_some_and(is_wanted)
    }
}

//! An SSE client by the WHATWG chapter, written for the tests and sharing nothing with the program's own codec.

use std::collections::VecDeque;

use super::{Gate, H2Response, Head, TlsWire};

/// One event, as a page would get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `message` where the stream names none.
    pub name: String,
    /// The data, its lines joined by LF.
    pub data: String,
    /// The last event id when the event was dispatched.
    pub id: String,
}

impl Event {
    /// The data as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data)
            .unwrap_or_else(|_| panic!("the data of {self:?} is not JSON"))
    }
}

/// Whatever a stream says, also what a page does not get to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// An event is dispatched.
    Event(Event),
    /// A block without data has moved the last event id.
    Id(String),
    /// `retry:` in milliseconds.
    Retry(u64),
    /// A comment, without its colon.
    Comment(String),
}

/// Bytes to [`Heard`], however the bytes are split.
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    after_cr: bool,
    begun: bool,
    name: String,
    data: Vec<String>,
    id: String,
    id_in_block: bool,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8], heard: &mut VecDeque<Heard>) {
        for &byte in bytes {
            let lf_of_crlf = std::mem::replace(&mut self.after_cr, byte == b'\r') && byte == b'\n';
            if lf_of_crlf {
                continue;
            }
            if byte == b'\r' || byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                self.end_line(&line, heard);
                continue;
            }
            self.line.push(byte);
        }
    }

    fn end_line(&mut self, line: &[u8], heard: &mut VecDeque<Heard>) {
        let text = String::from_utf8_lossy(line);
        let mut line = text.as_ref();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            return self.end_block(heard);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" => heard.push_back(Heard::Comment(value.to_owned())),
            "event" => self.name = value.to_owned(),
            "data" => self.data.push(value.to_owned()),
            "id" if !value.contains('\0') => {
                self.id = value.to_owned();
                self.id_in_block = true;
            }
            "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                heard.extend(value.parse().ok().map(Heard::Retry));
            }
            _ => {}
        }
    }

    fn end_block(&mut self, heard: &mut VecDeque<Heard>) {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        let id_in_block = std::mem::take(&mut self.id_in_block);
        if data.is_empty() {
            if id_in_block {
                heard.push_back(Heard::Id(self.id.clone()));
            }
            return;
        }
        let name = if name.is_empty() {
            "message".to_owned()
        } else {
            name
        };
        heard.push_back(Heard::Event(Event {
            name,
            data: data.join("\n"),
            id: self.id.clone(),
        }));
    }
}

enum Source {
    Http1(Box<TlsWire>),
    Http2(H2Response),
}

/// A client with one open stream.
pub struct Subscriber {
    source: Source,
    parser: Parser,
    heard: VecDeque<Heard>,
    /// Every byte of the body so far.
    pub bytes: Vec<u8>,
    /// The last event id.
    pub cursor: String,
    /// The last `retry:`, in milliseconds.
    pub retry: Option<u64>,
}

impl Subscriber {
    /// Opens a stream over HTTP/1.1, as a page would, with a cursor where it comes back.
    pub async fn open(gate: &Gate, path: &str, cursor: Option<&str>) -> Self {
        let (head, wire) = Self::ask(gate, path, cursor).await;
        assert_eq!(head.status(), 200, "{head:?}");
        assert_eq!(
            head.get("content-type"),
            Some("text/event-stream"),
            "{head:?}"
        );
        Self::over(wire)
    }

    /// The same as far as the head, whatever it says.
    pub async fn ask(gate: &Gate, path: &str, cursor: Option<&str>) -> (Head, TlsWire) {
        let cursor = cursor.map(|id| format!("Last-Event-ID: {id}\r\n"));
        let cursor = cursor.unwrap_or_default();
        let mut wire = gate.tls().await;
        wire.send(format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\
             Cache-Control: no-cache\r\n{cursor}\r\n"
        ))
        .await;
        (wire.head().await, wire)
    }

    /// Reads the body of a response whose head has come.
    pub fn over(wire: TlsWire) -> Self {
        Self::new(Source::Http1(Box::new(wire)))
    }

    /// The same over HTTP/2.
    pub fn over_h2(response: H2Response) -> Self {
        Self::new(Source::Http2(response))
    }

    fn new(source: Source) -> Self {
        Self {
            source,
            parser: Parser::default(),
            heard: VecDeque::new(),
            bytes: Vec::new(),
            cursor: String::new(),
            retry: None,
        }
    }

    /// Whatever comes next, nothing at a clean end. A cut stream fails.
    pub async fn hear(&mut self) -> Option<Heard> {
        self.hear_or_cut().await.expect("the stream is not cut")
    }

    /// The same where the stream may be cut.
    ///
    /// # Errors
    /// How it was.
    pub async fn hear_or_cut(&mut self) -> Result<Option<Heard>, String> {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                self.remember(&heard);
                return Ok(Some(heard));
            }
            let piece = match &mut self.source {
                Source::Http1(wire) => wire.piece().await.map_err(|cut| format!("{cut:?}")),
                Source::Http2(response) => response.piece().await.map_err(|why| why.to_string()),
            };
            let Some(piece) = piece? else {
                return Ok(None);
            };
            self.bytes.extend_from_slice(&piece);
            self.parser.feed(&piece, &mut self.heard);
        }
    }

    fn remember(&mut self, heard: &Heard) {
        match heard {
            Heard::Event(Event { id, .. }) | Heard::Id(id) => self.cursor.clone_from(id),
            Heard::Retry(milliseconds) => self.retry = Some(*milliseconds),
            Heard::Comment(_) => {}
        }
    }

    /// The next event; what a page does not see is passed over.
    pub async fn next(&mut self) -> Event {
        loop {
            match self.hear().await {
                Some(Heard::Event(event)) => return event,
                Some(_) => {}
                None => panic!("the stream ended, and an event was awaited"),
            }
        }
    }

    /// The next event, which has this name.
    pub async fn next_named(&mut self, name: &str) -> Event {
        let event = self.next().await;
        assert_eq!(event.name, name, "{event:?}");
        event
    }

    /// The next event that is not about the feed's state, which may come at any time.
    pub async fn next_but_status(&mut self) -> Event {
        loop {
            let event = self.next().await;
            if event.name != "streamgate.status" {
                return event;
            }
        }
    }

    /// The data of the next ordinary message.
    pub async fn message(&mut self) -> String {
        let event = self.next_but_status().await;
        assert_eq!(event.name, "message", "{event:?}");
        event.data
    }

    /// Reads the prelude: `streamgate.open`, which must come, and the gap that may come with it.
    pub async fn opened(&mut self) -> (Event, Option<Event>) {
        let first = self.next_but_status().await;
        if first.name == "streamgate.gap" {
            let open = self.next_but_status().await;
            assert_eq!(open.name, "streamgate.open", "{open:?}");
            return (open, Some(first));
        }
        assert_eq!(first.name, "streamgate.open", "{first:?}");
        (first, None)
    }

    /// Waits until the feed is said to be in this state.
    pub async fn status(&mut self, upstream: &str) {
        loop {
            let event = self.next().await;
            assert_eq!(
                event.name, "streamgate.status",
                "awaiting `{upstream}`: {event:?}"
            );
            if event.json()["upstream"] == upstream {
                return;
            }
        }
    }

    /// All that comes until the stream's clean end.
    pub async fn until_end(&mut self) -> Vec<Heard> {
        let mut rest = Vec::new();
        while let Some(heard) = self.hear().await {
            rest.push(heard);
        }
        rest
    }

    /// Waits for the stream's end, clean or not, and returns what came before.
    pub async fn until_any_end(&mut self) -> Vec<Heard> {
        let Source::Http1(wire) = &mut self.source else {
            return self.until_end().await;
        };
        while let Ok(Some(piece)) = wire.piece().await {
            self.parser.feed(&piece, &mut self.heard);
        }
        let rest: Vec<_> = self.heard.drain(..).collect();
        rest.iter().for_each(|heard| self.remember(heard));
        rest
    }
}

#[test]
fn the_tests_own_parser_follows_the_book() {
    let stream = "\u{feff}data: a\r\rdata:b\ndata:  c\r\n\r\nid: 7\n\n:hi\nretry: 12\nretry: x\nevent: e\ndata\n\ndata: lost";
    let event = |name: &str, data: &str, id: &str| {
        Heard::Event(Event {
            name: name.to_owned(),
            data: data.to_owned(),
            id: id.to_owned(),
        })
    };
    let expected = [
        event("message", "a", ""),
        event("message", "b\n c", ""),
        Heard::Id("7".to_owned()),
        Heard::Comment("hi".to_owned()),
        Heard::Retry(12),
        event("e", "", "7"),
    ];
    for split in 0..stream.len() {
        let (mut parser, mut heard) = (Parser::default(), VecDeque::new());
        parser.feed(&stream.as_bytes()[..split], &mut heard);
        parser.feed(&stream.as_bytes()[split..], &mut heard);
        assert_eq!(heard, expected, "split at {split}");
    }
}

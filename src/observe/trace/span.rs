//! What is told of a request or a stream: one span, by OpenTelemetry's conventions for HTTP servers.
//!
//! Owns the names of the attributes and what is in them. Invariants: no query, no field's value, nothing of a body is among them;
//! texts and events are bounded, whatever clients send and however long a stream lives.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{Method, StatusCode, Version};

use super::{Outline, Trace, now};
use crate::http::trace_context::{SpanId, TraceParent};
use crate::net::ClientAddr;

/// Bytes of a text at most.
const MAX_TEXT: usize = 1024;

/// Events of a span at most.
const MAX_EVENTS: usize = 64;

/// An attribute.
pub type Attribute = (&'static str, Value);

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

/// Something that has happened within a span.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What.
    pub name: &'static str,
    /// When, in nanoseconds since 1970.
    pub at: u64,
    /// What is to be known of it.
    pub attributes: Vec<Attribute>,
}

/// What has happened so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Events {
    /// The first, up to a bound.
    pub list: Vec<Event>,
    /// How many there were beyond that.
    pub dropped: u32,
}

impl Events {
    /// It has happened now.
    pub fn add(&mut self, name: &'static str, attributes: Vec<Attribute>) {
        if self.list.len() == MAX_EVENTS {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        let at = now();
        self.list.push(Event {
            name,
            at,
            attributes,
        });
    }

    /// The last that happens: there is room for it in any case.
    pub fn end(&mut self, name: &'static str, attributes: Vec<Attribute>) {
        if self.list.len() == MAX_EVENTS {
            self.list.pop();
            self.dropped = self.dropped.saturating_add(1);
        }
        self.add(name, attributes);
    }
}

/// A span that has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Its place in its trace.
    pub here: TraceParent,
    /// The span above it.
    pub parent: Option<SpanId>,
    /// What it is, with few values: method and route.
    pub name: String,
    /// Nanoseconds since 1970.
    pub begun: u64,
    /// Nanoseconds since 1970.
    pub ended: u64,
    /// What is to be known of it.
    pub attributes: Vec<Attribute>,
    /// What has happened within it.
    pub events: Events,
    /// Whether it is a failure of the server's side.
    pub is_error: bool,
}

/// What a request and a stream have in common at their end.
#[derive(Debug, Clone, Copy)]
pub(in crate::observe) struct Ended<'a> {
    pub(in crate::observe) route: Option<&'a str>,
    pub(in crate::observe) client: ClientAddr,
    /// `None`: it is told otherwise.
    pub(in crate::observe) version: Option<Version>,
    /// Who answered.
    pub(in crate::observe) backend: Option<&'a str>,
    /// Why there is no other response than streamgate's own.
    pub(in crate::observe) error: Option<&'static str>,
    pub(in crate::observe) life: Duration,
}

impl Trace {
    /// The span of what has ended so, without what only its kind has. `None`: none is told.
    pub(in crate::observe) fn span(&self, ended: Ended<'_>) -> Option<Span> {
        let told = self.told.as_ref()?;
        let method = method(&told.outline.method);
        let life = u64::try_from(ended.life.as_nanos()).unwrap_or(u64::MAX);
        let status = told.status.load(Ordering::Relaxed);
        let mut span = Span {
            here: self.here,
            parent: self.parent,
            name: match ended.route {
                Some(route) => format!("{method} {}", cut(route)),
                None => method.to_owned(),
            },
            begun: told.begun,
            ended: told.begun.saturating_add(life),
            attributes: Vec::with_capacity(16),
            events: Events::default(),
            // A 4xx is the client's own fault, and no error of a server's span.
            is_error: status >= 500,
        };
        span.tell_request(&told.outline, method);
        span.text("client.address", ended.client.0.ip().to_canonical());
        if let Some(route) = ended.route {
            span.text("http.route", route);
        }
        if let Some(version) = ended.version {
            span.text("network.protocol.version", version_text(version));
        }
        if let Some(backend) = ended.backend {
            span.text("streamgate.backend", backend);
        }
        if let Ok(status) = StatusCode::from_u16(status) {
            span.number("http.response.status_code", status.as_u16().into());
        }
        match ended.error {
            Some(error) => span.text("error.type", error),
            None if span.is_error => span.text("error.type", status),
            None => {}
        }
        Some(span)
    }
}

impl Span {
    /// Adds an attribute.
    pub(in crate::observe) fn text(&mut self, name: &'static str, value: impl ToString) {
        self.attributes.push(text(name, value));
    }

    /// Adds an attribute.
    pub(in crate::observe) fn number(&mut self, name: &'static str, value: u64) {
        self.attributes.push(number(name, value));
    }

    fn tell_request(&mut self, outline: &Outline, method: &'static str) {
        self.text("http.request.method", method);
        if method == OTHER {
            self.text("http.request.method_original", &outline.method);
        }
        self.text("url.scheme", outline.scheme);
        self.text("url.path", &outline.path);
        let (host, port) = match outline.host.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (&*outline.host, None),
        };
        if !host.is_empty() {
            self.text("server.address", host.trim_matches(['[', ']']));
        }
        if let Some(port) = port {
            self.number("server.port", port);
        }
    }
}

/// A text as an attribute.
pub(in crate::observe) fn text(name: &'static str, value: impl ToString) -> Attribute {
    let mut value = value.to_string();
    value.truncate(cut(&value).len());
    (name, Value::Text(value))
}

/// A number as an attribute.
pub(in crate::observe) fn number(name: &'static str, value: u64) -> Attribute {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    (name, Value::Number(value))
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT)]
}

/// What stands for a method that nobody knows: a client could make a name of its own for each request.
const OTHER: &str = "_OTHER";

/// The methods that the conventions know (RFC 9110 §9.3, RFC 5789).
fn method(method: &Method) -> &'static str {
    let known = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY",
    ];
    let mut known = known.into_iter();
    known.find(|name| *name == method.as_str()).unwrap_or(OTHER)
}

fn version_text(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(name: &str, outline: Outline) -> Vec<Value> {
        let mut span = Span {
            here: TraceParent::begin(true),
            parent: None,
            name: String::new(),
            begun: 0,
            ended: 0,
            attributes: Vec::new(),
            events: Events::default(),
            is_error: false,
        };
        let method = method(&outline.method);
        span.tell_request(&outline, method);
        let mut found = span.attributes;
        found.retain(|(other, _)| *other == name);
        found.into_iter().map(|(_, value)| value).collect()
    }

    fn outline(method: &str, host: &str) -> Outline {
        Outline {
            method: method.parse().unwrap(),
            path: "/x".repeat(MAX_TEXT),
            scheme: "https",
            host: host.to_owned(),
        }
    }

    #[test]
    fn a_host_is_told_without_its_port_and_its_brackets() {
        for (host, address, port) in [
            ("a.test", Some("a.test"), None),
            ("a.test:8443", Some("a.test"), Some(8443)),
            ("[::1]:80", Some("::1"), Some(80)),
            ("[::1]", Some("::1"), None),
            ("", None, None),
        ] {
            let found = told("server.address", outline("GET", host));
            let expected = address.map(|address| Value::Text(address.to_owned()));
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{host}");
            let found = told("server.port", outline("GET", host));
            let expected = port.map(Value::Number);
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{host}");
        }
    }

    #[test]
    fn a_client_makes_no_names_and_no_long_texts() {
        let own = told("http.request.method", outline("MINE", "a"));
        assert_eq!(own, [Value::Text(OTHER.to_owned())]);
        let path = told("url.path", outline("GET", "a"));
        assert!(matches!(&path[..], [Value::Text(path)] if path.len() == MAX_TEXT));
        assert_eq!(
            text("x", "é".repeat(MAX_TEXT)).1,
            Value::Text("é".repeat(MAX_TEXT / 2))
        );
    }

    #[test]
    fn a_stream_of_events_is_bounded_and_its_end_is_told() {
        let mut events = Events::default();
        for _ in 0..MAX_EVENTS + 10 {
            events.add("stream.gap", Vec::new());
        }
        events.end("stream.close", Vec::new());
        assert_eq!(events.list.len(), MAX_EVENTS);
        assert_eq!(events.dropped, 11);
        assert_eq!(
            events.list.last().map(|event| event.name),
            Some("stream.close")
        );
    }
}

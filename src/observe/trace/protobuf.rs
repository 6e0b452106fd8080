//! `ExportTraceServiceRequest` as bytes (opentelemetry-proto 1, trace/v1/trace.proto), one number of its answer, and nothing else
//! of Protocol Buffers.
//!
//! Six messages of strings and numbers: by hand they are shorter than what describes them to a library. The tests read them by
//! OpenTelemetry's own. Of an answer nothing is trusted: what cannot be read says nothing.

use super::span::{Attribute, Event, Span, Value};

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

/// Wire types (encoding.html of Protocol Buffers).
const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH: u64 = 2;
const FIXED32: u64 = 5;

/// `SPAN_KIND_SERVER`
const SERVER: u64 = 2;

/// `STATUS_CODE_ERROR`
const ERROR: u64 = 2;

/// In `Span.flags`: whether the parent is in another process is known, and it is.
const REMOTE_PARENT: u32 = 0x300;

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn number(&mut self, field: u64, number: u64) {
        self.key(field, VARINT);
        self.varint(number);
    }

    fn fixed64(&mut self, field: u64, number: u64) {
        self.key(field, FIXED64);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn fixed32(&mut self, field: u64, number: u32) {
        self.key(field, FIXED32);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, LENGTH);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }
}

/// The request that exports `spans` of the service `name`.
pub(super) fn request(name: &str, spans: &[Span]) -> Vec<u8> {
    let mut request = Message::default();
    // resource_spans
    request.message(1, |of_resource| {
        of_resource.message(1, |resource| {
            for (key, value) in [
                ("service.name", Value::Text(name.to_owned())),
                ("service.version", Value::Text(VERSION.to_owned())),
                ("process.pid", Value::Number(std::process::id().into())),
            ] {
                resource.message(1, |written| attribute(written, &(key, value)));
            }
        });
        // scope_spans
        of_resource.message(2, |of_scope| {
            of_scope.message(1, |scope| {
                scope.bytes(1, env!("CARGO_PKG_NAME").as_bytes());
                scope.bytes(2, VERSION.as_bytes());
            });
            for one in spans {
                of_scope.message(2, |written| span(written, one));
            }
        });
    });
    request.0
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn span(written: &mut Message, span: &Span) {
    written.bytes(1, &span.here.trace.bytes());
    written.bytes(2, &span.here.span.bytes());
    let mut flags = u32::from(span.here.flags());
    if let Some(parent) = span.parent {
        written.bytes(4, &parent.bytes());
        flags |= REMOTE_PARENT;
    }
    written.bytes(5, span.name.as_bytes());
    written.number(6, SERVER);
    written.fixed64(7, span.begun);
    written.fixed64(8, span.ended);
    for one in &span.attributes {
        written.message(9, |written| attribute(written, one));
    }
    for one in &span.events.list {
        written.message(11, |written| event(written, one));
    }
    written.number(12, span.events.dropped.into());
    if span.is_error {
        written.message(15, |status| status.number(3, ERROR));
    }
    written.fixed32(16, flags);
}

fn event(written: &mut Message, event: &Event) {
    written.fixed64(1, event.at);
    written.bytes(2, event.name.as_bytes());
    for one in &event.attributes {
        written.message(3, |written| attribute(written, one));
    }
}

fn attribute(written: &mut Message, (key, value): &Attribute) {
    written.bytes(1, key.as_bytes());
    written.message(2, |any| match value {
        Value::Text(text) => any.bytes(1, text.as_bytes()),
        Value::Number(number) => any.number(3, number.cast_unsigned()),
    });
}

/// How many spans a collector says it has not taken, in an answer of success:
/// `ExportTraceServiceResponse.partial_success.rejected_spans`.
pub(super) fn rejected(answer: &[u8]) -> u64 {
    let Some(Part::Bytes(partial)) = last(answer, 1) else {
        return 0;
    };
    match last(partial, 1) {
        // It is a signed one.
        Some(Part::Number(count)) => u64::try_from(count.cast_signed()).unwrap_or(0),
        _ => 0,
    }
}

/// A field's value.
enum Part<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The last one of a field, which is the one that counts; `None` too if the message is none.
fn last(mut message: &[u8], field: u64) -> Option<Part<'_>> {
    let mut found = None;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let part = match key & 7 {
            VARINT => Part::Number(varint(&mut message)?),
            FIXED64 => Part::Bytes(take(&mut message, 8)?),
            FIXED32 => Part::Bytes(take(&mut message, 4)?),
            LENGTH => {
                let length = varint(&mut message)?;
                Part::Bytes(take(&mut message, length)?)
            }
            _ => return None,
        };
        if key >> 3 == field {
            found = Some(part);
        }
    }
    found
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn take<'a>(message: &mut &'a [u8], count: u64) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(usize::try_from(count).ok()?)?;
    *message = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_collector_has_not_taken_is_read() {
        let mut answer = Message::default();
        answer.message(1, |partial| {
            partial.bytes(2, b"too old");
            partial.fixed32(7, 1);
            partial.number(1, 300);
        });
        assert_eq!(rejected(&answer.0), 300);
        // Cut off anywhere it is no message, and nothing is said.
        for length in 0..answer.0.len() {
            assert_eq!(rejected(&answer.0[..length]), 0, "{length}");
        }
        let negative = b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        for none in [&b"{}"[..], b"\x0a\x00", &[0xff; 40], negative] {
            assert_eq!(rejected(none), 0, "{none:?}");
        }
    }

    #[test]
    fn numbers_are_written_as_the_encoding_says() {
        let mut message = Message::default();
        message.number(1, 150);
        message.bytes(2, b"testing");
        message.message(3, |inner| inner.number(1, 300));
        message.fixed32(16, 1);
        let expected = b"\x08\x96\x01\x12\x07testing\x1a\x03\x08\xac\x02\x85\x01\x01\0\0\0";
        assert_eq!(message.0, expected);
    }
}

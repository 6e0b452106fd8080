//! The one encoder of server-sent events.
//!
//! Fields are appended to a buffer, one line each; [`end`] closes the block. Whatever comes in, what a client decodes is
//! what was meant: a line end inside a value can neither end a field nor begin another one.

use memchr::{memchr2, memchr3};

/// Appends an `id` field. A value ends before its first CR, LF or NUL, for none of them can stand in an id.
pub fn id(value: &[u8], out: &mut Vec<u8>) {
    line(b"id: ", value, out);
}

/// Names of events end here.
const LONGEST_NAME: usize = 64;

/// Whether events may have this name: `[A-Za-z0-9_.:-]{1,64}`, and none that a browser or streamgate gives a meaning to.
#[must_use]
pub fn is_event_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(allowed)
        && !["open", "error", "message"].contains(&name)
        && !name.starts_with("streamgate.")
}

/// Appends an `event` field. A value ends before its first CR, LF or NUL.
pub fn event(name: &str, out: &mut Vec<u8>) {
    line(b"event: ", name.as_bytes(), out);
}

/// Appends a `retry` field, in milliseconds.
pub fn retry(milliseconds: u64, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    line(b"retry: ", digits.format(milliseconds).as_bytes(), out);
}

/// Appends a comment, which clients skip. A value ends before its first CR, LF or NUL.
pub fn comment(text: &str, out: &mut Vec<u8>) {
    line(b":", text.as_bytes(), out);
}

/// Appends `data` fields, one for each line of `text`; CRLF, CR and LF each end a line, and a client joins the lines by
/// LF. An empty text gives one empty field, so that an event is dispatched; a last line end gives one more.
pub fn data(text: &[u8], out: &mut Vec<u8>) {
    if text.is_empty() {
        out.extend_from_slice(b"data:\n");
        return;
    }
    out.reserve(text.len() + 16);
    let mut rest = text;
    loop {
        out.extend_from_slice(b"data: ");
        let Some(end) = memchr2(b'\r', b'\n', rest) else {
            out.extend_from_slice(rest);
            out.push(b'\n');
            return;
        };
        out.extend_from_slice(&rest[..end]);
        out.push(b'\n');
        let width = if rest[end..].starts_with(b"\r\n") {
            2
        } else {
            1
        };
        rest = &rest[end + width..];
    }
}

/// Ends the block: the client dispatches the event.
pub fn end(out: &mut Vec<u8>) {
    out.push(b'\n');
}

fn line(field: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let end = memchr3(b'\r', b'\n', 0, value).unwrap_or(value.len());
    out.extend_from_slice(field);
    out.extend_from_slice(&value[..end]);
    out.push(b'\n');
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a client has after it decoded a block.
    #[derive(Debug, Default, Clone, PartialEq, Eq)]
    pub(crate) struct Decoded {
        pub(crate) id: String,
        pub(crate) event: String,
        pub(crate) data: String,
    }

    /// A decoder written from the WHATWG text, line by line, with nothing in common with the encoder.
    #[derive(Default)]
    pub(crate) struct Decoder {
        pub(crate) last_id: String,
        pub(crate) retry: Option<u64>,
        event: String,
        data: String,
        dispatched: Vec<Decoded>,
    }

    impl Decoder {
        pub(crate) fn decode(&mut self, stream: &str) -> Vec<Decoded> {
            let stream = stream.strip_prefix('\u{feff}').unwrap_or(stream);
            let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
            // What follows the last line end is a line that has not ended, and is discarded.
            let mut lines: Vec<&str> = stream.split('\n').collect();
            lines.pop();
            lines.into_iter().for_each(|line| self.line(line));
            std::mem::take(&mut self.dispatched)
        }

        fn line(&mut self, line: &str) {
            if line.is_empty() {
                return self.dispatch();
            }
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match name {
                "event" => self.event = value.to_owned(),
                "data" => {
                    self.data.push_str(value);
                    self.data.push('\n');
                }
                "id" if !value.contains('\0') => self.last_id = value.to_owned(),
                "retry" if value.bytes().all(|byte| byte.is_ascii_digit()) => {
                    self.retry = value.parse().ok();
                }
                _ => {}
            }
        }

        fn dispatch(&mut self) {
            let event = std::mem::take(&mut self.event);
            let mut data = std::mem::take(&mut self.data);
            if data.is_empty() {
                return;
            }
            data.pop();
            let id = self.last_id.clone();
            self.dispatched.push(Decoded { id, event, data });
        }
    }

    pub(crate) fn decode(stream: &[u8]) -> Vec<Decoded> {
        Decoder::default().decode(std::str::from_utf8(stream).unwrap())
    }

    fn normalised(text: &str) -> String {
        text.replace("\r\n", "\n").replace('\r', "\n")
    }

    #[test]
    fn text_becomes_one_field_a_line() {
        let table: &[(&str, &str)] = &[
            ("", "data:\n"),
            ("a", "data: a\n"),
            (" a", "data:  a\n"),
            ("a\nb", "data: a\ndata: b\n"),
            ("a\rb\r\nc", "data: a\ndata: b\ndata: c\n"),
            ("a\n", "data: a\ndata: \n"),
            ("\n\r", "data: \ndata: \ndata: \n"),
            ("a\rid: forged", "data: a\ndata: id: forged\n"),
        ];
        for (text, expected) in table {
            let mut out = Vec::new();
            data(text.as_bytes(), &mut out);
            assert_eq!(std::str::from_utf8(&out).unwrap(), *expected, "{text:?}");
        }
    }

    #[test]
    fn other_fields_stay_on_their_line() {
        let mut out = Vec::new();
        id(b"a-1\ndata: x", &mut out);
        event("tick\r\rdata: y", &mut out);
        comment("c\0\n", &mut out);
        retry(2500, &mut out);
        assert_eq!(out, b"id: a-1\nevent: tick\n:c\nretry: 2500\n");
    }

    proptest! {
        #[test]
        fn what_a_client_decodes_is_what_was_meant(
            texts in prop::collection::vec("(?s)([\r\n\u{feff}\0: a-e]|data|id|.){0,12}", 1..6),
        ) {
            let mut out = Vec::new();
            for (index, text) in texts.iter().enumerate() {
                id(index.to_string().as_bytes(), &mut out);
                event("tick", &mut out);
                data(text.as_bytes(), &mut out);
                end(&mut out);
            }
            let expected: Vec<_> = texts.iter().enumerate().map(|(index, text)| Decoded {
                id: index.to_string(),
                event: "tick".into(),
                data: normalised(text),
            }).collect();
            prop_assert_eq!(decode(&out), expected);
        }

        #[test]
        fn no_value_forges_a_field(value in "(?s)[\r\n\0a:]{0,10}") {
            let mut out = Vec::new();
            id(value.as_bytes(), &mut out);
            event(&value, &mut out);
            comment(&value, &mut out);
            data(b"x", &mut out);
            end(&mut out);
            let cut = value.split(['\r', '\n', '\0']).next().unwrap_or_default();
            let expected = Decoded { id: cut.into(), event: cut.into(), data: "x".into() };
            prop_assert_eq!(decode(&out), vec![expected]);
        }
    }
}

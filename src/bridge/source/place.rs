//! Where a WebSocket feed stands that can go on (`resume`).

use crate::config::model::Resume;
use crate::json::{Json, Pointer};
use crate::route::{Captures, Escape};

/// A longer value is none: it is held for the channel's whole life.
const LONGEST: usize = 256;

/// The newest message's value at the pointer, and what is to be sent with it.
#[derive(Debug)]
pub(super) struct Place {
    pointer: Pointer,
    /// `send` with all values but the newest one's: what stands before, between and behind it.
    parts: Vec<String>,
    last: Option<String>,
}

impl Place {
    /// Of a feed that has said nothing yet.
    pub(super) fn new(resume: &Resume, captures: &Captures) -> Self {
        // Values are escaped as the inside of a JSON string, and so hold no NUL.
        let text = resume.send.render_with(|name, text| match name {
            Resume::LAST => text.push('\0'),
            name => Escape::Json.push(captures.get(name).unwrap_or_default(), text),
        });
        Self {
            pointer: resume.pointer.clone(),
            parts: text.split('\0').map(str::to_owned).collect(),
            last: None,
        }
    }

    /// Takes notice of a message. One without a value moves nothing.
    pub(super) fn follow(&mut self, message: &str) {
        let value = Json::parse(message).and_then(|json| json.at(&self.pointer));
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return;
        };
        let raw = value.raw();
        self.last = (raw.len() <= LONGEST).then(|| raw.to_owned());
    }

    /// The newest value, as JSON.
    pub(super) fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Goes on behind this value, which [`Place::last`] was once.
    pub(super) fn go_on(&mut self, last: Option<String>) {
        self.last = last.filter(|raw| raw.len() <= LONGEST && Json::parse(raw).is_some());
    }

    /// What is to be sent after a reconnect; `None`: nobody knows where the feed stood.
    pub(super) fn text(&self) -> Option<String> {
        self.last.as_ref().map(|last| self.parts.join(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Template;

    #[test]
    fn the_newest_value_is_sent_as_it_was_written() {
        let resume = Resume {
            pointer: Pointer::parse("/seq").unwrap(),
            send: Template::parse(r#"{"from":{last},"room":"{room}","again":{last}}"#).unwrap(),
        };
        let captures: Captures = [("room", "a\"b")].into_iter().collect();
        let mut place = Place::new(&resume, &captures);
        assert_eq!(place.text(), None);
        let table = [
            (r#"{"seq":7}"#, Some("7")),
            ("no JSON", Some("7")),
            (r#"{"seq":null}"#, Some("7")),
            (r#"{"other":8}"#, Some("7")),
            (r#"{"seq":"x\"y"}"#, Some(r#""x\"y""#)),
        ];
        for (message, last) in table {
            place.follow(message);
            let expected =
                last.map(|last| format!(r#"{{"from":{last},"room":"a\"b","again":{last}}}"#));
            assert_eq!(place.text(), expected, "{message}");
        }
        let long = format!(r#"{{"seq":"{}"}}"#, "x".repeat(LONGEST));
        place.follow(&long);
        assert_eq!(
            place.text(),
            None,
            "a feed that cannot be told where to go on"
        );
    }
}

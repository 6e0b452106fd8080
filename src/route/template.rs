//! Texts with `{name}` in them, filled from a route's captures: a feed's path, its first messages, a share key.
//!
//! Owns the syntax and the escaping for each place a text goes to. Invariant: whatever a value holds, it cannot
//! change the structure of what it is put into, as long as the [`Escape`] fits the place.

use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;

use crate::route::Captures;
use crate::route::path::is_name;

/// All but the unreserved characters of RFC 3986 §2.3.
const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What the name of a parameter of the query begins with.
pub const QUERY: &str = "query.";
/// What the name of a field of the head begins with; the rest is in lower case.
pub const HEADER: &str = "header.";

/// A text with names in it.
///
/// `{name}` is a name; all other braces are text, so that JSON can be written as it is:
/// `{"op":"subscribe","room":"{room}"}` has one name, `room`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    purpose: Purpose,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Name(Arc<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Text,
    /// Values are always encoded, so that none can hold the separator.
    Key,
}

/// How a value is written into a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Escape {
    /// As it is. Values hold no control characters, so a header field is safe too.
    Verbatim,
    /// Percent-encoded as one segment of a path or one value in a query (RFC 3986 §2.3).
    PathSegment,
    /// As the inside of a JSON string (RFC 8259 §7); the quotes stand in the template.
    Json,
}

impl Escape {
    /// Writes a value behind a text.
    pub fn push(self, value: &str, text: &mut String) {
        match self {
            Self::Verbatim => text.push_str(value),
            Self::PathSegment => text.extend(utf8_percent_encode(value, NOT_UNRESERVED)),
            Self::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                text.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
    }
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TemplateError {
    /// Braces around what looks like a name and is none, such as `{room-id}`. No JSON text has that.
    #[error(
        "`{{{found}}}` holds no name; names are letters, digits and `_`, and do not begin with a digit"
    )]
    Name {
        /// What stands in the braces.
        found: String,
    },
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// Braces whose content is nearly a name; all other text is a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Self::parse_with(text, is_name)
    }

    /// The same with two more kinds of names: `{query.name}`, a parameter of the request's query, and `{header.name}`, a
    /// field of its head.
    ///
    /// # Errors
    /// As [`Template::parse`].
    pub fn parse_of_request(text: &str) -> Result<Self, TemplateError> {
        Self::parse_with(text, |name| is_name(name) || is_of_request(name))
    }

    fn parse_with(text: &str, is_name: fn(&str) -> bool) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let (before, from_brace) = rest.split_at(open);
            literal.push_str(before);
            let inside = from_brace[1..].split_once('}').map(|(inside, _)| inside);
            match inside {
                Some(name) if is_name(name) => {
                    push_text(&mut parts, &mut literal);
                    parts.push(Part::Name(name.into()));
                    rest = &from_brace[name.len() + 2..];
                }
                Some(found) if is_nearly_a_name(found) => {
                    return Err(TemplateError::Name {
                        found: found.to_owned(),
                    });
                }
                _ => {
                    literal.push('{');
                    rest = &from_brace[1..];
                }
            }
        }
        literal.push_str(rest);
        push_text(&mut parts, &mut literal);
        Ok(Self {
            parts,
            purpose: Purpose::Text,
        })
    }

    /// A key of these names, each taken once: two captures render to the same text only if all their values are
    /// equal. Without names it is the empty text. Values in it are percent-encoded, whatever [`Escape`] is asked
    /// for, so that none can hold the `/` between them; a lone value needs no separator and is written as usual.
    pub fn of_names<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Self {
        let mut distinct: Vec<Arc<str>> = Vec::new();
        for name in names {
            if !distinct.iter().any(|known| **known == *name.as_ref()) {
                distinct.push(name.as_ref().into());
            }
        }
        let purpose = if distinct.len() > 1 {
            Purpose::Key
        } else {
            Purpose::Text
        };
        let mut parts = Vec::new();
        for name in distinct {
            if !parts.is_empty() {
                parts.push(Part::Text("/".into()));
            }
            parts.push(Part::Name(name));
        }
        Self { parts, purpose }
    }

    /// Its names, each once, in the order in which they first appear.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts
            .iter()
            .enumerate()
            .filter_map(|(index, part)| match part {
                Part::Name(name) => (!self.parts[..index].contains(part)).then_some(&**name),
                Part::Text(_) => None,
            })
    }

    /// The text with every name replaced by its value. A name that was not captured is replaced by nothing; the
    /// configuration's check sees to it that there is none.
    #[must_use]
    pub fn render(&self, captures: &Captures, escape: Escape) -> String {
        let escape = match self.purpose {
            Purpose::Text => escape,
            Purpose::Key => Escape::PathSegment,
        };
        self.render_with(|name, text| {
            escape.push(captures.get(name).unwrap_or_default(), text);
        })
    }

    /// The text with every name replaced by what `push` writes for it.
    pub fn render_with(&self, mut push: impl FnMut(&str, &mut String)) -> String {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Name(name) => push(name, &mut text),
            }
        }
        text
    }
}

/// As it was written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Text(literal) => f.write_str(literal)?,
                Part::Name(name) => write!(f, "{{{name}}}")?,
            }
        }
        Ok(())
    }
}

fn push_text(parts: &mut Vec<Part>, literal: &mut String) {
    if !literal.is_empty() {
        parts.push(Part::Text(std::mem::take(literal).into()));
    }
}

/// Whether a name is that of a part of the request that is not its path.
#[must_use]
pub fn is_of_request(name: &str) -> bool {
    let part = name.strip_prefix(QUERY).or(name.strip_prefix(HEADER));
    part.is_some_and(|part| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        !part.is_empty() && part.bytes().all(plain)
    })
}

fn is_nearly_a_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Escape, Template, TemplateError};
    use crate::route::Captures;

    fn captures(values: &[(&str, &str)]) -> Captures {
        values.iter().copied().collect()
    }

    #[test]
    fn only_braces_around_a_name_are_a_name() {
        for (text, names) in [
            ("", &[][..]),
            ("plain", &[]),
            ("/ws/{room}", &["room"]),
            ("{b}{a}{b}", &["b", "a"]),
            (r#"{"op":"subscribe","room":"{room}"}"#, &["room"]),
            (r#"{"a":{"b":{}},"n":{count}}"#, &["count"]),
            ("{ room }", &[]),
            ("{unclosed", &[]),
            ("closed}", &[]),
            ("{{room}}", &["room"]),
        ] {
            let template = Template::parse(text).unwrap();
            assert_eq!(template.names().collect::<Vec<_>>(), names, "{text}");
            assert_eq!(template.to_string(), text);
        }
    }

    #[test]
    fn nearly_a_name_is_a_mistake() {
        for (text, found) in [("/ws/{room-id}", "room-id"), ("{1}", "1"), ("{a.b}", "a.b")] {
            assert_eq!(
                Template::parse(text),
                Err(TemplateError::Name {
                    found: found.into()
                })
            );
        }
    }

    #[test]
    fn parts_of_the_request_are_names_where_there_is_one() {
        let text = "{room}/{query.symbol}/{header.cookie}/{other.x}";
        assert!(Template::parse("{query.symbol}").is_err());
        assert!(Template::parse_of_request(text).is_err());
        let text = "{room}/{query.symbol}/{header.x-user}";
        let template = Template::parse_of_request(text).unwrap();
        let names: Vec<_> = template.names().collect();
        assert_eq!(names, ["room", "query.symbol", "header.x-user"]);
    }

    #[test]
    fn values_are_escaped_for_their_place() {
        let captures = captures(&[("v", "a\"\\/?é&#")]);
        let template = Template::parse("<{v}>").unwrap();
        for (escape, expected) in [
            (Escape::Verbatim, "<a\"\\/?é&#>"),
            (Escape::PathSegment, "<a%22%5C%2F%3F%C3%A9%26%23>"),
            (Escape::Json, "<a\\\"\\\\/?é&#>"),
        ] {
            assert_eq!(template.render(&captures, escape), expected);
        }
    }

    #[test]
    fn name_without_value_renders_to_nothing() {
        let template = Template::parse("a{x}b").unwrap();
        assert_eq!(template.render(&Captures::empty(), Escape::Verbatim), "ab");
    }

    #[test]
    fn key_of_names_takes_each_once() {
        let key = Template::of_names(["room", "user", "room"]);
        assert_eq!(key.to_string(), "{room}/{user}");
        let captures = captures(&[("room", "a/b"), ("user", "c")]);
        assert_eq!(key.render(&captures, Escape::Verbatim), "a%2Fb/c");
        assert_eq!(
            Template::of_names(["room"]),
            Template::parse("{room}").unwrap()
        );
        assert_eq!(
            Template::of_names::<&str>([]).render(&captures, Escape::Verbatim),
            ""
        );
    }

    proptest! {
        #[test]
        fn rendered_json_gives_the_value_back(value in any::<String>()) {
            let template = Template::parse(r#"{"v":"{v}"}"#).unwrap();
            let text = template.render(&captures(&[("v", &value)]), Escape::Json);
            let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(parsed["v"].as_str(), Some(value.as_str()));
        }

        #[test]
        fn keys_are_equal_only_if_all_values_are(
            first in ["[a/%]{0,3}", "[a/%]{0,3}"],
            second in ["[a/%]{0,3}", "[a/%]{0,3}"],
        ) {
            let key = Template::of_names(["x", "y"]);
            let render = |values: &[String; 2]| {
                key.render(&captures(&[("x", &values[0]), ("y", &values[1])]), Escape::Verbatim)
            };
            prop_assert_eq!(render(&first) == render(&second), first == second);
        }
    }
}

//! Parts of a JSON text (RFC 8259), by JSON pointer (RFC 6901), without building it.
//!
//! A text is checked once, as a whole; then each pointer skims it and borrows what it finds. Invariant: what is skimmed
//! is valid JSON, and a fault of the skimmer would at worst find nothing.

use std::borrow::Cow;
use std::fmt;

use serde::de::IgnoredAny;

/// A JSON pointer: the way to a part of a JSON text. The empty one is the whole text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pointer(Vec<Box<str>>);

/// A text is not a JSON pointer (RFC 6901 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPointer {
    /// It must begin with a slash.
    #[error("it must begin with `/`")]
    NoSlash,
    /// A tilde that is no escape.
    #[error("`~` stands only in `~0` and `~1`")]
    Tilde,
}

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// [`BadPointer`]
    pub fn parse(text: &str) -> Result<Self, BadPointer> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let tokens = text.strip_prefix('/').ok_or(BadPointer::NoSlash)?;
        let token = |token: &str| {
            let is_sound = token
                .split('~')
                .skip(1)
                .all(|after| after.starts_with(['0', '1']));
            // In this order, so that `~01` is `~1` (RFC 6901 §4).
            let plain = || token.replace("~1", "/").replace("~0", "~").into();
            is_sound.then(plain).ok_or(BadPointer::Tilde)
        };
        tokens
            .split('/')
            .map(token)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// As it is written (RFC 6901 §3).
impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tokens = self.0.iter();
        tokens.try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
    }
}

/// A part of a JSON text: one value, without white space around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// The text, if it is JSON and nothing else. It may be nested however deep.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str::<IgnoredAny>(text).ok()?;
        Some(Self(text.trim_matches(WHITE)))
    }

    /// The value as it is written.
    #[must_use]
    pub fn raw(self) -> &'a str {
        self.0
    }

    /// Whether it is `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// What a string says; any other value as it is written. A string that is no Unicode text, because half of a
    /// surrogate pair stands in it, is taken as it is written, too.
    #[must_use]
    pub fn text(self) -> Cow<'a, str> {
        let Some(inside) = self
            .0
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
        else {
            return Cow::Borrowed(self.0);
        };
        if !inside.contains('\\') {
            return Cow::Borrowed(inside);
        }
        serde_json::from_str::<String>(self.0).map_or(Cow::Borrowed(self.0), Cow::Owned)
    }

    /// The part that the pointer leads to. Of several members with the same name the last counts, as in a browser.
    #[must_use]
    pub fn at(self, pointer: &Pointer) -> Option<Self> {
        pointer
            .0
            .iter()
            .try_fold(self, |part, token| part.child(token))
    }

    fn child(self, token: &str) -> Option<Self> {
        match self.0.as_bytes().first()? {
            b'{' => self.member(token),
            b'[' => self.element(token),
            _ => None,
        }
    }

    fn member(self, name: &str) -> Option<Self> {
        let mut rest = self.0.get(1..)?.trim_start_matches(WHITE);
        let mut found = None;
        while rest.starts_with('"') {
            let key = value(rest)?;
            let after = rest.get(key.0.len()..)?.trim_start_matches(WHITE);
            let after = after.strip_prefix(':')?.trim_start_matches(WHITE);
            let member = value(after)?;
            if key.text() == name {
                found = Some(member);
            }
            rest = next(after, member)?;
        }
        found
    }

    fn element(self, index: &str) -> Option<Self> {
        // RFC 6901 §4: digits without a leading zero; `-`, the element behind the last, does not exist.
        let is_index = index == "0" || !index.starts_with(['0', '+']);
        let mut left: usize = index.parse().ok().filter(|_| is_index)?;
        let mut rest = self.0.get(1..)?.trim_start_matches(WHITE);
        while !rest.is_empty() && !rest.starts_with(']') {
            let element = value(rest)?;
            if left == 0 {
                return Some(element);
            }
            left -= 1;
            rest = next(rest, element)?;
        }
        None
    }
}

/// RFC 8259 §2
const WHITE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The value that `text` begins with.
fn value(text: &str) -> Option<Json<'_>> {
    let bytes = text.as_bytes();
    let end = match bytes.first()? {
        b'"' => string(bytes)?,
        b'{' | b'[' => nested(bytes)?,
        _ => bytes
            .iter()
            .position(|byte| b",]} \t\n\r".contains(byte))
            .unwrap_or(bytes.len()),
    };
    text.get(..end).map(Json)
}

/// What follows `value` in a list or an object that goes on with `text`: the next element, or nothing.
fn next<'a>(text: &'a str, value: Json<'a>) -> Option<&'a str> {
    let after = text.get(value.0.len()..)?.trim_start_matches(WHITE);
    Some(
        after
            .strip_prefix(',')
            .unwrap_or_default()
            .trim_start_matches(WHITE),
    )
}

/// Length of the string that `bytes` begins with, its quotes included.
fn string(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Length of the list or object that `bytes` begins with.
fn nested(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0_usize, 0_usize);
    loop {
        match bytes.get(at)? {
            b'"' => {
                at += string(&bytes[at..])?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn at<'a>(text: &'a str, pointer: &str) -> Option<&'a str> {
        let pointer = Pointer::parse(pointer).unwrap();
        Json::parse(text).unwrap().at(&pointer).map(Json::raw)
    }

    #[test]
    fn pointers_find_what_rfc_6901_says() {
        let text = r#" {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "k\"l": 6, " ": 7, "m~n": 8} "#;
        let table = [
            ("/foo", Some(r#"["bar", "baz"]"#)),
            ("/foo/0", Some(r#""bar""#)),
            ("/foo/1", Some(r#""baz""#)),
            ("/", Some("0")),
            ("/a~1b", Some("1")),
            ("/c%d", Some("2")),
            ("/e^f", Some("3")),
            ("/k\"l", Some("6")),
            ("/ ", Some("7")),
            ("/m~0n", Some("8")),
            ("", Some(text.trim())),
            ("/foo/2", None),
            ("/foo/-", None),
            ("/foo/01", None),
            ("/foo/+1", None),
            ("/foo/0/0", None),
            ("/bar", None),
        ];
        for (pointer, expected) in table {
            assert_eq!(at(text, pointer), expected, "{pointer}");
        }
        assert_eq!(at(r#"{"a":1,"a":{"b":[]}}"#, "/a/b"), Some("[]"));
        assert_eq!(at(r#"{"a":"}","b":"\\\"","c":5}"#, "/c"), Some("5"));
    }

    #[test]
    fn texts_are_what_strings_say_and_other_values_as_written() {
        let table = [
            (r#""a""#, "a"),
            (r#""\u00fc\n""#, "ü\n"),
            (r#""\ud800""#, r#""\ud800""#),
            ("1.50", "1.50"),
            ("[1, 2]", "[1, 2]"),
        ];
        for (json, text) in table {
            assert_eq!(Json::parse(json).unwrap().text(), text);
        }
    }

    #[test]
    fn what_is_no_pointer_and_what_is_no_json_is_told() {
        assert_eq!(Pointer::parse("a"), Err(BadPointer::NoSlash));
        for text in ["/~", "/~2", "/a~"] {
            assert_eq!(Pointer::parse(text), Err(BadPointer::Tilde));
        }
        for text in ["", "{", "{}x", "{'a':1}", "nul", "01", "\u{feff}{}"] {
            assert_eq!(Json::parse(text), None, "{text}");
        }
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert_eq!(at(&deep, "/0/0"), Some(&deep[2..deep.len() - 2]));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a\"\\\\{}\\[\\],: ü~/]{0,5}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[ab\"~/]{0,2}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn it_finds_what_a_parser_finds(
            json in any_json(),
            pretty in any::<bool>(),
            tokens in prop::collection::vec("[ab\"~/]{0,2}|[0-4]", 0..4),
        ) {
            let text = if pretty {
                serde_json::to_string_pretty(&json).unwrap()
            } else {
                json.to_string()
            };
            let pointer: String = tokens
                .iter()
                .map(|token| format!("/{}", token.replace('~', "~0").replace('/', "~1")))
                .collect();
            let found = at(&text, &pointer).map(|raw| serde_json::from_str::<Value>(raw).unwrap());
            prop_assert_eq!(found.as_ref(), json.pointer(&pointer));
        }

        #[test]
        fn no_text_panics(text in "(?s)[\\[\\]{}\",:\\\\a1 ]{0,20}") {
            let pointer = Pointer::parse("/a/0").unwrap();
            let _ = Json(&text).at(&pointer);
            if let Some(json) = Json::parse(&text) {
                let _ = json.at(&pointer).map(|part| part.text().into_owned());
            }
        }
    }
}

//! Values that are written as one string or number.
//!
//! A [`Scalar`] only parses; where it stands, which variables are put in and how a refusal is told is
//! [`Decode`]'s part, the same for all of them.

use toml::Spanned;
use toml::de::DeValue;

use crate::config::env;
use crate::config::schema::decode::{Decode, Reader, mismatch};
use crate::config::schema::form::Form;
use crate::config::spelling;

/// A value that is written as a string and parsed at once.
pub(crate) trait Scalar: Sized {
    /// What is expected, with its article: "a duration such as …".
    const EXPECTED: &'static str;

    /// What such a value looks like.
    fn form() -> Form {
        Form::Text(Self::EXPECTED)
    }

    /// Parses the string, in which variables have been put.
    fn parse(text: &str) -> Result<Self, Refusal>;
}

/// Why a string is not the value that is expected. The value itself is not in here: whoever tells it knows what may
/// be shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    reason: Reason,
    hint: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Reason {
    Malformed(Option<String>),
    OutOfBounds(String),
}

impl Refusal {
    /// The string does not have the expected form.
    pub(crate) fn malformed(why: impl Into<String>) -> Self {
        Self {
            reason: Reason::Malformed(Some(why.into())),
            hint: None,
        }
    }

    /// The string is none of the words that are known.
    pub(crate) fn unknown(hint: impl Into<String>) -> Self {
        Self {
            reason: Reason::Malformed(None),
            hint: Some(hint.into()),
        }
    }

    /// The form is right, the value is not among those that are allowed.
    pub(crate) fn bounds(allowed: impl Into<String>) -> Self {
        Self {
            reason: Reason::OutOfBounds(allowed.into()),
            hint: None,
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A string with its variables put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) value: String,
    /// Whether something from outside was put in: then the value must not be shown.
    pub(crate) substituted: bool,
}

impl Decode for Text {
    const EXPECTED: &'static str = "a string";

    fn form() -> Form {
        Form::Text("a string")
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        text(value, Self::EXPECTED, reader)
    }
}

/// A string in which a credential may stand among other words: where values are shown, it is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hidden<T>(pub(crate) T);

impl<T: Decode> Decode for Hidden<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn form() -> Form {
        Form::Secret(T::EXPECTED)
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        T::decode(value, reader).map(Self)
    }
}

/// Takes a string and puts its variables in, or tells what is wrong with it.
fn text(value: &Spanned<DeValue<'_>>, expected: &str, reader: &mut Reader<'_>) -> Option<Text> {
    let DeValue::String(typed) = value.get_ref() else {
        mismatch(value, expected, reader);
        return None;
    };
    match env::expand(typed, reader.env) {
        Ok(expanded) => {
            let substituted = typed.contains("${");
            Some(Text {
                value: expanded.into_owned(),
                substituted,
            })
        }
        Err(error) => {
            let mut place = reader.place(value.span());
            // Points at the variable itself where it stands in the text as it does in the string.
            if let Some(at) = reader.diagnostics.source_at(place).find(&error.needle()) {
                let end = reader.diagnostics.source_at(place)[at..]
                    .find('}')
                    .map_or(place.end, |end| place.start + at + end + 1);
                place.start += at;
                place.end = end;
            }
            let finding = reader.diagnostics.error(place, error.to_string());
            if let Some(hint) = error.hint() {
                finding.hint(hint);
            }
            None
        }
    }
}

impl<T: Scalar> Decode for T {
    const EXPECTED: &'static str = <T as Scalar>::EXPECTED;

    fn form() -> Form {
        <T as Scalar>::form()
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let expected = <T as Scalar>::EXPECTED;
        let text = text(value, expected, reader)?;
        let refusal = match T::parse(&text.value) {
            Ok(parsed) => return Some(parsed),
            Err(refusal) => refusal,
        };
        let place = reader.place(value.span());
        let typed = reader.diagnostics.typed(place);
        // The example is for those who did not know the form at all.
        let kind = expected.split(" such as ").next().unwrap_or(expected);
        let message = match refusal.reason {
            // The reason may quote a part of the value, which came from outside.
            Reason::Malformed(_) if text.substituted => {
                format!("`{typed}` is not {kind} once its variables are put in")
            }
            Reason::Malformed(Some(why)) => format!("`{typed}` is not {kind}: {why}"),
            Reason::Malformed(None) => format!("`{typed}` is not {kind}"),
            Reason::OutOfBounds(allowed) => {
                format!("`{typed}` is out of bounds: {allowed} is allowed")
            }
        };
        let finding = reader.diagnostics.error(place, message);
        if let Some(hint) = refusal.hint.filter(|_| !text.substituted) {
            finding.hint(hint);
        }
        None
    }
}

/// `true` or `false`.
impl Decode for bool {
    const EXPECTED: &'static str = "true or false";

    fn form() -> Form {
        Form::Boolean
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let found = value.get_ref().as_bool();
        if found.is_none() {
            mismatch(value, Self::EXPECTED, reader);
        }
        found
    }
}

/// A whole number between `MIN` and `MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Integer<const MIN: u64, const MAX: u64>(pub(crate) u64);

impl<const MIN: u64, const MAX: u64> Decode for Integer<MIN, MAX> {
    const EXPECTED: &'static str = "a whole number";

    fn form() -> Form {
        Form::Integer { min: MIN, max: MAX }
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let Some(integer) = value.get_ref().as_integer() else {
            mismatch(value, Self::EXPECTED, reader);
            return None;
        };
        // Whatever does not fit in 64 bits is out of any bounds.
        let found = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        if let Some(found) = found.filter(|found| (MIN..=MAX).contains(found)) {
            return Some(Self(found));
        }
        let place = reader.place(value.span());
        let typed = reader.diagnostics.typed(place);
        reader.diagnostics.error(
            place,
            format!("`{typed}` is out of bounds: {MIN} to {MAX} is allowed"),
        );
        None
    }
}

/// A share of a whole: a number between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Share(pub(crate) f64);

impl Decode for Share {
    const EXPECTED: &'static str = "a number between 0.0 and 1.0";

    fn form() -> Form {
        Form::Share
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let typed = match value.get_ref() {
            DeValue::Float(float) => float.as_str(),
            DeValue::Integer(integer) => integer.as_str(),
            _ => {
                mismatch(value, Self::EXPECTED, reader);
                return None;
            }
        };
        let found = typed.parse().ok();
        if let Some(found) = found.filter(|found| (0.0..=1.0).contains(found)) {
            return Some(Self(found));
        }
        let place = reader.place(value.span());
        let typed = reader.diagnostics.typed(place);
        reader.diagnostics.error(
            place,
            format!("`{typed}` is out of bounds: 0.0 to 1.0 is allowed"),
        );
        None
    }
}

/// A word that stands for a value.
pub(crate) trait Word: Sized + Copy + 'static {
    /// What such a word is, with its article: "a log format".
    const EXPECTED: &'static str;
    /// All words, with what they stand for.
    const WORDS: &'static [(&'static str, Self)];
}

/// One of the words of `T`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OneOf<T>(pub(crate) T);

impl<T: Word> Scalar for OneOf<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn form() -> Form {
        Form::Words(T::WORDS.iter().map(|(word, _)| *word).collect())
    }

    fn parse(text: &str) -> Result<Self, Refusal> {
        if let Some((_, value)) = T::WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(Self(*value));
        }
        let hint = spelling::hint(text, "allowed here", T::WORDS.iter().map(|(word, _)| *word));
        Err(Refusal::unknown(hint))
    }
}

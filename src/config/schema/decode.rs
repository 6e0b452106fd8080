//! How values and tables are taken out of a parsed TOML document.
//!
//! This stands in the place of serde's derive, which stops at the first mistake in a table and names positions only
//! by luck: here each key is read by itself, so that one run finds every mistake, and each value keeps its place.
//! A value that is wrong has been told when `decode` returns `None`; no one tells it again.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeValue};

use crate::config::diagnostic::{Diagnostics, FileId, Place};
use crate::config::env::Env;
use crate::config::schema::form::Form;

/// What reading needs: the file that is read, the environment, and where mistakes go.
pub(crate) struct Reader<'a> {
    pub(crate) env: &'a dyn Env,
    pub(crate) file: FileId,
    pub(crate) diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    pub(crate) fn place(&self, span: Range<usize>) -> Place {
        Place::new(self.file, span)
    }
}

/// A value that can be read.
pub(crate) trait Decode: Sized {
    /// What is expected, with its article.
    const EXPECTED: &'static str;
    /// The keys of the tables that this value consists of; none for other values.
    const KEYS: &'static [Key] = &[];

    /// What such a value looks like.
    fn form() -> Form;

    /// Reads the value. `None`: it is wrong, and that has been told.
    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self>;

    /// Takes a second definition of the same key, from another file.
    fn again(
        &mut self,
        _value: &Spanned<DeValue<'_>>,
        _reader: &mut Reader<'_>,
    ) -> Result<(), DefinedTwice> {
        Err(DefinedTwice)
    }

    /// Tells of every key that was found below this value. `path` is that of the value.
    fn tell(&self, _path: &mut Vec<String>, _told: &mut Told<'_>) {}
}

/// Takes the path of a key that was found, and where its value stands.
pub(crate) type Told<'a> = dyn FnMut(&[String], Place) + 'a;

/// The key cannot be defined a second time.
pub(crate) struct DefinedTwice;

/// One key of a table, for the reference and for suggestions.
#[derive(Debug)]
pub(crate) struct Key {
    /// As it is written.
    pub(crate) name: &'static str,
    /// What it is; the schema's own doc comment.
    pub(crate) docs: &'static str,
    /// The keys below it, if its value is a table.
    pub(crate) keys: &'static [Key],
    /// What its value looks like.
    pub(crate) form: fn() -> Form,
}

/// A value with where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Located<T> {
    pub(crate) value: T,
    pub(crate) place: Place,
}

/// What a key of a table was found to be.
#[derive(Debug)]
pub(crate) enum Field<T> {
    /// It is not there.
    Absent,
    /// It is there and wrong, which has been told: no check may complain about it again.
    Broken,
    /// It is there.
    Given {
        value: Located<T>,
        /// Where the key stands.
        key: Place,
    },
}

impl<T> Field<T> {
    /// The value with its place.
    pub(crate) fn located(&self) -> Option<&Located<T>> {
        match self {
            Self::Given { value, .. } => Some(value),
            Self::Absent | Self::Broken => None,
        }
    }

    /// The value.
    pub(crate) fn value(&self) -> Option<&T> {
        self.located().map(|located| &located.value)
    }

    /// Where the key stands.
    pub(crate) fn key(&self) -> Option<Place> {
        match self {
            Self::Given { key, .. } => Some(*key),
            Self::Absent | Self::Broken => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The value of a key below this one.
    pub(crate) fn get<'a, U: 'a>(
        &'a self,
        below: impl FnOnce(&'a T) -> &'a Field<U>,
    ) -> Option<&'a U> {
        self.value().and_then(|table| below(table).value())
    }

    /// Something of the value, or its default.
    pub(crate) fn map_or<'a, U>(&'a self, default: U, map: impl FnOnce(&'a T) -> U) -> U {
        self.value().map_or(default, map)
    }
}

impl<T: Decode> Field<T> {
    /// Tells of this key, whose name it is, and of those below it.
    pub(crate) fn tell(&self, name: &str, path: &mut Vec<String>, told: &mut Told<'_>) {
        let Self::Given { value, .. } = self else {
            return;
        };
        path.push(name.to_owned());
        told(path, value.place);
        value.value.tell(path, told);
        path.pop();
    }

    /// Reads one key of a table into this field.
    pub(crate) fn read(
        &mut self,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        reader: &mut Reader<'_>,
    ) {
        let key_place = reader.place(key.span());
        match self {
            Self::Absent => {
                let place = reader.place(value.span());
                *self = match T::decode(value, reader) {
                    Some(decoded) => Self::Given {
                        value: Located {
                            value: decoded,
                            place,
                        },
                        key: key_place,
                    },
                    None => Self::Broken,
                };
            }
            Self::Broken => {
                // The second one is looked at for its own mistakes only.
                let _ = T::decode(value, reader);
            }
            Self::Given {
                value: first,
                key: first_key,
            } => {
                if first.value.again(value, reader).is_err() {
                    let first = reader.diagnostics.position(*first_key);
                    let message = format!("`{}` is defined twice", key.get_ref());
                    reader
                        .diagnostics
                        .error(key_place, message)
                        .hint(format!("the first one is at {first}"));
                }
            }
        }
    }
}

/// Tells that a value is not of the expected type.
pub(crate) fn mismatch(value: &Spanned<DeValue<'_>>, expected: &str, reader: &mut Reader<'_>) {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    let place = reader.place(value.span());
    reader
        .diagnostics
        .error(place, format!("expected {expected}, found {found}"));
}

//! Tables whose keys are known, and the macro that declares them.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::config::diagnostic::Place;
use crate::config::schema::decode::{Decode, Reader, mismatch};
use crate::config::spelling;

/// A table whose keys are known.
pub(crate) trait Table: Decode {
    /// How the table is called in a message, e.g. "`[[route]]`".
    const TITLE: &'static str;

    /// Reads one key; false if there is no such key.
    fn set(
        &mut self,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        reader: &mut Reader<'_>,
    ) -> bool;

    /// A table without keys that begins at a place.
    fn begin(place: Place) -> Self;

    /// Where the table begins.
    fn place(&self) -> Place;

    /// Notes that the table has a key that is not known.
    fn note_unknown_key(&mut self);

    /// Whether a key was not known: what seems to be missing is then probably there, misspelt.
    fn has_unknown_key(&self) -> bool;
}

/// Reads every key of a table.
pub(crate) fn fill<T: Table>(table: &mut T, keys: &DeTable<'_>, reader: &mut Reader<'_>) {
    for (key, value) in keys {
        if table.set(key, value, reader) {
            continue;
        }
        table.note_unknown_key();
        let message = format!("unknown key `{}` in {}", key.get_ref(), T::TITLE);
        let hint = spelling::hint(
            key.get_ref(),
            "allowed here",
            T::KEYS.iter().map(|key| key.name),
        );
        let place = reader.place(key.span());
        reader.diagnostics.error(place, message).hint(hint);
    }
}

/// Reads a value that must be a table.
pub(crate) fn decode_table<T: Table>(
    value: &Spanned<DeValue<'_>>,
    reader: &mut Reader<'_>,
) -> Option<T> {
    let DeValue::Table(keys) = value.get_ref() else {
        mismatch(value, T::EXPECTED, reader);
        return None;
    };
    let mut table = T::begin(reader.place(value.span()));
    fill(&mut table, keys, reader);
    Some(table)
}

/// Reads a second table of the same name, from another file: it may add keys.
pub(crate) fn merge<T: Table>(
    table: &mut T,
    value: &Spanned<DeValue<'_>>,
    reader: &mut Reader<'_>,
) {
    match value.get_ref() {
        DeValue::Table(keys) => fill(table, keys, reader),
        _ => mismatch(value, T::EXPECTED, reader),
    }
}

/// A key as it is written, for a field that had to be spelt `r#match`.
pub(crate) const fn key_name(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// Declares a table of the schema: a struct whose fields are the keys. Each key needs a doc comment: the
/// configuration's reference is made of them.
macro_rules! table {
    (
        $(#[doc = $doc:literal])+
        $name:ident, $title:literal, $expected:literal {
            $( $(#[doc = $key_doc:literal])+ $key:ident: $type:ty, )+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug)]
        pub(crate) struct $name {
            place: crate::config::diagnostic::Place,
            unknown_key: bool,
            $( $(#[doc = $key_doc])+ pub(crate) $key: crate::config::schema::decode::Field<$type>, )+
        }

        impl crate::config::schema::decode::Decode for $name {
            const EXPECTED: &'static str = $expected;
            const KEYS: &'static [crate::config::schema::decode::Key] = &[
                $( crate::config::schema::decode::Key {
                    name: crate::config::schema::table::key_name(stringify!($key)),
                    docs: concat!($($key_doc, "\n"),+),
                    keys: <$type as crate::config::schema::decode::Decode>::KEYS,
                    form: <$type as crate::config::schema::decode::Decode>::form,
                }, )+
            ];

            fn form() -> crate::config::schema::form::Form {
                crate::config::schema::form::Form::Table {
                    docs: concat!($($doc, "\n"),+),
                    keys: <Self as crate::config::schema::decode::Decode>::KEYS,
                }
            }

            fn tell(&self, path: &mut Vec<String>, told: &mut crate::config::schema::decode::Told<'_>) {
                $( self.$key.tell(crate::config::schema::table::key_name(stringify!($key)), path, told); )+
            }

            fn decode(
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                reader: &mut crate::config::schema::decode::Reader<'_>,
            ) -> Option<Self> {
                crate::config::schema::table::decode_table(value, reader)
            }

            fn again(
                &mut self,
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                reader: &mut crate::config::schema::decode::Reader<'_>,
            ) -> Result<(), crate::config::schema::decode::DefinedTwice> {
                crate::config::schema::table::merge(self, value, reader);
                Ok(())
            }
        }

        impl crate::config::schema::table::Table for $name {
            const TITLE: &'static str = $title;

            fn set(
                &mut self,
                key: &toml::Spanned<toml::de::DeString<'_>>,
                value: &toml::Spanned<toml::de::DeValue<'_>>,
                reader: &mut crate::config::schema::decode::Reader<'_>,
            ) -> bool {
                $(
                    if key.get_ref() == crate::config::schema::table::key_name(stringify!($key)) {
                        self.$key.read(key, value, reader);
                        return true;
                    }
                )+
                false
            }

            fn begin(place: crate::config::diagnostic::Place) -> Self {
                Self { place, unknown_key: false, $( $key: crate::config::schema::decode::Field::Absent, )+ }
            }

            fn place(&self) -> crate::config::diagnostic::Place {
                self.place
            }

            fn note_unknown_key(&mut self) {
                self.unknown_key = true;
            }

            fn has_unknown_key(&self) -> bool {
                self.unknown_key
            }
        }
    };
}
pub(crate) use table;

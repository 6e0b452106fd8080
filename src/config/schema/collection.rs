//! Values that hold others: lists, lists of tables, tables by name.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::DeValue;

use crate::config::diagnostic::Place;
use crate::config::schema::decode::{Decode, DefinedTwice, Key, Located, Reader, Told, mismatch};
use crate::config::schema::form::Form;
use crate::config::schema::table::{Table, decode_table};

/// A list; a wrong element does not hide the others.
#[derive(Debug)]
pub(crate) struct List<T>(pub(crate) Vec<Located<T>>);

impl<T: Decode> Decode for List<T> {
    const EXPECTED: &'static str = "a list";
    const KEYS: &'static [Key] = T::KEYS;

    fn form() -> Form {
        Form::List(Box::new(T::form()))
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Array(elements) = value.get_ref() else {
            mismatch(value, Self::EXPECTED, reader);
            return None;
        };
        let read = |element: &Spanned<DeValue<'_>>| {
            let place = reader.place(element.span());
            T::decode(element, reader).map(|value| Located { value, place })
        };
        let list: Vec<_> = elements.iter().filter_map(read).collect();
        // A list that lost an element is broken: what is left may be empty or look complete.
        (list.len() == elements.len()).then_some(Self(list))
    }
}

/// One value, or a list of them.
#[derive(Debug)]
pub(crate) struct OneOrMany<T>(pub(crate) Vec<Located<T>>);

impl<T: Decode> Decode for OneOrMany<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn form() -> Form {
        Form::OneOrMany(Box::new(T::form()))
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        if value.get_ref().is_array() {
            return List::decode(value, reader).map(|List(list)| Self(list));
        }
        let place = reader.place(value.span());
        T::decode(value, reader).map(|value| Self(vec![Located { value, place }]))
    }
}

/// `[[name]]`: tables of the same kind; those of several files are appended.
#[derive(Debug)]
pub(crate) struct Tables<T>(pub(crate) Vec<T>);

impl<T: Table> Decode for Tables<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    const KEYS: &'static [Key] = T::KEYS;

    fn form() -> Form {
        Form::List(Box::new(T::form()))
    }

    /// Each table is told of by its number in the order of the files, from 0.
    fn tell(&self, path: &mut Vec<String>, told: &mut Told<'_>) {
        for (index, table) in self.0.iter().enumerate() {
            path.push(index.to_string());
            told(path, table.place());
            table.tell(path, told);
            path.pop();
        }
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Array(elements) = value.get_ref() else {
            let place = reader.place(value.span());
            let message = format!(
                "expected a list of tables, which is written {} with two brackets",
                T::TITLE
            );
            reader.diagnostics.error(place, message);
            return None;
        };
        Some(Self(
            elements
                .iter()
                .filter_map(|element| decode_table(element, reader))
                .collect(),
        ))
    }

    fn again(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        reader: &mut Reader<'_>,
    ) -> Result<(), DefinedTwice> {
        if let Some(Self(more)) = Self::decode(value, reader) {
            self.0.extend(more);
        }
        Ok(())
    }
}

/// `[kind.NAME]`: tables by a name, each name once in all files.
#[derive(Debug)]
pub(crate) struct Named<T> {
    pub(crate) tables: BTreeMap<String, Located<T>>,
    /// Names whose value is not a table, which has been told.
    broken: BTreeSet<String>,
}

impl<T> Named<T> {
    /// Whether the name is used, be it for something that is wrong.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.tables.contains_key(name) || self.broken.contains(name)
    }
}

impl<T: Table> Decode for Named<T> {
    const EXPECTED: &'static str = "a table of tables";
    const KEYS: &'static [Key] = T::KEYS;

    fn form() -> Form {
        Form::Named(Box::new(T::form()))
    }

    fn tell(&self, path: &mut Vec<String>, told: &mut Told<'_>) {
        for (name, table) in &self.tables {
            path.push(name.clone());
            told(path, table.place);
            table.value.tell(path, told);
            path.pop();
        }
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let mut named = Self {
            tables: BTreeMap::new(),
            broken: BTreeSet::new(),
        };
        // It can always be taken a first time.
        named.again(value, reader).ok().map(|()| named)
    }

    fn again(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        reader: &mut Reader<'_>,
    ) -> Result<(), DefinedTwice> {
        let DeValue::Table(tables) = value.get_ref() else {
            mismatch(value, T::EXPECTED, reader);
            return Ok(());
        };
        for (name, value) in tables {
            let place = reader.place(name.span());
            if let Some(first) = self.tables.get(name.get_ref().as_ref()) {
                let first = reader.diagnostics.position(first.place);
                let title = T::TITLE.replace("NAME", name.get_ref());
                let message = format!("{title} is defined twice");
                reader
                    .diagnostics
                    .error(place, message)
                    .hint(format!("the first one is at {first}"));
                continue;
            }
            check_name(name.get_ref(), place, reader);
            let name = name.get_ref().clone().into_owned();
            match decode_table(value, reader) {
                Some(table) => drop(self.tables.insert(
                    name,
                    Located {
                        value: table,
                        place,
                    },
                )),
                None => drop(self.broken.insert(name)),
            }
        }
        Ok(())
    }
}

/// The longest name of an upstream or a bridge.
const MAX_NAME: usize = 64;

/// Names become labels in logs, so they are short and plain.
fn check_name(name: &str, place: Place, reader: &mut Reader<'_>) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
        let message = format!("`{name}` cannot be a name");
        let hint = format!("names have letters, digits, `-`, `_` and `.`, {MAX_NAME} at most");
        reader.diagnostics.error(place, message).hint(hint);
    }
}

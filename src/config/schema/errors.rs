//! `[errors]`: pages by status.

use toml::Spanned;
use toml::de::DeValue;

use crate::config::schema::collection::OneOrMany;
use crate::config::schema::decode::{Decode, DefinedTwice, Located, Reader, mismatch};
use crate::config::schema::form::Form;
use crate::config::schema::scalar::Text;
use crate::http::error_page::Statuses;

/// `[errors]`: the files of each status or class of statuses.
#[derive(Debug, Default)]
pub(crate) struct Errors(pub(crate) Vec<(Statuses, Vec<Located<Text>>)>);

impl Decode for Errors {
    const EXPECTED: &'static str = "a table, `[errors]`";

    fn form() -> Form {
        Form::Map {
            names: "^([45][0-9]{2}|[45]xx)$",
            values: Box::new(OneOrMany::<Text>::form()),
        }
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let mut errors = Self::default();
        errors.read(value, reader).then_some(errors)
    }

    fn again(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        reader: &mut Reader<'_>,
    ) -> Result<(), DefinedTwice> {
        self.read(value, reader);
        Ok(())
    }
}

impl Errors {
    /// Reads what the table says; false if it is none.
    fn read(&mut self, value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> bool {
        let DeValue::Table(keys) = value.get_ref() else {
            mismatch(value, Self::EXPECTED, reader);
            return false;
        };
        for (key, value) in keys {
            let place = reader.place(key.span());
            let Some(statuses) = statuses(key.get_ref()) else {
                let message = format!("`{}` is not the status of an error", key.get_ref());
                let hint = "`502 = \"errors/502.html\"`, or `5xx` for all from 500 to 599";
                reader.diagnostics.error(place, message).hint(hint);
                continue;
            };
            if self.0.iter().any(|(known, _)| *known == statuses) {
                let message = format!("`{}` is defined twice", key.get_ref());
                reader.diagnostics.error(place, message);
                continue;
            }
            if let Some(OneOrMany(files)) = OneOrMany::<Text>::decode(value, reader) {
                self.0.push((statuses, files));
            }
        }
        true
    }
}

/// `404`, or `4xx`.
fn statuses(key: &str) -> Option<Statuses> {
    match key {
        "4xx" => return Some(Statuses::Class(4)),
        "5xx" => return Some(Statuses::Class(5)),
        _ => {}
    }
    let plain = key.len() == 3 && key.bytes().all(|b| b.is_ascii_digit());
    let status = plain.then(|| key.parse().ok()).flatten()?;
    (400..600)
        .contains(&status)
        .then_some(Statuses::One(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_those_of_errors() {
        for (key, expected) in [
            ("404", Some(Statuses::One(404))),
            ("599", Some(Statuses::One(599))),
            ("5xx", Some(Statuses::Class(5))),
            ("200", None),
            ("3xx", None),
            ("0502", None),
            ("5XX", None),
            ("", None),
        ] {
            assert_eq!(statuses(key), expected, "{key}");
        }
    }
}

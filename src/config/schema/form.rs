//! What a value looks like, without one at hand: for the JSON schema, the reference, and for what may be shown of a value.

use std::fmt;

use crate::config::schema::decode::Key;
use crate::config::units;

/// The form of a value. Bounds are inclusive.
#[derive(Debug, Clone)]
pub(crate) enum Form {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer {
        /// The least.
        min: u64,
        /// The greatest.
        max: u64,
    },
    /// A number between 0 and 1.
    Share,
    /// A duration in milliseconds.
    Duration(Bounds),
    /// A size in bytes.
    Size(Bounds),
    /// So many in a window, or `"0"` for no limit.
    Rate {
        /// The most of them.
        max: u32,
        /// What stands behind the number: `/s`.
        windows: &'static [&'static str],
    },
    /// One of these words.
    Words(Vec<&'static str>),
    /// Any other string; what is expected, with its article.
    Text(&'static str),
    /// A string that is never shown; what is expected, with its article.
    Secret(&'static str),
    /// A list.
    List(Box<Form>),
    /// A value, or a list of them.
    OneOrMany(Box<Form>),
    /// A table whose keys are known.
    Table {
        /// What it is; the schema's own doc comment.
        docs: &'static str,
        /// Its keys.
        keys: &'static [Key],
    },
    /// Tables by a name that is free.
    Named(Box<Form>),
    /// Values by names of a certain form.
    Map {
        /// What the names are, as a regular expression.
        names: &'static str,
        /// What stands there.
        values: Box<Form>,
    },
    /// Any of these.
    Either(Vec<Form>),
}

/// From where to where, in the smallest unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) min: u64,
    pub(crate) max: u64,
    /// Whether `"0"` is allowed besides, and stands for none.
    pub(crate) or_none: bool,
}

impl Form {
    /// The keys, if it is a table, or a list or a choice of such.
    pub(crate) fn keys(&self) -> &'static [Key] {
        match self {
            Self::Table { keys, .. } => keys,
            Self::List(of) | Self::OneOrMany(of) | Self::Named(of) => of.keys(),
            Self::Either(forms) => forms
                .iter()
                .map(Self::keys)
                .find(|keys| !keys.is_empty())
                .unwrap_or_default(),
            _ => &[],
        }
    }

    /// Whether a secret may be in it.
    pub(crate) fn has_secret(&self) -> bool {
        match self {
            Self::Secret(_) => true,
            Self::List(of)
            | Self::OneOrMany(of)
            | Self::Named(of)
            | Self::Map { values: of, .. } => of.has_secret(),
            Self::Table { keys, .. } => keys.iter().any(|key| (key.form)().has_secret()),
            Self::Either(forms) => forms.iter().any(Self::has_secret),
            _ => false,
        }
    }

    /// Whether it says nothing but a measure or a choice, so that it may be shown even where it came from the environment.
    pub(crate) fn is_harmless(&self) -> bool {
        match self {
            Self::Boolean
            | Self::Integer { .. }
            | Self::Share
            | Self::Duration(_)
            | Self::Size(_)
            | Self::Rate { .. }
            | Self::Words(_) => true,
            Self::List(of) | Self::OneOrMany(of) => of.is_harmless(),
            _ => false,
        }
    }
}

/// In words, for the reference.
impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean => f.write_str("`true` or `false`"),
            Self::Integer { min, max } => write!(f, "{min} to {max}"),
            Self::Share => f.write_str("0.0 to 1.0"),
            Self::Duration(bounds) => bounds.describe("duration", units::show_duration, f),
            Self::Size(bounds) => bounds.describe("size", units::show_size, f),
            Self::Rate { max, windows } => {
                let forms: Vec<String> = windows.iter().map(|it| format!("`\"N{it}\"`")).collect();
                write!(f, "{}, up to {max}, or `\"0\"`", forms.join(", "))
            }
            Self::Words(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
                f.write_str(&words.join(", "))
            }
            Self::Text(expected) | Self::Secret(expected) => f.write_str(expected),
            Self::List(of) => write!(f, "list: {of}"),
            Self::OneOrMany(of) => write!(f, "one or a list: {of}"),
            Self::Table { .. } => f.write_str("a table"),
            Self::Named(_) => f.write_str("tables by name"),
            Self::Map { values, .. } => write!(f, "a table of {values}"),
            Self::Either(forms) => {
                let forms: Vec<String> = forms.iter().map(ToString::to_string).collect();
                f.write_str(&forms.join("; or "))
            }
        }
    }
}

impl Bounds {
    fn describe(
        &self,
        kind: &str,
        show: fn(u64) -> String,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        let Self { min, max, or_none } = *self;
        write!(f, "{kind}, {} to {}", show(min), show(max))?;
        if or_none && min > 0 {
            f.write_str(", or `\"0\"`")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_shown_in_whole_units() {
        let bounds = |min, max, or_none| Bounds { min, max, or_none };
        for (form, shown) in [
            (
                Form::Duration(bounds(10, 3_600_000, true)),
                "duration, 10ms to 1h, or `\"0\"`",
            ),
            (Form::Duration(bounds(0, 1000, false)), "duration, 0 to 1s"),
            (
                Form::Size(bounds(1024, 1 << 20, false)),
                "size, 1KiB to 1MiB",
            ),
            (
                Form::List(Box::new(Form::Words(vec!["a", "b"]))),
                "list: `\"a\"`, `\"b\"`",
            ),
        ] {
            assert_eq!(form.to_string(), shown);
        }
    }

    #[test]
    fn a_secret_is_found_wherever_it_hides() {
        let secret = Form::Either(vec![Form::Text("a path"), Form::Secret("a string")]);
        let map = Form::Map {
            names: ".",
            values: Box::new(secret),
        };
        assert!(map.has_secret() && !map.is_harmless());
        assert!(!Form::Boolean.has_secret() && Form::Boolean.is_harmless());
    }
}

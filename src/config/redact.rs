//! Finds what must not be shown when a line of a configuration is.
//!
//! This works on what was typed, before it is known to be right: a token in a misspelt table is a token too.

use toml::de::{DeTable, DeValue};

use crate::config::diagnostic::{Diagnostics, FileId, Place};

/// Parts of keys whose values are taken for secrets, in lower case.
const SENSITIVE: [&str; 8] = [
    "authorization",
    "cookie",
    "token",
    "secret",
    "passw",
    "api-key",
    "api_key",
    "apikey",
];

/// The table whose values may all be secrets.
const HEADERS: &str = "headers";

/// The table whose values are hashes of passwords, unless they are tables themselves.
const USERS: &str = "users";

/// How the hashes begin that are looked for where nothing can be parsed.
const HASHES: [&str; 4] = ["$argon2", "$2", "$5$", "$6$"];

/// Covers every string that may be a secret in a document.
pub(crate) fn cover_table(table: &DeTable<'_>, file: FileId, diagnostics: &mut Diagnostics) {
    for (key, value) in table {
        let key = key.get_ref().to_ascii_lowercase();
        // A list under this name is one of fields' names.
        let has_values = key == HEADERS && !value.get_ref().is_array();
        let is_of_hashes = key == USERS && has_strings(value.get_ref());
        if has_values || is_of_hashes || is_sensitive(&key) {
            cover_value(value, file, diagnostics);
            continue;
        }
        for_tables(value.get_ref(), &mut |table| {
            cover_table(table, file, diagnostics)
        });
    }
}

/// Whether it is a table with more in it than tables: `[auth.users]` is one of settings, `users = { ann = "…" }` of hashes.
fn has_strings(value: &DeValue<'_>) -> bool {
    value
        .as_table()
        .is_some_and(|table| table.iter().any(|(_key, value)| value.get_ref().is_str()))
}

fn is_sensitive(key: &str) -> bool {
    SENSITIVE.iter().any(|word| key.contains(word))
}

fn for_tables(value: &DeValue<'_>, act: &mut impl FnMut(&DeTable<'_>)) {
    match value {
        DeValue::Table(table) => act(table),
        DeValue::Array(elements) => elements
            .iter()
            .for_each(|element| for_tables(element.get_ref(), act)),
        _ => {}
    }
}

fn cover_value(value: &toml::Spanned<DeValue<'_>>, file: FileId, diagnostics: &mut Diagnostics) {
    match value.get_ref() {
        DeValue::Table(table) => {
            for (key, value) in table {
                // Where a secret is kept is no secret, nor are names of fields.
                let is_plain = match key.get_ref().as_ref() {
                    "file" | "credential" => true,
                    "remove" => value.get_ref().is_array(),
                    _ => false,
                };
                if !is_plain {
                    cover_value(value, file, diagnostics);
                }
            }
        }
        DeValue::Array(elements) => {
            elements
                .iter()
                .for_each(|element| cover_value(element, file, diagnostics));
        }
        DeValue::String(_) => {
            let span = value.span();
            // The quotes stay, so that the line can still be read.
            diagnostics.cover(Place::new(file, span.start + 1..span.end.saturating_sub(1)));
        }
        _ => diagnostics.cover(Place::new(file, value.span())),
    }
}

fn has_hash(line: &str) -> bool {
    HASHES.iter().any(|begin| line.contains(begin))
}

/// Covers what looks like a secret in a text that cannot be parsed, line by line and rather too much.
pub(crate) fn cover_lines(text: &str, file: FileId, diagnostics: &mut Diagnostics) {
    let mut start = 0;
    let mut in_headers = false;
    for line in text.split_inclusive('\n') {
        let lower = line.to_ascii_lowercase();
        let is_header = lower.trim_start().starts_with('[');
        if is_header {
            in_headers = lower.contains(HEADERS);
        }
        if !is_header
            && (in_headers || lower.contains(HEADERS) || is_sensitive(&lower) || has_hash(&lower))
        {
            let from = line.find('=').map_or(0, |at| at + 1);
            diagnostics.cover(Place::new(
                file,
                start + from..start + line.trim_end().len(),
            ));
        }
        start += line.len();
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn shown(text: &str, needle: &str) -> String {
        let mut diagnostics = Diagnostics::default();
        let file = diagnostics.add_source("a.toml".into(), PathBuf::new(), text.into());
        let (document, errors) = DeTable::parse_recoverable(text);
        cover_table(document.get_ref(), file, &mut diagnostics);
        if !errors.is_empty() {
            cover_lines(text, file, &mut diagnostics);
        }
        let at = text.find(needle).unwrap();
        diagnostics.error(Place::new(file, at..at + 1), "wrong");
        diagnostics.to_string()
    }

    #[test]
    fn secrets_are_covered_wherever_they_stand() {
        let table = [
            (
                "[bridge.a]\nconnect = { headers = { Authorization = \"s3cr3t\" }, x = 1 }",
                "x = 1",
            ),
            ("[bridge.a.conect.headers]\nX-Any = \"s3cr3t\"", "X-Any"),
            ("token = \"s3cr3t\"", "token"),
            ("[[a]]\nb = [{ Cookie = ['s3cr3t'] }]", "b"),
            ("Authorization = \"s3cr3t", "Authorization"),
            ("[x.headers]\nX-Any = s3cr3t", "X-Any"),
        ];
        for (text, needle) in table {
            let shown = shown(text, needle);
            assert!(
                shown.contains("***") && !shown.contains("s3cr3t"),
                "{shown}"
            );
        }
        assert!(shown("connect.headers.X = { file = \"a.txt\" }", "X").contains("a.txt"));
        assert!(shown("headers.request.remove = ['X-A']", "r").contains("X-A"));
        assert!(shown("trust.headers = ['forwarded']", "t").contains("forwarded"));
        assert!(shown("path = \"/a\"", "path").contains("/a"));
    }
}

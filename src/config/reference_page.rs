//! `docs/configuration.md`, made from the doc comments of the keys.
//!
//! `UPDATE_EXPECTED=1` writes it anew; the difference is then for a person to read.

use std::fmt::Write;

use crate::config::schema::Root;
use crate::config::schema::decode::{Decode, Key};
use crate::config::schema::form::Form;
use crate::config::usual::{Usual, is_required};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
const BEGIN: &str = "<!-- made from src/config/schema -->\n";
const END: &str = "<!-- to here -->";

#[test]
fn the_reference_page_has_every_key_as_it_is() {
    let mut expected = String::new();
    write_table(&mut expected, "", "The top level", Root::KEYS, 2);
    let text = std::fs::read_to_string(PAGE).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (made, after) = rest.split_once(END).unwrap();
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        let text = format!("{before}{BEGIN}{expected}{END}{after}");
        return std::fs::write(PAGE, text).unwrap();
    }
    assert!(
        made == expected,
        "`UPDATE_EXPECTED=1` writes docs/configuration.md"
    );
}

/// A section with the keys of one table, and sections for the tables in it.
fn write_table(page: &mut String, path: &str, title: &str, keys: &[Key], level: usize) {
    writeln!(page, "{} {title}\n", "#".repeat(level)).unwrap();
    let (plain, tables): (Vec<&Key>, Vec<&Key>) =
        keys.iter().partition(|key| !is_table(&(key.form)()));
    if !plain.is_empty() {
        page.push_str("| key | value | default | what it says |\n|---|---|---|---|\n");
        for key in &plain {
            write_key(page, key);
        }
        page.push('\n');
    }
    let below = plain.iter().filter(|key| has_section(&(key.form)()));
    for key in below.chain(&tables) {
        let form = (key.form)();
        let path = format!("{path}{}", key.name);
        let free = if matches!(form, Form::Named(_)) {
            ".NAME"
        } else {
            ""
        };
        let title = match form {
            Form::List(_) if is_table(&form) => format!("`[[{path}]]`"),
            Form::List(_) => format!("`{path} = [{{ … }}]`"),
            _ if is_table(&form) => format!("`[{path}{free}]`"),
            _ => format!("`{path} = {{ … }}`"),
        };
        let mut section = String::new();
        write_table(
            &mut section,
            &format!("{path}{free}."),
            &title,
            form.keys(),
            2 + depth(&path),
        );
        let (heading, rest) = section.split_once("\n\n").unwrap();
        let intro = one_line(key.docs);
        // The table's own comment often says the same with its heading before it.
        let is_more = |own: &String| !own.to_lowercase().ends_with(&intro.to_lowercase());
        let own = table_docs(&form).map(one_line).filter(is_more);
        let intro: Vec<String> = [intro.clone()].into_iter().chain(own).collect();
        write!(page, "{heading}\n\n{}\n\n{rest}", intro.join("\n\n")).unwrap();
    }
}

fn depth(path: &str) -> usize {
    path.replace(".NAME", "").matches('.').count().min(2)
}

/// Whether there are keys to tell of. Where a secret is kept is the same everywhere, and said at the head of the page.
fn has_section(form: &Form) -> bool {
    let keys = form.keys();
    !keys.is_empty() && !keys.iter().any(|key| key.name == "credential")
}

/// Whether it is written with a heading of its own, `[…]` or `[[…]]`.
fn is_table(form: &Form) -> bool {
    match form {
        Form::Table { .. } | Form::Named(_) => true,
        Form::List(of) => matches!(**of, Form::Table { .. }),
        _ => false,
    }
}

fn table_docs(form: &Form) -> Option<&'static str> {
    match form {
        Form::Table { docs, .. } => Some(docs),
        Form::List(of) | Form::Named(of) => table_docs(of),
        Form::Either(forms) => forms.iter().find_map(table_docs),
        _ => None,
    }
}

fn write_key(page: &mut String, key: &Key) {
    let form = (key.form)();
    let default = match Usual::of(key.docs) {
        _ if is_required(key.docs) => "required".to_owned(),
        Usual {
            value: Some(value), ..
        } => format!("`{value}`"),
        Usual {
            words: Some(words), ..
        } => words,
        Usual {
            value: None,
            words: None,
        } => String::new(),
    };
    writeln!(
        page,
        "| `{}` | {} | {} | {} |",
        key.name,
        cell(&form.to_string()),
        cell(&default),
        cell(&one_line(key.docs)),
    )
    .unwrap();
}

fn one_line(docs: &str) -> String {
    docs.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands between two bars.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

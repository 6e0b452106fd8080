//! The defaults that the keys' doc comments speak of are those of the code: setting one changes nothing.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::schema::Root;
use crate::config::schema::decode::{Decode, Key};
use crate::config::schema::form::Form;
use crate::config::usual::Usual;
use crate::config::{Config, load_str};

/// The lines of a table, by its heading.
type Tables = &'static [(&'static str, &'static [(&'static str, &'static str)])];

/// Configurations in which a key may mean something. The first has nothing that is not needed.
const CONTEXTS: &[Tables] = &[
    &[
        ("[[listen]]", &[("address", "\"127.0.0.1:80\"")]),
        ("[upstream.a]", &[("servers", "[\"http://a\"]")]),
        ("[[route]]", &[("upstream", "\"a\"")]),
        ("[bridge.b]", &[("source", "\"ws://b/\"")]),
        (
            "[auth.u]",
            &[("jwt.secret", "\"0123456789abcdef0123456789abcdef\"")],
        ),
    ],
    &[
        ("[[listen]]", &[("address", "\"127.0.0.1:80\"")]),
        (
            "[upstream.a]",
            &[
                ("servers", "[\"https://a\"]"),
                ("balance", "\"cookie\""),
                ("cookie.secret", "\"0123456789abcdef\""),
                ("health.path", "\"/\""),
                ("passive.failures", "7"),
                ("tls.server_name", "\"b\""),
            ],
        ),
        (
            "[[route]]",
            &[
                ("upstream", "\"a\""),
                ("limits.rate", "\"9/s\""),
                ("limits.messages", "\"9/s\""),
                ("resume", "true"),
                ("heartbeat", "\"5s\""),
            ],
        ),
        (
            "[bridge.b]",
            &[
                ("source", "\"wss://b/\""),
                ("keepalive.text", "\"ping\""),
                ("resume.pointer", "\"/seq\""),
                ("resume.send", "\"{last}\""),
                ("publish.enabled", "true"),
                ("publish.reply.match", "\"/id\""),
                ("key", "\"/k\""),
                ("start", "\"snapshot\""),
                ("tls.server_name", "\"b\""),
            ],
        ),
        ("[auth.u]", &[("forward.url", "\"https://a/\"")]),
    ],
    &[
        ("[[listen]]", &[("address", "\"127.0.0.1:80\"")]),
        (
            "[upstream.a]",
            &[("servers", "[\"http://a\"]"), ("passive.window", "\"3s\"")],
        ),
        ("[[route]]", &[("upstream", "\"a\"")]),
        (
            "[bridge.b]",
            &[("source", "\"ws://b/\""), ("mode", "\"session\"")],
        ),
        ("[auth.u]", &[("jwt.jwks", "\"https://a/keys\"")]),
    ],
];

/// The heading under which a table's keys stand.
fn heading(table: &str) -> String {
    match table {
        "listen" | "route" => format!("[[{table}]]"),
        "upstream" => "[upstream.a]".to_owned(),
        "bridge" => "[bridge.b]".to_owned(),
        "auth" => "[auth.u]".to_owned(),
        other => format!("[{other}]"),
    }
}

/// A context with a key set, or with it left out.
fn text(context: Tables, table: &str, key: &str, literal: Option<&str>) -> String {
    let heading = heading(table);
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (known, lines) in context {
        let lines = lines
            .iter()
            .filter(|(other, _)| *known != heading || *other != key);
        let lines = lines
            .map(|(key, value)| format!("{key} = {value}"))
            .collect();
        tables.insert((*known).to_owned(), lines);
    }
    let own = tables.entry(heading).or_default();
    own.extend(literal.map(|literal| format!("{key} = {literal}")));
    let tables = tables
        .iter()
        .map(|(heading, lines)| format!("{heading}\n{}\n", lines.join("\n")));
    tables.collect()
}

fn load(text: &str) -> Option<Config> {
    load_str(
        "test.toml",
        text,
        Path::new("."),
        &BTreeMap::<String, String>::new(),
    )
    .ok()
}

/// All that a configuration means.
fn meaning(config: &Config) -> String {
    let Config {
        server,
        listeners,
        tls,
        trust,
        limits,
        dns,
        upstreams,
        bridges,
        auths,
        routes,
        log,
        admin,
        ..
    } = config;
    format!(
        "{server:?}{listeners:?}{tls:?}{trust:?}{limits:?}{dns:?}{upstreams:?}{bridges:?}{auths:?}{routes:?}{log:?}{admin:?}"
    )
}

/// Whether there is a context in which the key may be set to this, and which that does not change.
fn changes_nothing(table: &str, key: &str, literal: &str) -> bool {
    CONTEXTS.iter().any(|context| {
        let without = load(&text(context, table, key, None));
        let with = load(&text(context, table, key, Some(literal)));
        without
            .zip(with)
            .is_some_and(|(without, with)| meaning(&without) == meaning(&with))
    })
}

fn collect(path: &str, keys: &[Key], found: &mut Vec<(String, String)>) {
    for key in keys {
        let path = format!("{path}{}", key.name);
        match (key.form)() {
            Form::Table { keys, .. } => collect(&format!("{path}."), keys, found),
            form => {
                let literal = Usual::of(key.docs).value.filter(|it| !it.contains("NAME"));
                let literal = literal.map(|literal| match form {
                    Form::Words(_) if !literal.starts_with('"') => format!("\"{literal}\""),
                    _ => literal,
                });
                found.extend(literal.map(|literal| (path, literal)));
            }
        }
    }
}

#[test]
fn the_defaults_in_the_reference_are_those_of_the_code() {
    let mut wrong = Vec::new();
    let mut checked = 0;
    for table in Root::KEYS {
        let mut found = Vec::new();
        let keys = (table.form)().keys();
        collect("", keys, &mut found);
        for (key, literal) in found {
            checked += 1;
            if !changes_nothing(table.name, &key, &literal) {
                wrong.push(format!("{}.{key} = {literal}", table.name));
            }
        }
    }
    assert!(checked > 100, "only {checked} defaults were found");
    assert!(
        wrong.is_empty(),
        "not what holds without them:\n{}",
        wrong.join("\n")
    );
}

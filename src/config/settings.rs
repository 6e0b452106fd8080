//! Every key of a configuration with what holds for it, and where that was said: for `streamgate explain`.
//!
//! What was typed is kept as it may be shown; a secret never is, and of the environment nothing but measures and choices.

use std::collections::BTreeMap;

use crate::config::diagnostic::{Diagnostics, Place};
use crate::config::env::{self, Env};
use crate::config::schema::Root;
use crate::config::schema::decode::{Decode, Key};
use crate::config::schema::form::Form;
use crate::config::usual::Usual;

/// What was typed, by the path of the key: `["route", "0", "timeouts", "idle"]`.
#[derive(Debug)]
pub struct Settings {
    typed: BTreeMap<Vec<String>, Typed>,
}

#[derive(Debug)]
struct Typed {
    shown: String,
    /// With the environment's variables in it.
    expanded: Option<String>,
    place: String,
}

/// One key of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its path below the table: `timeouts.idle`.
    pub key: String,
    /// What holds: a value without quotes, or words.
    pub value: String,
    /// `FILE:LINE` of where it was typed; `None`: nobody did, and the default holds.
    pub place: Option<String>,
}

/// What stands in the place of a secret.
const HIDDEN: &str = "(not shown)";

impl Settings {
    pub(crate) fn of(root: &Root, diagnostics: &Diagnostics, env: &dyn Env) -> Self {
        let mut typed = BTreeMap::new();
        root.tell(&mut Vec::new(), &mut |path, place| {
            typed.insert(path.to_vec(), Typed::at(place, diagnostics, env));
        });
        Self { typed }
    }

    /// `FILE:LINE` of a table or a key, if it was typed: `["upstream", "app"]`.
    #[must_use]
    pub fn place(&self, path: &[&str]) -> Option<&str> {
        let path: Vec<String> = path.iter().map(|&part| part.to_owned()).collect();
        Some(&self.typed.get(&path)?.place)
    }

    /// All keys of a table, in the order of the reference. A table below it that is not there, and that switches something on,
    /// is one setting; else its keys are.
    #[must_use]
    pub fn of_table(&self, path: &[&str]) -> Vec<Setting> {
        let mut above: Vec<String> = path.iter().map(|&part| part.to_owned()).collect();
        let mut settings = Vec::new();
        self.collect(keys_at(path), &mut above, path.len(), &mut settings);
        settings
    }

    fn collect(
        &self,
        keys: &[Key],
        path: &mut Vec<String>,
        above: usize,
        settings: &mut Vec<Setting>,
    ) {
        for key in keys {
            path.push(key.name.to_owned());
            let typed = self.typed.get(path.as_slice());
            let form = (key.form)();
            match form {
                Form::Table { keys, .. } if typed.is_some() || has_defaults(key) => {
                    self.collect(keys, path, above, settings);
                }
                form => settings.push(Setting {
                    key: path[above..].join("."),
                    value: typed.map_or_else(
                        || Usual::of(key.docs).shown(),
                        |typed| typed.value(&form).to_owned(),
                    ),
                    place: typed.map(|typed| typed.place.clone()),
                }),
            }
            path.pop();
        }
    }
}

/// Whether a table's keys hold where it is not there: it does not switch anything on.
fn has_defaults(table: &Key) -> bool {
    // These mean something only beside what they belong to, or in the place of each other.
    let belongs = matches!(table.name, "tls" | "cookie" | "jwt" | "basic" | "forward");
    let is_switch = Usual::of(table.docs).words.is_some();
    let any = |key: &Key| Usual::of(key.docs) != Usual::default();
    !belongs && !is_switch && table.keys.iter().any(any)
}

/// The keys of the table at a path, which goes over the numbers of lists and over names.
fn keys_at(path: &[&str]) -> &'static [Key] {
    let mut keys = Root::KEYS;
    let mut is_free = false;
    for part in path {
        if std::mem::take(&mut is_free) {
            continue;
        }
        let Some(key) = keys.iter().find(|key| key.name == *part) else {
            return &[];
        };
        let form = (key.form)();
        is_free = matches!(form, Form::List(_) | Form::Named(_));
        keys = form.keys();
    }
    keys
}

impl Typed {
    fn at(place: Place, diagnostics: &Diagnostics, env: &dyn Env) -> Self {
        let typed = diagnostics.typed(place);
        // What separates the lines of a list is no character that is shown.
        let words = typed.split(|c: char| c.is_whitespace() || c == '\u{fffd}');
        let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let shown = without_queries(&words.join(" "));
        let expanded = env::expand(&shown, env).ok().map(|text| text.into_owned());
        Self {
            expanded: expanded.filter(|text| *text != shown),
            shown,
            place: diagnostics.line(place),
        }
    }

    fn value(&self, form: &Form) -> &str {
        if form.has_secret() {
            return HIDDEN;
        }
        match &self.expanded {
            Some(expanded) if form.is_harmless() => expanded,
            _ => &self.shown,
        }
    }
}

/// A URL's query may hold a key: it is left out of each.
fn without_queries(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, from_host) = rest.split_at(at + 3);
        let end = from_host.find(['"', '\'', ' ']).unwrap_or(from_host.len());
        let (url, behind) = from_host.split_at(end);
        shown.push_str(before);
        match url.split_once('?') {
            Some((plain, _query)) => shown.extend([plain, "?…"]),
            None => shown.push_str(url),
        }
        rest = behind;
    }
    shown.push_str(rest);
    shown
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::explained_str;

    const TEXT: &str = "\
[[listen]]
address = \"127.0.0.1:80\"
[upstream.\"a.b\"]
servers = [\"http://a\"]
[[route]]
path = \"/x/*\"
upstream = \"a.b\"
timeouts = { response = \"${WAIT:-5s}\", idle = \"1m30s\" }
headers.request.set = { X-Key = \"s3cr3t\" }
[[route]]
path = \"/${WAIT}\"
respond = 204
[bridge.feed]
source = \"ws://f/x\"
share_key = \"{query.token}\"
connect.send = [\"login s3cr3t\", { text = \"s3cr3t\", expect = \"/ok\" }]
keepalive = { text = \"ping s3cr3t\", every = \"9s\" }
resume = { pointer = \"/seq\", send = \"from {last} s3cr3t\" }
[[route]]
path = \"/feed\"
bridge = \"feed\"
";

    fn settings() -> Settings {
        let env: BTreeMap<String, String> = [("WAIT".to_owned(), "7s".to_owned())].into();
        explained_str("a.toml", TEXT, Path::new("."), &env)
            .unwrap()
            .settings
    }

    fn of(settings: &[Setting], key: &str) -> (String, Option<String>) {
        let found = settings.iter().find(|setting| setting.key == key);
        let found = found.unwrap_or_else(|| panic!("`{key}` is not in {settings:?}"));
        (found.value.clone(), found.place.clone())
    }

    #[test]
    fn a_value_is_what_was_typed_or_the_default() {
        let settings = settings();
        let route = settings.of_table(&["route", "0"]);
        let at = |line| Some(format!("a.toml:{line}"));
        for (key, value, place) in [
            ("timeouts.response", "7s", at(8)),
            ("timeouts.idle", "1m30s", at(8)),
            ("timeouts.stream_idle", "1h", None),
            ("heartbeat", "0 (never)", None),
            ("headers.request.set", HIDDEN, at(9)),
            ("on_unhealthy", "keep", None),
        ] {
            assert_eq!(of(&route, key), (value.to_owned(), place), "{key}");
        }
        let upstream = settings.of_table(&["upstream", "a.b"]);
        assert_eq!(of(&upstream, "connect_timeout"), ("3s".into(), None));
        assert_eq!(of(&upstream, "health"), ("nobody does".into(), None));
        assert_eq!(of(&upstream, "keep_alive.idle").0, "60s");
        assert_eq!(settings.place(&["upstream", "a.b"]), Some("a.toml:3"));
        assert_eq!(settings.place(&["route", "1"]), Some("a.toml:10"));
    }

    #[test]
    fn a_key_in_the_query_of_a_url_is_not_shown() {
        for (text, shown) in [
            ("wss://a/x?key=1", "wss://a/x?…"),
            (
                r#"["wss://a/x?key=1", "wss://b/{room}"]"#,
                r#"["wss://a/x?…", "wss://b/{room}"]"#,
            ),
            ("what? nothing", "what? nothing"),
        ] {
            assert_eq!(without_queries(text), shown);
        }
    }

    #[test]
    fn what_is_said_to_a_feed_is_not_shown() {
        let bridge = settings().of_table(&["bridge", "feed"]);
        for key in ["connect.send", "keepalive.text", "resume.send"] {
            assert_eq!(of(&bridge, key).0, HIDDEN, "{key}");
        }
        assert_eq!(of(&bridge, "keepalive.every").0, "9s");
        assert_eq!(of(&bridge, "share_key").0, "{query.token}");
    }

    #[test]
    fn what_the_environment_says_is_shown_of_measures_only() {
        let second = settings().of_table(&["route", "1"]);
        assert_eq!(of(&second, "path").0, "/${WAIT}");
    }
}

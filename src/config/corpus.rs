//! The examples in `conf/` pass, and each file of `tests/bad-config` is answered with exactly what stands beside it.
//!
//! `UPDATE_EXPECTED=1` writes the answers anew; the difference is then for a person to read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use crate::config::model::{
    Backoff, Balance, Binary, Bridge, Cookie, Health, Mapping, Newline, Process, Upstream,
};
use crate::config::scratch::Scratch;
use crate::config::{Config, Diagnostics, load, load_str, reference, report};

type Variables = BTreeMap<String, String>;

fn toml_files(directory: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    files.sort();
    files
}

/// A copy of `conf/` beside the certificates that it names.
fn examples() -> Scratch {
    let scratch = Scratch::new();
    scratch.write_certificate("certs/localhost");
    for file in toml_files("conf") {
        let name = format!("conf/{}", file.file_name().unwrap().to_str().unwrap());
        scratch.write(&name, fs::read(&file).unwrap());
    }
    let others = ["auth/jwks.json", "auth/partner.pem"];
    let pages = ["errors/502.html", "errors/maintenance.html"];
    for file in pages.iter().chain(&others) {
        let name = format!("conf/{file}");
        scratch.write(&name, fs::read(&name).unwrap());
    }
    scratch
}

fn load_example(name: &str) -> Config {
    let scratch = examples();
    let path = scratch.0.join("conf").join(name);
    load(&path, &Variables::new()).unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

#[test]
fn the_examples_pass() {
    let scratch = examples();
    let files: Vec<PathBuf> = toml_files("conf")
        .iter()
        .filter_map(|file| file.file_name())
        .map(|name| scratch.0.join("conf").join(name))
        .collect();
    assert!(files.len() >= 3, "{files:?}");
    let report = report(&files, &Variables::new());
    assert!(
        !report.failed && !report.text.contains("warning"),
        "{}",
        report.text
    );
}

#[test]
fn each_bad_configuration_is_answered_as_expected() {
    let scratch = Scratch::new();
    scratch.write_certificate("good");
    scratch.write_certificate("other");
    scratch.write("text.pem", "no PEM in here\n");
    scratch.write("empty.txt", "\n");
    let env: Variables = [
        ("SCRATCH", scratch.0.to_str().unwrap()),
        ("ADDRESS", "s3cr3t-address"),
        ("TOKEN", "s3cr3t-token\n"),
        ("LONG", "s3cr3t-host:80"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let files = toml_files("tests/bad-config");
    assert!(files.len() >= 30, "only {} files", files.len());
    let failures: Vec<String> = files
        .iter()
        .filter_map(|file| compare(file, &env))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What differs, if anything does.
fn compare(file: &Path, env: &Variables) -> Option<String> {
    let answer = match load(file, env) {
        Ok(config) => format!("accepted\n{}", config.warnings),
        Err(diagnostics) => diagnostics.to_string(),
    };
    assert!(
        !answer.contains("s3cr3t"),
        "{} gives a secret away:\n{answer}",
        file.display()
    );
    let expected_file = file.with_extension("expected");
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(&expected_file, &answer).unwrap();
        return None;
    }
    let expected = fs::read_to_string(&expected_file).unwrap_or_default();
    (answer != expected).then(|| difference(file, &expected, &answer))
}

fn difference(file: &Path, expected: &str, answer: &str) -> String {
    let mut text = format!(
        "{} (`UPDATE_EXPECTED=1` takes the answer):\n",
        file.display()
    );
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), answer.lines().collect());
    for line in &old {
        let mark = if new.contains(line) { ' ' } else { '-' };
        text.push_str(&format!("{mark} {line}\n"));
    }
    for line in new.iter().filter(|line| !old.contains(line)) {
        text.push_str(&format!("+ {line}\n"));
    }
    text
}

#[test]
fn the_full_example_has_every_key() {
    let text = fs::read_to_string("conf/streamgate.toml").unwrap();
    let mut found = BTreeSet::new();
    let document = DeTable::parse(&text).unwrap().into_inner();
    collect(&mut Vec::new(), &DeValue::Table(document), &mut found);
    let missing: Vec<String> = reference()
        .into_iter()
        .map(|key| key.path)
        .filter(|path| !found.contains(path))
        .collect();
    assert!(missing.is_empty(), "conf/streamgate.toml lacks {missing:?}");
}

fn collect(path: &mut Vec<String>, value: &DeValue<'_>, found: &mut BTreeSet<String>) {
    match value {
        DeValue::Table(table) => {
            for (key, value) in table {
                path.push(key.get_ref().to_string());
                found.insert(without_name(path).join("."));
                collect(path, value.get_ref(), found);
                path.pop();
            }
        }
        DeValue::Array(elements) => elements
            .iter()
            .for_each(|element| collect(path, element.get_ref(), found)),
        _ => {}
    }
}

/// The path of a key without the name of its upstream or bridge.
fn without_name(path: &[String]) -> Vec<&str> {
    let named = matches!(path[0].as_str(), "upstream" | "bridge" | "auth");
    path.iter()
        .enumerate()
        .filter(|(index, _)| !(named && *index == 1))
        .map(|(_, key)| key.as_str())
        .collect()
}

#[test]
fn the_full_example_shows_the_defaults() {
    let full = load_example("streamgate.toml");
    let minimal = load_example("feed.toml");
    let expected = Process {
        state_dir: full.server.state_dir.clone(),
        ..minimal.server.clone()
    };
    assert_eq!(full.server, expected);
    assert_eq!(full.limits, minimal.limits);
    assert_eq!(full.log, minimal.log);
    assert_eq!(full.tls.min_version, minimal.tls.min_version);
    assert_eq!(full.tls.session_tickets, minimal.tls.session_tickets);
    let app = load_example("app.toml");
    let (shown, default) = (&full.upstreams["app"], &app.upstreams["app"]);
    let expected = Upstream {
        servers: shown.servers.clone(),
        health: shown.health.clone(),
        passive: shown.passive,
        tls: shown.tls.clone(),
        ..Upstream::clone(default)
    };
    assert_eq!(**shown, expected);
    the_example_shows_the_defaults_of_checks(&full);
    assert_eq!(full.routes[0].on_unhealthy, app.routes[0].on_unhealthy);
    assert_eq!(full.routes[0].on_remove, app.routes[0].on_remove);
    let (shown, default) = (&full.routes[0], &app.routes[0]);
    assert_eq!(shown.timeouts, default.timeouts);
    assert_eq!(shown.body_size, default.body_size);
    assert_eq!(full.trust.headers, minimal.trust.headers);
    let (shown, default) = (&full.bridges["feed"], &minimal.bridges["feed"]);
    let expected = Bridge {
        source: shown.source.clone(),
        tls: shown.tls.clone(),
        share_key: shown.share_key.clone(),
        connect: shown.connect.clone(),
        keepalive: shown.keepalive.clone(),
        resume: shown.resume.clone(),
        publish: None,
        mapping: Mapping {
            newline: Newline::Split,
            binary: Binary::Base64,
            envelope: false,
            ..shown.mapping.clone()
        },
        ..Bridge::clone(default)
    };
    assert_eq!(**shown, expected);
}

fn the_example_shows_the_defaults_of_checks(full: &Config) {
    let short = text(&format!(
        "{LISTEN}[[route]]\nupstream = \"shop\"\n[upstream.shop]\nservers = [\"http://a\"]\nbalance = \"cookie\"\n\
         health.path = \"/healthz\"\npassive = {{}}\n"
    ))
    .unwrap();
    let (app, shop, short) = (
        &full.upstreams["app"],
        &full.upstreams["shop"],
        &short.upstreams["shop"],
    );
    let (shown, default) = (app.health.clone().unwrap(), short.health.clone().unwrap());
    let expected = Health {
        host: shown.host.clone(),
        ..default
    };
    assert_eq!((shown, app.passive), (expected, short.passive));
    let (Balance::Cookie(shown), Balance::Cookie(default)) = (&shop.balance, &short.balance) else {
        panic!("both balance by cookie");
    };
    let expected = Cookie {
        secret: shown.secret.clone(),
        ..default.clone()
    };
    assert_eq!(*shown, expected);
    assert_eq!(
        shown
            .secret
            .as_ref()
            .map(|secret| format!("{secret:?}"))
            .as_deref(),
        Some("Secret(…)")
    );
}

fn text(text: &str) -> Result<Config, Diagnostics> {
    load_str("test.toml", text, Path::new("."), &Variables::new())
}

const LISTEN: &str = "[[listen]]\naddress = \"127.0.0.1:80\"\n";

#[test]
fn configurations_that_mean_the_same_are_equal() {
    let one = text(&format!(
        "{LISTEN}[upstream.a]\nservers = [\"http://A.test\"]\n[[route]]\nupstream = \"a\"\n"
    ))
    .unwrap();
    let other = text(&format!(
        "{LISTEN}[[route]]\npath = \"/*\"\nupstream = \"a\"\ntimeouts.response = \"1m\"\n\
         [upstream]\na = {{ servers = [\"http://a.test:80/\"], retries = 1, connect_timeout = \"3000ms\" }}\n"
    ))
    .unwrap();
    assert_eq!((one.routes, one.upstreams), (other.routes, other.upstreams));
}

#[test]
fn a_feed_is_shared_by_those_whose_values_open_it_alike() {
    let config = text(&format!(
        "{LISTEN}[[route]]\npath = \"/{{a}}/{{b}}/{{c}}\"\nbridge = \"x\"\n\
         [bridge.x]\nsource = \"ws://h/{{b}}\"\nconnect.send = ['{{\"of\":\"{{a}}\"}}', '{{b}}']\nreconnect.initial = \"1m\"\n"
    ))
    .unwrap();
    let bridge = &config.bridges["x"];
    assert_eq!(bridge.share_key.names().collect::<Vec<_>>(), ["b", "a"]);
    let minute = std::time::Duration::from_secs(60);
    assert_eq!(
        bridge.reconnect,
        Backoff {
            initial: minute,
            max: minute
        }
    );
}

#[test]
fn secrets_come_from_files_and_credentials() {
    let scratch = Scratch::new();
    scratch.write("a.txt", "Bearer one\n");
    scratch.write("run/b", "two");
    scratch.write(
        "main.toml",
        format!(
            "{LISTEN}[[route]]\nbridge = \"x\"\n[bridge.x]\nsource = \"ws://h/\"\n[bridge.x.connect.headers]\n\
             Authorization = {{ file = \"a.txt\" }}\nX-B = {{ credential = \"b\" }}\nX-C = \"${{C}}\"\n"
        ),
    );
    let env: Variables = [
        (
            "CREDENTIALS_DIRECTORY".to_owned(),
            scratch.0.join("run").display().to_string(),
        ),
        ("C".to_owned(), "three".to_owned()),
    ]
    .into();
    let config = load(&scratch.0.join("main.toml"), &env).unwrap();
    let headers = &config.bridges["x"].connect.headers;
    let values: Vec<&[u8]> = ["authorization", "x-b", "x-c"]
        .map(|name| headers[name].as_bytes())
        .into();
    assert_eq!(values, [&b"Bearer one"[..], b"two", b"three"]);
    assert!(headers.values().all(http::HeaderValue::is_sensitive));
    let files: BTreeSet<PathBuf> = config.files.into_iter().collect();
    assert_eq!(
        files,
        ["main.toml", "a.txt", "run/b"]
            .map(|name| scratch.0.join(name))
            .into()
    );
}

#[test]
fn a_certificate_and_its_key_may_be_credentials() {
    let scratch = Scratch::new();
    scratch.write_certificate("run/a");
    scratch.write(
        "main.toml",
        format!(
            "{LISTEN}[[listen]]\naddress = \"127.0.0.1:443\"\ntls = true\n[[tls.certificate]]\n\
             cert = {{ file = \"run/a.pem\" }}\nkey = {{ credential = \"a.key\" }}\n\
             [upstream.x]\nservers = [\"https://h\"]\n\
             tls = {{ verify = false, client_cert = {{ credential = \"a.pem\" }}, client_key = {{ credential = \"a.key\" }} }}\n"
        ),
    );
    let run = scratch.0.join("run").display().to_string();
    let env: Variables = [("CREDENTIALS_DIRECTORY".to_owned(), run)].into();
    let config = load(&scratch.0.join("main.toml"), &env).unwrap();
    assert_eq!(config.tls.certificates[0].names, ["localhost"]);
    // They are looked at for changes.
    let files: BTreeSet<PathBuf> = config.files.into_iter().collect();
    assert_eq!(
        files,
        ["main.toml", "run/a.pem", "run/a.key"]
            .map(|name| scratch.0.join(name))
            .into()
    );
}

#[test]
fn included_files_append_and_start_paths_from_themselves() {
    let scratch = Scratch::new();
    scratch.write_certificate("sub/certs/a");
    scratch.write(
        "main.toml",
        format!(
            "include = [\"sub/*.toml\", \"none.d/*.toml\"]\n{LISTEN}[limits]\nconnections = 5\n"
        ),
    );
    scratch.write(
        "sub/b.toml",
        "[[listen]]\naddress = \"127.0.0.1:443\"\ntls = true\n[limits]\nheader_count = 50\n",
    );
    scratch.write(
        "sub/a.toml",
        "[[tls.certificate]]\ncert = \"certs/a.pem\"\nkey = \"certs/a.key\"\n",
    );
    let config = load(&scratch.0.join("main.toml"), &Variables::new()).unwrap();
    assert_eq!(config.listeners.len(), 2);
    assert_eq!(
        (config.limits.connections, config.limits.header_count),
        (5, 50)
    );
    assert_eq!(config.tls.certificates[0].names, ["localhost"]);
    assert_eq!(config.files.len(), 5);
}

proptest::proptest! {
    #[test]
    fn no_damage_to_a_file_panics(at in 0..8000usize, length in 0..60usize, put in "[\\PC\"'\\[\\]{}=$\n]{0,8}") {
        let mut damaged: Vec<char> = include_str!("../../conf/streamgate.toml").chars().collect();
        let start = at.min(damaged.len());
        let end = (start + length).min(damaged.len());
        damaged.splice(start..end, put.chars());
        let damaged: String = damaged.into_iter().collect();
        if let Err(diagnostics) = text(&damaged) {
            proptest::prop_assert!(!diagnostics.is_empty() && !diagnostics.to_string().is_empty());
        }
    }
}

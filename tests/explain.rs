//! `streamgate explain`: what it says of a URL is what the process does with it, and each value has the line it comes from.

use serde_json::Value;

use crate::harness::{Backend, Directory, Gate, echo_http, leaf, run_program};

/// What `explain --json` says of a URL, with its exit code.
async fn explain(directory: &Directory, arguments: &[&str]) -> (i32, Value) {
    let mut all = vec!["explain", "--config", "streamgate.toml", "--json"];
    all.extend_from_slice(arguments);
    let outcome = run_program(directory.path(), &all).await;
    let answer = serde_json::from_str(&outcome.said);
    let answer = answer.unwrap_or_else(|error| panic!("{error}: {}", outcome.said));
    (outcome.code, answer)
}

/// Value and origin of a setting.
fn setting<'a>(answer: &'a Value, table: &str, key: &str) -> (&'a str, &'a str) {
    let settings = answer["settings"].as_array().unwrap();
    let found = settings
        .iter()
        .find(|it| it["table"] == table && it["key"] == key);
    let found = found.unwrap_or_else(|| panic!("{table} {key} is not in {settings:#?}"));
    (
        found["value"].as_str().unwrap(),
        found["from"].as_str().unwrap(),
    )
}

const ROUTES: &str = "\
[[route]]
path = \"/strip/*\"
upstream = \"app\"
strip_prefix = \"/strip\"
[[route]]
path = \"/rooms/{room}\"
upstream = \"app\"
rewrite = \"/v2/{room}/events\"
[[route]]
path = \"/only-get\"
methods = [\"GET\"]
upstream = \"app\"
[[route]]
host = \"other.example.org\"
path = \"/there\"
upstream = \"app\"
";

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_the_process_does() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&format!("{}{ROUTES}", backend.upstream("app"))).await;
    for (method, path, code) in [
        ("GET", "/strip/a%20b?c=d", 0),
        ("GET", "/rooms/blue%20one?x", 0),
        ("POST", "/only-get", 1),
        ("HEAD", "/only-get", 0),
        ("GET", "/there", 1),
        ("GET", "/strip/%2e%2e/x", 1),
    ] {
        let mut client = gate.tls().await;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.send(request).await;
        let status = client.head_of_answer_to(method).await.status();
        let url = format!("https://localhost{path}");
        let (exit, answer) = explain(gate.directory(), &[&url, "--method", method]).await;
        assert_eq!(exit, code, "{path}: {answer:#}");
        let outcome = answer["outcome"].as_str().unwrap();
        let expected = match status {
            200 => "route",
            404 => "not_found",
            405 => "method_not_allowed",
            400 => "bad_request",
            other => panic!("{path} was answered with {other}"),
        };
        assert_eq!(outcome, expected, "{path}");
        if outcome == "route" {
            let asked = backend.requests().last().unwrap().target().to_owned();
            assert_eq!(answer["route"]["facts"]["asks_for"], asked, "{path}");
        }
    }
}

fn directory(config: &str, part: &str) -> Directory {
    let directory = Directory::new();
    leaf(&["app.example.org"]).write(directory.path(), "gate");
    directory.write("streamgate.toml", config);
    std::fs::create_dir(directory.path().join("routes.d")).unwrap();
    std::fs::write(directory.path().join("routes.d/app.toml"), part).unwrap();
    directory
}

const MAIN: &str = "\
include = [\"routes.d/*.toml\"]
[[listen]]
address = \"[::]:443\"
tls = true
[[listen]]
address = \"[::]:80\"
redirect_to_https = true
[[tls.certificate]]
cert = \"gate.pem\"
key = \"gate.key\"
[limits]
body_size = \"3MiB\"
[upstream.app]
servers = [\"http://127.0.0.1:3000\"]
connect_timeout = \"700ms\"
";

const PART: &str = "\
[[route]]
host = \"app.example.org\"
upstream = \"app\"
headers.request.set = { X-Key = \"hunter2\" }

[route.timeouts]
stream_idle = \"60s\"
";

#[tokio::test(flavor = "multi_thread")]
async fn each_value_has_the_line_it_comes_from() {
    let directory = directory(MAIN, PART);
    let (code, answer) = explain(&directory, &["http://app.example.org/x"]).await;
    assert_eq!(code, 0, "{answer:#}");
    assert_eq!(answer["redirected_from"], "http://app.example.org/x");
    assert_eq!(answer["url"], "https://app.example.org/x");
    assert_eq!(answer["listener"]["place"], "streamgate.toml:2");
    assert_eq!(answer["certificate"]["fits"], true);
    assert_eq!(answer["route"]["place"], "routes.d/app.toml:1");
    assert_eq!(answer["route"]["action_place"], "streamgate.toml:13");
    for (table, key, value, from) in [
        (
            "[[route]]",
            "timeouts.stream_idle",
            "60s",
            "routes.d/app.toml:7",
        ),
        ("[[route]]", "timeouts.response", "60s", "default"),
        (
            "[[route]]",
            "limits.body_size",
            "3MiB",
            "streamgate.toml:12",
        ),
        (
            "[upstream.app]",
            "connect_timeout",
            "700ms",
            "streamgate.toml:15",
        ),
        ("[upstream.app]", "keep_alive.idle", "60s", "default"),
        ("[limits]", "header_timeout", "10s", "default"),
        ("[server]", "drain_timeout", "30s", "default"),
    ] {
        assert_eq!(setting(&answer, table, key), (value, from), "{table} {key}");
    }
    assert!(!answer.to_string().contains("hunter2"), "{answer:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_is_for_people_and_long_lists_are_cut() {
    let many: String = (0..40)
        .map(|n| {
            format!("[[route]]\nhost = \"h{n}.example.org\"\npath = \"/p{n}\"\nrespond = 204\n")
        })
        .collect();
    let directory = directory(MAIN, &format!("{PART}{many}"));
    let arguments = [
        "explain",
        "--config",
        "streamgate.toml",
        "https://app.example.org/p7",
    ];
    let outcome = run_program(directory.path(), &arguments).await;
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    for wanted in [
        "h7.example.org/p7",
        "is for another host",
        "and 39 more",
        "stream_idle",
    ] {
        assert!(outcome.said.contains(wanted), "{wanted}: {}", outcome.said);
    }
    assert!(!outcome.said.contains("h8.example.org"), "{}", outcome.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_codes_tell_no_route_from_a_wrong_configuration() {
    let good = directory(MAIN, PART);
    let bad = directory(MAIN, "[[route]]\nupstream = \"nobody\"\n");
    for (directory, url, code) in [
        (&good, "https://app.example.org/", 0),
        (&good, "https://elsewhere.example.org/", 1),
        (&bad, "https://app.example.org/", 78),
        (&good, "app.example.org", 64),
    ] {
        let arguments = ["explain", "--config", "streamgate.toml", url];
        let outcome = run_program(directory.path(), &arguments).await;
        assert_eq!(outcome.code, code, "{url}: {}", outcome.said);
    }
}

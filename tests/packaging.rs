//! What a package installs beside the program: examples, its first configuration, units. How they fare under a real systemd
//! is tried by `tests/service/run`.

use std::path::{Path, PathBuf};

use crate::harness::{Directory, Gate, Outcome, leaf, output, run_program, tool};

/// Where the examples look for what is theirs.
const INSTALLED: &str = "/etc/streamgate";

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    found.sort();
    found
}

/// What a file says as if it were installed in this directory, with the certificate and the token that the examples speak of.
fn installed(file: &Path) -> (Directory, String) {
    let directory = Directory::new();
    let here = directory.path();
    std::fs::create_dir(here.join("certs")).unwrap();
    leaf(&["example.org", "*.example.org"]).write(&here.join("certs"), "example.org");
    directory.write("feed.token", "Bearer token\n");
    let text = std::fs::read_to_string(file).unwrap();
    let text = text.replace(INSTALLED, here.to_str().unwrap());
    (directory, text)
}

async fn checked(file: &Path) -> Outcome {
    let (directory, text) = installed(file);
    directory.write("gate.toml", text);
    run_program(directory.path(), &["check", "gate.toml"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_passes_check() {
    let mut examples = files("conf/examples", "toml");
    assert!(examples.len() >= 11, "{examples:?}");
    examples.push("systemd/debian/streamgate.toml".into());
    for file in examples {
        let outcome = checked(&file).await;
        assert_eq!(outcome.code, 0, "{}: {}", file.display(), outcome.said);
        assert!(!outcome.said.contains("warning"), "{}", outcome.said);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suggestion_in_the_first_configuration_passes_check() {
    let first = std::fs::read_to_string("systemd/debian/streamgate.toml").unwrap();
    // What is switched off there are the lines whose `#` a key or a table follows at once.
    let suggested: Vec<&str> = first
        .lines()
        .filter_map(|line| line.strip_prefix('#'))
        .filter(|line| !line.starts_with(' '))
        .collect();
    let directory = Directory::new();
    directory.write("suggested.toml", suggested.join("\n"));
    let outcome = checked(&directory.path().join("suggested.toml")).await;
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    assert!(
        outcome.said.contains("2 listeners, 1 route"),
        "{}",
        outcome.said
    );
}

/// Where each app opens its WebSockets.
const WEBSOCKETS: [(&str, &str, &str); 9] = [
    ("grafana", "example.org", "/grafana/api/live/ws"),
    ("jupyter", "jupyter.example.org", "/api/kernels/1/channels"),
    ("node", "app.example.org", "/any/path"),
    ("node-red", "flows.example.org", "/admin/comms"),
    (
        "node-red",
        "flows.example.org",
        "/dashboard/socket.io/?EIO=4",
    ),
    ("signalr", "app.example.org", "/hubs/chat?id=1"),
    ("signalr", "app.example.org", "/_blazor?id=1"),
    ("socket-io", "chat.example.org", "/socket.io/?EIO=4"),
    ("streamlit", "apps.example.org", "/report/_stcore/stream"),
];

#[tokio::test(flavor = "multi_thread")]
async fn websockets_of_the_examples_are_for_pages_of_their_own() {
    for (example, host, path) in WEBSOCKETS {
        let file = format!("conf/examples/{example}.toml");
        let (directory, text) = installed(Path::new(&file));
        let text = text
            .replace("[::]:443", "systemd:https")
            .replace("[::]:80", "systemd:http")
            .replace("redirect_to_https = true", "");
        let gate = Gate::start_in(directory, &text).await;
        let mut client = gate.clear().await;
        let handshake = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: https://evil.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        client.send(handshake).await;
        assert_eq!(client.head().await.status(), 403, "{example}: {path}");
    }
}

/// The units, with the program that the tests have built in the place of the one that would be installed.
fn units() -> (Directory, Vec<PathBuf>) {
    let directory = Directory::new();
    let mut units = files("systemd", "service");
    units.extend(files("systemd", "socket"));
    let copies = units.iter().map(|unit| {
        let name = unit.file_name().unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(unit).unwrap();
        directory.write(
            name,
            text.replace("/usr/bin/streamgate", env!("CARGO_BIN_EXE_streamgate")),
        );
        directory.path().join(name)
    });
    let copies = copies.collect();
    (directory, copies)
}

#[tokio::test(flavor = "multi_thread")]
async fn systemd_finds_nothing_wrong_with_the_units() {
    let (_directory, units) = units();
    assert!(units.len() >= 3, "{units:?}");
    let mut verify = tool("systemd-analyze");
    verify.args(["verify", "--man=no"]).args(&units);
    let said = verify.output().await.unwrap();
    let complaints = String::from_utf8_lossy(&said.stderr);
    assert!(
        said.status.success() && complaints.is_empty(),
        "{complaints}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_exposed_by_no_more_than_it_needs() {
    let mut security = tool("systemd-analyze");
    security.args(["security", "--offline=yes", "--threshold=15", "--no-pager"]);
    security.arg("systemd/streamgate.service");
    let said = output(security).await;
    assert!(said.contains("Overall exposure level"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn maintainer_scripts_are_shell() {
    for name in ["preinst", "postinst", "prerm", "postrm"] {
        let mut shell = tool("sh");
        shell.arg("-n").arg(Path::new("systemd/debian").join(name));
        output(shell).await;
    }
}

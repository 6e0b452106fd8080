//! The log: how much of it there is, and what the journal gets.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::{Backend, Directory, Gate, Line, echo_http, leaf};

/// The paths of the requests that were logged since a mark.
fn logged(gate: &Gate, mark: usize) -> Vec<Line> {
    let mut lines = gate.log.since(mark);
    lines.retain(|line| line.message() == "request");
    lines
}

/// Waits until a request that is always logged is, so that all before it are.
async fn settled(gate: &Gate, mark: usize) {
    gate.get("/nowhere").await;
    let last = |line: &Line| line.has("path", "/nowhere");
    gate.log.wait(mark, "the last request", last).await;
}

/// A request that is refused, of which only the level `debug` says why.
async fn refused(gate: &Gate) {
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert!(client.head().await.status() >= 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_level() {
    let backend = Backend::that(echo_http).await;
    let routes = backend.for_everything();
    let gate = Gate::start(&routes).await;
    let is_debug = |line: &Line| line.has("level", "DEBUG");
    gate.reload_well(&format!("{routes}[log]\nlevel = \"debug\"\n"))
        .await;
    let mark = gate.log.mark();
    refused(&gate).await;
    gate.log.wait(mark, "a line of debug", is_debug).await;
    gate.reload_well(&routes).await;
    let mark = gate.log.mark();
    refused(&gate).await;
    let is_request = |line: &Line| line.message() == "request";
    gate.log.wait(mark, "its record", is_request).await;
    assert!(!gate.log.since(mark).iter().any(is_debug));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_was_slow_or_streams_is_logged_whatever_the_share() {
    let backend = Backend::that(echo_http).await;
    let mut events = Backend::by_hand().await;
    let text = format!(
        "{}{}[[route]]\npath = \"/app/*\"\nupstream = \"app\"\n\
         [[route]]\npath = \"/events\"\nupstream = \"events\"\n\
         [[route]]\npath = \"/broken\"\nrespond = 500\n[log]\nsample = 0.0\n",
        backend.upstream("app"),
        events.upstream("events"),
    );
    let gate = Gate::start(&text).await;
    for _ in 0..20 {
        gate.get("/app/well").await;
    }
    gate.get("/broken").await;
    let mut client = gate.tls().await;
    client
        .send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = events.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    exchange.wire.end_chunks().await;
    client.head().await;
    client.text().await;
    gate.logged("the stream's end", |line| line.message() == "stream close")
        .await;
    gate.logged("its begin", |line| line.message() == "stream open")
        .await;
    settled(&gate, 0).await;
    let paths: Vec<_> = logged(&gate, 0)
        .iter()
        .filter_map(|line| line.text("path"))
        .collect();
    assert_eq!(paths, ["/broken", "/nowhere"]);
    // And whatever is slow: here everything is.
    let mark = gate.log.mark();
    gate.reload_well(&format!("{text}slow = \"0\"\n")).await;
    gate.get("/app/slow").await;
    settled(&gate, mark).await;
    let slow = logged(&gate, mark);
    assert!(slow[0].has("path", "/app/slow"), "{slow:?}");
    assert_eq!(slow[0].text("sample"), None, "it stands for itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sampled_record_says_for_how_many_it_stands() {
    let backend = Backend::that(echo_http).await;
    let text = format!(
        "{}[log]\nsample = 0.25\nslow = \"1h\"\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    let mut client = gate.tls().await;
    for _ in 0..400 {
        client
            .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        client.head().await;
        client.text().await;
    }
    // A request that is always written comes behind them: its host is none.
    client.send("GET /last HTTP/1.1\r\nHost: a b\r\n\r\n").await;
    client.head().await;
    let refused = |line: &Line| line.has("status", "400");
    gate.logged("the last request", refused).await;
    let mut lines = logged(&gate, 0);
    lines.retain(|line| line.has("status", "200"));
    // Were it by chance alone: 100, give or take nine; here six times that.
    assert!((46..=154).contains(&lines.len()), "{}", lines.len());
    let all_say_so = lines.iter().all(|line| line.has("sample", "0.25"));
    assert!(all_say_so, "{:?}", lines[0]);
}

/// A gate whose stdout is, as far as it can tell, what `$JOURNAL_STREAM` says.
async fn in_the_journal(stream: &str, more: &str) -> Gate {
    let directory = Directory::new();
    leaf(&["localhost"]).write(directory.path(), "gate");
    let program = env!("CARGO_BIN_EXE_streamgate");
    // As systemd does it, which knows the socket before it starts the program.
    let script = format!("#!/bin/sh\nJOURNAL_STREAM={stream} exec {program} \"$@\"\n");
    let script = directory.write("started-by-systemd", script);
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let text = format!("[[route]]\npath = \"/*\"\nrespond = 200\n{more}");
    Gate::start_program(Path::new(&script), directory, &text, &[]).await
}

/// The pipe that the harness reads.
const STDOUT: &str = "$(stat -L -c %d:%i /proc/$$/fd/1)";

#[tokio::test(flavor = "multi_thread")]
async fn in_the_journal_each_line_has_its_priority() {
    let gate = in_the_journal(STDOUT, "").await;
    let refused = gate.reload("[nonsense]\n").await;
    drop(refused);
    gate.get("/").await;
    for (message, prefix) in [
        ("ready", "<6>"),
        ("reload refused", "<3>"),
        ("request", "<6>"),
    ] {
        let line = gate.logged(message, |line| line.message() == message).await;
        assert_eq!(line.prefix(), prefix, "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_gets_priorities() {
    // The variable is there, and stdout is something else; and lines that are to be JSON.
    for (stream, more) in [("1:2", ""), (STDOUT, "[log]\nformat = \"json\"\n")] {
        let gate = in_the_journal(stream, more).await;
        let line = gate
            .logged("`ready`", |line| line.message() == "ready")
            .await;
        assert_eq!(line.prefix(), "", "{stream}: {line:?}");
    }
}

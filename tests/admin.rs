//! The admin listener: who may ask what, what it says of the process, and how it follows reloads.

use crate::bridge::bridge;
use crate::harness::{
    ADMIN, Admin, Backend, Gate, Reloaded, WebSocketClient, echo_http, echo_websocket, output,
    python, within,
};
use crate::tunnel::open_tunnel;

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_what_it_knows_and_nothing_else() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&format!("{ADMIN}{}", backend.for_everything())).await;
    let admin = Admin::of(&gate).await;
    let table = [
        ("GET", "/healthz", 200, "ok\n"),
        ("GET", "/readyz", 200, "ready\n"),
        ("HEAD", "/readyz", 200, ""),
        ("POST", "/readyz", 405, "method not allowed\n"),
        ("GET", "/nothing", 404, "not found\n"),
        ("GET", "/metrics/", 404, "not found\n"),
    ];
    for (method, path, status, body) in table {
        let (head, text) = admin.ask(method, path).await;
        let found = (head.status(), text.as_str());
        assert_eq!(found, (status, body), "{method} {path}");
    }
    let (head, _) = admin.ask("DELETE", "/metrics").await;
    assert_eq!(head.get("allow"), Some("GET, HEAD"));
    let (head, text) = admin.ask("GET", "/metrics").await;
    assert_eq!(
        head.get("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(text.ends_with("# EOF\n"), "{text}");
    // It is not on the listeners of clients, and these are not on it.
    assert_eq!(gate.get("/healthz").await.1, "GET /healthz");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_address_there_is_none() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    gate.get("/").await;
    let lines = gate.log.since(0);
    assert!(lines.iter().all(|line| line.message() != "admin listening"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_is_told_until_the_process_ends() {
    let mut backend = Backend::by_hand().await;
    let text = format!("{ADMIN}{}", backend.for_everything());
    let mut gate = Gate::start(&text).await;
    let admin = Admin::of(&gate).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    assert_eq!(admin.ask("GET", "/readyz").await.0.status(), 200);
    gate.signal("TERM");
    within("the drain", async {
        while admin.ask("GET", "/readyz").await.0.status() != 503 {}
    })
    .await;
    assert_eq!(admin.ask("GET", "/healthz").await.0.status(), 200);
    admin.counts(&[("streamgate_connections", 1.0)]).await;
    exchange.answer("200 OK", "done").await;
    assert_eq!(client.head().await.status(), 200);
    gate.ended().await;
    admin.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_add_move_and_remove_it_and_a_mistake_changes_nothing() {
    let backend = Backend::that(echo_http).await;
    let routes = backend.for_everything();
    let gate = Gate::start(&routes).await;
    gate.reload_well(&format!("{ADMIN}{routes}")).await;
    let first = Admin::of(&gate).await;
    assert_eq!(first.ask("GET", "/readyz").await.0.status(), 200);
    let taken = backend.address();
    let mistake = format!("[admin]\naddress = \"{taken}\"\n{routes}");
    let answer = gate.reload(&mistake).await;
    let Reloaded::Refused(line) = answer else {
        panic!("an address that is in use was taken");
    };
    assert!(format!("{line:?}").contains(&taken.to_string()), "{line:?}");
    let scrape = first.scrape().await;
    for (outcome, count) in [("done", 1.0), ("refused", 1.0)] {
        let series = format!("streamgate_reloads_total{{outcome=\"{outcome}\"}}");
        assert_eq!(scrape.value(&series), Some(count), "{outcome}");
    }
    let mark = gate.log.mark();
    let elsewhere = "[admin]\naddress = \"127.0.0.2:0\"\n";
    gate.reload_well(&format!("{elsewhere}{routes}")).await;
    let second = Admin::since(&gate, mark).await;
    first.ends().await;
    // The counts are those of the process.
    let done = "streamgate_reloads_total{outcome=\"done\"}";
    second.counts(&[(done, 2.0)]).await;
    gate.reload_well(&routes).await;
    second.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_says_nothing_is_let_go_and_keeps_nobody_out() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&format!("{ADMIN}{}", backend.for_everything())).await;
    let admin = Admin::of(&gate).await;
    let mut silent = Vec::new();
    for _ in 0..31 {
        silent.push(crate::harness::connect(admin.address).await);
    }
    assert_eq!(admin.ask("GET", "/healthz").await.0.status(), 200);
    // One more takes the last place, and whoever comes then waits for one that is given back.
    silent.push(crate::harness::connect(admin.address).await);
    let answer = admin.ask("GET", "/healthz");
    let ((head, _), ()) = tokio::join!(answer, async { drop(silent) });
    assert_eq!(head.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_in_the_reference_and_the_exposition_is_valid() {
    let mut backend = Backend::by_hand().await;
    let feeds = Backend::by_hand().await;
    let echo = Backend::that(echo_websocket).await;
    let text = format!(
        "{ADMIN}{}{}{}[[route]]\npath = \"/echo\"\nupstream = \"echo\"\n",
        backend.for_everything(),
        bridge(&feeds, ""),
        echo.upstream("echo"),
    );
    let gate = Gate::start(&text).await;
    let admin = Admin::of(&gate).await;
    let _tunnel = open_tunnel(&gate, &mut backend).await;
    let mut socket = WebSocketClient::open(&gate, "/echo", &[]).await;
    socket.echoes("hello".into()).await;
    within("a Close", socket.socket.close(None)).await.unwrap();
    gate.reload_well(&text).await;
    let closes = "streamgate_websocket_closes_total{route=\"/echo\",code=\"1005\"}";
    let scrape = admin.counts(&[(closes, 1.0)]).await;
    let reference = include_str!("../docs/metrics.md");
    let types = scrape
        .0
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "));
    for line in types.clone() {
        let (name, kind) = line.split_once(' ').unwrap();
        let total = if kind == "counter" { "_total" } else { "" };
        let row = format!("| `{name}{total}` | {kind} |");
        assert!(reference.contains(&row), "docs/metrics.md lacks {row}");
    }
    let file = gate.directory().write("scrape.txt", &scrape.0);
    let mut command = python("openmetrics_parse.py");
    command.arg(file);
    let parsed = output(command).await;
    let types: Vec<&str> = types.collect();
    assert_eq!(parsed.lines().collect::<Vec<_>>(), types);
}

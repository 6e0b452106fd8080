//! What an operator's Prometheus makes of a gate: its metrics by `promtool`, the alerts in `conf/`, and how many series there
//! can be.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use futures_util::future::join_all;
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;

use crate::bridge::{bridge, open};
use crate::harness::{
    ADMIN, Admin, Backend, Exchange, Gate, Reloaded, WebSocketClient, Wire, echo_websocket, output,
    tool, within,
};

fn promtool(arguments: &[&str], directory: &Path) -> tokio::process::Command {
    let mut command = tool("promtool");
    command.args(arguments).current_dir(directory);
    command
}

/// Answers with the status that the path names.
async fn any_status(mut exchange: Exchange) -> Option<Wire<tokio::net::TcpStream>> {
    let status = exchange.request.target().trim_start_matches('/').to_owned();
    exchange.answer(&format!("{status} Made Up"), "").await;
    Some(exchange.wire)
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_no_fault_with_the_metrics_of_a_gate_that_has_seen_all() {
    let (mut feeds, mut events) = (Backend::by_hand().await, Backend::by_hand().await);
    let (echo, statuses) = (
        Backend::that(echo_websocket).await,
        Backend::that(any_status).await,
    );
    let text = format!(
        "{ADMIN}{}{}{}{}[[route]]\npath = \"/ws\"\nupstream = \"echo\"\n\
         [[route]]\npath = \"/events\"\nupstream = \"events\"\nlimits = {{ rate = \"1/s\", streams = 1 }}\n\
         [[route]]\npath = \"/*\"\nupstream = \"statuses\"\n",
        bridge(&feeds, "heartbeat = \"1s\""),
        echo.upstream("echo"),
        events.upstream("events"),
        statuses.upstream("statuses"),
    );
    let gate = Gate::start(&text).await;
    let admin = Admin::of(&gate).await;
    let (_subscriber, mut feed) = open(&gate, &mut feeds).await;
    feed.text("one").await;
    let mut tunnel = WebSocketClient::open(&gate, "/ws", &[]).await;
    tunnel.echoes(Message::text("hello")).await;
    within("a Close", tunnel.socket.close(None)).await.unwrap();
    let mut client = gate.tls().await;
    client
        .send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = events.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    exchange.wire.send_chunk("data: one\n\n").await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(gate.get("/events").await.0.status(), 429);
    for path in ["/200", "/302", "/503", "/799"] {
        gate.get(path).await;
    }
    gate.reload_well(&format!("{text}[log]\nlevel = \"debug\"\n"))
        .await;
    let refused = gate.reload("[nonsense]\n").await;
    assert!(matches!(refused, Reloaded::Refused(_)));
    admin
        .counts(&[
            (
                "streamgate_requests_total{route=\"/*\",status=\"503\"}",
                1.0,
            ),
            ("streamgate_reloads_total{outcome=\"refused\"}", 1.0),
        ])
        .await;
    // As curl asks, and nobody else: in the format that promtool reads.
    let (head, scrape) = admin
        .ask_with(("GET", "/metrics"), &[("accept", "*/*")], "")
        .await;
    let content_type = head.get("content-type");
    assert_eq!(
        content_type,
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert!(scrape.contains("# TYPE streamgate_requests_total counter\n"));
    let file = gate.directory().write("scrape.txt", &scrape);
    let mut command = promtool(&["check", "metrics"], gate.directory().path());
    command.stdin(File::open(file).unwrap());
    assert_eq!(output(command).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alerts_are_sound_and_come_when_they_should() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/prometheus");
    let checked = output(promtool(&["check", "rules", "alerts.yml"], &folder)).await;
    assert!(checked.contains("SUCCESS"), "{checked}");
    output(promtool(&["test", "rules", "alerts_test.yml"], &folder)).await;
    let alerts = std::fs::read_to_string(folder.join("alerts.yml")).unwrap();
    let tests = std::fs::read_to_string(folder.join("alerts_test.yml")).unwrap();
    for alert in alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
    {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert}");
    }
}

/// The values that each label has in a scrape.
fn series(scrape: &str) -> BTreeSet<String> {
    let lines = scrape.lines().filter(|line| !line.starts_with('#'));
    let names = lines.filter_map(|line| line.rsplit_once(' '));
    names.map(|(name, _value)| name.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_clients_and_servers_send_the_series_stay_few() {
    let (echo, statuses) = (
        Backend::that(echo_websocket).await,
        Backend::that(any_status).await,
    );
    let text = format!(
        "{ADMIN}{}{}[[route]]\npath = \"/ws\"\nupstream = \"echo\"\n\
         [[route]]\npath = \"/*\"\nupstream = \"statuses\"\n",
        echo.upstream("echo"),
        statuses.upstream("statuses"),
    );
    let gate = Gate::start(&text).await;
    let admin = Admin::of(&gate).await;
    let mut client = gate.clear().await;
    // Each status that a response's first line can have, with a method and a host that nobody has seen.
    for status in 200..1000 {
        let line = format!("M{status} /{status} HTTP/1.1\r\nHost: h{status}.test\r\n\r\n");
        client.send(line).await;
        client.head().await;
        client.text().await;
    }
    let closes = (4000..4040_u16).map(async |code| {
        let mut client = WebSocketClient::open(&gate, "/ws", &[]).await;
        let close = CloseFrame {
            code: code.into(),
            reason: "".into(),
        };
        within("a Close", client.socket.close(Some(close)))
            .await
            .unwrap();
    });
    join_all(closes).await;
    let codes = "streamgate_websocket_closes_total{route=\"/ws\",code=\"other\"}";
    let scrape = admin.counts(&[(codes, 40.0)]).await;
    let series = series(&scrape.0);
    let of = |name: &str| {
        series
            .iter()
            .filter(|series| series.starts_with(name))
            .count()
    };
    // Those that have a name, `other`, and what streamgate said itself.
    let statuses = of("streamgate_requests_total{route=\"/*\"");
    assert!((40..=70).contains(&statuses), "{statuses} statuses");
    assert_eq!(of("streamgate_websocket_closes_total"), 1);
    assert!(series.len() < 250, "{} series", series.len());
    for theirs in ["h200", "M200", "4001", "/201", "127.0.0.1:5"] {
        let found = series.iter().find(|series| series.contains(theirs));
        assert_eq!(found, None, "{theirs}");
    }
}

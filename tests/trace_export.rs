//! What a collector gets of requests and streams, and what a gate does when it gets nothing.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::{Value, json};
use tungstenite::Message;

use crate::bridge::{bridge, open};
use crate::harness::{
    ADMIN, Admin, Backend, Exchange, Gate, Heard, Subscriber, WebSocketClient, echo_http,
    echo_websocket, output, python, silence, within, within_time,
};
use crate::trace::{THEIRS, TRACE, told};

/// `[trace]` with a collector that the test plays.
fn exporting(collector: &Backend, more: &str) -> String {
    let address = collector.address();
    format!("[trace]\notlp = \"http://{address}\"\n{more}\n")
}

/// The spans of a request to the collector, which has not been answered yet.
async fn spans_of(exchange: &mut Exchange, gate: &Gate) -> Vec<Value> {
    assert_eq!(exchange.request.target(), "/v1/traces");
    let content_type = exchange.request.get("content-type");
    assert_eq!(content_type, Some("application/x-protobuf"));
    let body = exchange.wire.body().await;
    let file = gate.directory().write("spans.bin", body);
    let mut command = python("otlp_spans.py");
    command.arg(file);
    let spans = output(command).await;
    let spans = spans
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    spans.collect()
}

/// The next span that is taken, where it is the only one.
async fn next_span(collector: &mut Backend, gate: &Gate) -> Value {
    let mut exchange = collector.next().await;
    let mut spans = spans_of(&mut exchange, gate).await;
    exchange.answer("200 OK", "").await;
    assert_eq!(spans.len(), 1, "{spans:?}");
    spans.remove(0)
}

fn has(span: &Value, expected: &[(&str, Value)]) {
    for (name, value) in expected {
        assert_eq!(span["attributes"][*name], *value, "`{name}` of {span:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_a_span_by_the_conventions() {
    let backend = Backend::that(echo_http).await;
    let mut collector = Backend::by_hand().await;
    let text = format!(
        "{}{}",
        backend.for_everything(),
        exporting(
            &collector,
            "service_name = \"edge\"\nheaders = { Authorization = \"Bearer s3cr3t\" }"
        )
    );
    let gate = Gate::start(&text).await;
    let mut client = gate.tls().await;
    client
        .send(format!(
            "GET /a/b?token=s3cr3t HTTP/1.1\r\nHost: localhost:8443\r\ntraceparent: {THEIRS}-01\r\n\r\n"
        ))
        .await;
    client.head().await;
    client.text().await;
    let mut exchange = collector.next().await;
    let field = exchange.request.get("authorization").map(str::to_owned);
    assert_eq!(field.as_deref(), Some("Bearer s3cr3t"));
    let spans = spans_of(&mut exchange, &gate).await;
    exchange.answer("200 OK", "").await;
    let span = &spans[0];
    assert_eq!(span["name"], "GET /*");
    assert_eq!(span["kind"], 2, "SPAN_KIND_SERVER");
    assert_eq!(span["resource"]["service.name"], "edge");
    assert_eq!(span["scope"], "streamgate");
    assert_eq!(
        (&span["trace"], &span["parent"]),
        (&json!(TRACE), &json!(THEIRS[36..]))
    );
    // The backend hangs below it.
    let (_, below, _) = told(&backend.requests()[0]);
    assert_eq!(span["span"], json!(below));
    let nanoseconds = span["nanoseconds"].as_u64().unwrap();
    assert!((1..15_000_000_000).contains(&nanoseconds), "{nanoseconds}");
    has(
        span,
        &[
            ("http.request.method", json!("GET")),
            ("url.path", json!("/a/b")),
            ("url.scheme", json!("https")),
            ("http.route", json!("/*")),
            ("http.response.status_code", json!(200)),
            ("server.address", json!("localhost")),
            ("server.port", json!(8443)),
            ("client.address", json!("127.0.0.1")),
            ("network.protocol.version", json!("1.1")),
            ("streamgate.backend", json!(backend.address().to_string())),
        ],
    );
    assert_eq!(span["status"], 0);
    assert!(!span.to_string().contains("s3cr3t"), "{span:#}");
    // One that is refused, by a method that a client has made up.
    let unsafe_path = "BREW /a%2Fb HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send(unsafe_path).await;
    client.head().await;
    let refused = next_span(&mut collector, &gate).await;
    has(
        &refused,
        &[
            ("http.request.method", json!("_OTHER")),
            ("http.request.method_original", json!("BREW")),
            ("http.response.status_code", json!(400)),
        ],
    );
    assert_eq!(
        (&refused["name"], &refused["status"]),
        (&json!("_OTHER"), &json!(0))
    );
    assert!(
        gate.log
            .since(0)
            .iter()
            .all(|line| !format!("{line:?}").contains("s3cr3t"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_is_one_span_from_its_handshake_to_its_close() {
    let backend = Backend::that(echo_websocket).await;
    let mut collector = Backend::by_hand().await;
    let text = format!("{}{}", backend.for_everything(), exporting(&collector, ""));
    let gate = Gate::start(&text).await;
    let mut client = WebSocketClient::open(&gate, "/ws", &[]).await;
    client.echoes(Message::text("hello")).await;
    within_time(Duration::from_secs(5), "a Close", client.socket.close(None))
        .await
        .unwrap();
    within("the Close's answer", client.socket.next()).await;
    let span = next_span(&mut collector, &gate).await;
    assert_eq!(span["events"], json!(["stream.open", "stream.close"]));
    assert_eq!(span["parent"], "");
    has(
        &span,
        &[
            ("http.response.status_code", json!(101)),
            ("streamgate.stream.kind", json!("tunnel")),
            ("streamgate.end", json!("client")),
            ("streamgate.stream.received_messages", json!(1)),
            ("streamgate.stream.sent_messages", json!(1)),
            ("streamgate.stream.sent_bytes", json!(9)),
        ],
    );
    assert_eq!(span["details"][1]["streamgate.websocket.close_code"], 1005);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_event_stream_tells_of_it() {
    let mut backend = Backend::by_hand().await;
    let mut collector = Backend::by_hand().await;
    let text = format!(
        "{}resume = true\n{}",
        backend.for_everything(),
        exporting(&collector, "")
    );
    let gate = Gate::start(&text).await;
    let mut client = gate.tls().await;
    client
        .send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut first = backend.next().await;
    first.answer_in_chunks("text/event-stream").await;
    first.wire.send_chunk("id: 1\ndata: one\n\n").await;
    assert_eq!(client.head().await.status(), 200);
    let mut subscriber = Subscriber::over(client);
    assert_eq!(subscriber.message().await, "one");
    let context = told(&first.request);
    first.reset();
    let mut second = backend.next().await;
    assert_eq!(told(&second.request), context, "it is the same span's");
    second.answer_in_chunks("text/event-stream").await;
    second.wire.send_chunk("id: 2\ndata: two\n\n").await;
    assert_eq!(subscriber.message().await, "two");
    second.wire.end_chunks().await;
    assert!(matches!(
        subscriber.hear().await,
        None | Some(Heard::Retry(_))
    ));
    let span = next_span(&mut collector, &gate).await;
    let events = json!(["stream.open", "stream.resume", "stream.close"]);
    assert_eq!(span["events"], events);
    assert_eq!(span["details"][1]["streamgate.resume.outcome"], "resumed");
    has(
        &span,
        &[
            ("http.response.status_code", json!(200)),
            ("streamgate.stream.kind", json!("event_stream")),
            ("streamgate.end", json!("backend")),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_of_a_bridge_is_a_span_with_its_gaps() {
    let mut feeds = Backend::by_hand().await;
    let mut collector = Backend::by_hand().await;
    let text = format!("{}{}", bridge(&feeds, ""), exporting(&collector, ""));
    let gate = Gate::start(&text).await;
    let (subscriber, _feed) = open(&gate, &mut feeds).await;
    // One that comes back with a cursor of another life of the log.
    let mut returned = Subscriber::open(&gate, "/live/a", Some("0123456789-5")).await;
    assert!(returned.opened().await.1.is_some());
    drop(returned);
    let span = next_span(&mut collector, &gate).await;
    assert_eq!(span["name"], "GET /live/{room}");
    assert_eq!(
        span["events"],
        json!(["stream.open", "stream.gap", "stream.close"])
    );
    assert_eq!(span["details"][1]["streamgate.gap.reason"], "epoch");
    let kind = json!("subscription");
    has(
        &span,
        &[
            ("streamgate.stream.kind", kind),
            ("streamgate.end", json!("client")),
        ],
    );
    drop(subscriber);
    next_span(&mut collector, &gate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_busy_is_asked_again_and_one_that_refuses_is_not() {
    let backend = Backend::that(echo_http).await;
    let mut collector = Backend::by_hand().await;
    let text = format!(
        "{ADMIN}{}{}",
        backend.for_everything(),
        exporting(&collector, "")
    );
    let gate = Gate::start(&text).await;
    let admin = Admin::of(&gate).await;
    gate.get("/").await;
    let mut busy = collector.next().await;
    let first = spans_of(&mut busy, &gate).await;
    busy.answer("503 Service Unavailable", "").await;
    gate.logged("that it is away", |line| {
        line.message() == "spans are not exported"
    })
    .await;
    let mut again = collector.next().await;
    assert_eq!(spans_of(&mut again, &gate).await, first);
    again.answer("200 OK", "").await;
    admin
        .counts(&[("streamgate_trace_spans_total{outcome=\"exported\"}", 1.0)])
        .await;
    gate.logged("that it is back", |line| {
        line.message() == "spans are exported again"
    })
    .await;
    gate.get("/").await;
    let mut refusing = collector.next().await;
    spans_of(&mut refusing, &gate).await;
    refusing.answer("400 Bad Request", "").await;
    admin
        .counts(&[("streamgate_trace_spans_total{outcome=\"failed\"}", 1.0)])
        .await;
    assert!(collector.request_if_any().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_holds_no_request_up_and_no_drain_for_long() {
    let backend = Backend::that(echo_http).await;
    let mut collector = Backend::by_hand().await;
    let text = format!("{}{}", backend.for_everything(), exporting(&collector, ""));
    let mut gate = Gate::start(&text).await;
    gate.get("/").await;
    // It is asked, and says nothing.
    let _silent = collector.next().await;
    for _ in 0..20 {
        let asked = gate.get("/");
        within_time(Duration::from_secs(2), "an answer", asked).await;
    }
    gate.signal("TERM");
    within_time(Duration::from_secs(12), "the end", gate.ended()).await;
    gate.logged("a word of it", |line| {
        line.message() == "the last spans were not exported in time"
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_at_the_end_is_exported() {
    let backend = Backend::that(echo_http).await;
    let mut collector = Backend::by_hand().await;
    let text = format!("{}{}", backend.for_everything(), exporting(&collector, ""));
    let mut gate = Gate::start(&text).await;
    gate.get("/").await;
    gate.signal("TERM");
    let taken = async {
        let mut exchange = collector.next().await;
        exchange.wire.body().await;
        exchange.answer("200 OK", "").await;
    };
    tokio::join!(gate.ended(), taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_collector_of_before_a_reload_is_waited_for_at_the_end() {
    let backend = Backend::that(echo_http).await;
    let mut collector = Backend::by_hand().await;
    let routes = backend.for_everything();
    let mut gate = Gate::start(&format!("{routes}{}", exporting(&collector, ""))).await;
    gate.get("/").await;
    let mut exchange = collector.next().await;
    exchange.wire.body().await;
    gate.reload_well(&routes).await;
    gate.signal("TERM");
    silence(Duration::from_secs(1)).await;
    assert!(gate.log.status().is_none(), "it has ended");
    exchange.answer("200 OK", "").await;
    within_time(Duration::from_secs(3), "the end", gate.ended()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_takes_in_part_is_counted_so() {
    let backend = Backend::that(echo_http).await;
    let mut collector = Backend::by_hand().await;
    let text = format!(
        "{ADMIN}{}{}",
        backend.for_everything(),
        exporting(&collector, "")
    );
    let gate = Gate::start(&text).await;
    let admin = Admin::of(&gate).await;
    gate.get("/").await;
    let mut exchange = collector.next().await;
    exchange.wire.body().await;
    // ExportTraceServiceResponse { partial_success: { rejected_spans: 1 } }
    exchange.answer("200 OK", "\x0a\x02\x08\x01").await;
    admin
        .counts(&[("streamgate_trace_spans_total{outcome=\"failed\"}", 1.0)])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_sampled_is_exported() {
    let backend = Backend::that(echo_http).await;
    let mut collector = Backend::by_hand().await;
    let routes = backend.for_everything();
    let none = format!("{routes}{}", exporting(&collector, "sample = 0.0"));
    let gate = Gate::start(&none).await;
    gate.get("/unseen").await;
    gate.reload_well(&format!("{routes}{}", exporting(&collector, "")))
        .await;
    gate.get("/seen").await;
    let span = next_span(&mut collector, &gate).await;
    has(&span, &[("url.path", json!("/seen"))]);
}

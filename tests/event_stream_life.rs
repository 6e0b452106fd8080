//! The life of a passed-through event stream: its heartbeats, and how it ends when it is streamgate that ends it.

use std::time::Duration;

use crate::harness::{
    Backend, Exchange, Gate, H2Client, H2Response, Heard, Subscriber, TlsWire, silence,
    stays_pending, within,
};

const ASK: &str = "GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";

/// A gate in front of `backend`, whose only route has these lines too.
async fn gate(backend: &Backend, more: &str) -> Gate {
    Gate::start(&format!("{}{more}", backend.for_everything())).await
}

/// An event stream whose head has arrived.
async fn open(gate: &Gate, backend: &mut Backend) -> (TlsWire, Exchange) {
    let mut client = gate.tls().await;
    client.send(ASK).await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    assert_eq!(client.head().await.status(), 200);
    (client, exchange)
}

/// The same over HTTP/2, with the connection, which lives as long as it is held.
async fn open_h2(gate: &Gate, backend: &mut Backend) -> (H2Client, Subscriber, Exchange) {
    let mut client = H2Client::connect(gate).await;
    let request = http::Request::get("https://localhost/events");
    let (response, _) = client.begin(request.body(()).unwrap(), true).await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    let response = within("a head", response).await.unwrap();
    (client, Subscriber::over_h2(response.into()), exchange)
}

fn is_retry(heard: &Heard) -> bool {
    matches!(heard, Heard::Retry(250..=3_250))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_gets_comments_over_both_versions() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend, "heartbeat = \"200ms\"\n").await;
    let (client, mut first) = open(&gate, &mut backend).await;
    let (_h2, over_h2, mut second) = open_h2(&gate, &mut backend).await;
    for (mut client, exchange) in [
        (Subscriber::over(client), &mut first),
        (over_h2, &mut second),
    ] {
        for number in 0..3 {
            assert_eq!(client.hear().await, Some(Heard::Comment(String::new())));
            exchange
                .wire
                .send_chunk(format!("id: {number}\ndata: event\n\n"))
                .await;
            assert_eq!(client.message().await, "event");
        }
        exchange.wire.end_chunks().await;
        let rest = client.until_end().await;
        assert!(
            rest.iter().all(|it| matches!(it, Heard::Comment(_))),
            "{rest:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_heartbeat_stands_within_an_event() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend, "heartbeat = \"100ms\"\n").await;
    let (mut client, mut exchange) = open(&gate, &mut backend).await;
    assert_eq!(client.body_bytes(3).await, b":\n\n");
    let mut seen = Vec::new();
    for half in ["data: one\n", "data: t", "wo\r"] {
        exchange.wire.send_chunk(half).await;
        while !seen.ends_with(half.as_bytes()) {
            seen.extend(client.piece().await.unwrap().unwrap());
        }
        stays_pending("a heartbeat", Duration::from_millis(500), client.some_raw()).await;
    }
    exchange.wire.send_chunk("\n\r\n").await;
    assert_eq!(client.body_bytes(3).await, b"\n\r\n");
    assert_eq!(client.body_bytes(3).await, b":\n\n");
    let seen = String::from_utf8(seen).unwrap();
    assert_eq!(seen.trim_start_matches(":\n\n"), "data: one\ndata: two\r");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mark_behind_a_heartbeat_does_not_reach_the_client() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend, "heartbeat = \"100ms\"\n").await;
    let (client, mut exchange) = open(&gate, &mut backend).await;
    let mut client = Subscriber::over(client);
    assert_eq!(client.hear().await, Some(Heard::Comment(String::new())));
    // Where nothing was said before, it passes: see the streams whose line ends are all mixed.
    for piece in [
        "\u{feff}".as_bytes().split_at(1).0,
        &"\u{feff}".as_bytes()[1..],
    ] {
        exchange.wire.send_chunk(piece).await;
    }
    exchange.wire.send_chunk("data: seen\n\n").await;
    assert_eq!(client.message().await, "seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_events_get_no_heartbeat() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend, "heartbeat = \"100ms\"\n").await;
    let mut client = gate.tls().await;
    client.send(ASK).await;
    let mut exchange = backend.next().await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    exchange.wire.send(head).await;
    let head = client.head().await;
    assert_eq!(head.get("content-encoding"), Some("gzip"));
    stays_pending("a heartbeat", Duration::from_millis(500), client.some_raw()).await;
    exchange.wire.send_chunk(b"\x1f\x8b").await;
    assert_eq!(client.body_bytes(2).await, b"\x1f\x8b");
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_are_no_activity_and_silence_ends_a_stream_in_order() {
    let mut backend = Backend::by_hand().await;
    let more = "heartbeat = \"100ms\"\ntimeouts = { stream_idle = \"1s\" }\n";
    let gate = gate(&backend, more).await;
    let (client, mut first) = open(&gate, &mut backend).await;
    let (_h2, over_h2, mut second) = open_h2(&gate, &mut backend).await;
    for mut client in [Subscriber::over(client), over_h2] {
        let rest = client.until_end().await;
        let comments = rest.iter().filter(|it| matches!(it, Heard::Comment(_)));
        assert!(comments.count() > 3, "{rest:?}");
        assert!(rest.last().is_some_and(is_retry), "{rest:?}");
    }
    first.wire.closes().await;
    second.wire.closes().await;
    let closed = |line: &crate::harness::Line| line.message() == "stream close";
    let line = gate.logged("the stream's end", closed).await;
    assert!(line.has("reason", "idle"), "{line:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_trailers_is_ended_by_its_server() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend, "").await;
    let mut client = H2Client::connect(&gate).await;
    let request = http::Request::get("https://localhost/call");
    let (response, _) = client.begin(request.body(()).unwrap(), true).await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("application/grpc").await;
    let mut response = H2Response::from(within("a head", response).await.unwrap());
    let end = "2\r\nhi\r\n0\r\ngrpc-status: 0\r\n\r\n";
    exchange.wire.send(end).await;
    assert_eq!(response.text().await, "hi");
    assert_eq!(response.trailers().await.unwrap()["grpc-status"], "0");
    let closed = |line: &crate::harness::Line| line.message() == "stream close";
    let line = gate.logged("the stream's end", closed).await;
    assert!(line.has("reason", "backend"), "{line:?}");
    assert!(line.has("bytes_out", "2"), "{line:?}");
}

/// A client that takes nothing is not known to have left.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_a_drain_tears_off_was_not_left_by_its_client() {
    let mut backend = Backend::by_hand().await;
    let mut gate = gate(&backend, "[server]\ndrain_timeout = \"1s\"\n").await;
    let mut client = H2Client::connect(&gate).await;
    let request = http::Request::get("https://localhost/events");
    let (response, _) = client.begin(request.body(()).unwrap(), true).await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    let _unread = within("a head", response).await.unwrap();
    // More than its window.
    let event = format!("data: {}\n\n", "x".repeat(1000));
    for _ in 0..100 {
        exchange.wire.send_chunk(&event).await;
    }
    client.ping().await;
    gate.signal("TERM");
    let closed = |line: &crate::harness::Line| line.message() == "stream close";
    let line = gate.logged("the stream's end", closed).await;
    // Cut, or what it was about to say when its own moment in the drain had come.
    let of_ours = line.has("reason", "cut") || line.has("reason", "drain");
    assert!(of_ours, "{line:?}");
    gate.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_each_stream_between_two_events() {
    let mut backend = Backend::by_hand().await;
    let more = "[server]\ndrain_timeout = \"8s\"\n";
    let mut gate = gate(&backend, more).await;
    let (client, mut first) = open(&gate, &mut backend).await;
    let mut client = Subscriber::over(client);
    let (_h2, mut over_h2, mut second) = open_h2(&gate, &mut backend).await;
    let (quiet, mut third) = open(&gate, &mut backend).await;
    for exchange in [&mut first, &mut second] {
        exchange.wire.send_chunk("data: whole\n\ndata: ha").await;
    }
    assert_eq!(client.message().await, "whole");
    assert_eq!(over_h2.message().await, "whole");
    gate.signal("TERM");
    // In the first half of the time all of them are to end; two wait for the rest of their events.
    silence(Duration::from_millis(4_200)).await;
    let mut quiet = Subscriber::over(quiet);
    let rest = quiet.until_end().await;
    assert!(matches!(&rest[..], [retry] if is_retry(retry)), "{rest:?}");
    third.wire.closes().await;
    for (client, exchange) in [(&mut client, &mut first), (&mut over_h2, &mut second)] {
        exchange.wire.send_chunk("lf\n\n").await;
        assert_eq!(client.message().await, "half");
        let rest = client.until_end().await;
        assert!(matches!(&rest[..], [retry] if is_retry(retry)), "{rest:?}");
        exchange.wire.closes().await;
    }
    gate.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_is_never_finished_is_cut_and_not_ended() {
    let mut backend = Backend::by_hand().await;
    let mut gate = gate(&backend, "[server]\ndrain_timeout = \"2s\"\n").await;
    let (mut client, mut exchange) = open(&gate, &mut backend).await;
    exchange.wire.send_chunk("data: ha").await;
    assert_eq!(client.body_bytes(8).await, b"data: ha");
    gate.signal("TERM");
    assert_eq!(client.body_that_is_cut().await, b"");
    gate.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_endless_body_may_come_to_its_end_in_a_drain() {
    let mut backend = Backend::by_hand().await;
    let mut gate = gate(&backend, "[server]\ndrain_timeout = \"8s\"\n").await;
    let mut client = gate.tls().await;
    client.send(ASK).await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("application/x-ndjson").await;
    assert_eq!(client.head().await.status(), 200);
    gate.signal("TERM");
    silence(Duration::from_secs(3)).await;
    exchange.wire.send_chunk("{}\n").await;
    exchange.wire.end_chunks().await;
    assert_eq!(client.text().await, "{}\n");
    gate.ended().await;
}

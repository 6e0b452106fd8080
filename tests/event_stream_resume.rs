//! `resume = true`: an event stream that its server breaks off goes on in the same response.

use std::time::Duration;

use crate::harness::{
    Backend, Exchange, Gate, H2Client, Heard, Line, Subscriber, stays_pending, within,
};

const ASK: &str = "GET /events HTTP/1.1\r\nHost: localhost\r\n";

async fn gate(backend: &Backend, more: &str) -> Gate {
    Gate::start(&format!(
        "{}resume = true\n{more}",
        backend.for_everything()
    ))
    .await
}

/// A stream whose client has asked with these fields too.
async fn open_with(gate: &Gate, backend: &mut Backend, fields: &str) -> (Subscriber, Exchange) {
    let mut client = gate.tls().await;
    client.send(format!("{ASK}{fields}\r\n")).await;
    let exchange = answered(backend).await;
    assert_eq!(client.head().await.status(), 200);
    (Subscriber::over(client), exchange)
}

async fn open(gate: &Gate, backend: &mut Backend) -> (Subscriber, Exchange) {
    open_with(gate, backend, "").await
}

/// The next request, answered by a stream.
async fn answered(backend: &mut Backend) -> Exchange {
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    exchange
}

fn asked_after(exchange: &Exchange) -> Option<&str> {
    exchange.request.get("last-event-id")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_stream_goes_on_behind_the_last_whole_event() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend, "").await;
    let (client, exchange) = open(&gate, &mut backend).await;
    let mut h2 = H2Client::connect(&gate).await;
    let request = http::Request::get("https://localhost/events");
    let (response, _) = h2.begin(request.body(()).unwrap(), true).await;
    let second = answered(&mut backend).await;
    let response = within("a head", response).await.unwrap();
    let over_h2 = Subscriber::over_h2(response.into());
    for (mut client, mut exchange) in [(client, exchange), (over_h2, second)] {
        exchange
            .wire
            .send_chunk("id: 7\ndata: seven\n\nid: 8\ndata: ei")
            .await;
        assert_eq!(client.message().await, "seven");
        exchange.reset();
        let mut again = answered(&mut backend).await;
        assert_eq!(asked_after(&again), Some("7"));
        again
            .wire
            .send_chunk("\u{feff}id: 8\ndata: eight\n\n")
            .await;
        assert_eq!(client.message().await, "eight");
        assert_eq!(client.cursor, "8");
        // And once more, by an end without the last chunk.
        drop(again);
        let mut again = answered(&mut backend).await;
        assert_eq!(asked_after(&again), Some("8"));
        again.wire.send_chunk("id: 9\ndata: nine\n\n").await;
        assert_eq!(client.message().await, "nine");
        again.wire.end_chunks().await;
        assert_eq!(client.until_end().await, []);
    }
    let resumed = |line: &Line| line.message() == "stream resumed";
    gate.logged("that the stream was taken up", resumed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_events_is_asked_for_as_its_client_did() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend, "").await;
    for (field, expected) in [("", None), ("Last-Event-ID: 41\r\n", Some("41"))] {
        let (mut client, exchange) = open_with(&gate, &mut backend, field).await;
        assert_eq!(asked_after(&exchange), expected);
        drop(exchange);
        let mut again = answered(&mut backend).await;
        assert_eq!(asked_after(&again), expected);
        again.wire.send_chunk("id: 42\ndata: x\n\n").await;
        assert_eq!(client.message().await, "x");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_without_an_id_are_not_taken_up() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend, "").await;
    let mut client = gate.tls().await;
    client.send(format!("{ASK}\r\n")).await;
    let mut exchange = answered(&mut backend).await;
    client.head().await;
    exchange.wire.send_chunk("data: one\n\n").await;
    assert_eq!(client.body_bytes(11).await, b"data: one\n\n");
    drop(exchange);
    assert_eq!(client.body_that_is_cut().await, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_event_is_held_back_and_a_whole_one_passes_at_once() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend, "").await;
    let mut client = gate.tls().await;
    client.send(format!("{ASK}\r\n")).await;
    let mut exchange = answered(&mut backend).await;
    client.head().await;
    exchange.wire.send_chunk("data: ha").await;
    let held = Duration::from_millis(300);
    stays_pending("half an event", held, client.some_raw()).await;
    exchange.wire.send_chunk("lf\n\ndata: more").await;
    assert_eq!(client.body_bytes(12).await, b"data: half\n\n");
    // An end in order leaves to the client what it makes of the rest.
    exchange.wire.end_chunks().await;
    assert_eq!(client.text().await, "data: more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_longer_than_what_is_held_back_passes_early() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend, "").await;
    let mut client = gate.tls().await;
    client.send(format!("{ASK}\r\n")).await;
    let mut exchange = answered(&mut backend).await;
    client.head().await;
    let event = format!("id: 1\ndata: {}", "x".repeat(1_500_000));
    exchange.wire.send_chunk(&event).await;
    assert!(client.body_bytes(event.len()).await == event.as_bytes());
    // Its client has a part of it: it must hear of the break.
    drop(exchange);
    client.body_that_is_cut().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_is_respected() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend, "").await;
    for status in ["204 No Content", "404 Not Found", "403 Forbidden"] {
        let (mut client, mut exchange) = open(&gate, &mut backend).await;
        exchange.wire.send_chunk("id: 1\ndata: x\n\n").await;
        assert_eq!(client.message().await, "x");
        drop(exchange);
        let mut again = backend.next().await;
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        again
            .wire
            .send(answer.replace(
                "\r\nContent-Length: 0",
                if status.starts_with("204") {
                    ""
                } else {
                    "\r\nContent-Length: 0"
                },
            ))
            .await;
        assert_eq!(client.until_end().await, [], "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_that_passes_is_waited_for_with_heartbeats() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend, "heartbeat = \"100ms\"\n").await;
    let (mut client, mut exchange) = open(&gate, &mut backend).await;
    exchange
        .wire
        .send_chunk("retry: 600\nid: 1\ndata: x\n\n")
        .await;
    assert_eq!(client.message().await, "x");
    drop(exchange);
    // It waits for as long as the server has said.
    assert_eq!(client.hear().await, Some(Heard::Comment(String::new())));
    for status in ["503 Service Unavailable", "429 Too Many Requests"] {
        let mut again = backend.next().await;
        again.answer(status, "").await;
    }
    let mut again = answered(&mut backend).await;
    assert_eq!(asked_after(&again), Some("1"));
    again.wire.send_chunk("id: 2\ndata: y\n\n").await;
    assert_eq!(client.message().await, "y");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_does_not_come_back_in_time_is_cut() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend, "timeouts = { resume = \"700ms\" }\n").await;
    let mut client = gate.tls().await;
    client.send(format!("{ASK}\r\n")).await;
    let mut exchange = answered(&mut backend).await;
    client.head().await;
    exchange.wire.send_chunk("id: 1\ndata: x\n\n").await;
    assert_eq!(client.body_bytes(15).await, b"id: 1\ndata: x\n\n");
    drop(exchange);
    let (cut, ()) = tokio::join!(client.body_that_is_cut(), async {
        // One that takes the request and says nothing does not hold it up.
        let _mute = backend.next().await;
        let closed = |line: &Line| line.message() == "stream close";
        let line = gate.logged("the end", closed).await;
        assert!(line.has("reason", "backend_failed"), "{line:?}");
    });
    assert_eq!(cut, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_get_is_asked_again() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend, "").await;
    let mut client = gate.tls().await;
    let ask = "POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi";
    client.send(ask).await;
    let mut exchange = backend.next().await;
    assert_eq!(exchange.wire.text().await, "hi");
    exchange.answer_in_chunks("text/event-stream").await;
    client.head().await;
    exchange.wire.send_chunk("id: 1\ndata: ha").await;
    assert_eq!(client.body_bytes(14).await, b"id: 1\ndata: ha");
    drop(exchange);
    client.body_that_is_cut().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_while_its_stream_is_away_ends_the_asking() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend, "").await;
    let (mut client, mut exchange) = open(&gate, &mut backend).await;
    exchange.wire.send_chunk("id: 1\ndata: x\n\n").await;
    assert_eq!(client.message().await, "x");
    drop(exchange);
    let mut asked = backend.next().await;
    drop(client);
    asked.wire.closes_within(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_a_stream_that_is_away() {
    let mut backend = Backend::by_hand().await;
    let mut gate = gate(&backend, "[server]\ndrain_timeout = \"2s\"\n").await;
    let (mut client, mut exchange) = open(&gate, &mut backend).await;
    exchange
        .wire
        .send_chunk("id: 1\ndata: x\n\nid: 2\nda")
        .await;
    assert_eq!(client.message().await, "x");
    drop(exchange);
    let _mute = backend.next().await;
    gate.signal("TERM");
    let rest = client.until_end().await;
    assert!(matches!(&rest[..], [Heard::Retry(250..)]), "{rest:?}");
    gate.ended().await;
}

//! Event streams passed through: at once, untouched, for as long as they live.

use std::time::Duration;

use crate::harness::{Backend, Exchange, Gate, H2Client, H2Response, TlsWire, silence, within};

const ASK: &str = "GET /events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";

/// An event stream with both ends in the test's hand, its head arrived, not a byte of its body sent.
async fn open_stream(gate: &Gate, backend: &mut Backend) -> (TlsWire, Exchange) {
    let mut client = gate.tls().await;
    client.send(ASK).await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    let head = client.head().await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.get("content-type"), Some("text/event-stream"));
    (client, exchange)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_arrives_before_the_first_byte_and_each_chunk_at_once() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let (mut client, mut exchange) = open_stream(&gate, &mut backend).await;
    for piece in [
        "data: one\n\n",
        ":",
        " half a comment",
        "\n\ndata: t",
        "wo\n\n",
    ] {
        exchange.wire.send_chunk(piece).await;
        // The backend sends no more until the client has this.
        assert_eq!(client.body_bytes(piece.len()).await, piece.as_bytes());
    }
    exchange.wire.end_chunks().await;
    assert_eq!(client.text().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_line_end_passes_untouched() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let (mut client, mut exchange) = open_stream(&gate, &mut backend).await;
    let stream = "\u{feff}data: lf\n\ndata: cr\r\rdata: crlf\r\n\r\ndata: mixed\r\n\rid: 1\n\r\n\
                  data:\n\nretry: 10\n\n: ping\n\nhalf";
    for byte in stream.as_bytes() {
        exchange.wire.send_chunk([*byte]).await;
    }
    exchange.wire.end_chunks().await;
    assert_eq!(client.body().await, stream.as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_against_buffering_are_set() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    for (given, kept) in [
        ("", &["no-cache", "no-transform"][..]),
        ("Cache-Control: no-store\r\n", &["no-store"][..]),
        ("Cache-Control: no-cache\r\n", &["no-cache"][..]),
    ] {
        let mut client = gate.tls().await;
        client.send(ASK).await;
        let mut exchange = backend.next().await;
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n{given}\r\n"
        );
        exchange.wire.send(head).await;
        let head = client.head().await;
        assert_eq!(head.get("x-accel-buffering"), Some("no"), "{head:?}");
        assert_eq!(head.get("content-length"), None, "{head:?}");
        let cache = head.all("cache-control").join(", ");
        for directive in kept {
            assert!(cache.contains(directive), "{given:?}: {cache}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_may_answer_a_post() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    let ask = "POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\nquestion";
    client.send(ask).await;
    let mut exchange = backend.next().await;
    assert_eq!(exchange.wire.text().await, "question");
    exchange.answer_in_chunks("text/event-stream").await;
    assert_eq!(client.head().await.status(), 200);
    for token in ["data: an\n\n", "data: swer\n\n"] {
        exchange.wire.send_chunk(token).await;
        assert_eq!(client.body_bytes(token.len()).await, token.as_bytes());
    }
    exchange.wire.end_chunks().await;
    assert_eq!(client.text().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_client_gets_the_stream_without_chunks() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    let head = client.head().await;
    assert_eq!(head.get("transfer-encoding"), None, "{head:?}");
    for piece in ["data: one\n\n", "data: two\n\n"] {
        exchange.wire.send_chunk(piece).await;
        assert_eq!(client.body_bytes(piece.len()).await, piece.as_bytes());
    }
    exchange.wire.end_chunks().await;
    assert_eq!(client.text().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_passes_over_h2_chunk_by_chunk() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = H2Client::connect(&gate).await;
    let request = http::Request::get("https://localhost/events")
        .body(())
        .unwrap();
    let (response, _) = client.begin(request, true).await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    let mut response = H2Response::from(within("a head", response).await.unwrap());
    assert_eq!(response.head.headers()["x-accel-buffering"], "no");
    for piece in ["data: one\n\n", "data: two\r\r", ": three"] {
        exchange.wire.send_chunk(piece).await;
        assert_eq!(response.piece().await.unwrap().unwrap(), piece);
    }
    drop(exchange);
    assert!(
        response.piece().await.is_err(),
        "a cut stream ended as if it were whole"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_over_h2_ends_the_backend_s_request() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = H2Client::connect(&gate).await;
    let request = http::Request::get("https://localhost/events")
        .body(())
        .unwrap();
    let (response, mut stream) = client.begin(request, true).await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    within("a head", response).await.unwrap();
    stream.send_reset(h2::Reason::CANCEL);
    exchange.wire.closes_within(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_outlives_response_and_idle_timeouts() {
    let mut backend = Backend::by_hand().await;
    let timeouts = "timeouts = { response = \"300ms\", idle = \"300ms\" }\n";
    let limits = "[limits]\nkeep_alive = \"1s\"\nheader_timeout = \"1s\"\n";
    let gate = Gate::start(&format!("{}{timeouts}{limits}", backend.for_everything())).await;
    let (mut client, mut exchange) = open_stream(&gate, &mut backend).await;
    let mut h2 = H2Client::connect(&gate).await;
    let request = http::Request::get("https://localhost/events")
        .body(())
        .unwrap();
    let (response, _) = h2.begin(request, true).await;
    let mut second = backend.next().await;
    second.answer_in_chunks("text/event-stream").await;
    let mut response = H2Response::from(within("a head", response).await.unwrap());
    silence(Duration::from_millis(2_500)).await;
    exchange.wire.send_chunk("data: still here\n\n").await;
    assert_eq!(client.body_bytes(18).await, b"data: still here\n\n");
    second.wire.send_chunk("data: still here\n\n").await;
    assert_eq!(
        response.piece().await.unwrap().unwrap(),
        "data: still here\n\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_idle_ends_a_silent_stream() {
    let mut backend = Backend::by_hand().await;
    let text = format!(
        "{}timeouts = {{ stream_idle = \"1s\" }}\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    let (mut client, mut exchange) = open_stream(&gate, &mut backend).await;
    exchange.wire.send_chunk("data: one\n\n").await;
    assert_eq!(client.body_bytes(11).await, b"data: one\n\n");
    client.raw_until_close().await;
    exchange.wire.closes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_ends_the_backend_s_request() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let (client, mut exchange) = open_stream(&gate, &mut backend).await;
    drop(client);
    // The promise is 100 ms; the limit leaves room for a busy machine.
    exchange.wire.closes_within(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pipelined_and_leaves_ends_the_backend_s_request() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send(format!(
            "{ASK}GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ))
        .await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    assert_eq!(client.head().await.status(), 200);
    drop(client);
    exchange.wire.closes_within(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_with_the_backend_s_connection_arrives_whole() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client.send(ASK).await;
    let mut exchange = backend.next().await;
    exchange
        .wire
        .send("HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 200);
    exchange.wire.send("data: one\n\n").await;
    assert_eq!(client.body_bytes(11).await, b"data: one\n\n");
    exchange.wire.send("data: two\n\n").await;
    drop(exchange);
    assert_eq!(client.text().await, "data: two\n\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_dies_mid_stream_ends_the_client_s_stream() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    for by_reset in [false, true] {
        let (mut client, mut exchange) = open_stream(&gate, &mut backend).await;
        exchange.wire.send_chunk("data: one\n\ndata: ha").await;
        assert_eq!(client.body_bytes(19).await, b"data: one\n\ndata: ha");
        if by_reset {
            exchange.reset()
        } else {
            drop(exchange)
        }
        client.body_that_is_cut().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_endless_types_stream_and_do_not_idle_out() {
    let mut backend = Backend::by_hand().await;
    let text = format!(
        "{}timeouts = {{ idle = \"300ms\" }}\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    for content_type in [
        "application/x-ndjson",
        "application/json-seq",
        "multipart/x-mixed-replace; boundary=x",
    ] {
        let mut client = gate.tls().await;
        client.send(ASK).await;
        let mut exchange = backend.next().await;
        exchange.answer_in_chunks(content_type).await;
        assert_eq!(client.head().await.status(), 200);
        exchange.wire.send_chunk("{}\n").await;
        assert_eq!(client.body_bytes(3).await, b"{}\n");
        silence(Duration::from_millis(900)).await;
        exchange.wire.send_chunk("{}\n").await;
        assert_eq!(client.body_bytes(3).await, b"{}\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_loses_nothing() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let (mut client, mut exchange) = open_stream(&gate, &mut backend).await;
    let event = format!("data: {}\n\n", "x".repeat(10_000));
    let expected = event.len() * 2_000;
    let flood = async {
        for _ in 0..2_000 {
            exchange.wire.send_chunk(&event).await;
        }
        exchange.wire.end_chunks().await;
    };
    let slow = async {
        silence(Duration::from_millis(500)).await;
        client.body().await
    };
    let ((), received) = tokio::join!(flood, slow);
    assert_eq!(received.len(), expected);
    assert!(
        received
            .chunks(event.len())
            .all(|found| found == event.as_bytes())
    );
}

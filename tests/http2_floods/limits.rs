//! The limits of an HTTP/2 connection that the configuration sets.

use std::time::Duration;

use super::frames::{Frames, frame, get};
use super::{BOUND, ENHANCE_YOUR_CALM, GOAWAY, HEADERS, RST_STREAM, SETTINGS};
use crate::harness::{Backend, Gate, H2Client, stays_pending};

/// A limit, as one of `[limits]`.
fn limited(backend: &Backend, limits: &str) -> String {
    format!("{}[limits]\n{limits}\n", backend.for_everything())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_cancels_too_many_requests_is_cut_off() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&limited(&backend, "http2 = { resets = 10 }")).await;
    let mut client = Frames::connect(&gate).await;
    let mut waiting = Vec::new();
    for number in 0..11 {
        let stream = 2 * number + 1;
        client.send(&get(stream, "/")).await;
        // Each has been taken on, and its backend asked, before it is cancelled.
        waiting.push(backend.next().await);
        client
            .send(&frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()))
            .await;
    }
    assert_eq!(client.reason().await, Some(ENHANCE_YOUR_CALM));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_were_answered_are_not_held_against_a_client_that_resets_them() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&limited(&backend, "http2 = { resets = 10 }")).await;
    let mut client = Frames::connect(&gate).await;
    for number in 0..15 {
        let stream = 2 * number + 1;
        client.send(&get(stream, "/")).await;
        let mut exchange = backend.next().await;
        exchange.answer_in_chunks("text/event-stream").await;
        assert_eq!(client.next_of(HEADERS).await.stream, stream);
        client
            .send(&frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()))
            .await;
    }
    client.send(&get(1001, "/")).await;
    backend.next().await.answer("200 OK", "").await;
    assert_eq!(client.next_of(HEADERS).await.stream, 1001);
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_streams_as_allowed_are_announced() {
    let backend = Backend::by_hand().await;
    let gate = Gate::start(&limited(&backend, "http2 = { streams = 7 }")).await;
    let mut client = Frames::connect(&gate).await;
    let settings = client.next_of(SETTINGS).await.payload;
    // SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 §6.5.2).
    assert!(
        settings
            .chunks(6)
            .any(|setting| setting == [0, 3, 0, 0, 0, 7]),
        "{settings:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_preface_is_borne_for_header_timeout() {
    let backend = Backend::by_hand().await;
    let gate = Gate::start(&limited(&backend, "header_timeout = \"1s\"")).await;
    for bytes in [
        &b""[..],
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0",
    ] {
        let mut client = Frames::silent(&gate).await;
        client.send(bytes).await;
        let early = Duration::from_millis(500);
        stays_pending("the end before its time", early, client.reason()).await;
        assert_eq!(client.reason().await, None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_no_window_is_opened_for_is_reset_and_its_connection_lives() {
    let body = "x".repeat(1 << 20);
    let backend = Backend::that(move |mut exchange| {
        let body = body.clone();
        async move {
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            exchange
                .wire
                .try_send((head + &body).as_bytes())
                .await
                .ok()?;
            Some(exchange.wire)
        }
    })
    .await;
    let gate = Gate::start(&limited(&backend, "keep_alive = \"1s\"")).await;
    let before = gate.memory();
    // SETTINGS_INITIAL_WINDOW_SIZE: 0
    let mut client = Frames::with_settings(&gate, &[0, 4, 0, 0, 0, 0]).await;
    let streams: Vec<u32> = (0..50).map(|number| 2 * number + 1).collect();
    for stream in &streams {
        client.send(&get(*stream, "/")).await;
    }
    let mut reset = Vec::new();
    while reset.len() < streams.len() {
        let frame = client.next().await.expect("the connection lives");
        assert_ne!(frame.kind, GOAWAY);
        if frame.kind == RST_STREAM {
            reset.push(frame.stream);
        }
    }
    reset.sort_unstable();
    assert_eq!(reset, streams);
    let grown = gate.memory().saturating_sub(before);
    assert!(grown < BOUND, "{grown} bytes of memory more");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_of_requests_per_connection_ends_it_in_order() {
    let backend = Backend::that(crate::harness::echo_http).await;
    let gate = Gate::start(&limited(&backend, "requests_per_connection = 3")).await;
    let mut client = gate.tls().await;
    for number in 1..=3 {
        client
            .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        let head = client.head().await;
        assert_eq!(head.status(), 200);
        let close = head.get("connection") == Some("close");
        assert_eq!(close, number == 3, "request {number}: {head:?}");
        client.body().await;
    }
    client.closes().await;

    let mut client = Frames::connect(&gate).await;
    for stream in [1, 3, 5] {
        client.send(&get(stream, "/")).await;
    }
    let mut answered = 0;
    let mut last = None;
    while let Some(frame) = client.next().await {
        match frame.kind {
            HEADERS => answered += 1,
            GOAWAY => last = Some(frame.payload[4..8].to_vec()),
            _ => {}
        }
        if frame.kind == super::PING && frame.flags == 0 {
            // hyper asks whether the client has seen the GOAWAY.
            let pong = super::frames::frame(super::PING, 1, 0, &frame.payload);
            let _ = client.try_send(&pong).await;
        }
    }
    assert_eq!((answered, last), (3, Some(vec![0; 4])));
    // A client that asks again gets a connection of its own.
    assert_eq!(H2Client::connect(&gate).await.get("/").await.status(), 200);
}

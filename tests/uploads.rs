//! Requests with bodies: asked for before they are sent, limited while they stream, judged by their pace.

use crate::harness::{Backend, Gate};

const ASKING: &str = "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
                      Content-Length: 5\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_asked_before_the_body_is_sent() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client.send(ASKING).await;
    let mut exchange = backend.next().await;
    assert_eq!(exchange.request.get("expect"), Some("100-continue"));
    exchange.wire.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 100);
    client.send("hello").await;
    assert_eq!(exchange.wire.text().await, "hello");
    exchange.answer("200 OK", "").await;
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_a_body_never_gets_it() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client.send(ASKING).await;
    let mut exchange = backend.next().await;
    exchange.answer("401 Unauthorized", "who are you").await;
    let head = client.head().await;
    assert_eq!(head.status(), 401, "no 100 came before it");
    assert_eq!(client.text().await, "who are you");
    // Neither side goes on with a connection on which a body may or may not follow.
    client.closes().await;
    exchange.wire.closes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_nothing_of_100_continue_gets_the_body_after_a_while() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client.send(ASKING).await;
    let mut exchange = backend.next().await;
    assert_eq!(client.head().await.status(), 100);
    client.send("hello").await;
    assert_eq!(exchange.wire.text().await, "hello");
    exchange.answer("200 OK", "").await;
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_grows_beyond_body_size_is_413_and_its_server_is_cut_off() {
    let mut backend = Backend::by_hand().await;
    let text = format!(
        "{}[limits]\nbody_size = \"1KiB\"\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    let mut client = gate.tls().await;
    client
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client.send_chunk("x".repeat(1000)).await;
    let mut exchange = backend.next().await;
    exchange.wire.body_bytes(1000).await;
    client.send_chunk("x".repeat(100)).await;
    let head = client.head().await;
    assert_eq!(head.status(), 413);
    assert!(
        head.get("proxy-status")
            .unwrap()
            .contains("http_request_error")
    );
    client.text().await;
    client.closes().await;
    exchange.wire.closes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_stands_still_is_408() {
    let mut backend = Backend::by_hand().await;
    let text = format!(
        "{}[limits]\nbody_rate = \"1KiB\"\nbody_grace = \"300ms\"\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    let mut client = gate.tls().await;
    client
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
        .await;
    let mut exchange = backend.next().await;
    exchange.wire.body_bytes(3).await;
    assert_eq!(client.head().await.status(), 408);
    client.text().await;
    client.closes().await;
    exchange.wire.closes().await;
}

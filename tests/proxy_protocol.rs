//! The PROXY protocol in front of TLS and of HTTP: whom it is believed, and what it changes.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsConnector;

use crate::harness::{
    Backend, Gate, Wire, client_config, connect, echo_http, stays_pending, within,
};

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 203.0.113.9 4711 8443\r\n";

fn v2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x13".to_vec();
    header.extend_from_slice(&[192, 0, 2, 7, 203, 0, 113, 9, 0x12, 0x67, 0x20, 0xfb]);
    // What else a load balancer says is skipped.
    header.extend_from_slice(&[4, 0, 4, 0, 0, 0, 0]);
    header
}

fn config(backend: &Backend, trust: &str) -> String {
    format!(
        "{}[[listen]]\naddress = \"systemd:https\"\ntls = true\nproxy_protocol = true\n\
         [[listen]]\naddress = \"systemd:http\"\nproxy_protocol = true\n\
         [trust]\nproxies = [{trust}]\n\
         [limits]\ntls_handshake_timeout = \"1s\"\nheader_timeout = \"1s\"\n",
        backend.for_everything()
    )
}

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_announced_client_is_the_client() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&config(&backend, "\"127.0.0.1\"")).await;
    for header in [V1.to_vec(), v2()] {
        for piece in [1, header.len()] {
            let mark = gate.log.mark();
            let mut client = gate.clear().await;
            for piece in header.chunks(piece) {
                client.send(piece).await;
            }
            client.send(GET).await;
            let mut exchange = backend.next().await;
            assert_eq!(exchange.request.get("x-forwarded-for"), Some("192.0.2.7"));
            assert_eq!(exchange.request.get("x-forwarded-port"), Some("8443"));
            exchange.answer("200 OK", "").await;
            assert_eq!(client.head().await.status(), 200);
            let logged = gate.log.wait(mark, "the request's line", |line| {
                line.message() == "request" && line.has("client", "192.0.2.7:4711")
            });
            logged.await;
            drop(exchange);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_comes_before_the_tls_handshake() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&config(&backend, "\"127.0.0.0/8\"")).await;
    let mut tcp = connect(gate.https).await;
    tcp.write_all(&v2()).await.unwrap();
    let config = client_config(&["http/1.1"], rustls::ALL_VERSIONS);
    let name = ServerName::try_from("localhost").unwrap();
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    let mut client = Wire::new(within("a handshake", handshake).await.unwrap());
    client.send(GET).await;
    let mut exchange = backend.next().await;
    assert_eq!(exchange.request.get("x-forwarded-for"), Some("192.0.2.7"));
    assert_eq!(exchange.request.get("x-forwarded-proto"), Some("https"));
    exchange.answer("200 OK", "").await;
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_load_balancers_own_connections_keep_its_address() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&config(&backend, "\"127.0.0.1\"")).await;
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";
    for header in [&local[..], b"PROXY UNKNOWN\r\n"] {
        let mut client = gate.clear().await;
        client.send(header).await;
        client.send(GET).await;
        let mut exchange = backend.next().await;
        assert_eq!(exchange.request.get("x-forwarded-for"), Some("127.0.0.1"));
        exchange.answer("200 OK", "").await;
        assert_eq!(client.head().await.status(), 200);
        drop(exchange);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_without_a_header_is_closed() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&config(&backend, "\"127.0.0.1\"")).await;
    for bytes in [
        GET,
        "PROXY TCP9 a b c d\r\n",
        "\r\n\r\n\0\r\nQUIT\n\x21\x11\x7f\x7f",
    ] {
        let mut client = gate.clear().await;
        client.send(bytes).await;
        client.closes().await;
    }
    let mut silent = gate.clear().await;
    silent.send("PROXY TCP4 192").await;
    let early = Duration::from_millis(500);
    stays_pending("the end before its time", early, silent.raw_until_close()).await;
    silent.closes().await;
    assert!(backend.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_takes_of_the_handshakes_time() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&config(&backend, "\"127.0.0.1\"")).await;
    let mut client = Wire::new(connect(gate.https).await);
    client.send(&V1[..9]).await;
    let early = Duration::from_millis(700);
    stays_pending("the end before its time", early, client.raw_until_close()).await;
    client.send(&V1[9..]).await;
    // Of the second that both have, 300 ms are left.
    client.closes_within(Duration::from_millis(800)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_header_is_no_request() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&config(&backend, "\"192.0.2.0/24\"")).await;
    for header in [V1.to_vec(), v2()] {
        let mut client = gate.clear().await;
        client.send([&header[..], GET.as_bytes()].concat()).await;
        assert_eq!(client.head().await.status(), 400);
        client.body().await;
        client.closes().await;
        let mut client = Wire::new(connect(gate.https).await);
        let _ = client.try_send(&header).await;
        client.raw_until_close().await;
    }
    assert!(backend.requests().is_empty());
    // Whoever is not trusted needs none.
    let mut client = gate.clear().await;
    client.send(GET).await;
    assert_eq!(client.head().await.status(), 200);
}

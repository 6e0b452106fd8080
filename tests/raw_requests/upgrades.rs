//! Bytes behind a WebSocket handshake: the tunnel's if there is one, the next request's if there is none.

use crate::harness::{Backend, Gate};

const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_behind_a_handshake_that_fails_is_a_request() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.clear().await;
    client
        .send(format!(
            "{HANDSHAKE}GET /behind HTTP/1.1\r\nHost: a\r\n\r\n"
        ))
        .await;
    let mut exchange = backend.next().await;
    assert_eq!(exchange.request.target(), "/ws");
    exchange.answer("403 Forbidden", "no").await;
    assert_eq!(client.head().await.status(), 403);
    assert_eq!(client.text().await, "no");
    let mut exchange = tokio::select! {
        again = backend.next() => again,
        again = exchange.next() => again,
    };
    assert_eq!(exchange.request.target(), "/behind");
    exchange.answer("200 OK", "yes").await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.text().await, "yes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_behind_a_handshake_that_fails_is_refused() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.clear().await;
    client
        .send(format!("{HANDSHAKE}GET /behind HTTP/1.1\nHost: a\n\n"))
        .await;
    let mut exchange = backend.next().await;
    exchange.answer("403 Forbidden", "no").await;
    assert_eq!(client.head().await.status(), 403);
    assert_eq!(client.text().await, "no");
    assert_eq!(client.head().await.status(), 400);
    client.body().await;
    client.closes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_behind_a_handshake_that_succeeds_are_the_tunnels() {
    // What no parser of HTTP would let pass, and what looks like a request.
    for behind in ["\0\r\n\n\0", "GET /behind HTTP/1.1\r\nHost: a\r\n\r\n"] {
        for split in [0, 5] {
            let mut backend = Backend::by_hand().await;
            let gate = Gate::start(&backend.for_everything()).await;
            let mut client = gate.clear().await;
            client
                .send(format!("{HANDSHAKE}{}", &behind[..split]))
                .await;
            let exchange = backend.next().await;
            client.send(&behind[split..]).await;
            let mut tunnel = exchange.into_tunnel().await;
            assert_eq!(client.head().await.status(), 101);
            assert_eq!(tunnel.raw(behind.len()).await, behind.as_bytes());
            tunnel.send("back").await;
            assert_eq!(client.raw(4).await, b"back");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_bytes_behind_a_handshake_wait_without_being_held() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let client = gate.clear().await;
    let (stream, _) = client.into_parts();
    let (mut read, mut write) = tokio::io::split(stream);
    let data = vec![b'x'; 1 << 20];
    let sending = async {
        use tokio::io::AsyncWriteExt;
        write.write_all(HANDSHAKE.as_bytes()).await.unwrap();
        write.write_all(&data).await.unwrap();
    };
    let answering = async {
        let mut tunnel = backend.next().await.into_tunnel().await;
        assert!(tunnel.raw(data.len()).await == data);
        tunnel
    };
    let (_, _tunnel) = tokio::join!(sending, answering);
    let mut head = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut read, &mut head)
        .await
        .unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
}

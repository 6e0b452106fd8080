//! WebSocket passed through: bytes as they come, from the handshake to the last half-close.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tungstenite::Message;
use tungstenite::handshake::derive_accept_key;

use crate::harness::{
    Backend, Exchange, Gate, TlsWire, WebSocketClient, answers_101_fast, echo_websocket,
    half_closes, silence, within, within_time,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A handshake as a browser makes it, with fields of the test's own.
pub fn handshake(path: &str, fields: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{fields}\r\n"
    )
}

/// A tunnel with both ends in the test's hand.
pub async fn open_tunnel(gate: &Gate, backend: &mut Backend) -> (TlsWire, Exchange) {
    let mut client = gate.tls().await;
    client.send(handshake("/ws", "")).await;
    let mut exchange = backend.next().await;
    let answer = exchange.switching_protocols("");
    exchange.wire.send(answer).await;
    let head = client.head().await;
    assert_eq!(head.status(), 101);
    (client, exchange)
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_pass_both_ways_unharmed() {
    let backend = Backend::that(echo_websocket).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = WebSocketClient::open(&gate, "/ws", &[]).await;
    for message in [
        Message::text("hello"),
        Message::text(""),
        Message::text("grüße, 世界"),
        Message::binary(vec![0, 255, 10, 13]),
        Message::binary(vec![0xa5; 1 << 20]),
        Message::text("x".repeat(1 << 20)),
    ] {
        client.echoes(message).await;
    }
    client.send(Message::Ping("are you there".into())).await;
    assert_eq!(client.next().await, Message::Pong("are you there".into()));
    within("the Close to be taken", client.socket.close(None))
        .await
        .unwrap();
    let answer = within("the Close's answer", client.socket.next()).await;
    assert!(matches!(answer, Some(Ok(Message::Close(_)))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_messages_cross_each_other_in_order() {
    let backend = Backend::that(echo_websocket).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let client = WebSocketClient::open(&gate, "/ws", &[]).await;
    let (mut send, mut receive) = client.socket.split();
    let sending = async {
        for number in 0..5_000 {
            send.feed(Message::text(format!("message {number}")))
                .await
                .unwrap();
        }
        send.flush().await.unwrap();
    };
    let receiving = async {
        for number in 0..5_000 {
            let message = receive.next().await.unwrap().unwrap();
            assert_eq!(message, Message::text(format!("message {number}")));
        }
    };
    within("5000 echoes", async { tokio::join!(sending, receiving) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handshake_s_fields_pass_untouched() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    let fields = "Sec-WebSocket-Protocol: v2.chat, v1.chat\r\nOrigin: https://app.test\r\n\
                  Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\nCookie: a=1\r\n";
    client.send(handshake("/ws?token=x", fields)).await;
    let mut exchange = backend.next().await;
    let request = &exchange.request;
    assert_eq!(request.target(), "/ws?token=x");
    assert_eq!(
        request.get("sec-websocket-protocol"),
        Some("v2.chat, v1.chat")
    );
    let extensions = "permessage-deflate; client_max_window_bits";
    assert_eq!(request.get("sec-websocket-extensions"), Some(extensions));
    assert_eq!(request.get("origin"), Some("https://app.test"));
    assert_eq!(request.get("cookie"), Some("a=1"));
    assert_eq!(request.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.get("sec-websocket-version"), Some("13"));
    let upgrade = request.get("upgrade").unwrap_or_default();
    assert!(upgrade.eq_ignore_ascii_case("websocket"), "{upgrade}");
    let chosen = "Sec-WebSocket-Protocol: v1.chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
                  Set-Cookie: b=2\r\n";
    let answer = exchange.switching_protocols(chosen);
    exchange.wire.send(answer).await;
    let head = client.head().await;
    assert_eq!(head.status(), 101);
    assert_eq!(head.get("sec-websocket-protocol"), Some("v1.chat"));
    assert_eq!(
        head.get("sec-websocket-extensions"),
        Some("permessage-deflate")
    );
    assert_eq!(head.get("set-cookie"), Some("b=2"));
    let accept = derive_accept_key(KEY.as_bytes());
    assert_eq!(head.get("sec-websocket-accept"), Some(accept.as_str()));
    // A compressed frame (RSV1) is none of the proxy's business.
    exchange.wire.send(b"\xc1\x03\xf2\x48\x00").await;
    assert_eq!(client.raw(5).await, b"\xc1\x03\xf2\x48\x00");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_written_with_the_101_are_not_lost() {
    let backend = Backend::that(answers_101_fast).await;
    let gate = Gate::start(&backend.for_everything()).await;
    for _ in 0..20 {
        let mut client = WebSocketClient::open(&gate, "/ws", &[]).await;
        assert_eq!(client.next().await, Message::text("early"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_sent_behind_the_handshake_are_not_lost() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    for _ in 0..20 {
        let mut client = gate.tls().await;
        client.send(handshake("/ws", "") + "before the 101").await;
        let mut tunnel = backend.next().await.into_tunnel().await;
        assert_eq!(client.head().await.status(), 101);
        client.send(", after it").await;
        assert_eq!(tunnel.raw(24).await, b"before the 101, after it");
        tunnel.send("and back").await;
        assert_eq!(client.raw(8).await, b"and back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_backend_still_hears_the_client() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let (mut client, exchange) = open_tunnel(&gate, &mut backend).await;
    let mut tunnel = exchange.wire;
    tunnel.send("last words").await;
    tunnel.half_close().await;
    assert_eq!(client.raw_until_close().await, b"last words");
    client.send("an answer to them").await;
    assert_eq!(tunnel.raw(17).await, b"an answer to them");
    client.half_close().await;
    tunnel.closes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_client_still_hears_the_backend() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let (mut client, exchange) = open_tunnel(&gate, &mut backend).await;
    let mut tunnel = exchange.wire;
    client.send("last words").await;
    client.half_close().await;
    assert_eq!(tunnel.raw_until_close().await, b"last words");
    tunnel.send("an answer to them").await;
    assert_eq!(client.raw(17).await, b"an answer to them");
    tunnel.half_close().await;
    client.closes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn last_words_with_an_immediate_end_arrive() {
    let backend = Backend::that(half_closes).await;
    let gate = Gate::start(&backend.for_everything()).await;
    for _ in 0..20 {
        let mut client = gate.tls().await;
        client.send(handshake("/ws", "")).await;
        assert_eq!(client.head().await.status(), 101);
        assert_eq!(client.raw_until_close().await, b"last words");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn megabytes_before_a_half_close_all_arrive() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let (mut client, exchange) = open_tunnel(&gate, &mut backend).await;
    let mut tunnel = exchange.wire;
    let payload: Vec<u8> = (0..8 << 20).map(|at: u32| (at % 251) as u8).collect();
    let sending = async {
        tunnel.send(&payload).await;
        tunnel.half_close().await;
    };
    let ((), received) = tokio::join!(sending, client.raw_until_close());
    assert_eq!(received.len(), payload.len());
    assert!(received == payload, "other bytes came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_backend_ends_the_client() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let (mut client, exchange) = open_tunnel(&gate, &mut backend).await;
    exchange.reset();
    client.raw_until_close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vanished_client_ends_the_backend() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let (client, mut exchange) = open_tunnel(&gate, &mut backend).await;
    // Neither close_notify nor a Close: the socket is gone.
    crate::harness::reset(client.into_parts().0.into_inner().0);
    // Who is still there is told so, and has two seconds to answer.
    let heard = within_time(
        Duration::from_secs(5),
        "the backend's end",
        exchange.wire.raw_until_close(),
    )
    .await;
    assert_eq!(heard.first(), Some(&0x88), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_tunnel_outlives_all_response_timeouts() {
    let mut backend = Backend::by_hand().await;
    let timeouts = "timeouts = { response = \"300ms\", upgrade = \"300ms\", idle = \"300ms\" }\n";
    let limits = "[limits]\nkeep_alive = \"1s\"\nheader_timeout = \"1s\"\n";
    let gate = Gate::start(&format!("{}{timeouts}{limits}", backend.for_everything())).await;
    let (mut client, mut exchange) = open_tunnel(&gate, &mut backend).await;
    silence(Duration::from_millis(2_500)).await;
    exchange.wire.send("still open").await;
    assert_eq!(client.raw(10).await, b"still open");
    client.send("indeed").await;
    assert_eq!(exchange.wire.raw(6).await, b"indeed");
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_are_logged_from_open_to_close_with_one_id() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let (client, exchange) = open_tunnel(&gate, &mut backend).await;
    let open = gate
        .logged("the tunnel's start", |line| line.message() == "stream open")
        .await;
    assert!(open.has("kind", "tunnel"), "{open:?}");
    assert!(
        open.text("client")
            .is_some_and(|client| client.contains("127.0.0.1")),
        "{open:?}"
    );
    let id = open.text("id").expect("a stream has an id");
    drop(exchange);
    drop(client);
    let close = gate
        .logged("the tunnel's end", |line| line.message() == "stream close")
        .await;
    assert!(close.has("id", &id), "{close:?}");
    assert!(close.text("reason").is_some(), "{close:?}");
}

//! WebSocket handshakes that must not become a tunnel, and tunnels that must end.

use std::time::Duration;

use crate::harness::{
    Backend, Gate, echo_http, echo_websocket, refuses_upgrade, silence, stalls_after_head,
    stays_pending, wrong_accept,
};
use crate::tunnel::{handshake, open_tunnel};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upgrade_is_passed_on_whole() {
    let backend = Backend::that(refuses_upgrade).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client.send(handshake("/ws", "")).await;
    let head = client.head().await;
    assert_eq!(head.status(), 401);
    assert_eq!(head.get("www-authenticate"), Some("Bearer realm=\"feed\""));
    assert_eq!(client.text().await, "log in, please");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordinary_answer_to_a_handshake_is_passed_on() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client.send(handshake("/ws", "")).await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.text().await, "GET /ws");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_as_an_answer_to_a_handshake_is_passed_on() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client.send(handshake("/ws", "")).await;
    let mut exchange = backend.next().await;
    let answer = "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n";
    exchange.wire.send(answer).await;
    let head = client.head().await;
    assert_eq!((head.status(), head.get("location")), (302, Some("/login")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_accept_of_the_backend_is_502() {
    let backend = Backend::that(wrong_accept).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client.send(handshake("/ws", "")).await;
    let head = client.head().await;
    assert_eq!(head.status(), 502);
    assert!(head.get("proxy-status").is_some(), "{head:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_101_to_a_request_that_asked_for_none_is_502() {
    let backend = Backend::that(wrong_accept).await;
    let gate = Gate::start(&backend.for_everything()).await;
    assert_eq!(gate.get("/").await.0.status(), 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_stalls_in_the_handshake_is_504() {
    let backend = Backend::that(stalls_after_head).await;
    let text = format!(
        "{}timeouts = {{ upgrade = \"500ms\" }}\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    let mut client = gate.tls().await;
    client.send(handshake("/ws", "")).await;
    assert_eq!(client.head().await.status(), 504);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_handshakes_are_refused_and_reach_no_backend() {
    let backend = Backend::that(echo_websocket).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let good = handshake("/ws", "");
    let cases = [
        (
            good.replace("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"),
            426,
        ),
        (
            good.replace("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""),
            400,
        ),
        (
            good.replace("dGhlIHNhbXBsZSBub25jZQ==", "dG9vIHNob3J0"),
            400,
        ),
        (
            good.replace("dGhlIHNhbXBsZSBub25jZQ==", "not base64 at all!!!"),
            400,
        ),
        (
            handshake("/ws", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"),
            400,
        ),
        (good.replace("GET", "POST"), 400),
    ];
    for (request, status) in cases {
        let mut client = gate.tls().await;
        client.send(&request).await;
        let head = client.head().await;
        assert_eq!(head.status(), status, "{request}");
        if status == 426 {
            assert_eq!(head.get("sec-websocket-version"), Some("13"));
        }
    }
    let requests = backend.requests();
    assert!(requests.is_empty(), "passed on: {requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_with_http_1_0_is_no_handshake() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send(handshake("/ws", "").replace("HTTP/1.1", "HTTP/1.0"))
        .await;
    // RFC 6455 4.2.1 wants 1.1 at least: refused, or treated as the plain request it then is.
    let head = client.head().await;
    assert!(matches!(head.status(), 200 | 400 | 426), "{head:?}");
    assert!(
        backend
            .requests()
            .iter()
            .all(|request| request.get("upgrade").is_none())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_idle_ends_a_silent_tunnel() {
    let mut backend = Backend::by_hand().await;
    let text = format!(
        "{}timeouts = {{ stream_idle = \"1s\" }}\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    let (mut client, mut exchange) = open_tunnel(&gate, &mut backend).await;
    for _ in 0..3 {
        // Each message begins the time anew.
        silence(Duration::from_millis(600)).await;
        exchange.wire.send("here").await;
        assert_eq!(client.raw(4).await, b"here");
    }
    client.raw_until_close().await;
    exchange.wire.raw_until_close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_max_ends_a_busy_tunnel() {
    let mut backend = Backend::by_hand().await;
    let text = format!(
        "{}timeouts = {{ stream_max = \"1s\" }}\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    let (mut client, mut exchange) = open_tunnel(&gate, &mut backend).await;
    let busy = async {
        while exchange.wire.try_send(b"busy").await.is_ok() {
            silence(Duration::from_millis(50)).await;
        }
    };
    let ((), _) = tokio::join!(busy, client.raw_until_close());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_holds_the_sender_back() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let (client, mut exchange) = open_tunnel(&gate, &mut backend).await;
    let block = vec![b'x'; 1 << 20];
    let flood = async {
        for _ in 0..256 {
            exchange.wire.send(&block).await;
        }
    };
    stays_pending(
        "the end of a flood that nobody reads",
        Duration::from_secs(2),
        flood,
    )
    .await;
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_handshake_leaves_the_connection_usable() {
    let backend = Backend::that(refuses_upgrade).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    for _ in 0..2 {
        client.send(handshake("/ws", "")).await;
        assert_eq!(client.head().await.status(), 401);
        assert_eq!(client.text().await, "log in, please");
    }
}

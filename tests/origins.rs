//! From which pages a browser may open a WebSocket, or use a bridge.

use crate::bridge::bridge;
use crate::harness::{Backend, Gate, H2Client, echo_http, within};
use crate::tunnel::handshake;
use crate::tunnel_h2::LISTEN;

const ORIGINS: &str = "origins = [\"https://app.example.org\", \"https://*.example.net\"]\n";

const ALLOWED: [&str; 4] = [
    "https://app.example.org",
    "HTTPS://App.example.org:443",
    "https://a.example.net",
    "https://a.b.example.net",
];

const REFUSED: [&str; 8] = [
    "https://evil.test",
    "http://app.example.org",
    "https://app.example.org:8443",
    "https://app.example.org.evil.test",
    "https://example.net",
    "https://evilexample.net",
    "null",
    "https://app.example.org https://evil.test",
];

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_of_other_pages_are_refused_before_anything_is_sent() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&format!("{}{ORIGINS}", backend.for_everything())).await;
    for origin in REFUSED {
        let mut client = gate.tls().await;
        let field = format!("Origin: {origin}\r\n");
        client.send(handshake("/ws", &field)).await;
        let head = client.head().await;
        assert_eq!(head.status(), 403, "{origin}");
        assert!(head.get("proxy-status").is_some(), "{head:?}");
    }
    let mut client = gate.tls().await;
    let two = "Origin: https://app.example.org\r\nOrigin: https://evil.test\r\n";
    client.send(handshake("/ws", two)).await;
    assert_eq!(client.head().await.status(), 403);
    assert!(backend.request_if_any().is_none());
    assert_eq!(backend.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_of_listed_pages_and_of_no_page_pass() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&format!("{}{ORIGINS}", backend.for_everything())).await;
    let fields = ALLOWED.map(|origin| format!("Origin: {origin}\r\n"));
    for field in fields.iter().map(String::as_str).chain([""]) {
        let mut client = gate.tls().await;
        client.send(handshake("/ws", field)).await;
        let _tunnel = backend.next().await.into_tunnel().await;
        assert_eq!(client.head().await.status(), 101, "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_key_every_page_may() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    let field = "Origin: https://evil.test\r\n";
    client.send(handshake("/ws", field)).await;
    let _tunnel = backend.next().await.into_tunnel().await;
    assert_eq!(client.head().await.status(), 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_requests_of_other_pages_are_the_backend_s_affair() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&format!("{}{ORIGINS}", backend.for_everything())).await;
    let mut client = gate.tls().await;
    client
        .send("GET /x HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.test\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_over_http_2_are_held_to_it_too() {
    let mut backend = Backend::by_hand().await;
    let text = format!("{}{ORIGINS}{LISTEN}", backend.for_everything());
    let gate = Gate::start(&text).await;
    let mut client = H2Client::connect(&gate).await;
    for (origin, status) in [("https://evil.test", 403), ("https://app.example.org", 200)] {
        let fields = [("sec-websocket-version", "13"), ("origin", origin)];
        let (response, _send) = client.connect_to("/ws", &fields).await;
        let _tunnel = match status {
            200 => Some(backend.next().await.into_tunnel().await),
            _ => None,
        };
        let response = within("a head", response).await.unwrap();
        assert_eq!(response.status(), status, "{origin}");
        assert!(backend.request_if_any().is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_is_used_from_listed_pages_only() {
    let feed = Backend::by_hand().await;
    let gate = Gate::start(&format!("{}{ORIGINS}", bridge(&feed, ""))).await;
    for (method, origin, status) in [
        ("GET", "Origin: https://evil.test\r\n", 403),
        (
            "POST",
            "Origin: https://evil.test\r\nContent-Length: 0\r\n",
            403,
        ),
        ("OPTIONS", "Origin: null\r\n", 403),
        ("HEAD", "", 200),
        ("HEAD", "Origin: https://app.example.org\r\n", 200),
    ] {
        let mut client = gate.tls().await;
        let request = format!("{method} /live/a HTTP/1.1\r\nHost: localhost\r\n{origin}\r\n");
        client.send(request).await;
        let head = client.head_of_answer_to(method).await;
        assert_eq!(head.status(), status, "{method} {origin}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_page_may_read_a_bridge_and_no_other() {
    let feed = Backend::by_hand().await;
    let gate = Gate::start(&format!("{}{ORIGINS}", bridge(&feed, ""))).await;
    let origin = "https://a.example.net";
    let mut client = gate.tls().await;
    client
        .send(format!(
            "OPTIONS /live/a HTTP/1.1\r\nHost: localhost\r\nOrigin: {origin}\r\n\
             Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: last-event-id\r\n\r\n"
        ))
        .await;
    let head = client.head().await;
    assert_eq!(head.status(), 204);
    assert_eq!(head.get("access-control-allow-origin"), Some(origin));
    assert_eq!(
        head.get("access-control-allow-methods"),
        Some("GET, HEAD, OPTIONS")
    );
    let allowed = head.get("access-control-allow-headers").unwrap();
    assert!(allowed.contains("last-event-id"), "{allowed}");
    for (fields, status, told) in [
        (format!("Origin: {origin}\r\n"), 200, Some(origin)),
        ("Sec-Fetch-Site: same-origin\r\n".to_owned(), 200, None),
        ("Sec-Fetch-Site: cross-site\r\n".to_owned(), 403, None),
        ("Sec-Fetch-Site: same-site\r\n".to_owned(), 403, None),
        ("Origin: https://evil.test\r\n".to_owned(), 403, None),
    ] {
        let mut client = gate.tls().await;
        client
            .send(format!(
                "GET /live/a HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"
            ))
            .await;
        let head = client.head().await;
        assert_eq!(head.status(), status, "{fields}");
        assert_eq!(head.get("access-control-allow-origin"), told, "{fields}");
        if status == 200 {
            assert_eq!(head.get("vary"), Some("origin"), "{fields}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_page_of_another_site_may_publish() {
    let mut backend = Backend::by_hand().await;
    let config = bridge(&backend, "publish = { enabled = true }");
    let gate = Gate::start(&format!("{config}{ORIGINS}")).await;
    let (mut stream, mut feed) = crate::bridge::open(&gate, &mut backend).await;
    feed.text("up").await;
    assert_eq!(stream.message().await, "up");
    let mut client = gate.tls().await;
    client
        .send(
            "POST /live/a HTTP/1.1\r\nHost: localhost\r\nOrigin: https://app.example.org\r\n\
             Sec-Fetch-Site: cross-site\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi",
        )
        .await;
    let head = client.head().await;
    assert_eq!(head.status(), 204);
    assert_eq!(
        head.get("access-control-allow-origin"),
        Some("https://app.example.org")
    );
    assert_eq!(feed.next_text().await, "hi");
}

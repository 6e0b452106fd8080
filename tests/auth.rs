//! Who may ask: requests, WebSockets, event streams and bridges that know who is there, and for how long.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use crate::bridge::bridge;
use crate::harness::{Backend, Gate, Head, echo_http, within};
use crate::tunnel::handshake;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

const AUTH: &str = "auth = \"users\"\n[auth.users.jwt]\nsecret = \"0123456789abcdef0123456789abcdef\"\naudience = \"app\"\nleeway = \"0ms\"\n\
     from = [\"header\", \"cookie:token\", \"query:token\", \"subprotocol\"]\nclaims = { X-User = \"sub\", X-Roles = \"roles\" }\n";

/// A token of `user` for the next `seconds`.
fn token(user: &str, seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let claims = json!({"sub": user, "aud": "app", "exp": now.as_secs() + seconds});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}

async fn ask(gate: &Gate, target: &str, fields: &str) -> (Head, String) {
    let mut client = gate.tls().await;
    client
        .send(format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\r\n"
        ))
        .await;
    let head = client.head().await;
    (head, client.text().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_nothing_that_counts_is_asked_and_the_backend_is_not() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&format!("{}{AUTH}", backend.for_everything())).await;
    let good = token("ann", 60);
    let (message, _) = good.rsplit_once('.').unwrap();
    for fields in [
        String::new(),
        "Authorization: Basic YTpi\r\n".to_owned(),
        "Authorization: Bearer x.y.z\r\n".to_owned(),
        format!("Authorization: Bearer {message}.\r\n"),
        format!("Authorization: Bearer {good}\r\nAuthorization: Bearer {good}\r\n"),
        format!("Cookie: token={good}; token={good}\r\n"),
        format!("Authorization: Bearer {}\r\n", token("", 60)),
        format!("Authorization: Bearer {}\r\n", "a".repeat(9000)),
    ] {
        let (head, _body) = ask(&gate, "/x", &fields).await;
        assert_eq!(head.status(), 401, "{fields}");
        let challenge = head.get("www-authenticate").unwrap();
        assert!(
            challenge.starts_with("Bearer realm=\"users\""),
            "{challenge}"
        );
        let status = head.get("proxy-status").unwrap();
        assert_eq!(status, "streamgate; error=http_request_denied");
    }
    let mut client = gate.tls().await;
    client.send(handshake("/ws", "")).await;
    assert_eq!(client.head().await.status(), 401);
    assert!(backend.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_is_told_who_asks_by_nobody_else() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&format!("{}{AUTH}", backend.for_everything())).await;
    let fields = format!(
        "Authorization: Bearer {}\r\nX-User: eve\r\nX_User: eve\r\nx_roles: admin\r\nX-Roles: admin\r\n\
         Connection: X-User\r\n",
        token("ann", 60)
    );
    let (head, _body) = ask(&gate, "/x", &fields).await;
    assert_eq!(head.status(), 200);
    let request = backend.requests().remove(0);
    assert_eq!(request.all("x-user"), ["ann"]);
    for gone in ["x_user", "x-roles", "x_roles"] {
        assert_eq!(request.get(gone), None, "{gone}");
    }
    gate.logged("the user of the request", |line| {
        line.message() == "request" && line.has("user", "ann")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_query_is_seen_by_nobody_behind() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&format!("{}{AUTH}", backend.for_everything())).await;
    let good = token("ann", 60);
    let (head, body) = ask(&gate, &format!("/x?a=1&token={good}&b=2"), "").await;
    assert_eq!((head.status(), body.as_str()), (200, "GET /x?a=1&b=2"));
    let (head, body) = ask(
        &gate,
        "/x?%74oken=wrong",
        &format!("Cookie: token={good}\r\n"),
    )
    .await;
    assert_eq!((head.status(), body.as_str()), (200, "GET /x"));
    for line in gate.log.since(0) {
        assert!(!format!("{line:?}").contains(&good), "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_ends_with_its_token_and_says_so_to_both_sides() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&format!("{}{AUTH}", backend.for_everything())).await;
    let mut client = gate.tls().await;
    let field = format!(
        "Sec-WebSocket-Protocol: app, bearer.{}\r\n",
        token("ann", 2)
    );
    client.send(handshake("/ws", &field)).await;
    let exchange = backend.next().await;
    assert_eq!(exchange.request.all("sec-websocket-protocol"), ["app"]);
    assert_eq!(exchange.request.all("x-user"), ["ann"]);
    let mut behind = exchange.into_tunnel().await;
    assert_eq!(client.head().await.status(), 101);
    let close = |bytes: &[u8]| bytes.windows(2).any(|code| code == 4401u16.to_be_bytes());
    let told = within("the client's Close", client.raw(4)).await;
    assert!(told[0] == 0x88 && close(&told), "{told:?}");
    // To a server frames are masked.
    let told = within("the backend's Close", behind.raw(2)).await;
    assert_eq!(told[0], 0x88, "{told:?}");
    drop((client, behind));
    gate.logged("why it ended", |line| {
        line.has("reason", "token_expired") && line.has("user", "ann")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_is_told_that_its_token_has_expired() {
    let backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge_with_auth(&backend, "")).await;
    let mut client = gate.tls().await;
    client
        .send(format!(
            "GET /live/a?token={} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n",
            token("ann", 2)
        ))
        .await;
    assert_eq!(client.head().await.status(), 200);
    let stream = within("the stream's end", client.text()).await;
    assert!(
        stream.contains("data: {\"state\":\"token_expired\"}"),
        "{stream}"
    );
    let accept = "Accept: text/event-stream\r\n";
    assert_eq!(ask(&gate, "/live/a", accept).await.0.status(), 401);
}

fn bridge_with_auth(backend: &Backend, more: &str) -> String {
    format!("{}{AUTH}", bridge(backend, more))
}

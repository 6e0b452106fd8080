//! Who may ask: requests, WebSockets, event streams and bridges that know who is there, and for how long.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

use crate::bridge::bridge;
use crate::harness::{
    ADMIN, Admin, Backend, Feed, Gate, H2Client, H2Tunnel, Head, Subscriber, VERSION_13, echo_http,
    silence, within,
};
use crate::tunnel::handshake;
use crate::tunnel_h2::LISTEN;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// `[auth.users]`, below a route that it guards.
pub const AUTH: &str = "auth = \"users\"\n[auth.users.jwt]\nsecret = \"0123456789abcdef0123456789abcdef\"\naudience = \"app\"\nleeway = \"0ms\"\n\
     from = [\"header\", \"cookie:token\", \"query:token\", \"subprotocol\"]\nclaims = { X-User = \"sub\", X-Roles = \"roles\" }\n";

/// A token of `user` for the next `seconds`.
pub fn token(user: &str, seconds: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let claims = json!({"sub": user, "aud": "app", "exp": now.as_secs() + seconds});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap()
}

/// One `GET` with these fields.
pub async fn ask(gate: &Gate, target: &str, fields: &str) -> (Head, String) {
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
async fn a_token_in_the_query_is_in_no_page_and_no_metric() {
    let refusing = crate::harness::refusing();
    let config = format!(
        "{ADMIN}[upstream.app]\nservers = [\"{refusing}\"]\n[[route]]\npath = \"/*\"\nupstream = \"app\"\n{AUTH}"
    );
    let gate = Gate::start(&config).await;
    let admin = Admin::of(&gate).await;
    for (token, status) in [(token("ann", 60), 502), ("s3cr3t".to_owned(), 401)] {
        for accept in ["text/html", "application/json", "text/plain"] {
            let target = format!("/x?token={token}");
            let (head, body) = ask(&gate, &target, &format!("Accept: {accept}\r\n")).await;
            assert_eq!(head.status(), status);
            assert!(!body.contains(&token) && !format!("{head:?}").contains(&token));
        }
        assert!(!admin.scrape().await.0.contains(&token));
        for line in gate.log.since(0) {
            assert!(!format!("{line:?}").contains(&token), "{line:?}");
        }
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

/// A bridge on `/live/{room}` that [`AUTH`] guards.
pub fn bridge_with_auth(backend: &Backend, more: &str) -> String {
    format!("{}{AUTH}", bridge(backend, more))
}

/// A subscriber of `/live/a` who is `user`, with the feed that it opened.
async fn subscribe(gate: &Gate, backend: &mut Backend, user: &str) -> (Subscriber, Feed, String) {
    let target = format!("/live/a?token={}", token(user, 60));
    let mut subscriber = Subscriber::open(gate, &target, None).await;
    let mut feed = backend.feed().await;
    let (open, _gap) = subscriber.opened().await;
    let session = open.json()["session"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    feed.text("up").await;
    assert_eq!(subscriber.message().await, "up");
    (subscriber, feed, session)
}

/// The status of a `POST` by `user`.
async fn post(gate: &Gate, user: &str, fields: &str, body: &str) -> u16 {
    let mut client = gate.tls().await;
    let (token, length) = (token(user, 60), body.len());
    client
        .send(format!(
            "POST /live/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{fields}\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
        .await;
    client.head().await.status()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_its_user_s_alone() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge_with_auth(&backend, "mode = \"session\"")).await;
    let (_subscriber, mut feed, session) = subscribe(&gate, &mut backend, "ann").await;
    let field = format!("Streamgate-Session: {session}\r\n");
    assert_eq!(post(&gate, "eve", &field, "\"eve\"").await, 410);
    assert_eq!(post(&gate, "ann", &field, "\"ann\"").await, 204);
    assert_eq!(feed.next_text().await, "\"ann\"");
    // Nor can another one take the stream over: it gets a session of its own.
    let target = format!("/live/a?session={session}&token={}", token("eve", 60));
    let mut other = Subscriber::open(&gate, &target, None).await;
    let _other_feed = backend.feed().await;
    let (open, _gap) = other.opened().await;
    assert_ne!(open.json()["session"], session.as_str());
    assert_eq!(post(&gate, "ann", &field, "\"still\"").await, 204);
    assert_eq!(feed.next_text().await, "\"still\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_is_its_user_s_alone() {
    let mut backend = Backend::by_hand().await;
    let enabled = "publish = { enabled = true }";
    let gate = Gate::start(&bridge_with_auth(&backend, enabled)).await;
    let (_subscriber, mut feed, _none) = subscribe(&gate, &mut backend, "ann").await;
    let key = "Idempotency-Key: k\r\n";
    assert_eq!(post(&gate, "ann", key, "1").await, 204);
    assert_eq!(post(&gate, "ann", key, "1").await, 204);
    assert_eq!(post(&gate, "eve", key, "2").await, 204);
    assert_eq!(feed.next_text().await, "1");
    assert_eq!(feed.next_text().await, "2", "the repeat was not sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_is_asked_the_same() {
    let mut backend = Backend::by_hand().await;
    let config = format!("{LISTEN}{}{AUTH}", backend.for_everything());
    let gate = Gate::start(&config).await;
    let mut client = H2Client::connect(&gate).await;
    let refused = client.get("/x").await;
    assert_eq!(refused.status(), 401);
    let challenge = &refused.head.headers()["www-authenticate"];
    assert_eq!(challenge, "Bearer realm=\"users\"");
    let (response, _up) = client.connect_to("/ws", VERSION_13).await;
    let response = within("the refusal", response).await.unwrap();
    assert_eq!(response.status(), 401);
    // The two parts of a cookie may come in two fields (RFC 9113 §8.2.3).
    let cookie = format!("token={}", token("ann", 2));
    let fields = [
        ("cookie", "a=b"),
        ("cookie", &cookie),
        ("x-user", "eve"),
        ("sec-websocket-version", "13"),
    ];
    let (response, up) = client.connect_to("/ws", &fields).await;
    let exchange = backend.next().await;
    assert_eq!(exchange.request.all("x-user"), ["ann"]);
    let _behind = exchange.into_tunnel().await;
    let mut tunnel = H2Tunnel::opened(response, up).await;
    let told = within("the client's Close", tunnel.raw_until_end()).await;
    assert_eq!(told[..4], [0x88, told[1], 0x11, 0x31], "4401");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_ends_with_its_token_between_two_events() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&format!("{}{AUTH}", backend.for_everything())).await;
    let mut client = gate.tls().await;
    client
        .send(format!(
            "GET /events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
            token("ann", 2)
        ))
        .await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    assert_eq!(client.head().await.status(), 200);
    exchange.wire.send_chunk("data: one\n\ndata: ha").await;
    // The token expires while half an event is there.
    silence(Duration::from_secs(3)).await;
    exchange.wire.send_chunk("lf\n\n").await;
    let stream = within("the stream's end", client.text()).await;
    assert!(
        stream.starts_with("data: one\n\ndata: half\n\n"),
        "{stream}"
    );
    within("the backend's end", exchange.wire.closes()).await;
    gate.logged("why it ended", |line| line.has("reason", "token_expired"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_in_the_form_that_is_asked_for() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&format!("{}{AUTH}", backend.for_everything())).await;
    for (accept, content_type, holds) in [
        ("text/html", "text/html; charset=utf-8", "<h1>401 "),
        ("application/problem+json", "application/problem+json", "{"),
        (
            "application/json",
            "application/problem+json",
            "\"status\":401",
        ),
        ("text/plain", "text/plain; charset=utf-8", "401 "),
        ("text/event-stream", "text/plain; charset=utf-8", "401 "),
    ] {
        let (head, body) = ask(&gate, "/x", &format!("Accept: {accept}\r\n")).await;
        assert_eq!(head.status(), 401, "{accept}");
        assert_eq!(head.get("content-type"), Some(content_type), "{accept}");
        assert!(body.contains(holds), "{accept}: {body}");
        assert!(head.get("www-authenticate").is_some(), "{accept}");
    }
}

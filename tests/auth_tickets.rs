//! Tickets: how a page opens a stream that can send no fields.

use serde_json::Value;

use crate::auth::{ask, bridge_with_auth, token};
use crate::harness::{Backend, Gate, Head, Subscriber, TlsWire, echo_http, within};

async fn send(gate: &Gate, method: &str, target: &str, fields: &str) -> (Head, String) {
    let mut client = gate.tls().await;
    client
        .send(format!(
            "{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}\
             Content-Length: 0\r\n\r\n"
        ))
        .await;
    let head = client.head().await;
    (head, client.text().await)
}

/// A ticket of `user` for `path`.
pub async fn ticket(gate: &Gate, user: &str, path: &str) -> String {
    let field = format!("Authorization: Bearer {}\r\n", token(user, 60));
    let (head, body) = send(gate, "POST", &format!("{path}/ticket"), &field).await;
    assert_eq!(head.status(), 200, "{body}");
    assert_eq!(head.get("content-type"), Some("application/json"));
    assert_eq!(head.get("cache-control"), Some("no-store"));
    let given: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(given["expires_in"], 60);
    given["ticket"].as_str().unwrap().to_owned()
}

async fn open(gate: &Gate, target: &str, fields: &str) -> (Head, TlsWire) {
    let mut client = gate.tls().await;
    client
        .send(format!(
            "GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{fields}\r\n"
        ))
        .await;
    (client.head().await, client)
}

/// The cookie that a stream's head gives, as a client sends it back.
fn pass(head: &Head) -> String {
    let cookie = head.get("set-cookie").expect("a pass");
    let (pass, attributes) = cookie.split_once("; ").unwrap();
    for attribute in ["Path=/live/a", "HttpOnly", "Secure", "SameSite=Strict"] {
        let has = attributes.split("; ").any(|it| it == attribute);
        assert!(has, "{attribute}: {attributes}");
    }
    format!("Cookie: a=b; {pass}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_opens_one_stream_and_the_browser_comes_back_by_its_cookie() {
    let mut backend = Backend::by_hand().await;
    let forward = "share_key = \"{room}{header.cookie}{header.x-user}\"\n\
                   connect = { forward = [\"cookie\", \"x-user\"] }";
    let gate = Gate::start(&bridge_with_auth(&backend, forward)).await;
    let target = format!(
        "/live/a?x=1&ticket={}",
        ticket(&gate, "ann", "/live/a").await
    );
    let (head, wire) = open(&gate, &target, "").await;
    assert_eq!(head.status(), 200);
    let pass = pass(&head);
    let exchange = backend.next().await;
    assert_eq!(
        exchange.request.all("x-user"),
        ["ann"],
        "the ticket's own claims"
    );
    let _feed = exchange.into_feed().await;
    let mut subscriber = Subscriber::over(wire);
    subscriber.opened().await;
    drop(subscriber);
    // The same address with the cookie: as a browser does it, by itself.
    let (head, wire) = open(&gate, &target, &pass).await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.get("set-cookie"), None);
    let exchange = backend.next().await;
    assert_eq!(
        exchange.request.all("cookie"),
        ["a=b"],
        "the pass is not the feed's affair"
    );
    let _feed = exchange.into_feed().await;
    drop(wire);
    gate.logged("the user", |line| {
        line.message() == "stream open" && line.has("user", "ann")
    })
    .await;
    let secret = target.rsplit_once('=').unwrap().1;
    for line in gate.log.since(0) {
        assert!(!format!("{line:?}").contains(secret), "{line:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_that_is_replayed_or_taken_elsewhere_opens_nothing() {
    let backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge_with_auth(&backend, "")).await;
    let target = format!("/live/a?ticket={}", ticket(&gate, "ann", "/live/a").await);
    let (head, _wire) = open(&gate, &target, "").await;
    let pass = pass(&head);
    let event_stream = "Accept: text/event-stream\r\n";
    // Who has read the address in a log has nothing.
    assert_eq!(ask(&gate, &target, event_stream).await.0.status(), 401);
    let fresh = ticket(&gate, "ann", "/live/a").await;
    let elsewhere = format!("/live/b?ticket={fresh}");
    let twice = format!("/live/a?ticket={fresh}&ticket={fresh}");
    let (before, behind) = fresh.split_at(fresh.len() / 2);
    let other = if behind.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("/live/a?ticket={before}{other}{}", &behind[1..]);
    for (target, field) in [
        (elsewhere.as_str(), ""),
        (&twice, ""),
        (&forged, ""),
        ("/live/a?ticket=", ""),
        ("/live/b", pass.as_str()),
        ("/live/a", "Cookie: streamgate_pass=x\r\n"),
    ] {
        let (head, _body) = ask(&gate, target, &format!("{event_stream}{field}")).await;
        assert_eq!(head.status(), 401, "{target} {field}");
    }
    let (head, _wire) = open(&gate, &format!("/live/a?ticket={fresh}"), "").await;
    assert_eq!(head.status(), 200, "it was not used up by those");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_and_its_pass_open_streams_and_nothing_else() {
    let backend = Backend::by_hand().await;
    let enabled = "publish = { enabled = true }";
    let gate = Gate::start(&bridge_with_auth(&backend, enabled)).await;
    let given = ticket(&gate, "ann", "/live/a").await;
    let publish = format!("/live/a?ticket={given}");
    assert_eq!(send(&gate, "POST", &publish, "").await.0.status(), 401);
    let another = format!("/live/a/ticket?ticket={given}");
    assert_eq!(send(&gate, "POST", &another, "").await.0.status(), 401);
    let (head, _wire) = open(&gate, &publish, "").await;
    let pass = pass(&head);
    assert_eq!(send(&gate, "POST", "/live/a", &pass).await.0.status(), 401);
    assert_eq!(
        send(&gate, "POST", "/live/a/ticket", &pass)
            .await
            .0
            .status(),
        401
    );
    assert_eq!(
        send(&gate, "POST", "/live/a/ticket", "").await.0.status(),
        401
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_a_ticket_has_opened_ends_with_the_token_that_it_was_given_for() {
    let backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge_with_auth(&backend, "")).await;
    let field = format!("Authorization: Bearer {}\r\n", token("ann", 3));
    let (_head, body) = send(&gate, "POST", "/live/a/ticket", &field).await;
    let given: Value = serde_json::from_str(&body).unwrap();
    let target = format!("/live/a?ticket={}", given["ticket"].as_str().unwrap());
    let (head, mut wire) = open(&gate, &target, "").await;
    let pass = pass(&head);
    let stream = within("the stream's end", wire.text()).await;
    assert!(stream.contains("token_expired"), "{stream}");
    assert_eq!(open(&gate, &target, &pass).await.0.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_tickets_are_off_there_are_none() {
    let backend = Backend::by_hand().await;
    let off = bridge_with_auth(&backend, "").replace(
        "[auth.users.jwt]",
        "[auth.users]\ntickets = false\n[auth.users.jwt]",
    );
    let gate = Gate::start(&off).await;
    let field = format!("Authorization: Bearer {}\r\n", token("ann", 60));
    let (head, _body) = send(&gate, "POST", "/live/a/ticket", &field).await;
    assert_eq!(head.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_may_ask_for_a_ticket_if_it_is_listed() {
    let backend = Backend::by_hand().await;
    let config = bridge_with_auth(&backend, "").replace(
        "bridge = \"live\"\n",
        "bridge = \"live\"\norigins = [\"https://app.example\"]\n",
    );
    let gate = Gate::start(&config).await;
    let asks = "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n\
                Access-Control-Request-Headers: authorization\r\n";
    let (head, _body) = send(&gate, "OPTIONS", "/live/a/ticket", asks).await;
    assert_eq!(head.status(), 204);
    assert_eq!(
        head.get("access-control-allow-origin"),
        Some("https://app.example")
    );
    let field = format!(
        "Origin: https://app.example\r\nAuthorization: Bearer {}\r\n",
        token("ann", 60)
    );
    let (head, _body) = send(&gate, "POST", "/live/a/ticket", &field).await;
    assert_eq!(head.status(), 200);
    assert_eq!(
        head.get("access-control-allow-origin"),
        Some("https://app.example")
    );
    let field = field.replace("app.example", "evil.example");
    let (head, _body) = send(&gate, "POST", "/live/a/ticket", &field).await;
    assert_eq!(head.status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_a_browser_sends_elsewhere_is_no_other_backend_s_to_see() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let fields = "Cookie: a=b; streamgate_pass=secret; c=d\r\n";
    assert_eq!(ask(&gate, "/live/a/below", fields).await.0.status(), 200);
    assert_eq!(backend.requests().remove(0).all("cookie"), ["a=b; c=d"]);
}

//! Streams whose client is not let in any more, and what else a reload changes for who is in.

use std::time::Duration;

use crate::auth::{AUTH, ask, bridge_with_auth, token};
use crate::auth_tickets::ticket;
use crate::harness::{Backend, Gate, Subscriber, echo_http, silence, within};
use crate::tunnel::handshake;

/// [`AUTH`], and every second again.
fn rechecked() -> String {
    AUTH.replace(
        "[auth.users.jwt]",
        "[auth.users]\nrecheck = \"1s\"\n[auth.users.jwt]",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_takes_the_key_away_ends_the_streams_of_its_tokens() {
    let mut backend = Backend::by_hand().await;
    let config = format!("{}{}", backend.for_everything(), rechecked());
    let gate = Gate::start(&config).await;
    let mut client = gate.tls().await;
    let field = format!("Authorization: Bearer {}\r\n", token("ann", 60));
    client.send(handshake("/ws", &field)).await;
    let mut behind = backend.next().await.into_tunnel().await;
    assert_eq!(client.head().await.status(), 101);
    let other_key = config.replace(
        "0123456789abcdef0123456789abcdef",
        "another-secret-of-32-bytes-------",
    );
    gate.reload_well(&other_key).await;
    let told = within("the client's Close", client.raw(4)).await;
    assert_eq!((told[0], &told[2..]), (0x88, &4401u16.to_be_bytes()[..]));
    assert_eq!(within("the backend's Close", behind.raw(2)).await[0], 0x88);
    drop((client, behind));
    gate.logged("why", |line| {
        line.has("error", "the token's signature is wrong")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_a_ticket_has_opened_stays_as_long_as_its_auth_does() {
    let mut backend = Backend::by_hand().await;
    let config = bridge_with_auth(&backend, "").replace(AUTH, &rechecked());
    let gate = Gate::start(&config).await;
    let target = format!("/live/a?ticket={}", ticket(&gate, "ann", "/live/a").await);
    let mut subscriber = Subscriber::open(&gate, &target, None).await;
    let mut feed = backend.feed().await;
    subscriber.opened().await;
    // It is looked at a few times, and a reload of something else keeps the pass good.
    let other = format!("{config}[upstream.other]\nservers = [\"http://127.0.0.1:1\"]\n");
    gate.reload_well(&other).await;
    silence(Duration::from_secs(3)).await;
    feed.text("still").await;
    assert_eq!(subscriber.message().await, "still");
    let revoked = config.replace("audience = \"app\"", "audience = \"others\"");
    gate.reload_well(&revoked).await;
    let heard = within("the stream's end", subscriber.until_end()).await;
    let told = format!("{heard:?}");
    assert!(told.contains("token_expired"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_gives_the_route_another_auth_ends_the_streams_of_the_one_before() {
    let mut backend = Backend::by_hand().await;
    let config = format!("{}{}", backend.for_everything(), rechecked());
    let gate = Gate::start(&config).await;
    let mut client = gate.tls().await;
    let field = format!("Authorization: Bearer {}\r\n", token("ann", 60));
    client.send(handshake("/ws", &field)).await;
    let behind = backend.next().await.into_tunnel().await;
    assert_eq!(client.head().await.status(), 101);
    // The one before stays, and would let the client in.
    let (_routes, auth) = config.split_once("auth = \"users\"\n").unwrap();
    let moved = config.replace("auth = \"users\"", "auth = \"others\"");
    let others = auth.replace("[auth.users", "[auth.others");
    gate.reload_well(&format!("{moved}{others}")).await;
    let told = within("the client's Close", client.raw(4)).await;
    assert_eq!((told[0], &told[2..]), (0x88, &4401u16.to_be_bytes()[..]));
    drop((client, behind));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_it_streams_outlive_a_reload() {
    let mut backend = Backend::by_hand().await;
    let config = bridge_with_auth(&backend, "");
    let gate = Gate::start(&config).await;
    let target = format!("/live/a?token={}", token("ann", 60));
    let mut subscriber = Subscriber::open(&gate, &target, None).await;
    let mut feed = backend.feed().await;
    subscriber.opened().await;
    gate.reload_well(&config.replace("audience = \"app\"", "audience = \"others\""))
        .await;
    assert_eq!(
        ask(&gate, &target, "Accept: text/event-stream\r\n")
            .await
            .0
            .status(),
        401
    );
    feed.text("still").await;
    assert_eq!(subscriber.message().await, "still");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_passes_to_an_upstream_only_where_that_is_said_and_as_nobody_s() {
    let backend = Backend::that(echo_http).await;
    let config = format!("{}{AUTH}", backend.for_everything());
    let gate = Gate::start(&config).await;
    let preflight = |method: &str, more: &str| {
        format!(
            "{method} /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nOrigin: https://app.example\r\n\
             Access-Control-Request-Method: PUT\r\nX-User: eve\r\nX_User: eve\r\n{more}\r\n"
        )
    };
    let status = async |request: String| {
        let mut client = gate.tls().await;
        client.send(request).await;
        client.head().await.status()
    };
    assert_eq!(status(preflight("OPTIONS", "")).await, 401);
    let passing = config.replace(
        "[auth.users.jwt]",
        "[auth.users]\npreflight = \"pass\"\n[auth.users.jwt]",
    );
    gate.reload_well(&passing).await;
    assert_eq!(status(preflight("OPTIONS", "")).await, 200);
    let request = backend.requests().remove(0);
    assert_eq!((request.get("x-user"), request.get("x_user")), (None, None));
    for (method, more) in [
        ("GET", ""),
        ("PUT", "Content-Length: 0\r\n"),
        // It could be more than a question.
        ("OPTIONS", "Content-Length: 1\r\n\r\nx"),
    ] {
        assert_eq!(
            status(preflight(method, more)).await,
            401,
            "{method} {more}"
        );
    }
    let bare = "OPTIONS /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(status(bare.to_owned()).await, 401);
    assert_eq!(backend.requests().len(), 1);
}

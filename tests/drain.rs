//! SIGTERM: nothing new, requests finish, streams end in order, and the process ends in time.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::bridge::{bridge, open};
use crate::harness::{Backend, Gate, H2Client, H2Response, Heard, echo_http, within, within_time};
use crate::tunnel::open_tunnel;

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_process_stops_at_once() {
    let backend = Backend::that(echo_http).await;
    let text = format!(
        "{}[server]\ndrain_timeout = \"30s\"\n",
        backend.for_everything()
    );
    let mut gate = Gate::start(&text).await;
    // Connections kept alive, one of each kind, do not hold it up.
    let mut h1 = gate.tls().await;
    h1.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    h1.head().await;
    h1.text().await;
    let mut h2 = H2Client::connect(&gate).await;
    h2.get("/").await.text().await;
    gate.signal("TERM");
    within_time(Duration::from_secs(8), "a quick end", gate.ended()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_connected_just_before_a_drain_is_answered() {
    let backend = Backend::that(echo_http).await;
    let mut gate = Gate::start(&backend.for_everything()).await;
    let mut late = gate.tls().await;
    gate.signal("TERM");
    within("the listener's end", async {
        while TcpStream::connect(gate.https).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    late.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(late.head().await.status(), 200);
    late.text().await;
    late.closes().await;
    within_time(Duration::from_secs(8), "a quick end", gate.ended()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_accepts_no_more_and_lets_requests_finish() {
    let mut backend = Backend::by_hand().await;
    let text = format!(
        "{}[server]\ndrain_timeout = \"10s\"\n",
        backend.for_everything()
    );
    let mut gate = Gate::start(&text).await;
    let mut client = gate.tls().await;
    client
        .send("GET /h1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut first = backend.next().await;
    let mut h2 = H2Client::connect(&gate).await;
    let request = http::Request::get("https://localhost/h2").body(()).unwrap();
    let (response, _) = h2.begin(request, true).await;
    let mut second = backend.next().await;
    first.answer_in_chunks("text/plain").await;
    first.wire.send_chunk("begun, ").await;
    gate.signal("TERM");
    within("the listener's end", async {
        while TcpStream::connect(gate.https).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    first.wire.send_chunk("and done").await;
    first.wire.end_chunks().await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.text().await, "begun, and done");
    client.closes().await;
    second.answer("200 OK", "done too").await;
    let mut response = H2Response::from(within("a head", response).await.unwrap());
    assert_eq!(response.text().await, "done too");
    gate.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_ends_a_subscription_with_retry_and_cleanly() {
    let mut backend = Backend::by_hand().await;
    let text = format!("{}[server]\ndrain_timeout = \"4s\"\n", bridge(&backend, ""));
    let mut gate = Gate::start(&text).await;
    let (mut subscriber, _feed) = open(&gate, &mut backend).await;
    let mut h2 = H2Client::connect(&gate).await;
    let mut over_h2 = crate::harness::Subscriber::over_h2(h2.get("/live/a").await);
    over_h2.opened().await;
    gate.signal("TERM");
    for subscriber in [&mut subscriber, &mut over_h2] {
        let rest = subscriber.until_end().await;
        let retry = rest
            .iter()
            .any(|heard| matches!(heard, Heard::Retry(250..)));
        assert!(retry, "clients would all return at once: {rest:?}");
    }
    gate.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_is_finite_with_tunnels_and_streams_open() {
    let mut backend = Backend::by_hand().await;
    let text = format!(
        "{}[server]\ndrain_timeout = \"2s\"\n",
        backend.for_everything()
    );
    let mut gate = Gate::start(&text).await;
    let (mut client, _tunnel) = open_tunnel(&gate, &mut backend).await;
    let mut events = gate.tls().await;
    events
        .send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut stream = backend.next().await;
    stream.answer_in_chunks("text/event-stream").await;
    events.head().await;
    let mut unanswered = gate.tls().await;
    unanswered
        .send("GET /stalled HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let _stalled = backend.next().await;
    gate.signal("TERM");
    within_time(
        Duration::from_secs(8),
        "the end within drain_timeout",
        gate.ended(),
    )
    .await;
    client.raw_until_close().await;
    events.raw_until_close().await;
    unanswered.raw_until_close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_pass_until_the_drain_ends_the_tunnel() {
    let mut backend = Backend::by_hand().await;
    let text = format!(
        "{}[server]\ndrain_timeout = \"30s\"\n",
        backend.for_everything()
    );
    let mut gate = Gate::start(&text).await;
    let (mut client, exchange) = open_tunnel(&gate, &mut backend).await;
    let mut tunnel = exchange.wire;
    gate.signal("TERM");
    gate.logged("the drain", |line| {
        line.message().contains("drain") || line.message().contains("stopping")
    })
    .await;
    tunnel.send("one more").await;
    assert_eq!(client.raw(8).await, b"one more");
    // Both ends leave by themselves, and the process need not wait for its limit.
    drop(client);
    tunnel.raw_until_close().await;
    drop(tunnel);
    within_time(
        Duration::from_secs(8),
        "an end before drain_timeout",
        gate.ended(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_has_its_own_time() {
    let mut backend = Backend::by_hand().await;
    let times =
        "[server]\ndrain_timeout = \"1h\"\ndrain = { requests = \"1s\", websockets = \"1s\" }\n";
    let mut gate = Gate::start(&format!("{}{times}", backend.for_everything())).await;
    let (mut client, _tunnel) = open_tunnel(&gate, &mut backend).await;
    let mut unanswered = gate.tls().await;
    unanswered
        .send("GET /stalled HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let _stalled = backend.next().await;
    let mut events = gate.tls().await;
    events
        .send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut stream = backend.next().await;
    stream.answer_in_chunks("text/event-stream").await;
    events.head().await;
    gate.signal("TERM");
    client.raw_until_close().await;
    unanswered.raw_until_close().await;
    // The event stream has its hour.
    stream.wire.send_chunk("data: still here\n\n").await;
    let mut events = crate::harness::Subscriber::over(events);
    assert_eq!(events.message().await, "still here");
    drop((events, stream));
    gate.ended().await;
}

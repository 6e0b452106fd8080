//! What becomes of live streams when a reload takes away what they live on: `on_remove`, and feeds that change.

use std::time::Duration;

use crate::bridge::bridge;
use crate::harness::{
    Backend, Gate, H2Client, H2Response, H2Tunnel, Line, Subscriber, TlsWire, VERSION_13,
    echo_http, within,
};
use crate::tunnel::handshake;

const FATES: [&str; 3] = ["keep", "drain", "close"];

/// For each fate a route for WebSockets and one for event streams.
fn routes(upstream: &str) -> String {
    let mut text = String::new();
    for fate in FATES {
        for path in ["/ws", "/events"] {
            text.push_str(&format!(
                "[[route]]\npath = \"{path}/{fate}\"\nupstream = \"{upstream}\"\non_remove = \"{fate}\"\n"
            ));
        }
    }
    text
}

const SERVER: &str = "[server]\ndrain_timeout = \"1s\"\nwatch = false\n";

/// One stream of each kind, with the server's side.
async fn opened(
    gate: &Gate,
    backend: &mut Backend,
    fate: &str,
) -> [(TlsWire, crate::harness::Exchange); 2] {
    let (mut socket, mut events) = (gate.tls().await, gate.tls().await);
    socket.send(handshake(&format!("/ws/{fate}"), "")).await;
    let mut tunnel = backend.next().await;
    let answer = tunnel.switching_protocols("");
    tunnel.wire.send(answer).await;
    assert_eq!(socket.head().await.status(), 101);
    events
        .send(format!(
            "GET /events/{fate} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ))
        .await;
    let mut source = backend.next().await;
    source.answer_in_chunks("text/event-stream").await;
    source.wire.send_chunk("data: one\n\n").await;
    assert_eq!(events.head().await.status(), 200);
    assert!(events.piece().await.unwrap().is_some());
    [(socket, tunnel), (events, source)]
}

fn is_removed(line: &Line) -> bool {
    line.message() == "stream close" && line.has("reason", "removed")
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_as_their_route_says_when_it_or_its_server_is_removed() {
    let other = Backend::that(echo_http).await;
    let (mut first, second) = (Backend::by_hand().await, Backend::that(echo_http).await);
    let upstream = first.upstream("app");
    let start = format!(
        "{upstream}{}{}{SERVER}",
        other
            .for_everything()
            .replace("app", "other")
            .replace("[server]", ""),
        routes("app")
    );
    let without_routes = format!("{}{SERVER}", other.for_everything());
    let another_server = format!("{}{}{SERVER}", second.upstream("app"), routes("app"));
    for after in [without_routes, another_server] {
        let gate = Gate::start(&start).await;
        let [mut kept, _kept_events] = opened(&gate, &mut first, "keep").await;
        let [mut drained, mut drained_events] = opened(&gate, &mut first, "drain").await;
        let [mut closed, mut closed_events] = opened(&gate, &mut first, "close").await;
        gate.reload_well(&after).await;
        // Close 1001, between two frames; events at a boundary, after the time to come back.
        for (socket, _) in [&mut closed, &mut drained] {
            let bytes = socket.raw_until_close().await;
            assert_eq!(bytes[2..4], [0x03, 0xe9], "{bytes:?}");
        }
        for (events, _) in [&mut closed_events, &mut drained_events] {
            let retry = events.piece().await.unwrap().unwrap_or_default();
            assert!(retry.starts_with(b"retry: "), "{retry:?}");
            assert_eq!(events.piece().await, Ok(None));
        }
        kept.1.wire.send("as ever").await;
        assert_eq!(kept.0.raw(7).await, b"as ever");
        within("all records", async {
            while gate
                .log
                .since(0)
                .iter()
                .filter(|line| is_removed(line))
                .count()
                < 4
            {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_of_a_changed_feed_move_to_the_new_one() {
    let (mut old, mut new) = (Backend::by_hand().await, Backend::by_hand().await);
    let gate = Gate::start(&format!("{}{SERVER}", bridge(&old, ""))).await;
    let (mut subscriber, mut feed) = crate::bridge::open(&gate, &mut old).await;
    feed.text("before").await;
    assert_eq!(subscriber.message().await, "before");
    gate.reload_well(&format!("{}{SERVER}", bridge(&new, "")))
        .await;
    // In order, and with a time to come back.
    subscriber.until_end().await;
    assert!(subscriber.retry.is_some());
    gate.logged("its record", is_removed).await;
    let (mut again, mut fresh) = crate::bridge::open(&gate, &mut new).await;
    fresh.text("after").await;
    assert_eq!(again.message().await, "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_of_a_removed_bridge_end_as_their_route_says() {
    let other = Backend::that(echo_http).await;
    let mut feeds = Backend::by_hand().await;
    let text = bridge(&feeds, "idle = { linger = \"1s\" }") + "on_remove = \"close\"\n";
    let gate = Gate::start(&format!("{text}{SERVER}")).await;
    let (mut subscriber, mut feed) = crate::bridge::open(&gate, &mut feeds).await;
    gate.reload_well(&format!("{}{SERVER}", other.for_everything()))
        .await;
    subscriber.until_end().await;
    gate.logged("its record", is_removed).await;
    // Nobody is left who would want the feed.
    feed.ends_within(Duration::from_secs(10)).await;
    let (head, _) = Subscriber::ask(&gate, "/live/a", None).await;
    assert_eq!(head.status(), 200, "the other route answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_inside_http2_end_as_their_route_says_too() {
    let other = Backend::that(echo_http).await;
    let (mut first, mut feeds) = (Backend::by_hand().await, Backend::by_hand().await);
    let listen = crate::tunnel_h2::LISTEN;
    let bridged = bridge(&feeds, "idle = { linger = \"1s\" }") + "on_remove = \"close\"\n";
    let start = format!(
        "{}{}{bridged}{SERVER}{listen}",
        first.upstream("app"),
        routes("app")
    );
    let gate = Gate::start(&start).await;
    let mut client = H2Client::connect(&gate).await;
    let mut tunnels = Vec::new();
    let mut sources = Vec::new();
    for fate in ["keep", "close"] {
        let path = format!("/ws/{fate}");
        let (response, up) = client.connect_to(&path, VERSION_13).await;
        let mut exchange = first.next().await;
        let answer = exchange.switching_protocols("");
        exchange.wire.send(answer).await;
        tunnels.push((H2Tunnel::opened(response, up).await, exchange));
        let path = format!("https://localhost/events/{fate}");
        let request = http::Request::get(path).body(()).unwrap();
        let (response, _) = client.begin(request, true).await;
        let mut source = first.next().await;
        source.answer_in_chunks("text/event-stream").await;
        source.wire.send_chunk("data: one\n\n").await;
        let mut events = H2Response::from(within("a head", response).await.unwrap());
        assert_eq!(events.piece().await.unwrap().unwrap(), "data: one\n\n");
        sources.push((events, source));
    }
    let mut subscriber = client.get("/live/a").await;
    let _feed = feeds.feed().await;
    // The streams began two configurations before their routes go.
    gate.reload_well(&format!("{start}[log]\naccess = true\nlevel = \"debug\"\n"))
        .await;
    gate.reload_well(&format!("{}{SERVER}{listen}", other.for_everything()))
        .await;
    let close = tunnels[1].0.down.piece().await.unwrap().unwrap();
    assert_eq!(close[2..4], [0x03, 0xe9], "{close:?}");
    let retry = sources[1].0.piece().await.unwrap().unwrap();
    assert!(retry.starts_with(b"retry: "), "{retry:?}");
    assert_eq!(sources[1].0.text().await, "");
    while let Some(_prelude) = subscriber.piece().await.unwrap() {}
    // The others go on.
    tunnels[0].1.wire.send("as ever").await;
    assert_eq!(tunnels[0].0.raw(7).await, b"as ever");
    sources[0].1.wire.send_chunk("data: two\n\n").await;
    assert_eq!(
        sources[0].0.piece().await.unwrap().unwrap(),
        "data: two\n\n"
    );
}

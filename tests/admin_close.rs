//! Streams that the operator closes: what both sides hear, and what is told of it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tungstenite::Message;

use crate::admin_api::{id, route, started};
use crate::bridge::{bridge, open};
use crate::harness::{
    Admin, Backend, H2Client, Heard, Subscriber, WebSocketClient, echo_websocket, stays_pending,
    within,
};
use crate::tunnel::open_tunnel;

/// Code and reason of the Close that comes next.
async fn close_of(client: &mut WebSocketClient) -> (u16, String) {
    let Message::Close(Some(close)) = client.next().await else {
        panic!("no Close with a code");
    };
    (close.code.into(), close.reason.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_that_is_closed_hears_1001_on_both_sides() {
    let mut backend = Backend::by_hand().await;
    let (gate, api) = started(&backend.for_everything()).await;
    let (mut client, mut exchange) = open_tunnel(&gate, &mut backend).await;
    let stream = &api.streams("", 1).await[0];
    let path = format!("/api/streams/{}", id(stream));
    let (head, text) = api.ask("DELETE", &path, "").await;
    assert_eq!((head.status(), text.as_str()), (200, "{\"closed\":1}\n"));
    let mut expected = vec![0x88, 24, 0x03, 0xe9];
    expected.extend_from_slice(b"closed by the operator");
    assert_eq!(client.raw(26).await, expected);
    let masked = exchange.wire.raw(30).await;
    assert_eq!(masked[..2], [0x88, 0x80 | 24]);
    let said: Vec<u8> = masked[6..]
        .iter()
        .zip(masked[2..6].iter().cycle())
        .map(|(byte, key)| byte ^ key)
        .collect();
    assert_eq!(said, expected[2..]);
    let closed = gate
        .logged("its end", |line| line.message() == "stream close")
        .await;
    assert!(
        closed.has("reason", "operator") && closed.has("close_code", "1001"),
        "{closed:?}"
    );
    let series = "streamgate_streams_closed_total{kind=\"tunnel\",route=\"/*\",cause=\"operator\"}";
    Admin::of(&gate).await.counts(&[(series, 1.0)]).await;
    let (head, _) = api.ask("DELETE", &path, "").await;
    assert_eq!(head.status(), 404, "it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_that_is_closed_ends_in_order_behind_its_event() {
    let mut backend = Backend::by_hand().await;
    let (gate, api) = started(&backend.for_everything()).await;
    let ask = "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut client = gate.tls().await;
    client.send(ask).await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    assert_eq!(client.head().await.status(), 200);
    exchange.wire.send_chunk("data: ha").await;
    assert_eq!(client.body_bytes(8).await, b"data: ha");
    let stream = &api.streams("&kind=event_stream", 1).await[0];
    let path = format!("/api/streams/{}", id(stream));
    assert_eq!(api.ask("DELETE", &path, "").await.0.status(), 200);
    exchange.wire.send_chunk("lf\n\n").await;
    // The rest of the event, when to come back, and a body that ends as a whole one does.
    let rest = client.text().await;
    let told = rest
        .strip_prefix("lf\n\nretry: ")
        .unwrap_or_else(|| panic!("{rest:?}"));
    assert!(told.trim_end().parse::<u64>().is_ok(), "{rest:?}");
    gate.logged("its end", |line| line.has("reason", "operator"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_is_closed_is_told_when_to_come_back() {
    let mut backend = Backend::by_hand().await;
    let (gate, api) = started(&bridge(&backend, "")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("one").await;
    assert_eq!(subscriber.message().await, "one");
    let mut h2 = H2Client::connect(&gate).await;
    let mut over_h2 = Subscriber::over_h2(h2.get("/live/a").await);
    over_h2.opened().await;
    let streams = api.streams("&kind=subscription", 2).await;
    for stream in &streams {
        assert_eq!(stream["backend"], "live/a");
        assert_eq!(stream["lag_seconds"], 0.0, "{stream}");
    }
    assert_eq!(streams[0]["cursor"], subscriber.cursor);
    let mut websocket = WebSocketClient::open(&gate, "/live/a", &[]).await;
    let streams = api.streams("&kind=subscription", 3).await;
    for stream in &streams {
        let path = format!("/api/streams/{}", id(stream));
        assert_eq!(api.ask("DELETE", &path, "").await.0.status(), 200);
    }
    for mut subscriber in [subscriber, over_h2] {
        let last = subscriber.until_end().await;
        assert!(matches!(last[..], [.., Heard::Retry(250..)]), "{last:?}");
    }
    loop {
        if let Message::Close(close) = websocket.next().await {
            let close = close.unwrap();
            assert_eq!(u16::from(close.code), 1001);
            assert_eq!(close.reason.as_str(), "closed by the operator");
            break;
        }
    }
    let series = "streamgate_streams_closed_total{kind=\"subscription\",route=\"/live/{room}\",cause=\"operator\"}";
    Admin::of(&gate).await.counts(&[(series, 3.0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_closes_what_lives_now_on_a_route_and_nothing_else() {
    let echo = Backend::that(echo_websocket).await;
    let text = route("/ws", &echo, "app") + &route("/other", &echo, "other");
    let (gate, api) = started(&text).await;
    let mut closing = Vec::new();
    for _ in 0..4 {
        closing.push(WebSocketClient::open(&gate, "/ws", &[]).await);
    }
    let mut other = WebSocketClient::open(&gate, "/other", &[]).await;
    for wrong in [
        "",
        "?over=5s",
        "?q=ws",
        "?route=/ws&over=11m",
        "?route=/ws&all=1",
    ] {
        let (head, _) = api
            .ask("POST", &format!("/api/streams/drain{wrong}"), "")
            .await;
        assert_eq!(head.status(), 400, "{wrong}");
    }
    let begun = Instant::now();
    let (head, text) = api
        .ask("POST", "/api/streams/drain?route=/ws&over=2s", "")
        .await;
    assert_eq!(head.status(), 202);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["closing"], 4);
    let mut late = WebSocketClient::open(&gate, "/ws", &[]).await;
    for client in &mut closing {
        assert_eq!(
            close_of(client).await,
            (1001, "closed by the operator".to_owned())
        );
    }
    // On each of the workers the last one of n ends n-1 parts later than the first.
    assert!(begun.elapsed() < Duration::from_secs(8));
    late.echoes(Message::text("I am new")).await;
    other.echoes(Message::text("so am I")).await;
    let left = api.streams("", 2).await;
    let routes: BTreeSet<_> = left
        .iter()
        .map(|it| it["route"].as_str().unwrap())
        .collect();
    assert_eq!(routes, BTreeSet::from(["/ws", "/other"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_over_a_time_leaves_the_last_ones_for_later() {
    let echo = Backend::that(echo_websocket).await;
    let (gate, api) = started(&route("/ws", &echo, "app")).await;
    let mut clients = Vec::new();
    // So many that one worker has at least two of them.
    for _ in 0..16 {
        clients.push(WebSocketClient::open(&gate, "/ws", &[]).await);
    }
    let target = "/api/streams/drain?route=/ws&over=10m";
    assert_eq!(api.ask("POST", target, "").await.0.status(), 202);
    within("the first ends", async {
        while api.get("/api/streams").await["total"] == 16 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let more = async {
        while api.get("/api/streams").await["total"].as_u64().unwrap() >= 8 {
            tokio::task::yield_now().await;
        }
    };
    stays_pending("the end of most", Duration::from_millis(500), more).await;
    // What is left of it does not keep the process from ending.
    drop(clients);
    gate.stop().await;
}

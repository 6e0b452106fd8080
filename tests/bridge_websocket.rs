//! The bridge's WebSocket clients, over both versions of HTTP, and long polls, through the whole program.

use serde_json::Value;
use tungstenite::Message;

use crate::bridge::{bridge, open};
use crate::harness::{Backend, Gate, H2Client, H2Tunnel, VERSION_13, WebSocketClient, within};
use crate::tunnel_h2::LISTEN;

const JSON: (&str, &str) = ("Sec-WebSocket-Protocol", "streamgate.v1.json");

/// How many clients a test of many has: `STREAMGATE_TEST_CLIENTS`, else 100.
pub fn many() -> usize {
    let number = std::env::var("STREAMGATE_TEST_CLIENTS");
    number.map_or(100, |number| number.parse().expect("a number"))
}

async fn event(client: &mut WebSocketClient) -> Value {
    loop {
        if let Message::Text(text) = client.next().await {
            return serde_json::from_str(&text).expect("an object");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_feed_serves_event_streams_websockets_and_polls_the_same_events() {
    let mut backend = Backend::by_hand().await;
    let config = format!(
        "{}{LISTEN}",
        bridge(&backend, "publish = { enabled = true }")
    );
    let gate = Gate::start(&config).await;
    let (mut stream, mut feed) = open(&gate, &mut backend).await;
    let mut json = WebSocketClient::open(&gate, "/live/a", &[JSON]).await;
    assert_eq!(event(&mut json).await["event"], "streamgate.open");
    let mut h2 = H2Client::connect(&gate).await;
    let (response, up) = h2.connect_to("/live/a", VERSION_13).await;
    let mut raw = H2Tunnel::opened(response, up).await;
    feed.text("tick").await;
    let told = stream.next_but_status().await;
    let object = event(&mut json).await;
    assert_eq!(
        (object["data"].as_str(), object["id"].as_str()),
        (Some("tick"), Some(&*told.id))
    );
    assert_eq!(raw.raw(6).await, b"\x81\x04tick");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_http_2_clients_go_up_and_a_reset_is_a_leaving() {
    let mut backend = Backend::by_hand().await;
    let config = format!(
        "{}{LISTEN}",
        bridge(&backend, "publish = { enabled = true }")
    );
    let gate = Gate::start(&config).await;
    let (_stream, mut feed) = open(&gate, &mut backend).await;
    let mut h2 = H2Client::connect(&gate).await;
    for _ in 0..20 {
        let (response, up) = h2.connect_to("/live/a", VERSION_13).await;
        let mut tunnel = H2Tunnel::opened(response, up).await;
        tunnel.send(&b"\x81\x85\0\0\0\0hello"[..]);
        assert_eq!(feed.next_text().await, "hello");
        tunnel.reset(h2::Reason::CANCEL);
    }
    // The gate's own end demands that no stream is left.
    h2.ping().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_websockets_that_are_sent_away_at_once_come_back_and_miss_nothing() {
    let mut backend = Backend::by_hand().await;
    // The feed is played by hand and answers no ping meanwhile.
    let more = "limits = { max_age = \"1s\" }\nidle = { ping = \"10m\" }";
    let gate = Gate::start(&bridge(&backend, more)).await;
    let (_stream, mut feed) = open(&gate, &mut backend).await;
    let mut clients = Vec::new();
    for _ in 0..many() {
        clients.push(WebSocketClient::open(&gate, "/live/a", &[JSON]).await);
    }
    feed.text("before").await;
    let mut cursors = Vec::new();
    for mut client in clients {
        let mut cursor = String::new();
        loop {
            match client.next().await {
                Message::Close(close) => {
                    assert_eq!(close.map(|close| u16::from(close.code)), Some(1001));
                    break;
                }
                Message::Text(text) => {
                    let object: Value = serde_json::from_str(&text).unwrap();
                    if let Some(id) = object["id"].as_str() {
                        cursor = id.to_owned();
                    }
                }
                _ => {}
            }
        }
        cursors.push(cursor);
    }
    feed.text("after").await;
    for cursor in cursors {
        let path = format!("/live/a?lastEventId={cursor}");
        let mut back = WebSocketClient::open(&gate, &path, &[JSON]).await;
        loop {
            let told = event(&mut back).await;
            assert_ne!(told["event"], "streamgate.gap");
            if told["data"] == "after" {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_is_answered_by_the_whole_program() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let (mut stream, mut feed) = open(&gate, &mut backend).await;
    feed.text("tick").await;
    stream.next_but_status().await;
    let mut client = gate.tls().await;
    client
        .send("GET /live/a?after=earliest HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nConnection: close\r\n\r\n")
        .await;
    let head = client.head().await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.get("content-type"), Some("application/json"));
    let answer: Value = serde_json::from_str(&within("the body", client.text()).await).unwrap();
    assert_eq!(answer["events"][0]["data"], "tick");
    assert_eq!(answer["upstream"], "up");
}

//! The bridge: a feed's messages as events, and the stream they come in.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Backend, Event, Feed, Gate, H2Client, Heard, Subscriber, stays_pending};

/// A bridge on `/live/{room}` to `/feed/{room}`, with more keys.
pub fn bridge(backend: &Backend, more: &str) -> String {
    let address = backend.address();
    format!(
        "[bridge.live]\nsource = \"ws://{address}/feed/{{room}}\"\n{more}\n\
         [[route]]\npath = \"/live/{{room}}\"\nbridge = \"live\"\n"
    )
}

/// The first subscriber of room `a`, its prelude read, with the feed it opened.
pub async fn open(gate: &Gate, backend: &mut Backend) -> (Subscriber, Feed) {
    let mut subscriber = Subscriber::open(gate, "/live/a", None).await;
    let feed = backend.feed().await;
    subscriber.opened().await;
    (subscriber, feed)
}

/// Epoch and number of an id.
pub fn id_parts(id: &str) -> (String, u64) {
    let (epoch, number) = id
        .split_once('-')
        .unwrap_or_else(|| panic!("an id: `{id}`"));
    let base36 = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    assert!(
        epoch.len() == 10 && epoch.bytes().all(base36),
        "an epoch: `{epoch}`"
    );
    (epoch.to_owned(), number.parse().expect("a number"))
}

/// Data and id of the next message.
pub async fn message_at(subscriber: &mut Subscriber) -> (String, String) {
    let Event { name, data, id } = subscriber.next_but_status().await;
    assert_eq!(name, "message");
    (data, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_head_and_the_prelude_are_as_promised() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(
        &backend,
        "retry = { base = \"2s\", spread = \"3s\" }",
    ))
    .await;
    let (head, wire) = Subscriber::ask(&gate, "/live/a", None).await;
    assert_eq!(head.status(), 200);
    assert_eq!(head.get("content-type"), Some("text/event-stream"));
    assert_eq!(head.get("cache-control"), Some("no-store, no-transform"));
    assert_eq!(head.get("x-accel-buffering"), Some("no"));
    assert_eq!(head.get("content-length"), None);
    let mut subscriber = Subscriber::over(wire);
    let Some(Heard::Retry(retry)) = subscriber.hear().await else {
        panic!("the prelude begins with `retry:`");
    };
    assert!((2_000..=5_000).contains(&retry), "{retry}");
    assert!(matches!(subscriber.hear().await, Some(Heard::Comment(_))));
    let _feed = backend.feed().await;
    let (open, gap) = subscriber.opened().await;
    assert_eq!(gap, None);
    let told = open.json();
    assert_eq!(told["resumed"], json!(false));
    assert_eq!(told["replay"], json!(0));
    assert_eq!(told["session"], Value::Null);
    assert!(told["channel"].is_string(), "{told}");
    assert_eq!(id_parts(&open.id).1, 0, "the cursor before the first event");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_client_gets_its_own_retry() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let mut told = std::collections::BTreeSet::new();
    let (first, _feed) = open(&gate, &mut backend).await;
    told.extend(first.retry);
    for _ in 0..8 {
        let mut subscriber = Subscriber::open(&gate, "/live/a", None).await;
        subscriber.opened().await;
        told.extend(subscriber.retry);
    }
    assert!(told.len() > 1, "all clients would return at once: {told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_become_events_with_ids_in_one_sequence() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    let mut epochs = std::collections::BTreeSet::new();
    for number in 1..=5_u64 {
        feed.text(&format!("message {number}")).await;
        let (data, id) = message_at(&mut subscriber).await;
        assert_eq!(data, format!("message {number}"));
        let (epoch, at) = id_parts(&id);
        assert_eq!(at, number, "without holes");
        epochs.insert(epoch);
    }
    assert_eq!(epochs.len(), 1, "{epochs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn text_comes_back_as_it_was_meant() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    for (sent, decoded) in [
        ("plain", "plain"),
        ("", ""),
        (" a space in front", " a space in front"),
        ("two\nlines", "two\nlines"),
        ("two\r\nlines", "two\nlines"),
        ("two\rlines", "two\nlines"),
        ("ends with LF\n", "ends with LF\n"),
        ("\n", "\n"),
        ("\n\n\n", "\n\n\n"),
        ("\u{feff}a mark", "\u{feff}a mark"),
        ("nul \0 within", "nul \0 within"),
        ("grüße, 世界 🦀", "grüße, 世界 🦀"),
        (
            "data: x\n\nid: 9\nevent: error\nretry: 0",
            "data: x\n\nid: 9\nevent: error\nretry: 0",
        ),
        ("data: x\r\rid: 9\rretry: 0", "data: x\n\nid: 9\nretry: 0"),
        (": no comment", ": no comment"),
    ] {
        feed.text(sent).await;
        let (data, id) = message_at(&mut subscriber).await;
        assert_eq!(data, decoded, "sent {sent:?}");
        assert_ne!(id, "9", "a message forged an id");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn binary_messages_become_base64() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    for (bytes, text) in [
        (&[0_u8, 255, 10, 13][..], "AP8KDQ=="),
        (&[], ""),
        (b"hello", "aGVsbG8="),
    ] {
        feed.binary(bytes).await;
        let event = subscriber.next_but_status().await;
        assert_eq!((event.name.as_str(), event.data.as_str()), ("binary", text));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fragments_are_one_event_and_control_frames_none() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    // The euro sign is split between two frames, and a ping lies between them.
    feed.raw(b"\x01\x02\xe2\x82").await;
    feed.raw(b"\x89\x02hi").await;
    feed.raw(b"\x80\x02\xac!").await;
    assert_eq!(subscriber.message().await, "€!");
    feed.text("next").await;
    assert_eq!(subscriber.message().await, "next");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_upstream_serves_many_clients() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let (first, mut feed) = open(&gate, &mut backend).await;
    let mut all = vec![first];
    for _ in 0..20 {
        let mut subscriber = Subscriber::open(&gate, "/live/a", None).await;
        subscriber.opened().await;
        all.push(subscriber);
    }
    feed.text("for all").await;
    let mut ids = Vec::new();
    for subscriber in &mut all {
        let (data, id) = message_at(subscriber).await;
        assert_eq!(data, "for all");
        ids.push(id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "one event, one id: {ids:?}");
    assert_eq!(backend.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rooms_have_two_upstreams_and_do_not_hear_each_other() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let (mut in_a, mut feed_a) = open(&gate, &mut backend).await;
    let mut in_b = Subscriber::open(&gate, "/live/b", None).await;
    let mut feed_b = backend.feed().await;
    in_b.opened().await;
    assert_eq!(feed_a.request.target(), "/feed/a");
    assert_eq!(feed_b.request.target(), "/feed/b");
    feed_a.text("in a").await;
    feed_b.text("in b").await;
    assert_eq!(in_a.message().await, "in a");
    assert_eq!(in_b.message().await, "in b");
}

#[tokio::test(flavor = "multi_thread")]
async fn path_values_reach_the_feed_encoded_and_its_first_messages_escaped() {
    let mut backend = Backend::by_hand().await;
    let connect = "connect = { send = ['{\"op\":\"subscribe\",\"room\":\"{room}\"}', 'second'], \
                   headers = { X-Token = \"secret\" }, subprotocols = [\"v2\", \"v1\"] }";
    let gate = Gate::start(&bridge(&backend, connect)).await;
    let _subscriber = Subscriber::ask(&gate, "/live/a%22b%20%3Fc%5C%C3%A9", None).await;
    let exchange = backend.next().await;
    assert_eq!(exchange.request.get("x-token"), Some("secret"));
    assert_eq!(
        exchange.request.get("sec-websocket-protocol"),
        Some("v2, v1")
    );
    let target = exchange.request.target().to_ascii_uppercase();
    let segment = target
        .strip_prefix("/FEED/")
        .expect("the source's path")
        .to_owned();
    assert!(
        segment.contains("%22B%20%3FC") && segment.contains("%C3%A9"),
        "{target}"
    );
    let mut feed = exchange
        .into_feed_with("Sec-WebSocket-Protocol: v2\r\n")
        .await;
    let first: Value = serde_json::from_str(&feed.next_text().await).expect("still JSON");
    assert_eq!(first, json!({"op": "subscribe", "room": "a\"b ?c\\é"}));
    assert_eq!(feed.next_text().await, "second");
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_subscribers_get_the_same_bytes() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let (mut over_h1, mut feed) = open(&gate, &mut backend).await;
    let mut client = H2Client::connect(&gate).await;
    let response = client.get("/live/a").await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.head.headers()["content-type"], "text/event-stream");
    assert_eq!(response.head.headers()["x-accel-buffering"], "no");
    let mut over_h2 = Subscriber::over_h2(response);
    over_h2.opened().await;
    let (from_h1, from_h2) = (over_h1.bytes.len(), over_h2.bytes.len());
    for text in ["one", "two\nlines", "three"] {
        feed.text(text).await;
        assert_eq!(
            over_h1.next_but_status().await,
            over_h2.next_but_status().await
        );
    }
    let events = |subscriber: &Subscriber, from| {
        String::from_utf8(subscriber.bytes[from..].to_vec()).unwrap()
    };
    let (h1, h2) = (events(&over_h1, from_h1), events(&over_h2, from_h2));
    let events_only = |text: &str| text[text.find("id:").unwrap()..].to_owned();
    assert_eq!(events_only(&h1), events_only(&h2));
    // And the way back in HTTP/2 too: a cursor resumes.
    let request = http::Request::get("https://localhost/live/a")
        .header("last-event-id", over_h1.cursor.clone());
    let response = client.request(request.body(()).unwrap()).await;
    let (open, gap) = Subscriber::over_h2(response).opened().await;
    assert_eq!((gap, &open.json()["resumed"]), (None, &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_client_gets_events_without_chunks() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let mut wire = gate.tls().await;
    wire.send("GET /live/a HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await;
    let head = wire.head().await;
    assert_eq!((head.status(), head.get("transfer-encoding")), (200, None));
    let mut feed = backend.feed().await;
    let mut subscriber = Subscriber::over(wire);
    subscriber.opened().await;
    feed.text("old, but not forgotten").await;
    assert_eq!(subscriber.message().await, "old, but not forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn open_event_false_leaves_an_id_in_its_place() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "open_event = false")).await;
    let mut subscriber = Subscriber::open(&gate, "/live/a", None).await;
    let mut feed = backend.feed().await;
    loop {
        match subscriber.hear().await.expect("the stream goes on") {
            Heard::Id(id) => break assert_eq!(id_parts(&id).1, 0),
            Heard::Event(event) => assert_eq!(event.name, "streamgate.status"),
            Heard::Retry(_) | Heard::Comment(_) => {}
        }
    }
    feed.text("hello").await;
    assert_eq!(subscriber.message().await, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_stream_gets_heartbeats() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "heartbeat = \"1s\"")).await;
    let (mut subscriber, _feed) = open(&gate, &mut backend).await;
    let mut client = H2Client::connect(&gate).await;
    let mut over_h2 = Subscriber::over_h2(client.get("/live/a").await);
    over_h2.opened().await;
    for _ in 0..2 {
        heartbeat(&mut subscriber).await;
        heartbeat(&mut over_h2).await;
    }
}

async fn heartbeat(subscriber: &mut Subscriber) {
    loop {
        match subscriber.hear().await.expect("the stream goes on") {
            Heard::Comment(_) => return,
            Heard::Event(event) => assert_eq!(event.name, "streamgate.status"),
            Heard::Id(_) | Heard::Retry(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_is_kept_for_linger_and_then_closed() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "idle = { linger = \"1s\" }")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("one").await;
    let cursor = message_at(&mut subscriber).await.1;
    drop(subscriber);
    stays_pending(
        "the feed's end before its time",
        Duration::from_millis(400),
        feed.close_code(),
    )
    .await;
    let mut back = Subscriber::open(&gate, "/live/a", Some(&cursor)).await;
    assert_eq!(back.opened().await.1, None);
    assert_eq!(backend.connections(), 1, "the feed was opened again");
    drop(back);
    assert_eq!(feed.close_code().await, Some(1000));
}

//! The feed's side of the bridge: how a WebSocket feed is opened, kept and gone on with, and what a bad one may do.

use std::time::Duration;

use http::Request;
use streamgate::websocket::deflate;
use tungstenite::handshake::derive_accept_key;

use crate::bridge::{bridge, open};
use crate::harness::{
    Backend, Directory, Event, Feed, Gate, H2Client, Reloaded, Subscriber, TlsBackend,
    authority_file, leaf, server_config_for_known_clients, stays_pending,
};

pub const QUICK: &str = "reconnect = { initial = \"50ms\", max = \"200ms\" }";
const AGREED: &str = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";

/// A whole frame of a server.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        short @ 0..126 => out.push(short as u8),
        medium @ 126..0x1_0000 => {
            out.push(126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
    out
}

async fn open_compressed(gate: &Gate, backend: &mut Backend) -> (Subscriber, Feed) {
    let mut subscriber = Subscriber::open(gate, "/live/a", None).await;
    let feed = backend.next().await.into_feed_with(AGREED).await;
    subscriber.opened().await;
    (subscriber, feed)
}

pub fn is_gap(event: &Event, reason: &str) -> serde_json::Value {
    assert_eq!(event.name, "streamgate.gap", "{event:?}");
    let told = event.json();
    assert_eq!(told["reason"], reason, "{event:?}");
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_over_tls_is_known_by_its_authority_and_shown_our_certificate() {
    let backend = TlsBackend::start(server_config_for_known_clients(&["feed.internal"])).await;
    let directory = Directory::new();
    leaf(&["localhost", "127.0.0.1"]).write(directory.path(), "gate");
    leaf(&["client.test"]).write(directory.path(), "client");
    authority_file(directory.path());
    let config = format!(
        "[bridge.live]\nsource = \"wss://{}/feed\"\n\
         tls = {{ ca = \"authority.pem\", server_name = \"feed.internal\", client_cert = \"client.pem\", \
         client_key = \"client.key\" }}\n[[route]]\npath = \"/live\"\nbridge = \"live\"\n",
        backend.address
    );
    let gate = Gate::start_in(directory, &config).await;
    let mut subscriber = Subscriber::open(&gate, "/live", None).await;
    let mut wire = backend.next().await.expect("a handshake succeeds");
    let request = wire.head().await;
    assert_eq!(request.target(), "/feed");
    let key = request.get("sec-websocket-key").unwrap();
    let accept = derive_accept_key(key.as_bytes());
    wire.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    ))
    .await;
    subscriber.opened().await;
    wire.send(frame(0x81, b"sealed")).await;
    assert_eq!(subscriber.message().await, "sealed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_too_long_is_a_gap_and_the_feed_stays() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "max_message = \"1KiB\"")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("before").await;
    feed.text(&"x".repeat(5_000)).await;
    feed.text("between").await;
    for (first, length) in [(0x01, 1_000), (0x00, 1_000), (0x80, 500)] {
        feed.raw(&frame(first, &vec![b'x'; length])).await;
    }
    feed.text("after").await;
    assert_eq!(subscriber.message().await, "before");
    let gap = is_gap(&subscriber.next_but_status().await, "oversize");
    assert_eq!(gap["bytes"], 5_000);
    assert_eq!(subscriber.message().await, "between");
    let gap = is_gap(&subscriber.next_but_status().await, "oversize");
    assert_eq!(gap["bytes"], 2_500);
    assert_eq!(subscriber.message().await, "after");
    assert_eq!(backend.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_hundred_megabytes_takes_no_memory() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("before").await;
    assert_eq!(subscriber.message().await, "before");
    let before = gate.memory();
    let size: u64 = 100 << 20;
    let mut head = vec![0x82, 127];
    head.extend_from_slice(&size.to_be_bytes());
    feed.raw(&head).await;
    let piece = vec![7; 1 << 20];
    for _ in 0..100 {
        feed.raw(&piece).await;
    }
    feed.text("after").await;
    let gap = is_gap(&subscriber.next_but_status().await, "oversize");
    assert_eq!(gap["bytes"], size);
    assert_eq!(subscriber.message().await, "after");
    let grown = gate.memory().saturating_sub(before);
    assert!(
        grown < 16 << 20,
        "{grown} bytes for a message that is dropped"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_message_is_inflated_and_a_bomb_is_a_gap() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let (mut subscriber, mut feed) = open_compressed(&gate, &mut backend).await;
    let offer = feed.request.get("sec-websocket-extensions").unwrap();
    assert!(offer.contains("server_no_context_takeover"), "{offer}");
    let text = "compressed ".repeat(100);
    let packed = deflate::compress(text.as_bytes()).unwrap();
    feed.raw(&frame(0xc1, &packed)).await;
    assert_eq!(subscriber.message().await, text);
    let before = gate.memory();
    let bomb = deflate::compress(&vec![0; 100 << 20]).unwrap();
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    feed.raw(&frame(0xc2, &bomb)).await;
    let half = packed.len() / 2;
    feed.raw(&frame(0x41, &packed[..half])).await;
    feed.raw(&frame(0x89, b"ping")).await;
    feed.raw(&frame(0x80, &packed[half..])).await;
    is_gap(&subscriber.next_but_status().await, "oversize");
    assert_eq!(subscriber.message().await, text);
    let grown = gate.memory().saturating_sub(before);
    assert!(
        grown < 16 << 20,
        "{grown} bytes for a message that is dropped"
    );
    feed.raw(&frame(0xc1, b"\xff\xff\xff")).await;
    assert_eq!(feed.close_code().await, Some(1007));
}

#[tokio::test(flavor = "multi_thread")]
async fn compression_can_be_switched_off() {
    let mut backend = Backend::by_hand().await;
    let keys = format!("{QUICK}\nconnect.compression = false");
    let gate = Gate::start(&bridge(&backend, &keys)).await;
    let (_subscriber, feed) = open(&gate, &mut backend).await;
    assert_eq!(feed.request.get("sec-websocket-extensions"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_break_the_rules_fail_the_feed_with_1002() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, QUICK)).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    // A reserved opcode, compression that nobody agreed on, a masked frame, a continuation of nothing.
    for garbage in [
        &b"\x83\x00"[..],
        b"\xc1\x01x",
        b"\x81\x81\0\0\0\0x",
        b"\x80\x01x",
    ] {
        feed.text("sound").await;
        loop {
            let event = subscriber.next_but_status().await;
            if event.name == "message" {
                break assert_eq!(event.data, "sound");
            }
            is_gap(&event, "upstream_reconnect");
        }
        feed.raw(garbage).await;
        feed.raw(&[0xff; 100]).await;
        assert_eq!(feed.close_code().await, Some(1002), "{garbage:?}");
        feed = backend.feed().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_greeting_is_answered_before_the_next_is_sent() {
    let mut backend = Backend::by_hand().await;
    let keys = format!(
        "{QUICK}\nconnect.send = [{{ text = '{{\"op\":\"login\"}}', expect = \"/ok\", value = \"yes\", timeout = \"1s\" }}, \
         '{{\"room\":\"{{room}}\",\"symbol\":\"{{query.symbol}}\"}}']"
    );
    let gate = Gate::start(&bridge(&backend, &keys)).await;
    let path = "/live/a?symbol=%22%5C%0Ax";
    let mut subscriber = Subscriber::open(&gate, path, None).await;
    // A feed that says no is connected to anew.
    let mut refusing = backend.feed().await;
    assert_eq!(refusing.next_text().await, r#"{"op":"login"}"#);
    refusing.text(r#"{"ok":"no"}"#).await;
    let mut feed = backend.feed().await;
    assert_eq!(feed.next_text().await, r#"{"op":"login"}"#);
    stays_pending(
        "the second text",
        Duration::from_millis(200),
        feed.next_text(),
    )
    .await;
    feed.text("a price already").await;
    feed.text(r#"{"ok":"yes"}"#).await;
    let subscribed = feed.next_text().await;
    assert_eq!(subscribed, r#"{"room":"a","symbol":"\"\\\nx"}"#);
    feed.text("a price").await;
    subscriber.opened().await;
    assert_eq!(subscriber.message().await, "a price already");
    assert_eq!(subscriber.message().await, "a price");
    // Another value is another channel.
    let _other = Subscriber::open(&gate, "/live/a?symbol=y", None).await;
    let mut other = backend.feed().await;
    assert_eq!(other.next_text().await, r#"{"op":"login"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keepalive_is_sent_and_its_answer_is_not_passed_on() {
    let mut backend = Backend::by_hand().await;
    let keys = "keepalive = { every = \"100ms\", text = \"ping\", drop = \"pong\" }";
    let gate = Gate::start(&bridge(&backend, keys)).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    for _ in 0..3 {
        assert_eq!(feed.next_text().await, "ping");
        feed.text("pong").await;
    }
    feed.text("a pong").await;
    assert_eq!(subscriber.message().await, "a pong");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_goes_on_where_it_was_leaves_no_gap() {
    let mut backend = Backend::by_hand().await;
    let keys =
        format!("{QUICK}\nresume = {{ pointer = \"/seq\", send = '{{\"from\":{{last}}}}' }}");
    let gate = Gate::start(&bridge(&backend, &keys)).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text(r#"{"seq":41}"#).await;
    feed.text(r#"{"seq":42}"#).await;
    assert_eq!(subscriber.message().await, r#"{"seq":41}"#);
    assert_eq!(subscriber.message().await, r#"{"seq":42}"#);
    feed.cut();
    let mut feed = backend.feed().await;
    assert_eq!(feed.next_text().await, r#"{"from":42}"#);
    feed.text(r#"{"seq":43}"#).await;
    assert_eq!(subscriber.message().await, r#"{"seq":43}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clients_cookie_reaches_a_feed_that_only_it_has() {
    let mut backend = Backend::by_hand().await;
    let keys = "share_key = \"{room}/{header.cookie}\"\nconnect.forward = [\"cookie\"]";
    let gate = Gate::start(&bridge(&backend, keys)).await;
    let mut subscribers = Vec::new();
    for user in ["user=one", "user=two"] {
        let mut client = H2Client::connect(&gate).await;
        let request = Request::get("https://localhost/live/a").header("cookie", user);
        let response = client.request(request.body(()).unwrap()).await;
        let mut subscriber = Subscriber::over_h2(response);
        let mut feed = backend.feed().await;
        assert_eq!(feed.request.get("cookie"), Some(user));
        let (open, _) = subscriber.opened().await;
        assert!(!open.data.contains(user), "{}", open.data);
        feed.text(user).await;
        assert_eq!(subscriber.message().await, user);
        subscribers.push((client, subscriber, feed));
    }
    let line = gate
        .logged("a feed", |line| line.message() == "feed open")
        .await;
    assert!(!format!("{line:?}").contains("user="), "{line:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eager_feed_is_open_before_anybody_comes_and_goes_with_its_bridge() {
    let mut backend = Backend::by_hand().await;
    let eager = |more: &str| {
        format!(
            "[bridge.live]\nsource = \"ws://{}/feed\"\nidle = {{ eager = true, linger = \"100ms\" }}\n{more}\n\
             [[route]]\npath = \"/live\"\nbridge = \"live\"\n",
            backend.address()
        )
    };
    let (first, second) = (eager(""), eager("max_message = \"2KiB\""));
    let gate = Gate::start(&first).await;
    let mut feed = backend.feed().await;
    feed.text("nobody").await;
    let mut subscriber = Subscriber::open(&gate, "/live", None).await;
    subscriber.opened().await;
    drop(subscriber);
    stays_pending(
        "the end of an eager feed",
        Duration::from_millis(500),
        feed.close_code(),
    )
    .await;
    assert!(matches!(gate.reload(&second).await, Reloaded::Done));
    let _again = backend.feed().await;
    feed.ends_within(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_feed_is_connected_to_anew() {
    let mut backend = Backend::by_hand().await;
    let keys = format!("{QUICK}\nidle.silence = \"300ms\"");
    let gate = Gate::start(&bridge(&backend, &keys)).await;
    let (_subscriber, mut feed) = open(&gate, &mut backend).await;
    assert_eq!(feed.close_code().await, Some(1001));
    let _again = backend.feed().await;
}

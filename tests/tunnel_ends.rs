//! How a WebSocket ends when it is not its peers that end it: a Close with the right code for whoever is still there.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::task::JoinSet;
use tungstenite::Message;

use crate::harness::{
    Backend, Feed, Gate, WebSocketClient, echo_websocket, reset, silence, within, within_time,
};
use crate::tunnel::{handshake, open_tunnel};

/// A client and the backend's end of its tunnel, both speaking WebSocket.
async fn open(gate: &Gate, backend: &mut Backend) -> (WebSocketClient, Feed) {
    tokio::join!(WebSocketClient::open(gate, "/ws", &[]), backend.feed())
}

/// The code of the Close that comes next, whatever comes before it.
async fn close_code(client: &mut WebSocketClient) -> Option<u16> {
    loop {
        match within("a Close", client.socket.next()).await {
            Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
            Some(Ok(_)) => {}
            other => panic!("torn, without a Close: {other:?}"),
        }
    }
}

/// A tunnel's bytes from its Close on: the code.
fn code_of(frame: &[u8]) -> u16 {
    assert_eq!(frame[0], 0x88, "no Close: {frame:?}");
    let masked = frame[1] & 0x80 != 0;
    let (at, key) = if masked {
        (6, &frame[2..6])
    } else {
        (2, &[0; 4][..])
    };
    u16::from_be_bytes([frame[at] ^ key[0], frame[at + 1] ^ key[1]])
}

fn with(backend: &Backend, keys: &str) -> String {
    format!("{}{keys}", backend.for_everything())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_backend_is_1013_for_the_client() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let (mut client, exchange) = open_tunnel(&gate, &mut backend).await;
    exchange.reset();
    assert_eq!(code_of(&client.raw(4).await), 1013);
    let (mut client, feed) = open(&gate, &mut backend).await;
    drop(feed);
    assert_eq!(close_code(&mut client).await, Some(1013));
    let closed = gate
        .logged("the end", |line| line.message() == "stream close")
        .await;
    assert!(closed.has("reason", "backend_failed"), "{closed:?}");
    assert!(closed.has("close_code", "1013"), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_client_is_1001_for_the_backend() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let (client, mut exchange) = open_tunnel(&gate, &mut backend).await;
    reset(client.into_parts().0.into_inner().0);
    assert_eq!(code_of(&exchange.wire.raw(8).await), 1001);
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_and_age_are_1001_for_both() {
    for limit in ["stream_idle", "stream_max"] {
        let mut backend = Backend::by_hand().await;
        let text = with(&backend, &format!("timeouts = {{ {limit} = \"300ms\" }}\n"));
        let gate = Gate::start(&text).await;
        let (mut client, mut exchange) = open_tunnel(&gate, &mut backend).await;
        assert_eq!(code_of(&client.raw(4).await), 1001, "{limit}");
        assert_eq!(code_of(&exchange.wire.raw(8).await), 1001, "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_large_a_message_is_1009_as_soon_as_it_is_announced() {
    let mut backend = Backend::by_hand().await;
    let text = with(&backend, "limits = { message_size = \"1KiB\" }\n");
    let gate = Gate::start(&text).await;
    let (mut client, mut exchange) = open_tunnel(&gate, &mut backend).await;
    // 600 bytes in a fragment, and the head of 600 more.
    let mut first = b"\x02\xfe\x02\x58\0\0\0\0".to_vec();
    first.resize(8 + 600, b'x');
    client.send(&first).await;
    client.send(b"\x80\xfe\x02\x58\0\0\0\0").await;
    assert_eq!(code_of(&client.raw(4).await), 1009);
    assert_eq!(exchange.wire.raw(608).await, first);
    assert_eq!(code_of(&exchange.wire.raw(8).await), 1009);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_messages_are_1008() {
    let backend = Backend::that(echo_websocket).await;
    let limits = "limits = { messages = \"1/s\", message_burst = 3 }\n";
    let gate = Gate::start(&with(&backend, limits)).await;
    let mut client = WebSocketClient::open(&gate, "/ws", &[]).await;
    for _ in 0..3 {
        client.echoes(Message::text("x")).await;
    }
    client.send(Message::text("one too many")).await;
    assert_eq!(close_code(&mut client).await, Some(1008));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_pings_is_1008_where_messages_are_limited() {
    let mut backend = Backend::by_hand().await;
    let text = with(&backend, "limits = { messages = \"1/s\" }\n");
    let gate = Gate::start(&text).await;
    let (mut client, mut exchange) = open_tunnel(&gate, &mut backend).await;
    // One write: the flood is over before a second of the limit is.
    let flood = b"\x89\x80\0\0\0\0".repeat(1_000);
    client.send(&flood).await;
    assert_eq!(code_of(&client.raw(4).await), 1008);
    client.send(b"\x88\x80\0\0\0\0").await;
    let heard = exchange.wire.raw_until_close().await;
    let pings = heard.iter().take_while(|byte| **byte != 0x88).count() / 6;
    assert!((100..200).contains(&pings), "{pings} pings passed");
    assert_eq!(code_of(&heard[pings * 6..]), 1008);
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_ends_with_1002_what_else_is_passed_on() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&with(&backend, "strict = true\n")).await;
    let (mut client, mut exchange) = open_tunnel(&gate, &mut backend).await;
    client.send(b"\x81\x02hi").await;
    assert_eq!(code_of(&client.raw(4).await), 1002);
    assert_eq!(code_of(&exchange.wire.raw(8).await), 1002);
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let (mut client, mut exchange) = open_tunnel(&gate, &mut backend).await;
    client.send(b"\x81\x02hi").await;
    assert_eq!(exchange.wire.raw(4).await, b"\x81\x02hi");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_peer_is_pinged_and_a_vanished_one_found() {
    let mut backend = Backend::by_hand().await;
    let keys = "heartbeat = \"300ms\"\ntimeouts = { pong = \"500ms\" }\n";
    let gate = Gate::start(&with(&backend, keys)).await;
    let ((mut client, feed), mut ours) = (open(&gate, &mut backend).await, 0);
    // A client that reads answers; the backend, which does not, is found.
    let code = within_time(Duration::from_secs(3), "the end", async {
        loop {
            match client.socket.next().await {
                Some(Ok(Message::Ping(_))) => ours += 1,
                Some(Ok(Message::Close(frame))) => return frame.map(|f| u16::from(f.code)),
                other => panic!("{other:?}"),
            }
        }
    })
    .await;
    assert_eq!(code, Some(1013));
    assert!(ours >= 1);
    drop(feed);
    let closed = gate
        .logged("the end", |line| line.message() == "stream close")
        .await;
    assert!(closed.has("reason", "backend_dead"), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn peers_that_answer_pings_are_left_in_peace() {
    let backend = Backend::that(echo_websocket).await;
    let keys = "heartbeat = \"200ms\"\ntimeouts = { pong = \"400ms\" }\n";
    let gate = Gate::start(&with(&backend, keys)).await;
    let mut client = WebSocketClient::open(&gate, "/ws", &[]).await;
    let reading = async {
        // tungstenite answers while it reads; only pings come.
        while let Some(Ok(message)) = client.socket.next().await {
            assert!(matches!(message, Message::Ping(_)), "{message:?}");
        }
    };
    tokio::select! {
        () = reading => panic!("the tunnel ended"),
        () = silence(Duration::from_secs(2)) => {}
    }
    client.send(Message::Ping("theirs".into())).await;
    loop {
        match client.next().await {
            Message::Pong(payload) => break assert_eq!(&payload[..], b"theirs"),
            Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_a_route_are_limited_and_given_back() {
    let backend = Backend::that(echo_websocket).await;
    for (key, status) in [("streams", 503), ("streams_per_ip", 429)] {
        let text = with(&backend, &format!("limits = {{ {key} = 1 }}\n"));
        let gate = Gate::start(&text).await;
        let mut first = WebSocketClient::open(&gate, "/ws", &[]).await;
        first.echoes(Message::text("x")).await;
        gate.reload_well(&format!("{text}[log]\nlevel = \"debug\"\n"))
            .await;
        let mut second = gate.tls().await;
        second.send(handshake("/ws", "")).await;
        let head = second.head().await;
        assert_eq!(head.status(), status, "{key}");
        assert!(head.get("retry-after").is_some(), "{head:?}");
        within("the Close", first.socket.close(None)).await.unwrap();
        gate.logged("the end", |line| line.message() == "stream close")
            .await;
        let mut third = WebSocketClient::open(&gate, "/ws", &[]).await;
        third.echoes(Message::text("x")).await;
    }
}

/// Two routes that differ in their methods alone have streams of their own, before a reload and after it.
#[tokio::test(flavor = "multi_thread")]
async fn routes_that_differ_in_their_methods_count_their_own_streams() {
    let mut backend = Backend::by_hand().await;
    let route = |method: &str, streams: u32| {
        format!(
            "[[route]]\npath = \"/ws\"\nmethods = [\"{method}\"]\nupstream = \"app\"\nlimits = {{ streams = {streams} }}\n"
        )
    };
    let upstream = backend.upstream("app");
    let text = |posts: u32| {
        let (get, post) = (route("GET", 1), route("POST", posts));
        format!("{upstream}{get}{post}")
    };
    let gate = Gate::start(&text(9)).await;
    let post = "POST /ws HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut client = gate.tls().await;
        client.send(post).await;
        let mut exchange = backend.next().await;
        exchange.wire.send(head).await;
        assert_eq!(client.head().await.status(), 200);
        open.push((client, exchange));
    }
    // Their two places are not taken from the one of the other route.
    let (first, _) = tokio::join!(WebSocketClient::open(&gate, "/ws", &[]), backend.feed());
    gate.reload_well(&text(8)).await;
    let mut second = gate.tls().await;
    second.send(handshake("/ws", "")).await;
    assert_eq!(second.head().await.status(), 503);
    drop(first);
}

/// Every client in the middle of a large message and out of it sees 1001 at a drain. `STREAMGATE_TUNNELS` says how many.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_closes_every_tunnel_with_1001_and_tears_none() {
    let count: usize = std::env::var("STREAMGATE_TUNNELS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(200);
    let mut backend = Backend::by_hand().await;
    let mut gate = Gate::start(&with(&backend, "[server]\ndrain_timeout = \"8s\"\n")).await;
    let (mut clients, mut backends) = (JoinSet::new(), JoinSet::new());
    for number in 0..count {
        let mut client = gate.clear().await;
        client.send(handshake("/ws", "")).await;
        let mut tunnel = backend.next().await.into_tunnel().await;
        client.head().await;
        let half = number % 2 == 0;
        if half {
            tunnel.send(b"\x82\x7f\0\0\0\0\0\x01\x86\xa0").await;
            tunnel.send(vec![7; 50_000]).await;
            client.raw(10 + 50_000).await;
        }
        clients.spawn(async move {
            if half {
                assert_eq!(client.raw(50_000).await, vec![7; 50_000]);
            }
            let close = client.raw(4).await;
            assert_eq!(code_of(&close), 1001);
            let at = tokio::time::Instant::now();
            client.send(b"\x88\x80\0\0\0\0").await;
            client.raw_until_close().await;
            at
        });
        backends.spawn(async move {
            // The other half of a message comes once the drain has begun.
            silence(Duration::from_millis(1_500)).await;
            if half {
                tunnel.send(vec![7; 50_000]).await;
            }
            assert_eq!(code_of(&tunnel.raw(8).await), 1001);
        });
    }
    let begun = tokio::time::Instant::now();
    gate.signal("TERM");
    let mut times = Vec::with_capacity(count);
    while let Some(at) = clients.join_next().await {
        times.push(at.unwrap().duration_since(begun).as_millis());
    }
    while let Some(ended) = backends.join_next().await {
        ended.unwrap();
    }
    times.sort_unstable();
    let part = |percent: usize| times[(count - 1) * percent / 100];
    println!(
        "{count} tunnels: 1001 after {} ms (first), {} (half), {} (nine tenths), {} (last)",
        part(0),
        part(50),
        part(90),
        part(100)
    );
    assert!(part(100) - part(0) > 1_000, "they all end at once");
    gate.ended().await;
}

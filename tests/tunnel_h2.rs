//! WebSocket within HTTP/2: extended CONNECT (RFC 8441) in, an ordinary upgrade out.

mod faults;
mod refusals;

use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::harness::{
    Backend, Exchange, Gate, H2Client, H2Tunnel, VERSION_13, echo_http, silence, within,
};

/// Listeners of which the TLS one allows tunnels.
pub const LISTEN: &str = "[[listen]]\naddress = \"systemd:https\"\ntls = true\nwebsocket_over_h2 = true\n\
                          [[listen]]\naddress = \"systemd:http\"\n";

/// A gate that sends everything to this backend and lets HTTP/2 clients open tunnels.
pub async fn gate(backend: &Backend) -> Gate {
    Gate::start(&format!("{}{LISTEN}", backend.for_everything())).await
}

/// A tunnel with both ends in the test's hand.
pub async fn open(client: &mut H2Client, backend: &mut Backend) -> (H2Tunnel, Exchange) {
    let (response, send) = client.connect_to("/ws", VERSION_13).await;
    let mut exchange = backend.next().await;
    let answer = exchange.switching_protocols("");
    exchange.wire.send(answer).await;
    (H2Tunnel::opened(response, send).await, exchange)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extended_connect_becomes_an_upgrade() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    assert!(client.takes_tunnels());
    let fields = [
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "v2.chat, v1.chat"),
        (
            "sec-websocket-extensions",
            "permessage-deflate; client_max_window_bits",
        ),
        ("sec-websocket-key", "a client's own means nothing"),
        ("origin", "https://app.test"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ];
    let (response, send) = client.connect_to("/ws?token=x", &fields).await;
    let mut exchange = backend.next().await;
    let request = &exchange.request;
    assert_eq!(request.start, "GET /ws?token=x HTTP/1.1");
    assert_eq!(request.all("host"), ["localhost"]);
    assert_eq!(request.all("upgrade"), ["websocket"]);
    assert_eq!(request.all("connection"), ["Upgrade"]);
    assert_eq!(request.all("sec-websocket-version"), ["13"]);
    let key = request.all("sec-websocket-key");
    assert!(key.len() == 1 && key[0].len() == 24, "{key:?}");
    assert_eq!(request.all("sec-websocket-protocol"), ["v2.chat, v1.chat"]);
    assert_eq!(request.all("sec-websocket-extensions"), [fields[2].1]);
    assert_eq!(request.all("origin"), ["https://app.test"]);
    assert_eq!(request.all("cookie"), ["a=1; b=2"]);
    assert_eq!(request.all("x-forwarded-proto"), ["https"]);
    let chosen = "Sec-WebSocket-Protocol: v1.chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\
                  Set-Cookie: c=3\r\nContent-Length: 5\r\n";
    let answer = exchange.switching_protocols(chosen);
    exchange.wire.send(answer + "early").await;
    let mut tunnel = H2Tunnel::opened(response, send).await;
    let head = tunnel.down.head.headers();
    assert_eq!(head["sec-websocket-protocol"], "v1.chat");
    assert_eq!(head["sec-websocket-extensions"], "permessage-deflate");
    assert_eq!(head["set-cookie"], "c=3");
    assert!(!head.contains_key("sec-websocket-accept"), "{head:?}");
    assert!(!head.contains_key("content-length"), "{head:?}");
    assert_eq!(tunnel.raw(5).await, b"early");
    tunnel.send("to the backend");
    assert_eq!(exchange.wire.raw(14).await, b"to the backend");
    exchange.wire.send("and back").await;
    assert_eq!(tunnel.raw(8).await, b"and back");
    let opened = gate
        .logged("the open record", |line| line.message() == "stream open")
        .await;
    assert_eq!(opened.text("version").as_deref(), Some("HTTP/2.0"));
    assert_eq!(opened.text("kind").as_deref(), Some("tunnel"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_for_get_takes_it() {
    let mut backend = Backend::by_hand().await;
    let text = format!(
        "{}[[route]]\npath = \"/ws\"\nmethods = [\"GET\"]\nupstream = \"app\"\n\
         [[route]]\npath = \"/post\"\nmethods = [\"POST\"]\nupstream = \"app\"\n{LISTEN}",
        backend.upstream("app")
    );
    let gate = Gate::start(&text).await;
    let mut client = H2Client::connect(&gate).await;
    open(&mut client, &mut backend).await;
    let (refused, _send) = client.connect_to("/post", VERSION_13).await;
    assert_eq!(within("a head", refused).await.unwrap().status(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_sent_before_the_answer_are_not_lost() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    for _ in 0..20 {
        let (response, mut send) = client.connect_to("/ws", VERSION_13).await;
        send.send_data(Bytes::from_static(b"before the 101"), false)
            .unwrap();
        let mut wire = backend.next().await.into_tunnel().await;
        let mut tunnel = H2Tunnel::opened(response, send).await;
        tunnel.send(", after it");
        assert_eq!(wire.raw(24).await, b"before the 101, after it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn megabytes_pass_both_ways_at_once() {
    const SIZE: usize = 4 << 20;
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    let (mut tunnel, exchange) = open(&mut client, &mut backend).await;
    let sent: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    let (stream, _) = exchange.wire.into_parts();
    let (mut read, mut write) = stream.into_split();
    let mut echo = JoinSet::new();
    echo.spawn(async move { tokio::io::copy(&mut read, &mut write).await.unwrap() });
    tunnel.send(sent.clone());
    tunnel.half_close();
    let received = tunnel.raw_until_end().await;
    assert!(received == sent, "{} bytes came back", received.len());
    within("the echo's end", echo.join_all()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_client_still_hears_the_backend() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    let (mut tunnel, exchange) = open(&mut client, &mut backend).await;
    let mut wire = exchange.wire;
    tunnel.send("last words");
    tunnel.half_close();
    assert_eq!(wire.raw_until_close().await, b"last words");
    wire.send("an answer to them").await;
    assert_eq!(tunnel.raw(17).await, b"an answer to them");
    wire.half_close().await;
    assert_eq!(tunnel.raw_until_end().await, b"");
    let close = gate
        .logged("the close record", |line| line.message() == "stream close")
        .await;
    assert_eq!(close.text("reason").as_deref(), Some("client"));
    assert_eq!(close.number("bytes_in"), Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_closed_backend_still_hears_the_client() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    let (mut tunnel, exchange) = open(&mut client, &mut backend).await;
    let mut wire = exchange.wire;
    wire.send("last words").await;
    wire.half_close().await;
    assert_eq!(tunnel.raw_until_end().await, b"last words");
    tunnel.send("an answer to them");
    assert_eq!(wire.raw(17).await, b"an answer to them");
    tunnel.half_close();
    wire.closes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tunnels_and_requests_share_one_connection() {
    let mut sockets = Backend::by_hand().await;
    let pages = Backend::that(echo_http).await;
    let route = "[[route]]\npath = \"/ws\"\nupstream = \"sockets\"\n";
    let text = format!(
        "{}{}{route}{LISTEN}",
        pages.for_everything(),
        sockets.upstream("sockets")
    );
    let gate = Gate::start(&text).await;
    let mut client = H2Client::connect(&gate).await;
    let mut tunnels = Vec::new();
    for _ in 0..60 {
        tunnels.push(open(&mut client, &mut sockets).await);
    }
    for round in 0..3 {
        for (number, (tunnel, exchange)) in tunnels.iter_mut().enumerate() {
            let message = format!("{round:02}.{number:02}");
            tunnel.send(message.clone());
            assert_eq!(exchange.wire.raw(5).await, message.as_bytes());
            exchange.wire.send(&message).await;
            assert_eq!(tunnel.raw(5).await, message.as_bytes());
        }
        assert_eq!(client.get("/page").await.text().await, "GET /page");
    }
    // Every second tunnel ends, from either side; the others do not notice.
    for (number, (mut tunnel, mut exchange)) in tunnels.into_iter().enumerate() {
        if number % 2 == 0 {
            exchange.wire.half_close().await;
            tunnel.raw_until_end().await;
            tunnel.half_close();
            exchange.wire.closes().await;
        } else {
            tunnel.send("still");
            assert_eq!(exchange.wire.raw(5).await, b"still");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_that_nobody_reads_does_not_hold_up_its_siblings() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    let (mut stalled, held) = open(&mut client, &mut backend).await;
    let (mut deaf, mut talks) = open(&mut client, &mut backend).await;
    let (mut sibling, mut exchange) = open(&mut client, &mut backend).await;
    // One backend reads nothing of what its client sends, the smallest frames included; one client reads nothing of megabytes.
    for _ in 0..20_000 {
        stalled.send("tiny.");
    }
    stalled.send(vec![7; 16 << 20]);
    let mut flood = JoinSet::new();
    flood.spawn(async move { talks.wire.try_send(&vec![8; 64 << 20]).await.is_ok() });
    for number in 0..200 {
        let message = format!("{number:04}");
        sibling.send(message.clone());
        assert_eq!(exchange.wire.raw(4).await, message.as_bytes());
        exchange.wire.send(&message).await;
        assert_eq!(sibling.raw(4).await, message.as_bytes());
    }
    // Those that stood still go on as soon as somebody reads.
    let mut held = held.wire;
    assert_eq!(held.raw(10).await, b"tiny.tiny.");
    assert_eq!(deaf.down.piece().await.unwrap().unwrap()[0], 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_with_a_silent_tunnel_is_not_idle() {
    let mut backend = Backend::by_hand().await;
    let limits = "[limits]\nkeep_alive = \"1s\"\nheader_timeout = \"1s\"\n";
    let text = format!("{}{LISTEN}{limits}", backend.for_everything());
    let gate = Gate::start(&text).await;
    let mut client = H2Client::connect(&gate).await;
    let (mut tunnel, mut exchange) = open(&mut client, &mut backend).await;
    silence(Duration::from_millis(3500)).await;
    tunnel.send("still there?");
    assert_eq!(exchange.wire.raw(12).await, b"still there?");
    // Once it has ended the connection is idle, and ends too.
    tunnel.half_close();
    exchange.wire.half_close().await;
    tunnel.raw_until_end().await;
    within("the connection's end", client.closed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tunnels_end_with_the_drain_and_the_connection_after_them() {
    let mut backend = Backend::by_hand().await;
    let server = "[server]\ndrain_timeout = \"4s\"\n";
    let text = format!("{}{LISTEN}{server}", backend.for_everything());
    let mut gate = Gate::start(&text).await;
    let mut client = H2Client::connect(&gate).await;
    let mut tunnels = Vec::new();
    for _ in 0..8 {
        tunnels.push(open(&mut client, &mut backend).await);
    }
    gate.signal("TERM");
    for (_tunnel, exchange) in &mut tunnels {
        exchange.wire.raw_until_close_unbounded().await;
    }
    drop(tunnels);
    within("the connection's end", client.closed()).await;
    gate.ended().await;
    let closed = gate.log.since(0);
    let closed: Vec<_> = closed
        .iter()
        .filter(|line| line.message() == "stream close")
        .collect();
    assert_eq!(closed.len(), 8);
    assert!(closed.iter().all(|line| line.has("reason", "drain")));
}

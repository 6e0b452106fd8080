//! A peer that vanishes without a word, its sockets left open, is found by the heartbeat, and the other one is told.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_tungstenite::{WebSocketStream, client_async};
use tungstenite::Message;

use crate::harness::{Backend, Gate, Relay, connect, within, within_time};

const HEARTBEAT: &str = "heartbeat = \"1s\"\ntimeouts = { pong = \"1s\" }\n";

/// Ping and pong, a tenth for the jitter, and a second for a machine that has much else to do.
const FOUND: Duration = Duration::from_millis(3_100);

async fn open(address: std::net::SocketAddr) -> WebSocketStream<TcpStream> {
    let opened = client_async("ws://localhost/ws", connect(address).await);
    within("the 101", opened).await.unwrap().0
}

/// Answers pings until a number of them has come, the last one's answer sent too.
async fn answers_pings<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) {
    let mut pings = 0;
    while pings < 3 {
        match within("a ping", socket.next()).await {
            Some(Ok(Message::Ping(_))) => pings += 1,
            other => panic!("{other:?}"),
        }
    }
    within("the last pong", socket.flush()).await.unwrap();
}

/// Answers pings until the Close comes: its code.
async fn told<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut WebSocketStream<S>) -> Option<u16> {
    loop {
        match within("a ping or the Close", socket.next()).await {
            Some(Ok(Message::Ping(_))) => {}
            Some(Ok(Message::Close(frame))) => return frame.map(|frame| frame.code.into()),
            other => panic!("torn, without a Close: {other:?}"),
        }
    }
}

/// One side answers a few pings and vanishes; the other one answers all the time, and is told in time: with which code.
async fn vanishing<A, B>(
    relay: &Relay,
    vanishes: &mut WebSocketStream<A>,
    stays: &mut WebSocketStream<B>,
) -> Option<u16>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let vanishing = async {
        answers_pings(vanishes).await;
        relay.freeze();
        Instant::now()
    };
    let (code, vanished) = tokio::join!(told(stays), vanishing);
    let took = vanished.elapsed();
    assert!(took < FOUND, "found after {took:?}");
    code
}

async fn recorded(gate: &Gate, reason: &str, code: &str) {
    let closed = gate
        .logged("the end", |line| line.message() == "stream close")
        .await;
    assert!(closed.has("reason", reason), "{closed:?}");
    assert!(closed.has("close_code", code), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_is_found_and_its_backend_told() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&format!("{}{HEARTBEAT}", backend.for_everything())).await;
    let relay = Relay::to(gate.http).await;
    let (mut client, feed) = tokio::join!(open(relay.address), backend.feed());
    let mut server = feed.into_socket();
    let code = vanishing(&relay, &mut client, &mut server).await;
    assert_eq!(code, Some(1001));
    recorded(&gate, "client_dead", "1001").await;
    // The backend's connection ends; the client still believes that it has one.
    while let Some(Ok(_)) = within("the end", server.next()).await {}
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_vanishes_is_found_and_its_client_told() {
    let mut backend = Backend::by_hand().await;
    let relay = Relay::to(backend.address()).await;
    let upstream = format!(
        "[upstream.app]\nservers = [\"http://{}\"]\n[[route]]\nupstream = \"app\"\n",
        relay.address
    );
    let gate = Gate::start(&format!("{upstream}{HEARTBEAT}")).await;
    let (mut client, feed) = tokio::join!(open(gate.http), backend.feed());
    let mut server = feed.into_socket();
    let code = vanishing(&relay, &mut server, &mut client).await;
    assert_eq!(code, Some(1013));
    recorded(&gate, "backend_dead", "1013").await;
    while let Some(Ok(_)) = within("the end", client.next()).await {}
    drop(server);
}

/// A feed goes on sending to a client that has vanished: the ping stands behind what nobody takes.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_vanishes_under_a_feed_is_found_too() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&format!("{}{HEARTBEAT}", backend.for_everything())).await;
    let relay = Relay::to(gate.http).await;
    let (mut client, mut feed) = tokio::join!(open(relay.address), backend.feed());
    feed.text("first").await;
    let first = within("the first", client.next()).await.unwrap().unwrap();
    assert_eq!(first, Message::text("first"));
    relay.freeze();
    // Little enough to lie in the sockets' buffers: nothing is blocked, and nothing comes back.
    feed.text("nobody hears this").await;
    let mut server = feed.into_socket();
    let code = within_time(FOUND, "the Close", told(&mut server)).await;
    assert_eq!(code, Some(1001));
    recorded(&gate, "client_dead", "1001").await;
    drop(client);
}

//! Reloads under a crowd of every kind of long stream: none of them closes, and memory stays what it was.

use std::future::Future;

use futures_util::StreamExt;
use futures_util::stream;
use tokio::sync::broadcast;
use tungstenite::Message;

use crate::bridge::{bridge, open};
use crate::harness::{
    Backend, Exchange, Feed, Gate, Subscriber, WebSocketClient, Wire, allow_many_files, echo_http,
    echo_websocket,
};

/// Handshakes under way at once.
const AT_ONCE: usize = 32;

/// `STREAMGATE_STREAMS`, else 2,000: half of them are WebSockets, a quarter event streams of a server, a quarter
/// subscribers of a bridge.
fn streams() -> usize {
    number("STREAMGATE_STREAMS", 2_000)
}

/// `STREAMGATE_RELOADS`, else 20.
fn reloads() -> usize {
    number("STREAMGATE_RELOADS", 20)
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |number| number.parse().expect("a number"))
}

/// An event stream that tells what `rounds` says.
async fn tells(
    mut exchange: Exchange,
    mut rounds: broadcast::Receiver<String>,
) -> Option<Wire<tokio::net::TcpStream>> {
    exchange.answer_in_chunks("text/event-stream").await;
    while let Ok(round) = rounds.recv().await {
        let event = format!("data: {round}\n\n");
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        exchange.wire.send(chunk).await;
    }
    Some(exchange.wire)
}

async fn together<T, F: Future<Output = T>>(count: usize, one: impl Fn() -> F) -> Vec<T> {
    stream::iter(0..count)
        .map(|_| one())
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

/// What a reload changes, by turns: routes, servers, limits, the level of the log, how a bridge serves, timeouts.
fn change(round: usize, other: &Backend) -> String {
    let route = format!("[[route]]\npath = \"/round/{round}\"\nupstream = \"other\"\n");
    let limits = format!("[limits]\nconnections = {}\n", 50_000 + round);
    let servers = format!(
        "[upstream.other]\nservers = [{{ url = \"http://{}\", weight = {} }}]\n",
        other.address(),
        round % 5 + 1
    );
    let level = ["info", "debug"][round / 3 % 2];
    format!("{servers}{route}{limits}[log]\naccess = false\nlevel = \"{level}\"\n")
}

struct Crowd {
    sockets: Vec<WebSocketClient>,
    streams: Vec<Subscriber>,
    subscribers: Vec<Subscriber>,
    feed: Feed,
}

impl Crowd {
    async fn gather(gate: &Gate, feeds: &mut Backend, count: usize) -> Self {
        let (first, feed) = open(gate, feeds).await;
        let socket = || WebSocketClient::open(gate, "/ws", &[]);
        let event_stream = || Subscriber::open(gate, "/events", None);
        let subscriber = || async {
            let mut subscriber = Subscriber::open(gate, "/live/a", None).await;
            subscriber.opened().await;
            subscriber
        };
        let sockets = together(count / 2, socket).await;
        let streams = together(count / 4, event_stream).await;
        let mut subscribers = together(count / 4 - 1, subscriber).await;
        subscribers.push(first);
        Self {
            sockets,
            streams,
            subscribers,
            feed,
        }
    }

    /// Everybody is still there, and was told of every round.
    async fn attests(&mut self, rounds: usize) {
        for socket in &mut self.sockets {
            socket.echoes(Message::text("at the end")).await;
        }
        for stream in self.streams.iter_mut().chain(&mut self.subscribers) {
            for round in 0..rounds {
                assert_eq!(stream.message().await, format!("round {round}"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_streams_outlive_reloads_that_each_change_something() {
    allow_many_files();
    let (count, rounds) = (streams(), reloads());
    let (told, _) = broadcast::channel(rounds.max(1));
    let echo = Backend::that(echo_websocket).await;
    let teller = told.clone();
    let source = Backend::that(move |exchange| tells(exchange, teller.subscribe())).await;
    let mut feeds = Backend::by_hand().await;
    let other = Backend::that(echo_http).await;
    let lasting = |round: usize| {
        // The feed is played by hand and answers no ping; heartbeats go on changing.
        let served = format!(
            "heartbeat = \"{}s\"\nidle = {{ ping = \"10m\" }}",
            60 + round % 7
        );
        format!(
            "{}{}[[route]]\npath = \"/ws\"\nupstream = \"echo\"\n\
             [[route]]\npath = \"/events\"\nupstream = \"source\"\ntimeouts = {{ idle = \"{}s\" }}\n{}",
            echo.upstream("echo"),
            source.upstream("source"),
            60 + round,
            bridge(&feeds, &served),
        )
    };
    let configs: Vec<_> = (0..rounds)
        .map(|round| format!("{}{}", lasting(round), change(round, &other)))
        .collect();
    let gate = Gate::start(&format!("{}{}", lasting(rounds), change(rounds, &other))).await;
    let mut crowd = Crowd::gather(&gate, &mut feeds, count).await;
    let before = gate.memory();
    let mut memory = Vec::new();
    for (round, config) in configs.iter().enumerate() {
        gate.reload_well(config).await;
        let path = |round: usize| format!("/round/{round}");
        assert_eq!(gate.get(&path(round)).await.0.status(), 200);
        if round > 0 {
            assert_eq!(gate.get(&path(round - 1)).await.0.status(), 404);
        }
        let text = format!("round {round}");
        crowd.feed.text(&text).await;
        told.send(text).expect("the streams are open");
        memory.push(gate.memory());
    }
    crowd.attests(rounds).await;
    assert_eq!(feeds.connections(), 1, "the feed was opened again");
    assert_eq!(echo.connections(), count / 2);
    assert_eq!(source.connections(), count / 4);
    let (middle, last) = (memory[rounds / 2], memory[rounds - 1]);
    println!("{count} streams, {rounds} reloads: {before} bytes before, then {memory:?}");
    // What the first reloads need, later ones need no more of: a generation is freed when nobody holds it.
    let (streams, reloads) = (count as u64, (rounds - rounds / 2) as u64);
    assert!(
        last.saturating_sub(middle) < streams * 2048 + reloads * 100_000,
        "{memory:?}"
    );
}

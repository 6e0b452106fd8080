//! Restarts under a crowd: requests, WebSockets, event streams and a bridge's subscribers. Nobody is refused, no request fails, every
//! WebSocket is told why it ends, and every event comes once, in order, to everybody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tungstenite::Message;

use crate::harness::{
    Backend, Exchange, Gate, Heard, Subscriber, Wire, allow_many_files, client_config, connect,
    echo_http, echo_websocket, within, within_time,
};

/// How far apart the source's numbers are.
const PACE: Duration = Duration::from_millis(100);

/// Those that ask without an end: half of them on connections that are kept, half on a new one each time.
const ASKING: usize = 8;

/// How many numbers after the last restart everybody has to see.
const AFTERWARDS: u64 = 20;

/// Longer than any stream may live.
const LONG: Duration = Duration::from_secs(600);

/// `STREAMGATE_STREAMS`, else 40: a third of them WebSockets, event streams and subscribers of a bridge each.
fn streams() -> usize {
    number("STREAMGATE_STREAMS", 40)
}

/// `STREAMGATE_RESTARTS`, else 3.
fn restarts() -> usize {
    number("STREAMGATE_RESTARTS", 3)
}

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).map_or(otherwise, |number| number.parse().expect("a number"))
}

/// What all clients know and count.
struct Crowd {
    https: SocketAddr,
    http: SocketAddr,
    begun: Instant,
    /// The number with which it is over, once that is known.
    last: watch::Receiver<Option<u64>>,
    answered: AtomicUsize,
    events: AtomicUsize,
    /// Streams that ended, and came back.
    returned: AtomicUsize,
}

impl Crowd {
    fn is_over(&self, number: u64) -> bool {
        self.last.borrow().is_some_and(|last| number >= last)
    }

    async fn tls(&self, request: &str) -> Wire<tokio_rustls::client::TlsStream<TcpStream>> {
        let config = client_config(&["http/1.1"], rustls::ALL_VERSIONS);
        let name = ServerName::try_from("localhost").unwrap();
        let connecting =
            TlsConnector::from(Arc::new(config)).connect(name, connect(self.https).await);
        let mut wire = Wire::new(within("a handshake", connecting).await.unwrap());
        wire.send(request).await;
        wire
    }

    /// A request on a connection that is kept as long as the server keeps it.
    async fn ask(&self, kept: &mut Option<Wire<TcpStream>>) {
        let mut wire = match kept.take() {
            Some(wire) => wire,
            None => Wire::new(connect(self.http).await),
        };
        wire.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        let head = wire.head().await;
        assert_eq!(head.status(), 200);
        assert_eq!(wire.text().await, "GET /x");
        self.answered.fetch_add(1, Ordering::Relaxed);
        if head.get("connection") != Some("close") {
            *kept = Some(wire);
        }
    }

    /// Asks until it is over.
    async fn asks(self: Arc<Self>, keeps: bool) {
        let mut kept = None;
        while self.last.borrow().is_none() {
            self.ask(&mut kept).await;
            kept = kept.filter(|_| keeps);
        }
    }

    /// A WebSocket that is opened again whenever it is closed, which it has to be with a code that says why. Returns how often.
    async fn talks(self: Arc<Self>) -> usize {
        let mut last = self.last.clone();
        for closed in 0.. {
            let request = format!("ws://{}/ws", self.http);
            let opening = tokio_tungstenite::client_async(request, connect(self.http).await);
            let (mut socket, _) = within("the 101", opening).await.expect("a WebSocket");
            socket.send(Message::text("here")).await.unwrap();
            let echo = within("the echo", socket.next()).await.unwrap().unwrap();
            assert_eq!(echo, Message::text("here"));
            tokio::select! {
                end = socket.next() => {
                    let Some(Ok(Message::Close(Some(close)))) = end else {
                        panic!("no Close, but {end:?}");
                    };
                    assert!([1001, 1012].contains(&u16::from(close.code)), "{close:?}");
                }
                _ = last.wait_for(Option::is_some) => return closed,
            }
            self.returned.fetch_add(1, Ordering::Relaxed);
        }
        unreachable!("it is over before")
    }

    /// What an EventSource does: it follows the numbers, and comes back with the last id whenever the stream ends. Returns how often.
    async fn follows(self: Arc<Self>, path: &'static str) -> usize {
        let (mut cursor, mut seen) = (None, None);
        for ended in 0.. {
            let mut stream = self.open(path, cursor.as_deref()).await;
            loop {
                match stream.hear_or_cut().await.expect("no stream is cut") {
                    Some(Heard::Event(event)) if event.name == "message" => {
                        let number: u64 = event.data.parse().unwrap();
                        let expected = seen.map_or(number, |seen| seen + 1);
                        assert_eq!(number, expected, "the next one at {path}, after {cursor:?}");
                        seen = Some(number);
                        self.events.fetch_add(1, Ordering::Relaxed);
                        if self.is_over(number) {
                            return ended;
                        }
                    }
                    Some(Heard::Event(event)) => {
                        assert_ne!(event.name, "streamgate.gap", "{event:?}, after {cursor:?}");
                    }
                    Some(_) => {}
                    None => break,
                }
            }
            assert!(stream.retry.is_some(), "it was not told when to come back");
            cursor = Some(stream.cursor.clone()).filter(|cursor| !cursor.is_empty());
            self.returned.fetch_add(1, Ordering::Relaxed);
        }
        unreachable!("it is over before")
    }

    async fn open(&self, path: &str, cursor: Option<&str>) -> Subscriber {
        let cursor = cursor.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
        let fields = format!("Host: localhost\r\nAccept: text/event-stream\r\n{cursor}");
        let mut wire = self
            .tls(&format!("GET {path} HTTP/1.1\r\n{fields}\r\n"))
            .await;
        assert_eq!(wire.head().await.status(), 200);
        Subscriber::over(wire)
    }
}

/// The number of now.
fn current(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis() / PACE.as_millis()).unwrap()
}

/// A source of numbers, one each [`PACE`], from the one after the id that is brought, or from now.
async fn numbers(mut exchange: Exchange, begun: Instant) -> Option<Wire<TcpStream>> {
    let seen = exchange.request.get("last-event-id");
    let mut number: u64 = seen.map_or(current(begun), |id| id.parse().expect("an id of ours"));
    exchange.answer_in_chunks("text/event-stream").await;
    let mut tick = tokio::time::interval(PACE);
    // A source that nobody listens to ends with its connection.
    while begun.elapsed() < 2 * LONG {
        tick.tick().await;
        while number < current(begun) {
            number += 1;
            let event = format!("id: {number}\ndata: {number}\n\n");
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            exchange.wire.try_send(chunk.as_bytes()).await.ok()?;
        }
    }
    None
}

/// Restarts, one after the other, each of them after the process before has ended and somebody was served by the new one.
async fn restart_often(gate: &mut Gate, crowd: &Crowd, rounds: usize) {
    for _round in 0..rounds {
        let (mark, process) = (gate.log.mark(), gate.process());
        gate.restart().await;
        assert_ne!(gate.process(), process);
        gate.log
            .wait(mark, "the old process's end", |line| {
                assert_ne!(line.message(), "stopped at once by a second signal");
                line.message() == "stopped"
            })
            .await;
        let before = crowd.answered.load(Ordering::Relaxed);
        within("requests to the new process", async {
            while crowd.answered.load(Ordering::Relaxed) < before + 50 {
                tokio::time::sleep(PACE / 10).await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_restarts_nobody_is_refused_and_no_event_is_lost_or_doubled() {
    allow_many_files();
    let (count, rounds, begun) = (streams(), restarts(), Instant::now());
    let (app, echo) = (
        Backend::that(echo_http).await,
        Backend::that(echo_websocket).await,
    );
    let source = Backend::that(move |exchange| numbers(exchange, begun)).await;
    let bridge = format!(
        "[bridge.numbers]\nsource = \"http://{}/feed\"\n[[route]]\npath = \"/live\"\nbridge = \"numbers\"\n",
        source.address()
    );
    let more = "[[route]]\npath = \"/ws\"\nupstream = \"echo\"\n[[route]]\npath = \"/events\"\nupstream = \"source\"\n\
                [server]\nwatch = false\ndrain_timeout = \"6s\"\n[log]\naccess = false\n";
    let mut gate = Gate::start(&format!(
        "{}{}{}{bridge}{more}",
        echo.upstream("echo"),
        source.upstream("source"),
        app.for_everything()
    ))
    .await;
    let (over, last) = watch::channel(None);
    let crowd = Arc::new(Crowd {
        https: gate.https,
        http: gate.http,
        begun,
        last,
        answered: AtomicUsize::default(),
        events: AtomicUsize::default(),
        returned: AtomicUsize::default(),
    });
    let (mut asking, mut living) = (JoinSet::new(), JoinSet::new());
    for client in 0..ASKING {
        asking.spawn(crowd.clone().asks(client % 2 == 0));
    }
    for client in 0..count {
        match client % 3 {
            0 => living.spawn(crowd.clone().talks()),
            1 => living.spawn(crowd.clone().follows("/events")),
            _ => living.spawn(crowd.clone().follows("/live")),
        };
    }
    within_time(Duration::from_secs(60), "everybody", async {
        while crowd.events.load(Ordering::Relaxed) < 4 * count {
            tokio::time::sleep(PACE).await;
        }
    })
    .await;
    restart_often(&mut gate, &crowd, rounds).await;
    over.send_replace(Some(current(crowd.begun) + AFTERWARDS));
    while let Some(asked) = asking.join_next().await {
        asked.expect("no request is refused or lost");
    }
    while let Some(ends) = within_time(LONG, "everybody's end", living.join_next()).await {
        let ends = ends.expect("no stream is refused, cut, or misses or doubles an event");
        assert!(ends >= rounds, "{ends} ends in {rounds} restarts");
    }
    println!(
        "{rounds} restarts, {count} streams: {} requests answered, {} events, {} streams returned; none refused, failed, missed",
        crowd.answered.load(Ordering::Relaxed),
        crowd.events.load(Ordering::Relaxed),
        crowd.returned.load(Ordering::Relaxed)
    );
}

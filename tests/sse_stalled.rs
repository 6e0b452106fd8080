//! Clients that do not read: what they cost those who do, and what they hold of the program's memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Request;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use crate::harness::{Backend, Exchange, Gate, H2Client, H2Response, allow_many_files, within};

/// An event of 4 KiB, as a chunk.
fn event() -> Vec<u8> {
    format!("data: {}\n\n", "x".repeat(4_096 - 8)).into_bytes()
}

/// Sends events without an end once it may, as fast as they are taken.
#[derive(Clone)]
struct Flood {
    begun: watch::Sender<bool>,
    taken: Arc<AtomicU64>,
}

impl Flood {
    fn new() -> Self {
        Self {
            begun: watch::channel(false).0,
            taken: Arc::default(),
        }
    }

    async fn backend(&self) -> Backend {
        let flood = self.clone();
        Backend::that(move |exchange| {
            let flood = flood.clone();
            async move {
                flood.pour(exchange).await;
                None
            }
        })
        .await
    }

    /// The first event comes at once.
    async fn pour(&self, mut exchange: Exchange) {
        exchange.answer_in_chunks("text/event-stream").await;
        exchange.wire.send_chunk(event()).await;
        if self
            .begun
            .subscribe()
            .wait_for(|begun| *begun)
            .await
            .is_err()
        {
            return;
        }
        let (mut stream, _) = exchange.wire.into_parts();
        let chunk = [&b"1000\r\n"[..], &event(), b"\r\n"].concat();
        while stream.write_all(&chunk).await.is_ok() {
            self.taken.fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
    }

    /// Waits until nobody takes anything any more, and returns how many bytes were taken.
    async fn stops(&self) -> u64 {
        within("the flood's end", async {
            loop {
                let before = self.taken.load(Ordering::Relaxed);
                crate::harness::silence(Duration::from_secs(1)).await;
                if self.taken.load(Ordering::Relaxed) == before {
                    return before;
                }
            }
        })
        .await
    }
}

async fn open(client: &mut H2Client) -> H2Response {
    let request = Request::get("https://localhost/events").body(()).unwrap();
    client.request(request).await
}

/// Reads so many bytes, each of which must be the flood's.
async fn reads(response: &mut H2Response, length: usize) {
    let event = event();
    let mut read = 0;
    while read < length {
        let piece = response.piece().await.unwrap().expect("the flood goes on");
        let whole = event.iter().cycle().skip(read % event.len());
        assert!(piece.iter().eq(whole.take(piece.len())), "at {read}");
        read += piece.len();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_stream_within_http_2_holds_up_none_of_its_nine_siblings() {
    const EACH: usize = 4 << 20;
    let flood = Flood::new();
    let backend = flood.backend().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = H2Client::connect(&gate).await;
    let mut stalled = open(&mut client).await;
    let mut siblings = Vec::new();
    for _ in 0..9 {
        siblings.push(open(&mut client).await);
    }
    let before = gate.memory();
    flood.begun.send_replace(true);
    let reading = siblings.iter_mut().map(|sibling| reads(sibling, EACH));
    within("nine siblings", futures_util::future::join_all(reading)).await;
    let grown = gate.memory().saturating_sub(before);
    println!("{} KiB more for a flood of ten streams", grown >> 10);
    // Ten windows and what is on its way between two tasks, not what the backend has sent.
    assert!(grown < 16 << 20, "{grown} bytes");
    // Whoever did not read has lost nothing.
    reads(&mut stalled, EACH).await;
}

const STALLED: u64 = 100;

fn print(version: &str, before: u64, after: u64, taken: u64) {
    let grown = after.saturating_sub(before) / STALLED;
    println!(
        "{version}: a stalled stream holds {} KiB of the program's memory; the backend got rid of {} KiB",
        grown >> 10,
        (taken / STALLED) >> 10
    );
    assert!(grown < 512 << 10, "{grown} bytes a stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stalled_reader_holds_over_http_1() {
    allow_many_files();
    let flood = Flood::new();
    let backend = flood.backend().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut clients = Vec::new();
    for _ in 0..STALLED {
        let mut client = gate.tls().await;
        client
            .send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        assert_eq!(client.head().await.status(), 200);
        client.body_bytes(event().len()).await;
        clients.push(client);
    }
    let before = gate.memory();
    flood.begun.send_replace(true);
    let taken = flood.stops().await;
    print("HTTP/1.1", before, gate.memory(), taken);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stalled_reader_holds_over_http_2() {
    allow_many_files();
    let flood = Flood::new();
    let backend = flood.backend().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut streams = Vec::new();
    let mut clients = Vec::new();
    // A connection of its own for each, so that no window but the stream's own is what stops it.
    for _ in 0..STALLED {
        let mut client = H2Client::connect(&gate).await;
        let mut stream = open(&mut client).await;
        reads(&mut stream, event().len()).await;
        streams.push(stream);
        clients.push(client);
    }
    let before = gate.memory();
    flood.begun.send_replace(true);
    let taken = flood.stops().await;
    print("HTTP/2", before, gate.memory(), taken);
}

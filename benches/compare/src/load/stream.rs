//! Streams of timestamped events, over SSE or WebSocket: every client must get every event, in order, whole, once.
//!
//! - `--source own`: each client has a ticker of its own at the backend, which the gate starts
//! - `--source feed`: the common feed reaches all clients (fan-out, bridge, push)

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use futures_util::{StreamExt, stream};
use serde_json::json;
use streamgate_compare::{now_ns, parse_event};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;

use crate::event_stream::SseStream;
use crate::net::{Dialer, STEP, Side, backend_stats};
use crate::phase::{Phases, Runner, StartLine};
use crate::tally::{Tally, collect};
use crate::ws::{self, Ws};
use crate::{Common, Transport};

/// How long a client listens for an event too many.
const SURPLUS: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Source {
    Own,
    Feed,
}

#[derive(Args, Clone)]
pub struct Streams {
    #[arg(long, default_value = "sse")]
    transport: Transport,
    #[arg(long, default_value = "own")]
    source: Source,
    /// Where the clients connect, `{n}` being the client's number; default by source and transport.
    #[arg(long)]
    path: Option<String>,
    #[arg(long, default_value_t = 100)]
    conns: usize,
    /// Events per second, per client.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Bytes of data per event.
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// Events for each client.
    #[arg(long, default_value_t = 100)]
    count: u64,
    /// Wait until the backend's feeds have this many connections.
    #[arg(long, default_value_t = 0)]
    feed_conns: i64,
}

impl Streams {
    fn path(&self, client: usize) -> String {
        if let Some(path) = &self.path {
            return path.replace("{n}", &client.to_string());
        }
        match (self.source, self.transport) {
            (Source::Own, _) => format!(
                "/sse?gate=1&rate={}&size={}&count={}",
                self.rate, self.size, self.count
            ),
            (Source::Feed, Transport::Ws) => "/feed".into(),
            (Source::Feed, Transport::Sse) => "/feed-sse".into(),
        }
    }

    /// Events before those that are measured: caches, buffers and allocators get warm.
    fn warmup(&self) -> u64 {
        match self.source {
            Source::Own => 0,
            Source::Feed => 5,
        }
    }

    /// How long the measured events take at their rate.
    fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.count as f64 / self.rate.max(0.001))
    }
}

enum Receiver {
    Sse(Box<SseStream>),
    Ws(Box<Ws>),
}

impl Receiver {
    async fn next(&mut self) -> anyhow::Result<Bytes> {
        match self {
            Self::Sse(stream) => stream.next().await,
            Self::Ws(socket) => loop {
                match socket.next().await.context("WebSocket ended")?? {
                    Message::Text(text) => return Ok(text.into()),
                    Message::Binary(bytes) => return Ok(bytes),
                    Message::Close(frame) => bail!("WebSocket closed: {frame:?}"),
                    _ => {}
                }
            },
        }
    }
}

pub async fn run(common: Common, asked: Streams) -> anyhow::Result<()> {
    let receivers = open(&common, &asked).await?;
    let mut control = Side::open(&common.backend.to_string()).await?;
    await_feed(&common, asked.feed_conns).await?;

    let (first_sender, first) = watch::channel(None);
    let mut line = StartLine::new();
    let mut set = JoinSet::new();
    for receiver in receivers {
        let client = Client {
            asked: asked.clone(),
            receiver,
            first: first.clone(),
        };
        set.spawn(client.run(line.runner()));
    }
    let first = match asked.source {
        Source::Own => 0,
        Source::Feed => {
            let rate = asked.rate.clamp(1.0, 10.0);
            start_feed(&mut control, rate, asked.size, asked.warmup()).await?
        }
    };
    first_sender.send_replace(Some(first));
    line.all_ready(asked.conns, Duration::from_secs(60)).await?;

    let mut phases = Phases::new(common.auto);
    phases.say("ready", json!({})).await?;
    let begun = line.go();
    match asked.source {
        Source::Own => drop(control.ask("POST", "/ctl/gate", Bytes::new()).await?),
        Source::Feed => drop(start_feed(&mut control, asked.rate, asked.size, asked.count).await?),
    }
    let limit_s = common.limit_s.max(asked.duration().as_secs() + 30);
    let (sum, open) = collect(set, limit_s).await?;
    // The clients' last look-out for surplus events is not part of the time.
    let mut out = sum.json(begun.elapsed().saturating_sub(SURPLUS));
    out["expected"] = json!(asked.conns as u64 * asked.count);
    out["feed_lagged"] = backend_stats(&common).await?["feed_lagged"].clone();
    phases.say("done", out).await?;
    drop(open);
    Ok(())
}

async fn open(common: &Common, asked: &Streams) -> anyhow::Result<Vec<Receiver>> {
    let dialer = &Dialer::new(common, "http/1.1", false)?;
    let open = |client: usize| async move {
        let path = asked.path(client);
        anyhow::Ok(match asked.transport {
            Transport::Sse => {
                let stream = SseStream::open(common, dialer, client, &path).await?;
                Receiver::Sse(Box::new(stream))
            }
            Transport::Ws => {
                let socket = ws::open(common, dialer, client, &path).await?;
                Receiver::Ws(Box::new(socket))
            }
        })
    };
    let opened: Vec<_> = stream::iter(0..asked.conns)
        .map(open)
        .buffer_unordered(64)
        .collect()
        .await;
    opened.into_iter().collect()
}

struct Client {
    asked: Streams,
    receiver: Receiver,
    first: watch::Receiver<Option<u64>>,
}

impl Client {
    async fn run(mut self, mut runner: Runner) -> (Tally, Receiver) {
        let mut tally = Tally::default();
        if let Err(error) = self.receive(&mut tally, &mut runner).await {
            tally.miss(error);
            return (tally, self.receiver);
        }
        // Nothing more may come: an event too many is an error as well.
        if let Ok(surplus) = timeout(SURPLUS, self.receiver.next()).await {
            tally.miss(format!("after the last event: {surplus:?}"));
        }
        (tally, self.receiver)
    }

    async fn receive(&mut self, tally: &mut Tally, runner: &mut Runner) -> anyhow::Result<()> {
        let first = self.first.wait_for(Option::is_some).await;
        let first = first.ok().and_then(|first| *first).context("no start")?;
        let (warmup, count) = (self.asked.warmup(), self.asked.count);
        for at in 0..warmup {
            let next = timeout(STEP, self.receiver.next()).await;
            let event = next.with_context(|| format!("warm-up event {at} never came"))??;
            check(&event, first + at, self.asked.size)?;
        }
        runner.start().await;
        let end = Instant::now() + self.asked.duration() + Duration::from_secs(20);
        for at in 0..count {
            let next = timeout_at(end, self.receiver.next()).await;
            let now = now_ns();
            let event = next.with_context(|| format!("event {at} of {count} never came"))??;
            let sent = check(&event, first + warmup + at, self.asked.size)?;
            tally.hit(now.saturating_sub(sent), self.asked.size);
        }
        Ok(())
    }
}

/// The time at which an event was sent, if it is the one that is due.
fn check(event: &[u8], due: u64, size: usize) -> anyhow::Result<u64> {
    match parse_event(event) {
        Some((seq, sent)) if seq == due && event.len() == size => Ok(sent),
        Some((seq, _)) => bail!("expected event {due}, got {seq} of {} bytes", event.len()),
        None => bail!("not an event: {:?}", String::from_utf8_lossy(event)),
    }
}

async fn start_feed(control: &mut Side, rate: f64, size: usize, count: u64) -> anyhow::Result<u64> {
    let path = format!("/ctl/feed?rate={rate}&size={size}&count={count}");
    let answer = control.ask("POST", &path, Bytes::new()).await?;
    let answer: serde_json::Value = serde_json::from_slice(&answer)?;
    answer["first_seq"].as_u64().context("first_seq")
}

async fn await_feed(common: &Common, wanted: i64) -> anyhow::Result<()> {
    for _ in 0..400 {
        if backend_stats(common).await?["feed_conns"].as_i64() >= Some(wanted) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("the backend's feeds did not get {wanted} connections in 20 s")
}

//! WebSocket echo.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use futures_util::{SinkExt, StreamExt, stream};
use serde_json::json;
use streamgate_compare::{now_ns, ws_config};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::Common;
use crate::net::{Conn, Dialer, STEP, backend_stats};
use crate::pace::Pace;
use crate::phase::{Phases, Runner, StartLine};
use crate::tally::{Tally, collect};

pub type Ws = WebSocketStream<Conn>;

#[derive(Args, Clone)]
pub struct Echo {
    #[arg(long, default_value_t = 32)]
    conns: usize,
    /// Bytes per message.
    #[arg(long, default_value_t = 64)]
    size: usize,
    #[arg(long, default_value_t = 20_000)]
    count: i64,
    #[arg(long, default_value_t = 20)]
    warmup: usize,
    /// Messages per second in all; 0: as fast as echoes come.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
}

pub async fn open(c: &Common, dialer: &Dialer, i: usize, path: &str) -> anyhow::Result<Ws> {
    let io = dialer.dial(i).await?;
    let scheme = if c.plain { "ws" } else { "wss" };
    let url = format!("{scheme}://localhost:{}{path}", c.target.port());
    let go = tokio_tungstenite::client_async_with_config(url, io, Some(ws_config()));
    let (ws, _) = timeout(STEP, go)
        .await
        .context("WebSocket handshake: timed out")?
        .context("WebSocket handshake")?;
    Ok(ws)
}

/// A payload that no other message has.
pub fn payload(conn: usize, seq: u64, size: usize) -> Bytes {
    let mut b = format!("{conn}:{seq}:").into_bytes();
    let fill = b'a' + (seq % 26) as u8;
    b.resize(size.max(b.len()), fill);
    b.into()
}

pub async fn echo_once(ws: &mut Ws, data: Bytes) -> anyhow::Result<()> {
    ws.send(Message::Binary(data.clone())).await?;
    let got = timeout(STEP, ws.next())
        .await
        .context("echo: timed out")?
        .context("closed")??;
    ensure!(got == Message::Binary(data), "echo differs");
    Ok(())
}

pub async fn echo(c: Common, m: Echo) -> anyhow::Result<()> {
    let dialer = &Dialer::new(&c, "http/1.1", false)?;
    let open_one = |i: usize| open(&c, dialer, i, "/ws");
    let opened: Vec<_> = stream::iter(0..m.conns)
        .map(open_one)
        .buffer_unordered(64)
        .collect()
        .await;
    let left = Arc::new(AtomicI64::new(m.count));
    let mut line = StartLine::new();
    let mut set = JoinSet::new();
    for (id, socket) in opened.into_iter().enumerate() {
        let worker = Worker {
            m: m.clone(),
            id,
            left: left.clone(),
            seq: 0,
        };
        set.spawn(worker.run(socket?, line.runner()));
    }
    let mut phases = Phases::new(c.auto);
    line.all_ready(m.conns, Duration::from_secs(60)).await?;
    let count = async || {
        anyhow::Ok(
            backend_stats(&c).await?["ws_messages"]
                .as_u64()
                .unwrap_or(0),
        )
    };
    let before = count().await?;
    phases.say("ready", json!({})).await?;
    let t0 = line.go();
    let (sum, open) = collect(set, c.limit_s).await?;
    let mut out = sum.json(t0.elapsed());
    out["backend_units"] = json!(count().await? - before);
    phases.say("done", out).await?;
    drop(open);
    Ok(())
}

struct Worker {
    m: Echo,
    id: usize,
    left: Arc<AtomicI64>,
    seq: u64,
}

impl Worker {
    async fn run(mut self, mut socket: Ws, mut runner: Runner) -> (Tally, Ws) {
        let mut tally = Tally::default();
        for _ in 0..self.m.warmup {
            let data = self.next();
            if let Err(error) = echo_once(&mut socket, data).await {
                tally.miss(format!("warm-up: {error:#}"));
                break;
            }
        }
        let start = runner.start().await;
        let mut pace = Pace::new(start, self.m.rate, self.id, self.m.conns);
        while self.left.fetch_sub(1, Relaxed) > 0 {
            let data = self.next();
            let from = pace.turn().await;
            match echo_once(&mut socket, data).await {
                Ok(()) => tally.hit(now_ns() - from, self.m.size),
                Err(error) => {
                    tally.miss(error);
                    break;
                }
            }
        }
        (tally, socket)
    }

    fn next(&mut self) -> Bytes {
        self.seq += 1;
        payload(self.id, self.seq, self.m.size)
    }
}

//! Requests over connections that are kept.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::Empty;
use hyper::Request;
use serde_json::json;
use streamgate_compare::{big_body, now_ns, small_body};
use tokio::task::JoinSet;

use crate::Common;
use crate::net::{Client, Dialer, backend_stats, get};
use crate::pace::Pace;
use crate::phase::{Phases, Runner, StartLine};
use crate::tally::{Tally, collect};

#[derive(Args, Clone)]
pub struct Requests {
    #[arg(long, default_value_t = 32)]
    conns: usize,
    /// Requests in flight per connection (h2 only).
    #[arg(long, default_value_t = 16)]
    streams: usize,
    #[arg(long, default_value_t = 20_000)]
    count: i64,
    /// Warm-up requests per connection or stream.
    #[arg(long, default_value_t = 20)]
    warmup: usize,
    #[arg(long, default_value = "/small")]
    path: String,
    /// Ask below /r0, /r1, … in turn, so many of them; 0: for the path as it is.
    #[arg(long, default_value_t = 0)]
    spread: usize,
    /// Requests per second in all; 0: as fast as answers come.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
}

/// The backend's counter for a path, and the body that belongs to it.
pub fn body_of(path: &str) -> anyhow::Result<(&'static str, Bytes)> {
    match path {
        "/small" => Ok(("small", small_body())),
        "/big" => Ok(("big", big_body())),
        _ => anyhow::bail!("no known body for {path}"),
    }
}

pub async fn h1(c: Common, m: Requests) -> anyhow::Result<()> {
    let m = Requests { streams: 1, ..m };
    requests(c, m, false).await
}

pub async fn h2(c: Common, m: Requests) -> anyhow::Result<()> {
    requests(c, m, true).await
}

async fn requests(c: Common, m: Requests, h2: bool) -> anyhow::Result<()> {
    let dialer = Dialer::new(&c, if h2 { "h2" } else { "http/1.1" }, false)?;
    let (counter, body) = body_of(&m.path)?;
    let left = Arc::new(AtomicI64::new(m.count));
    let mut line = StartLine::new();
    let mut set = JoinSet::new();
    for i in 0..m.conns {
        let io = dialer.dial(i).await?;
        let first = if h2 {
            Client::h2(io).await?
        } else {
            Client::h1(io).await?
        };
        let mut clients = Vec::new();
        for _ in 1..m.streams {
            clients.push(first.share()?);
        }
        clients.push(first);
        for (s, client) in clients.into_iter().enumerate() {
            let w = Worker {
                c: c.clone(),
                m: m.clone(),
                h2,
                body: body.clone(),
                left: left.clone(),
                id: i + s * m.conns,
            };
            set.spawn(w.run(client, line.runner()));
        }
    }
    let mut phases = Phases::new(c.auto);
    line.all_ready(m.conns * m.streams, Duration::from_secs(60))
        .await?;
    let before = backend_stats(&c).await?[counter].as_u64().unwrap_or(0);
    phases.say("ready", json!({})).await?;
    let t0 = line.go();
    let (sum, open) = collect(set, c.limit_s).await?;
    let mut out = sum.json(t0.elapsed());
    out["backend_units"] = json!(backend_stats(&c).await?[counter].as_u64().unwrap_or(0) - before);
    phases.say("done", out).await?;
    drop(open);
    Ok(())
}

struct Worker {
    c: Common,
    m: Requests,
    h2: bool,
    body: Bytes,
    left: Arc<AtomicI64>,
    id: usize,
}

impl Worker {
    async fn run(self, mut client: Client, mut runner: Runner) -> (Tally, Client) {
        let mut t = Tally::default();
        let mut turn = self.id;
        for _ in 0..self.m.warmup {
            let request = self.request(&mut turn);
            if let Err(e) = client.get_checked(request, &self.body).await {
                t.miss(format!("warm-up: {e:#}"));
                break;
            }
        }
        let start = runner.start().await;
        let mut pace = Pace::new(start, self.m.rate, self.id, self.m.conns * self.m.streams);
        while self.left.fetch_sub(1, Relaxed) > 0 {
            let request = self.request(&mut turn);
            let from = pace.turn().await;
            match client.get_checked(request, &self.body).await {
                Ok(()) => t.hit(now_ns() - from, self.body.len()),
                Err(e) => {
                    t.miss(e);
                    break;
                }
            }
        }
        (t, client)
    }

    /// The next request. Workers begin at different places, and a step that has no divisor in common with a round number
    /// takes each of them over all routes.
    fn request(&self, turn: &mut usize) -> Request<Empty<Bytes>> {
        if self.m.spread == 0 {
            return get(&self.c, &self.m.path, self.h2);
        }
        *turn += 7919;
        let path = format!("/r{}{}", *turn % self.m.spread, self.m.path);
        get(&self.c, &path, self.h2)
    }
}

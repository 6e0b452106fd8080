//! A new TLS connection for each request.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use hyper::header::{CONNECTION, HeaderValue};
use serde_json::json;
use streamgate_compare::now_ns;
use tokio::task::JoinSet;

use crate::Common;
use crate::http::body_of;
use crate::net::{Client, Dialer, backend_stats, get};
use crate::phase::{Phases, StartLine};
use crate::tally::{Tally, collect};

#[derive(Args, Clone)]
pub struct NewConns {
    #[arg(long, default_value_t = 16)]
    conns: usize,
    #[arg(long, default_value_t = 4000)]
    count: i64,
    #[arg(long, default_value_t = 5)]
    warmup: usize,
    /// Resume TLS sessions (every connection after a worker's first).
    #[arg(long)]
    resume: bool,
}

pub async fn run(c: Common, m: NewConns) -> anyhow::Result<()> {
    let (counter, body) = body_of("/small")?;
    let left = Arc::new(AtomicI64::new(m.count));
    let mut line = StartLine::new();
    let mut set = JoinSet::new();
    for i in 0..m.conns {
        let (c, m, body, left, mut runner) = (
            c.clone(),
            m.clone(),
            body.clone(),
            left.clone(),
            line.runner(),
        );
        // A session store per worker: one ticket is used once.
        let dialer = Dialer::new(&c, "http/1.1", m.resume)?;
        set.spawn(async move {
            let (mut t, mut resumed) = (Tally::default(), 0u64);
            for k in 0..m.warmup {
                if let Err(e) = one_conn(&c, &dialer, i + k, &body).await {
                    t.miss(format!("warm-up: {e:#}"));
                    break;
                }
            }
            runner.start().await;
            let mut k = i;
            while left.fetch_sub(1, Relaxed) > 0 {
                let from = now_ns();
                k += 1;
                match one_conn(&c, &dialer, k, &body).await {
                    Ok(r) => {
                        t.hit(now_ns() - from, body.len());
                        resumed += r as u64;
                    }
                    Err(e) => t.miss(e),
                }
            }
            (t, resumed)
        });
    }
    let mut phases = Phases::new(c.auto);
    line.all_ready(m.conns, Duration::from_secs(60)).await?;
    let before = backend_stats(&c).await?[counter].as_u64().unwrap_or(0);
    phases.say("ready", json!({})).await?;
    let t0 = line.go();
    let (sum, resumed) = collect(set, c.limit_s).await?;
    let mut out = sum.json(t0.elapsed());
    let resumed: u64 = resumed.iter().sum();
    out["resumed"] = json!(resumed);
    out["backend_units"] = json!(backend_stats(&c).await?[counter].as_u64().unwrap_or(0) - before);
    let odd = if m.resume { sum.ok - resumed } else { resumed };
    out["wrong_handshakes"] = json!(odd);
    phases.say("done", out).await
}

/// Connect, one request, close; true where the TLS session was resumed.
async fn one_conn(c: &Common, dialer: &Dialer, i: usize, body: &[u8]) -> anyhow::Result<bool> {
    let io = dialer.dial(i).await?;
    let resumed = io.resumed();
    let mut req = get(c, "/small", false);
    req.headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    Client::h1(io).await?.get_checked(req, body).await?;
    ensure!(!c.plain || !resumed);
    Ok(resumed)
}

//! Open many connections, use each once, hold them, and check that all still live.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::FutureExt;
use serde_json::json;
use streamgate_compare::now_ns;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::event_stream::SseStream;
use crate::net::{Dialer, backend_stats};
use crate::phase::Phases;
use crate::tally::{Tally, collect};
use crate::ws::Ws;
use crate::{Common, Transport, ws};

#[derive(Args, Clone)]
pub struct Idle {
    #[arg(long)]
    transport: Transport,
    #[arg(long, default_value_t = 10_000)]
    conns: usize,
    /// Default: /ws, or /sse?rate=0.
    #[arg(long)]
    path: Option<String>,
    /// Connections being opened at one time.
    #[arg(long, default_value_t = 64)]
    opening: usize,
}

enum Held {
    Ws(Box<Ws>),
    Sse(Box<SseStream>),
    Nothing,
}

pub async fn run(c: Common, m: Idle) -> anyhow::Result<()> {
    let dialer = Dialer::new(&c, "http/1.1", false)?;
    let path = m.path.clone().unwrap_or_else(|| match m.transport {
        Transport::Ws => "/ws".into(),
        Transport::Sse => "/sse?rate=0".into(),
    });
    let mut phases = Phases::new(c.auto);
    // Nothing is open yet: the caller takes the proxy's memory at rest.
    phases.say("start", json!({})).await?;
    let t0 = Instant::now();
    let gate = Arc::new(Semaphore::new(m.opening));
    let mut set = JoinSet::new();
    for i in 0..m.conns {
        let (c, m, dialer, path, gate) = (
            c.clone(),
            m.clone(),
            dialer.clone(),
            path.clone(),
            gate.clone(),
        );
        set.spawn(async move {
            let _turn = gate.acquire().await.expect("never closed");
            let (mut t, from) = (Tally::default(), now_ns());
            let held = match m.transport {
                Transport::Ws => open_ws(&c, &dialer, i, &path)
                    .await
                    .map(|w| Held::Ws(Box::new(w))),
                Transport::Sse => SseStream::open(&c, &dialer, i, &path)
                    .await
                    .map(|s| Held::Sse(Box::new(s))),
            };
            match held {
                Ok(h) => {
                    t.hit(now_ns() - from, 0);
                    (t, h)
                }
                Err(e) => {
                    t.miss(e);
                    (t, Held::Nothing)
                }
            }
        });
    }
    let (opened, mut held) = collect(set, 300).await?;
    let mut out = opened.json(t0.elapsed());
    let b = backend_stats(&c).await?;
    out["backend_conns"] =
        json!(b["ws_conns"].as_i64().unwrap_or(0) + b["sse_conns"].as_i64().unwrap_or(0));
    phases.say("holding", out).await?;

    // The HTTP client reads a body only once it is asked for: ask all, give an end
    // that has come time to be seen, and ask again below.
    let mut alive = Tally::default();
    for h in &mut held {
        if let Held::Sse(s) = h
            && let Some(end) = s.next().now_or_never()
        {
            alive.miss(format!("on an idle stream: {end:?}"));
            *h = Held::Nothing;
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (i, h) in held.iter_mut().enumerate() {
        let from = now_ns();
        let r = match h {
            Held::Ws(ws) => ws::echo_once(ws, ws::payload(i, 2, 32)).await,
            // Comments (keep-alives) may have come; an end, an error or an event must not.
            Held::Sse(s) => match s.next().now_or_never() {
                None => Ok(()),
                Some(Ok(event)) => Err(anyhow::anyhow!("an event on an idle stream: {event:?}")),
                Some(Err(e)) => Err(e),
            },
            Held::Nothing => continue,
        };
        match r {
            Ok(()) => alive.hit(now_ns() - from, 0),
            Err(e) => alive.miss(e),
        }
    }
    phases.say("done", alive.json(Duration::from_secs(1))).await
}

async fn open_ws(c: &Common, dialer: &Dialer, i: usize, path: &str) -> anyhow::Result<Ws> {
    let mut ws = ws::open(c, dialer, i, path).await?;
    ws::echo_once(&mut ws, ws::payload(i, 1, 32)).await?;
    Ok(ws)
}

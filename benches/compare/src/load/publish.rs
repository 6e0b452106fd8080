//! Feeds a fan-out peer that is published to over HTTP, from the backend's /feed:
//! one POST per message, in order, on one connection (kept where the peer keeps it). The message's timestamp
//! is set anew just before the POST, so that the peer is not charged for the hop
//! through this process (--keep-time leaves it).

use anyhow::Context;
use clap::{Args, ValueEnum};
use futures_util::StreamExt;
use serde_json::json;
use streamgate_compare::{event, now_ns, parse_event, ws_config};
use tokio::net::TcpStream;

use crate::Common;
use crate::net::Side;
use crate::phase::Phases;
use crate::tally::Tally;

#[derive(Clone, Copy, ValueEnum)]
enum Style {
    /// The message is the body (nchan).
    Raw,
    /// A GRIP publish of one http-stream item on channel "feed" (pushpin).
    Grip,
}

#[derive(Args, Clone)]
pub struct Publish {
    /// host:port of the peer's publish listener.
    #[arg(long)]
    to: String,
    #[arg(long)]
    path: String,
    #[arg(long)]
    style: Style,
    /// Leave the backend's timestamp: latency then counts the queue before the POST.
    #[arg(long)]
    keep_time: bool,
}

pub async fn run(c: Common, m: Publish) -> anyhow::Result<()> {
    let tcp = TcpStream::connect(c.backend).await?;
    tcp.set_nodelay(true)?;
    let url = format!("ws://{}/feed", c.backend);
    let (mut ws, _) =
        tokio_tungstenite::client_async_with_config(url, tcp, Some(ws_config())).await?;
    let mut peer = Side::open(&m.to).await?;
    let mut phases = Phases::new(c.auto);
    let mut t = Tally::default();
    let mut quit = Box::pin(phases.say("ready", json!({})));
    loop {
        let msg = tokio::select! {
            m = ws.next() => m.context("feed ended")??,
            _ = &mut quit => break,
        };
        if !msg.is_text() {
            continue;
        }
        let data = msg.into_data();
        let (seq, sent) = parse_event(&data).context("not an event")?;
        if let Err(e) = peer.ready().await {
            t.miss(e);
            continue;
        }
        let now = now_ns();
        let text = event(seq, if m.keep_time { sent } else { now }, data.len());
        let body = match m.style {
            Style::Raw => text,
            Style::Grip => json!({"items": [{
                "channel": "feed",
                "formats": {"http-stream": {"content": format!("data: {text}\n\n")}}
            }]})
            .to_string(),
        };
        match peer.ask("POST", &m.path, body.into()).await {
            Ok(_) => t.hit(now_ns() - now, 0),
            Err(e) => t.miss(e),
        }
    }
    drop(quit);
    let mut out = t.json(std::time::Duration::from_secs(1));
    out["phase"] = json!("published");
    println!("{out}");
    Ok(())
}

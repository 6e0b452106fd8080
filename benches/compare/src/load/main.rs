//! The load generator. One mode per run; every response is checked.
//!
//! Phases, one JSON line each on stdout: `{"phase":"ready"}` after set-up and warm-up, then (unless `--auto`) it waits for
//! a line on stdin; the measured part; `{"phase":"done",…}` with the result, connections still open; it waits for another
//! line, then ends. So the caller can read the proxy's CPU clock exactly around the measured part.

mod event_stream;
mod http;
mod idle;
mod net;
mod new_conns;
mod pace;
mod phase;
mod publish;
mod stream;
mod tally;
mod ws;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Args, Clone)]
pub struct Common {
    /// The proxy under test.
    #[arg(long, default_value = "127.0.0.1:22001")]
    pub target: SocketAddr,
    /// The backend, asked directly for control and counters.
    #[arg(long, default_value = "127.0.0.1:22001")]
    pub backend: SocketAddr,
    /// Certificate that the proxy must present (or its issuer), PEM.
    #[arg(long)]
    pub ca: Option<PathBuf>,
    /// No TLS: measure the backend directly, as a floor.
    #[arg(long)]
    pub plain: bool,
    /// TLS 1.2 in place of 1.3, for a peer that has no more.
    #[arg(long)]
    pub tls12: bool,
    /// Do not wait for lines on stdin between the phases.
    #[arg(long)]
    pub auto: bool,
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// Give up on the measured part after this many seconds.
    #[arg(long, default_value_t = 90)]
    pub limit_s: u64,
}

#[derive(Subcommand)]
enum Mode {
    /// Keep-alive requests over HTTP/1.1.
    H1(http::Requests),
    /// Requests over HTTP/2, `streams` in flight on each connection.
    H2(http::Requests),
    /// A new TLS connection for each request.
    H1New(new_conns::NewConns),
    /// WebSocket echo.
    WsEcho(ws::Echo),
    /// Open many connections and hold them.
    Idle(idle::Idle),
    /// Streams of timestamped events.
    Stream(stream::Streams),
    /// Feed a fan-out peer over HTTP from the backend's /feed.
    Publish(publish::Publish),
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub enum Transport {
    Sse,
    Ws,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    streamgate_compare::raise_nofile(200_000);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cli.common.threads)
        .enable_all()
        .build()?
        .block_on(async {
            let c = cli.common;
            match cli.mode {
                Mode::H1(m) => http::h1(c, m).await,
                Mode::H2(m) => http::h2(c, m).await,
                Mode::H1New(m) => new_conns::run(c, m).await,
                Mode::WsEcho(m) => ws::echo(c, m).await,
                Mode::Idle(m) => idle::run(c, m).await,
                Mode::Stream(m) => stream::run(c, m).await,
                Mode::Publish(m) => publish::run(c, m).await,
            }
        })
}

//! The conversation with the caller, and the start line of the workers.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

pub struct Phases {
    auto: bool,
    stdin: Lines<BufReader<Stdin>>,
}

impl Phases {
    pub fn new(auto: bool) -> Self {
        Phases {
            auto,
            stdin: BufReader::new(tokio::io::stdin()).lines(),
        }
    }

    /// Prints one phase line and waits for the caller's answer.
    pub async fn say(&mut self, phase: &str, mut v: Value) -> anyhow::Result<()> {
        v["phase"] = json!(phase);
        println!("{v}");
        if !self.auto {
            anyhow::ensure!(self.stdin.next_line().await?.is_some(), "caller has gone");
        }
        Ok(())
    }
}

/// Workers report that they are ready and then wait for the common start.
#[derive(Clone)]
pub struct Runner {
    ready: mpsc::UnboundedSender<()>,
    go: watch::Receiver<Option<Instant>>,
}

pub struct StartLine {
    ready: mpsc::UnboundedReceiver<()>,
    go: watch::Sender<Option<Instant>>,
    runner: Runner,
}

impl StartLine {
    pub fn new() -> Self {
        let (ready_tx, ready) = mpsc::unbounded_channel();
        let (go, go_rx) = watch::channel(None);
        StartLine {
            ready,
            go,
            runner: Runner {
                ready: ready_tx,
                go: go_rx,
            },
        }
    }

    pub fn runner(&self) -> Runner {
        self.runner.clone()
    }

    /// Waits until `n` workers are ready. Err says how many were.
    pub async fn all_ready(&mut self, n: usize, limit: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + limit;
        for got in 0..n {
            if tokio::time::timeout_at(end, self.ready.recv())
                .await
                .is_err()
            {
                anyhow::bail!("only {got} of {n} workers were ready after {limit:?}");
            }
        }
        Ok(())
    }

    /// Lets all workers start; returns the common start time.
    pub fn go(&self) -> Instant {
        let t = Instant::now();
        self.go.send_replace(Some(t));
        t
    }
}

impl Runner {
    pub async fn start(&mut self) -> Instant {
        let _ = self.ready.send(());
        let t = self
            .go
            .wait_for(Option::is_some)
            .await
            .expect("start line dropped");
        t.expect("checked")
    }
}

//! The operator's tools: what the admin listener says.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Gate, Head, Wire, connect, within};

/// An admin listener on a port of its own.
pub const ADMIN: &str = "[admin]\naddress = \"127.0.0.1:0\"\n";

/// Asks the program's admin listener.
pub struct Admin {
    /// Where it listens.
    pub address: SocketAddr,
}

/// One answer to `/metrics`.
#[derive(Debug)]
pub struct Scrape(pub String);

impl Scrape {
    /// The value of a series, given as it stands there: name, and labels in their order.
    pub fn value(&self, series: &str) -> Option<f64> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(series));
        let value = line.and_then(|rest| rest.strip_prefix(' '));
        value.map(|value| value.parse().expect("a series has a number"))
    }
}

impl Admin {
    /// The admin listener that the program says it has.
    pub async fn of(gate: &Gate) -> Self {
        Self::since(gate, 0).await
    }

    /// The one that it began after a mark in the log.
    pub async fn since(gate: &Gate, mark: usize) -> Self {
        let said = gate.log.wait(mark, "the admin listener", |line| {
            line.message() == "admin listening"
        });
        let local = said.await.text("local").unwrap();
        Self {
            address: local.parse().unwrap(),
        }
    }

    /// One request, by which Prometheus would ask.
    pub async fn ask(&self, method: &str, path: &str) -> (Head, String) {
        let accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.2,*/*;q=0.1";
        self.ask_with(method, path, &format!("Accept: {accept}\r\n"))
            .await
    }

    /// One request with fields of the test's own.
    pub async fn ask_with(&self, method: &str, path: &str, fields: &str) -> (Head, String) {
        let mut wire = Wire::new(connect(self.address).await);
        wire.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: admin\r\n{fields}\r\n"
        ))
        .await;
        let head = wire.head_of_answer_to(method).await;
        (head, wire.text().await)
    }

    /// What `/metrics` says now.
    pub async fn scrape(&self) -> Scrape {
        let (head, text) = self.ask("GET", "/metrics").await;
        assert_eq!(head.status(), 200);
        Scrape(text)
    }

    /// Scrapes until all series have these values: what was counted is added once a second.
    pub async fn counts(&self, expected: &[(&str, f64)]) -> Scrape {
        let mut last = Scrape(String::new());
        // Often enough, and not so often that the scrapes are what the program is busy with.
        let mut pace = tokio::time::interval(Duration::from_millis(50));
        let all = async {
            loop {
                pace.tick().await;
                last = self.scrape().await;
                let fits = |(series, value): &(&str, f64)| last.value(series) == Some(*value);
                if expected.iter().all(fits) {
                    return;
                }
            }
        };
        let limit = tokio::time::timeout(super::PATIENCE, all).await;
        if limit.is_err() {
            let found: Vec<_> = expected
                .iter()
                .map(|(series, value)| format!("{series}: {:?}, not {value}", last.value(series)))
                .collect();
            panic!("{}\nin:\n{}", found.join("\n"), last.0);
        }
        last
    }

    /// Waits until it accepts no more.
    pub async fn ends(&self) {
        within("the admin listener's end", async {
            while tokio::net::TcpStream::connect(self.address).await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

//! The operator's tools: what the admin listener says.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;

use super::{Gate, Head, Wire, connect, within};

/// An admin listener on a port of its own.
pub const ADMIN: &str = "[admin]\naddress = \"127.0.0.1:0\"\n";

/// Both ways to the admin API.
pub const ADMIN_API: &str = "[admin]\naddress = \"127.0.0.1:0\"\nsocket = \"admin.sock\"\n";

/// Asks the program over its admin socket, `admin.sock`, as its own user.
pub struct AdminSocket(PathBuf);

impl AdminSocket {
    /// That of a program whose configuration has it.
    pub fn of(gate: &Gate) -> Self {
        Self(gate.directory().path().join("admin.sock"))
    }

    /// One request.
    pub async fn ask(&self, method: &str, target: &str, body: &str) -> (Head, String) {
        let stream = within("the socket", UnixStream::connect(&self.0)).await;
        ask_over(stream.unwrap(), (method, target), &[], body).await
    }

    /// What it says to a `GET`, which succeeds.
    pub async fn get(&self, target: &str) -> Value {
        let (head, text) = self.ask("GET", target, "").await;
        assert_eq!(head.status(), 200, "{target}: {text}");
        assert_eq!(head.get("content-type"), Some("application/json"));
        serde_json::from_str(&text).unwrap()
    }

    /// The streams that fit `filters` (such as `&kind=tunnel`), once there are so many.
    pub async fn streams(&self, filters: &str, count: usize) -> Vec<Value> {
        let all = async {
            loop {
                let told = self.get(&format!("/api/streams?limit=1000{filters}")).await;
                let streams = told["streams"].as_array().unwrap().clone();
                if streams.len() == count {
                    return streams;
                }
                tokio::task::yield_now().await;
            }
        };
        within(&format!("{count} streams"), all).await
    }
}

/// One request, over whatever reaches the listener, to `localhost` unless a field says otherwise.
async fn ask_over<S>(
    stream: S,
    (method, target): (&str, &str),
    fields: &[(&str, &str)],
    body: &str,
) -> (Head, String)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut wire = Wire::new(stream);
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if fields.iter().all(|(name, _)| *name != "Host") {
        head += "Host: localhost\r\n";
    }
    for (name, value) in fields {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    wire.send(format!("{head}\r\n{body}")).await;
    let head = wire.head_of_answer_to(method).await;
    (head, wire.text().await)
}

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
        self.ask_with((method, path), &[("accept", accept)], "")
            .await
    }

    /// One request with fields and a body.
    pub async fn ask_with(
        &self,
        asked: (&str, &str),
        fields: &[(&str, &str)],
        body: &str,
    ) -> (Head, String) {
        ask_over(connect(self.address).await, asked, fields, body).await
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

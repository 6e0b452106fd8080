//! A backend with a name and a health that a test switches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tokio::net::TcpStream;

use super::{Backend, Exchange, Head, Wire};

/// Where it is asked how it is.
pub const CHECK: &str = "/healthz";

/// It answers `/healthz` with its health, a handshake with a tunnel that echoes, `/events` with an event stream that does
/// not end, and everything else with its name.
pub struct Checked {
    backend: Backend,
    health: Arc<AtomicU16>,
}

impl Checked {
    /// A healthy one.
    pub async fn named(name: &'static str) -> Self {
        let health = Arc::new(AtomicU16::new(200));
        let told = Arc::clone(&health);
        let behaviour = move |exchange| {
            let health = told.load(Ordering::SeqCst);
            answer(exchange, name, health)
        };
        Self {
            backend: Backend::that(behaviour).await,
            health,
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.backend.address())
    }

    /// Host and port.
    pub fn address(&self) -> String {
        self.backend.address().to_string()
    }

    /// What `/healthz` says from now on.
    pub fn says(&self, status: u16) {
        self.health.store(status, Ordering::SeqCst);
    }

    /// The requests that were no checks.
    pub fn requests(&self) -> Vec<Head> {
        let mut requests = self.backend.requests();
        requests.retain(|request| !request.target().starts_with(CHECK));
        requests
    }

    /// The checks.
    pub fn checks(&self) -> Vec<Head> {
        let mut requests = self.backend.requests();
        requests.retain(|request| request.target().starts_with(CHECK));
        requests
    }
}

async fn answer(mut exchange: Exchange, name: &str, health: u16) -> Option<Wire<TcpStream>> {
    let target = exchange.request.target().to_owned();
    if target.starts_with(CHECK) {
        exchange.answer(&format!("{health} So"), "").await;
        return None;
    }
    if exchange.request.get("sec-websocket-key").is_some() {
        let mut tunnel = exchange.into_tunnel().await;
        while let Some(bytes) = tunnel.some_raw().await {
            tunnel.send(bytes).await;
        }
        return None;
    }
    if target.starts_with("/events") {
        exchange.answer_in_chunks("text/event-stream").await;
        exchange.wire.send_chunk(format!("data: {name}\n\n")).await;
        exchange.wire.raw_until_close_unbounded().await;
        return None;
    }
    exchange.answer("200 OK", name).await;
    Some(exchange.wire)
}

/// `[upstream.app]` with these servers and keys, and a route for every request to it.
pub fn balanced(servers: &[&str], keys: &str) -> String {
    let quoted: Vec<String> = servers
        .iter()
        .map(|server| match server.starts_with('{') {
            true => (*server).to_owned(),
            false => format!("\"{server}\""),
        })
        .collect();
    let servers = quoted.join(", ");
    format!(
        "[upstream.app]\nservers = [{servers}]\n{keys}\n[[route]]\npath = \"/*\"\nupstream = \"app\"\n"
    )
}

/// The URL of a server that is not there.
pub fn refusing() -> String {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}")
}

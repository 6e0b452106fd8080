//! Requests as bytes: what a backend gets of them, and what the client is told.
//!
//! Each case is sent on a connection of its own. A backend records the requests that reach it, with the framing and
//! the bytes of their bodies; then the client's responses are counted, and whether its connection is closed or serves
//! another request. Nothing that two parsers could read in two ways may reach the backend in any form.

mod passed;
mod refused;
mod upgrades;

use std::sync::{Arc, Mutex};

use crate::harness::{Backend, Gate, Wire};

/// The whole requests that have reached the backend: method, target, framing, body.
type Record = Arc<Mutex<Vec<String>>>;

/// What becomes of the client's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Closed,
    /// It takes another request.
    Kept,
}

/// A program before a backend that writes down what it gets.
struct Recorder {
    gate: Gate,
    record: Record,
    _backend: Backend,
}

impl Recorder {
    async fn start() -> Self {
        let record = Record::default();
        let backend = recording(Arc::clone(&record)).await;
        let gate = Gate::start(&backend.for_everything()).await;
        Self {
            gate,
            record,
            _backend: backend,
        }
    }

    /// Sends `bytes` and demands these responses, this end and these requests at the backend.
    async fn demand(&self, bytes: &[u8], responses: &[u16], then: Then, requests: &[&str]) {
        let case = bytes.escape_ascii().to_string();
        let case = &case[..case.len().min(200)];
        self.record.lock().unwrap().clear();
        let mut client = self.gate.clear().await;
        // Of a long request the program may have had enough before its end.
        let _ = client.try_send(bytes).await;
        let method = if bytes.starts_with(b"HEAD") {
            "HEAD"
        } else {
            "GET"
        };
        for status in responses {
            let head = client.head_of_answer_to(method).await;
            assert_eq!(head.status(), *status, "{case}: {head:?}");
            if head.status() >= 400 {
                let cause = head.get("proxy-status").unwrap_or_default();
                assert!(cause.starts_with("streamgate"), "{case}: {head:?}");
            }
            client.body().await;
        }
        match then {
            Then::Closed => client.closes().await,
            Then::Kept => {
                client
                    .send("GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    .await;
                assert_eq!(client.head().await.status(), 200, "{case}");
            }
        }
        let mut expected: Vec<&str> = requests.to_vec();
        if then == Then::Kept {
            expected.push("GET /next none ");
        }
        assert_eq!(*self.record.lock().unwrap(), expected, "{case}");
    }
}

/// A backend that answers each whole request with 200, and writes it down first.
async fn recording(record: Record) -> Backend {
    let answer = move |mut exchange: crate::harness::Exchange| {
        let record = Arc::clone(&record);
        async move {
            let framing = match exchange.wire.framing() {
                crate::harness::Body::None => "none",
                crate::harness::Body::Chunked => "chunked",
                crate::harness::Body::Length(_) => "length",
                crate::harness::Body::UntilClose => "until close",
            };
            let mut body = Vec::new();
            while let Some(piece) = exchange.wire.piece().await.ok()? {
                body.extend_from_slice(&piece);
            }
            let (method, target) = (exchange.request.method(), exchange.request.target());
            let line = format!("{method} {target} {framing} {}", body.escape_ascii());
            record.lock().unwrap().push(line);
            if exchange.request.method() == "HEAD" {
                let head = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n";
                exchange.wire.send(head).await;
            } else {
                exchange.answer("200 OK", "fine").await;
            }
            Some::<Wire<_>>(exchange.wire)
        }
    };
    Backend::that(answer).await
}

//! curl reads what does not end: over every version of HTTP, of every type that is made to go on, and compressed by
//! the backend.

use std::process::Stdio;

use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout};

use crate::clients::curl;
use crate::harness::{Backend, Exchange, Gate, within};

const VERSIONS: [(&str, &str); 3] = [
    ("--http1.0", "HTTP/1.0"),
    ("--http1.1", "HTTP/1.1"),
    ("--http2", "HTTP/2.0"),
];

/// A curl that goes on until it is dropped.
struct Curl {
    _child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Curl {
    fn start(gate: &Gate, arguments: &[&str]) -> Self {
        let mut command = curl(gate, &[&["--no-buffer"], arguments].concat(), "/stream");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self {
            _child: child,
            stdout,
        }
    }

    /// Waits until curl has written exactly this.
    async fn says(&mut self, expected: &str) {
        let mut said = vec![0; expected.len()];
        let read = within("curl's words", self.stdout.read_exact(&mut said)).await;
        read.unwrap_or_else(|error| panic!("before {expected:?}: {error}"));
        assert_eq!(String::from_utf8_lossy(&said), expected);
    }

    /// Waits until curl has said all, and demands that this be no more.
    async fn ends(mut self) {
        let mut rest = String::new();
        let read = within("curl's end", self.stdout.read_to_string(&mut rest)).await;
        read.unwrap();
        assert_eq!(rest, "");
        let status = within("curl's end", self._child.wait()).await.unwrap();
        assert!(status.success(), "curl: {status}");
    }
}

/// Sends the pieces of a stream, each once curl has shown the one before, over every version of HTTP.
async fn shows_piece_by_piece(content_type: &str, pieces: &[&str]) {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    for (flag, version) in VERSIONS {
        let mark = gate.log.mark();
        let mut client = Curl::start(&gate, &[flag]);
        let mut exchange = backend.next().await;
        exchange.answer_in_chunks(content_type).await;
        for piece in pieces {
            exchange.wire.send_chunk(piece).await;
            client.says(piece).await;
        }
        exchange.wire.end_chunks().await;
        client.ends().await;
        let opened = gate
            .log
            .wait(mark, "the stream", |line| line.message() == "stream open");
        assert!(opened.await.has("version", version));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_shows_events_over_every_version() {
    let pieces = ["data: one\n\n", ": two\n\n", "data: th", "ree\n\n"];
    shows_piece_by_piece("text/event-stream", &pieces).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_shows_json_line_by_line() {
    let pieces = ["{\"n\":1}\n", "{\"n\":", "2}\n", "{\"n\":3}"];
    shows_piece_by_piece("application/x-ndjson", &pieces).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_shows_a_camera_picture_by_picture() {
    let picture = "--next\r\nContent-Type: image/x\r\nContent-Length: 4\r\n\r\nf\r\nm\r\n";
    let pieces = [picture, picture, "--next", "--\r\n"];
    shows_piece_by_piece("multipart/x-mixed-replace;boundary=next", &pieces).await;
}

/// What a compressor writes that is flushed after each event: a deflate block that is only stored (RFC 1951 section
/// 3.2.4), the first behind gzip's head (RFC 1952).
fn flushed(event: &str, is_first: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    if is_first {
        bytes.extend_from_slice(b"\x1f\x8b\x08\0\0\0\0\0\0\xff");
    }
    let length = u16::try_from(event.len()).unwrap();
    bytes.push(0);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&(!length).to_le_bytes());
    bytes.extend_from_slice(event.as_bytes());
    bytes
}

async fn answers_compressed(exchange: &mut Exchange) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: gzip\r\n\
                Vary: Accept-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n";
    exchange.wire.send(head).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_shows_events_that_the_backend_compresses() {
    let mut backend = Backend::by_hand().await;
    // Nothing may be said between events that the program cannot read, however long they are silent.
    let text = format!("{}heartbeat = \"100ms\"\n", backend.for_everything());
    let gate = Gate::start(&text).await;
    for (flag, _version) in VERSIONS {
        let mut client = Curl::start(&gate, &[flag, "--compressed"]);
        let mut exchange = backend.next().await;
        let accepted = exchange.request.get("accept-encoding").unwrap();
        assert!(accepted.contains("gzip"), "{accepted}");
        answers_compressed(&mut exchange).await;
        for number in 0..4 {
            let event = format!("data: {number}\n\n");
            exchange.wire.send_chunk(flushed(&event, number == 0)).await;
            client.says(&event).await;
            crate::harness::silence(std::time::Duration::from_millis(250)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_event_stream_passes_byte_by_byte() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET /stream HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    answers_compressed(&mut exchange).await;
    let head = client.head().await;
    assert_eq!(head.get("content-encoding"), Some("gzip"));
    assert_eq!(head.get("vary"), Some("Accept-Encoding"));
    for number in 0..3 {
        let bytes = flushed(&format!("data: {number}\n\n"), number == 0);
        exchange.wire.send_chunk(&bytes).await;
        assert_eq!(client.body_bytes(bytes.len()).await, bytes);
    }
}

//! Event streams of a backend at the libraries that people read them with: npm's eventsource and eventsource-parser,
//! Python's httpx-sse, and the OpenAI client.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::harness::{
    Backend, Exchange, Gate, H2Client, Heard, Subscriber, authority_file, every_kind_of_event,
    meant, node, python, silence, within, within_time,
};

/// A program that prints what it hears, a line each.
pub struct Listener {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    stdin: Option<ChildStdin>,
}

impl Listener {
    /// Starts it.
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let stdin = child.stdin.take();
        Self {
            child,
            lines,
            stdin,
        }
    }

    /// A script for Node, which trusts the tests' authority.
    pub fn node(gate: &Gate, script: &str, path: &str) -> Command {
        let mut command = node(script);
        command
            .env(
                "NODE_EXTRA_CA_CERTS",
                authority_file(gate.directory().path()),
            )
            .arg(format!("https://localhost:{}{path}", gate.https.port()));
        command
    }

    /// A script for Python, which is told the address and the authority.
    pub fn python(gate: &Gate, script: &str, path: &str) -> Command {
        let mut command = python(script);
        command
            .arg(format!("https://localhost:{}{path}", gate.https.port()))
            .arg(authority_file(gate.directory().path()));
        command
    }

    /// The next line.
    pub async fn line(&mut self) -> String {
        let line = within("a line of the client's", self.lines.next_line()).await;
        line.unwrap().expect("the client goes on")
    }

    /// The next line, which is JSON.
    pub async fn json(&mut self) -> Value {
        serde_json::from_str(&self.line().await).unwrap()
    }

    /// Lets the program end, which must be a success.
    async fn ends(mut self) {
        drop(self.stdin.take());
        let status = within("the client's end", self.child.wait()).await;
        assert!(status.unwrap().success());
        assert_eq!(self.lines.next_line().await.unwrap(), None);
    }
}

/// A client that leaves ends the backend's request within this: the promise is 100 ms, the rest is for a busy machine.
const LEAVING: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn eventsource_hears_what_was_meant_and_comes_back_by_its_id() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = Listener::start(Listener::node(&gate, "eventsource_follow.js", "/events"));
    let mut exchange = backend.next().await;
    assert_eq!(exchange.request.get("accept"), Some("text/event-stream"));
    exchange.answer_in_chunks("text/event-stream").await;
    for piece in every_kind_of_event() {
        exchange.wire.send_chunk(piece).await;
    }
    for (name, data, id) in meant() {
        let said = client.json().await;
        assert_eq!([&said[0], &said[1]], [name, &data]);
        // This package gives an id only to the event that has brought it.
        assert!(said[2] == "" || said[2] == id, "{said}");
    }
    // A break in the middle of an event: the id that it had does not count.
    exchange.wire.send_chunk("id: 4\ndata: half\n").await;
    exchange.reset();
    let mut exchange = backend.next().await;
    assert_eq!(exchange.request.get("last-event-id"), Some("3"));
    exchange.answer_in_chunks("text/event-stream").await;
    exchange.wire.send_chunk("data: again\n\n").await;
    assert_eq!(client.json().await, json!(["message", "again", ""]));
    exchange.wire.closes_within(LEAVING).await;
    client.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_come_between_events_and_change_none() {
    const SILENCE: Duration = Duration::from_millis(150);
    let mut backend = Backend::by_hand().await;
    let text = format!("{}heartbeat = \"100ms\"\n", backend.for_everything());
    let gate = Gate::start(&text).await;
    let wire = gate.tls().await;
    let mut over_h2 = H2Client::connect(&gate).await;
    let clients = async {
        let first = async {
            let mut wire = wire;
            wire.send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await;
            wire.head().await;
            Subscriber::over(wire).until_end().await
        };
        let second = async {
            Subscriber::over_h2(over_h2.get("/events").await)
                .until_end()
                .await
        };
        tokio::join!(first, second)
    };
    let play = async {
        let (mut first, mut second) = (backend.next().await, backend.next().await);
        for exchange in [&mut first, &mut second] {
            exchange.answer_in_chunks("text/event-stream").await;
        }
        for piece in every_kind_of_event() {
            first.wire.send_chunk(&piece).await;
            second.wire.send_chunk(&piece).await;
            silence(SILENCE).await;
        }
        first.wire.end_chunks().await;
        second.wire.end_chunks().await;
    };
    let ((first, second), ()) = within_time(Duration::from_secs(30), "the end", async {
        tokio::join!(clients, play)
    })
    .await;
    for heard in [first, second] {
        let events = heard.iter().filter_map(|heard| match heard {
            Heard::Event(event) => Some((&*event.name, event.data.clone(), &*event.id)),
            _ => None,
        });
        assert_eq!(events.collect::<Vec<_>>(), meant());
        let comments = heard
            .iter()
            .filter(|heard| matches!(heard, Heard::Comment(_)));
        // The backend's own are two. Of its silences, a dozen fall between two events.
        let comments = comments.count();
        assert!(comments >= 2 + 4, "{comments} comments");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eventsource_parser_reads_the_answer_to_a_post_and_leaves_in_the_middle() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut command = Listener::node(&gate, "eventsource_parser_read.js", "/chat");
    command.arg("4");
    let mut client = Listener::start(command);
    let mut exchange = backend.next().await;
    assert_eq!(exchange.wire.text().await, "question");
    exchange.answer_in_chunks("text/event-stream").await;
    for number in 0..4 {
        let event = format!("event: token\r\nid: {number}\r\ndata: gr\u{fc}\u{df}e\r\n\r\n");
        for byte in event.as_bytes() {
            exchange.wire.send_chunk([*byte]).await;
        }
        // The backend says no more until the client has this.
        let expected = json!(["token", "grüße", number.to_string()]);
        assert_eq!(client.json().await, expected);
    }
    exchange.wire.closes_within(LEAVING).await;
    client.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn httpx_sse_resumes_over_both_versions() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    for version in ["1", "2"] {
        let mut command = Listener::python(&gate, "httpx_sse_resume.py", "/events");
        command.args(["5", version]);
        let mut client = Listener::start(command);
        let protocol = ["HTTP/1.1", "HTTP/2"][usize::from(version == "2")];
        let mut exchange = backend.next().await;
        assert_eq!(exchange.request.get("last-event-id"), None);
        exchange.answer_in_chunks("text/event-stream").await;
        assert_eq!(client.line().await, protocol);
        let first = "retry: 30\nid: 1\ndata: one\n\nevent: named\nid: 2\ndata: two\n\n";
        exchange.wire.send_chunk(first).await;
        assert_eq!(client.line().await, "message 1 one");
        assert_eq!(client.line().await, "named 2 two");
        // First an end in order, then a break within an event.
        exchange.wire.end_chunks().await;
        drop(exchange);
        let mut exchange = backend.next().await;
        assert_eq!(exchange.request.get("last-event-id"), Some("2"));
        exchange.answer_in_chunks("text/event-stream").await;
        assert_eq!(client.line().await, protocol);
        exchange
            .wire
            .send_chunk("id: 3\ndata: three\n\nid: 4\nda")
            .await;
        assert_eq!(client.line().await, "message 3 three");
        exchange.reset();
        assert_eq!(client.line().await, "broken");
        let mut exchange = backend.next().await;
        assert_eq!(exchange.request.get("last-event-id"), Some("3"));
        exchange.answer_in_chunks("text/event-stream").await;
        assert_eq!(client.line().await, protocol);
        exchange
            .wire
            .send_chunk("id: 4\ndata: four\n\ndata: five\n\n")
            .await;
        assert_eq!(client.line().await, "message 4 four");
        assert_eq!(client.line().await, "message 4 five");
        exchange.wire.closes_within(LEAVING).await;
        client.ends().await;
    }
}

/// A token as the API of completions streams it.
fn token(text: &str) -> String {
    let chunk = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny",
        "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }],
    });
    format!("data: {chunk}\n\n")
}

/// The client's question has come, and the head of the answer is there.
async fn asked(backend: &mut Backend) -> Exchange {
    let mut exchange = backend.next().await;
    assert_eq!(exchange.request.start, "POST /v1/chat/completions HTTP/1.1");
    let question: Value = serde_json::from_str(&exchange.wire.text().await).unwrap();
    assert_eq!(question["stream"], true);
    exchange
        .answer_in_chunks("text/event-stream; charset=utf-8")
        .await;
    exchange
}

const TOKENS: [&str; 6] = ["Hel", "lo", ",", " w\u{f6}rld", " \u{1f680}", "!"];

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_client_has_each_token_before_the_next_is_sent() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    for (version, protocol) in [("1", "HTTP/1.1"), ("2", "HTTP/2")] {
        let mut command = Listener::python(&gate, "openai_chat.py", "/v1");
        command.args([version, "100"]);
        let mut client = Listener::start(command);
        let mut exchange = asked(&mut backend).await;
        assert_eq!(client.line().await, protocol);
        for text in TOKENS {
            exchange.wire.send_chunk(token(text)).await;
            assert_eq!(client.line().await, text);
        }
        exchange.wire.send_chunk("data: [DONE]\n\n").await;
        assert_eq!(client.line().await, "end");
        exchange.wire.end_chunks().await;
        client.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_openai_stream_that_is_closed_ends_the_backend_s_request() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    for version in ["1", "2"] {
        let mut command = Listener::python(&gate, "openai_chat.py", "/v1");
        command.args([version, "2"]);
        let mut client = Listener::start(command);
        let mut exchange = asked(&mut backend).await;
        client.line().await;
        for text in &TOKENS[..2] {
            exchange.wire.send_chunk(token(text)).await;
            assert_eq!(client.line().await, *text);
        }
        exchange.wire.closes_within(LEAVING).await;
        client.ends().await;
    }
}

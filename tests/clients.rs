//! Clients and servers that others wrote, through the program: curl, Python's websockets and httpx-sse, Node's ws,
//! Express and http.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tungstenite::Message;

use crate::bridge::{bridge, open};
use crate::harness::{
    Backend, Gate, Server, Subscriber, WebSocketClient, authority_file, echo_http, echo_websocket,
    node, output, python, tool, within,
};

/// curl with a limit to its time and trust in the tests' authority, and these arguments.
pub fn curl(gate: &Gate, arguments: &[&str], path: &str) -> tokio::process::Command {
    let authority = authority_file(gate.directory().path());
    let mut command = tool("curl");
    command
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "15",
            "--noproxy",
            "*",
            "--cacert",
        ])
        .arg(authority)
        .args(arguments)
        .arg(format!("https://localhost:{}{path}", gate.https.port()));
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_gets_and_posts_over_both_versions() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let report = ["--write-out", " %{http_version} %{response_code}"];
        let got = output(curl(&gate, &[&[flag][..], &report].concat(), "/hello")).await;
        assert_eq!(got, format!("GET /hello {version} 200"));
        let send = [&[flag, "--data-binary", "body"][..], &report].concat();
        let got = output(curl(&gate, &send, "/hello")).await;
        assert_eq!(got, format!("body {version} 200"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_shows_each_event_as_it_comes() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    for flag in ["--http1.1", "--http2"] {
        let mut command = curl(&gate, &["--no-buffer", flag], "/events");
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut exchange = backend.next().await;
        exchange.answer_in_chunks("text/event-stream").await;
        for number in 0..3 {
            exchange
                .wire
                .send_chunk(format!("data: {number}\n\n"))
                .await;
            let line = within("a line of curl's", lines.next_line()).await.unwrap();
            assert_eq!(line, Some(format!("data: {number}")));
            within("a line of curl's", lines.next_line()).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_follows_a_bridge_and_posts_to_it() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "publish = { enabled = true }")).await;
    let mut command = curl(&gate, &["--no-buffer"], "/live/a");
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut feed = backend.feed().await;
    let post = [
        "--header",
        "Content-Type: text/plain",
        "--data",
        "from curl",
    ];
    output(curl(&gate, &post, "/live/a")).await;
    let posted = feed.next_text().await;
    assert_eq!(posted, "from curl");
    feed.text(&posted).await;
    within("the event at curl", async {
        while lines.next_line().await.unwrap().expect("curl goes on") != "data: from curl" {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_websockets_echoes_with_and_without_compression() {
    let node = Server::node("ws_deflate.js").await;
    let own = Backend::that(echo_websocket).await;
    for (upstream, extensions) in [(node.for_everything(), 1), (own.for_everything(), 0)] {
        let gate = Gate::start(&upstream).await;
        let mut command = python("websockets_echo.py");
        command
            .arg(format!("wss://localhost:{}/ws", gate.https.port()))
            .arg(authority_file(gate.directory().path()));
        let said = output(command).await;
        assert_eq!(said, format!("extensions: {extensions}\nechoed\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn python_httpx_sse_reads_a_bridge_and_a_passed_stream() {
    let mut backend = Backend::by_hand().await;
    let express = Server::node("express_sse.js").await;
    let upstream = express.for_everything();
    let gate = Gate::start(&format!("{}{upstream}", bridge(&backend, ""))).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.texts(["one".to_owned(), "two".to_owned()]).await;
    subscriber.message().await;
    subscriber.message().await;
    let read = |path: &str, count: &str| {
        let mut command = python("httpx_sse_read.py");
        command
            .arg(format!("https://localhost:{}{path}", gate.https.port()))
            .arg(authority_file(gate.directory().path()))
            .arg(count);
        output(command)
    };
    let lines = read("/live/a?lastEventId=earliest", "2").await;
    let data: Vec<_> = lines
        .lines()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(data, ["one", "two"]);
    let lines = read("/events", "3").await;
    assert_eq!(
        lines,
        "- {\"counter\":1}\n- {\"counter\":2}\n- {\"counter\":3}\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn node_ws_echoes_through_the_gate() {
    let server = Server::node("ws_echo.js").await;
    let gate = Gate::start(&server.for_everything()).await;
    let mut client = WebSocketClient::open(&gate, "/", &[]).await;
    client.echoes(Message::text("hello")).await;
    client.echoes(Message::binary(vec![7; 1 << 20])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn express_notices_that_a_client_has_left() {
    let mut command = node("express_sse.js");
    let mut child = command
        .env("PORT", "0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = within("Express's first line", lines.next_line())
        .await
        .unwrap()
        .unwrap();
    let port = first.rsplit(' ').next().unwrap();
    let gate = Gate::start(&format!(
        "[upstream.app]\nservers = [\"http://127.0.0.1:{port}\"]\n[[route]]\nupstream = \"app\"\n"
    ))
    .await;
    let (head, wire) = Subscriber::ask(&gate, "/events", None).await;
    assert_eq!(head.status(), 200);
    let mut subscriber = Subscriber::over(wire);
    assert_eq!(subscriber.message().await, "{\"counter\":1}");
    drop(subscriber);
    let line = within("Express to notice", lines.next_line())
        .await
        .unwrap();
    assert_eq!(line.as_deref(), Some("client gone"));
}

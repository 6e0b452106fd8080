//! `streamgate doctor`: what it says of chains that hold back or cut, and that it says nothing of those that do not.
//!
//! Behind the proxies is `doctor --serve`, or a backend of the test's own where the doctor has to go by what comes. Limits of
//! proxies are three seconds here, for their usual minute would be a minute's wait.

use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::harness::{
    Backend, Directory, Exchange, Gate, Outcome, Proxy, Server, Wire, authority_file, leaf,
    run_program, silence,
};

/// Listens for so long: longer than the limits here, and what the served app says first.
const FOR: &str = "--for=6s";

/// The app that the doctor knows.
async fn served() -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamgate"));
    command
        .args(["doctor", "--serve", "127.0.0.1:0"])
        .kill_on_drop(true);
    Server::start(command, "listening on").await
}

/// A whole result.
struct Report {
    code: i32,
    whole: Value,
}

impl Report {
    fn of(outcome: &Outcome) -> Self {
        // What is said on the way stands behind it.
        let mut values = serde_json::Deserializer::from_str(&outcome.said).into_iter();
        let whole = values.next().and_then(Result::ok);
        Self {
            code: outcome.code,
            whole: whole.unwrap_or_else(|| panic!("no JSON: {}", outcome.said)),
        }
    }

    fn find(&self, area: &str, name: &str) -> &Value {
        let all = self.whole["findings"].as_array().unwrap();
        let is_it = |found: &&Value| found["area"] == area && found["name"] == name;
        let found = all.iter().find(is_it);
        found.unwrap_or_else(|| panic!("no {area}.{name} in {:#}", self.whole))
    }

    /// The verdict, and what is said.
    fn says(&self, area: &str, name: &str) -> (&str, &str) {
        let found = self.find(area, name);
        let text = |key: &str| found[key].as_str().unwrap();
        (text("verdict"), text("says"))
    }

    #[track_caller]
    fn has(&self, area: &str, name: &str, verdict: &str, words: &str) {
        let (found, says) = self.says(area, name);
        assert!(found == verdict && says.contains(words), "{:#}", self.whole);
    }

    #[track_caller]
    fn advises(&self, area: &str, name: &str, whom: &str, words: &str) {
        let advice = self.find(area, name)["advice"].as_array().unwrap();
        let is_it = |one: &Value| one["for"] == whom && one["do"].as_str().unwrap().contains(words);
        assert!(advice.iter().any(is_it), "{:#}", self.whole);
    }

    /// No problem, and no warning but these.
    #[track_caller]
    fn is_sound(&self, but: &[&str]) {
        let all = self.whole["findings"].as_array().unwrap();
        let bad: Vec<&Value> = all
            .iter()
            .filter(|found| {
                let name = found["name"].as_str().unwrap();
                found["verdict"] == "problem"
                    || found["verdict"] == "warning" && !but.contains(&name)
            })
            .collect();
        assert!(bad.is_empty() && self.code == 0, "{bad:#?}");
    }

    /// Events and messages came when they were sent, and silence is endured.
    #[track_caller]
    fn passes_everything_at_once(&self) {
        for area in ["sse", "websocket"] {
            self.has(area, "delivery", "ok", "of its sending");
            self.has(area, "end", "ok", "of silence");
        }
        self.has("sse", "resume", "ok", "goes on behind it");
        self.has("websocket", "ping", "ok", "answered");
        self.has("websocket", "close", "ok", "1000");
    }
}

async fn doctor(arguments: &[&str]) -> Outcome {
    let here = Directory::new();
    let arguments: Vec<&str> = ["doctor"].iter().chain(arguments).copied().collect();
    run_program(here.path(), &arguments).await
}

async fn examine(arguments: &[&str]) -> Report {
    let arguments: Vec<&str> = arguments.iter().chain(&["--json"]).copied().collect();
    Report::of(&doctor(&arguments).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_as_it_comes_holds_events_back_and_takes_upgrade_away() {
    let app = served().await;
    let server = format!(
        "server {{ listen @LISTEN@; location / {{ proxy_pass http://127.0.0.1:{};\n\
         proxy_read_timeout 3s; }} }}",
        app.port
    );
    let nginx = Proxy::nginx(Directory::new(), &server).await;
    let report = examine(&[&format!("http://{}/events", nginx.address), FOR]).await;
    assert_eq!(report.code, 1);
    assert_eq!(report.whole["proxies"][0]["name"], "nginx");
    report.has("sse", "answer", "problem", "held back");
    report.advises("sse", "answer", "nginx", "proxy_buffering off");
    report.has("websocket", "handshake", "problem", "taken `Upgrade`");
    report.advises("websocket", "handshake", "nginx", "$http_upgrade");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_with_its_usual_limit_cuts_what_is_silent() {
    let app = served().await;
    let server = nginx_with(&app, "listen @LISTEN@;", "proxy_read_timeout 3s;");
    let nginx = Proxy::nginx(Directory::new(), &server).await;
    let report = examine(&[&format!("http://{}/events", nginx.address), FOR]).await;
    assert_eq!(report.code, 1);
    report.has("sse", "delivery", "ok", "of its sending");
    report.has("websocket", "delivery", "ok", "of its sending");
    report.has("sse", "end", "problem", "cut after 3.0 s of silence");
    report.advises("sse", "end", "nginx", "proxy_read_timeout 1h");
    report.has("websocket", "end", "problem", "cut after 3.0 s of silence");
    report.advises("websocket", "end", "nginx", "proxy_read_timeout 1h");
    assert_eq!(report.find("websocket", "end")["figure"]["code"], 1006);
}

/// A server that passes everything on, but for what `more` says.
fn nginx_with(app: &Server, listen: &str, more: &str) -> String {
    format!(
        "map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
         server {{ {listen} location / {{ proxy_pass http://127.0.0.1:{};\n\
         proxy_http_version 1.1; proxy_buffering off; proxy_set_header Upgrade $http_upgrade;\n\
         proxy_set_header Connection $connection_upgrade; {more} }} }}",
        app.port
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_over_http2_is_sound_but_for_the_head() {
    let app = served().await;
    let directory = Directory::new();
    let here = directory.path();
    let (certificate, key) = leaf(&["gate.test"]).write(here, "gate");
    let authority = authority_file(here);
    let listen = format!(
        "listen @LISTEN@ ssl http2; ssl_certificate {}; ssl_certificate_key {};",
        certificate.display(),
        key.display()
    );
    let server = nginx_with(&app, &listen, "proxy_read_timeout 1h;");
    let nginx = Proxy::nginx(directory, &server).await;
    let url = format!("https://gate.test:{}/events", nginx.address.port());
    let authority = authority.to_str().unwrap();
    let resolve = "gate.test:127.0.0.1";
    let report = examine(&[&url, "--ca", authority, "--resolve", resolve, FOR]).await;
    // Over HTTP/2 nginx sends no head before something follows it.
    report.is_sound(&["head"]);
    report.has("sse", "head", "warning", "with the first event");
    report.advises("sse", "head", "nginx", "over HTTP/2");
    report.passes_everything_at_once();
    report.has("connection", "tls", "ok", "HTTP/2");
    report.has("connection", "certificate", "ok", "gate.test");
    report.has("sse", "answer", "ok", "HTTP/2");
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_with_the_right_settings_is_sound() {
    let app = served().await;
    let server = nginx_with(&app, "listen @LISTEN@;", "proxy_read_timeout 1h;");
    let nginx = Proxy::nginx(Directory::new(), &server).await;
    let report = examine(&[&format!("http://{}/events", nginx.address), FOR]).await;
    report.is_sound(&[]);
    report.passes_everything_at_once();
}

/// HAProxy in front of the app, with these lines more in its defaults.
async fn haproxy(app: &Server, defaults: &str) -> Proxy {
    let text = format!(
        "defaults\n  mode http\n  timeout connect 3s\n{defaults}\nfrontend all\n  bind @LISTEN@\n  \
         default_backend app\nbackend app\n  server one 127.0.0.1:{}\n",
        app.port
    );
    Proxy::haproxy(&text).await
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_as_it_comes_delays_events_and_cuts_what_is_silent() {
    let app = served().await;
    let haproxy = haproxy(&app, "  timeout client 1h\n  timeout server 3s").await;
    let report = examine(&[&format!("http://{}/events", haproxy.address), FOR]).await;
    assert_eq!(report.code, 1);
    report.has("sse", "delivery", "warning", "each of them");
    report.advises("sse", "delivery", "HAProxy", "option http-no-delay");
    report.has("sse", "end", "problem", "cut after 3.0 s of silence");
    report.advises("sse", "end", "HAProxy", "timeout server 1h");
    report.has("websocket", "end", "problem", "cut after 3.0 s of silence");
    report.advises("websocket", "end", "HAProxy", "timeout tunnel 1h");
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_with_the_right_settings_is_sound() {
    let app = served().await;
    let settings =
        "  option http-no-delay\n  timeout client 1h\n  timeout server 1h\n  timeout tunnel 1h";
    let haproxy = haproxy(&app, settings).await;
    let report = examine(&[&format!("http://{}/events", haproxy.address), FOR]).await;
    report.is_sound(&[]);
    report.passes_everything_at_once();
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_that_encodes_holds_the_head_back() {
    let app = served().await;
    let site = format!("encode gzip\nreverse_proxy 127.0.0.1:{}", app.port);
    let caddy = Proxy::caddy(&site).await;
    let report = examine(&[&format!("http://{}/events", caddy.address), FOR]).await;
    assert_eq!(report.whole["proxies"][0]["name"], "Caddy");
    report.has("sse", "delivery", "ok", "of its sending");
    report.has("sse", "head", "warning", "with the first event");
    report.advises("sse", "head", "Caddy", "encode");
    report.has("websocket", "delivery", "ok", "of its sending");
}

#[tokio::test(flavor = "multi_thread")]
async fn caddy_with_the_right_settings_is_sound() {
    let app = served().await;
    let site = format!(
        "@rest not header Accept text/event-stream*\nencode @rest gzip\nreverse_proxy 127.0.0.1:{}",
        app.port
    );
    let caddy = Proxy::caddy(&site).await;
    let report = examine(&[&format!("http://{}/events", caddy.address), FOR]).await;
    report.is_sound(&[]);
    report.passes_everything_at_once();
}

#[tokio::test(flavor = "multi_thread")]
async fn streamgate_is_sound_as_it_comes_and_its_limit_is_told() {
    let app = served().await;
    let gate = Gate::start(&app.for_everything()).await;
    let authority = authority_file(gate.directory().path());
    let url = format!("https://localhost:{}/events", gate.https.port());
    let arguments = [&url, "--ca", authority.to_str().unwrap(), FOR];
    let report = examine(&arguments).await;
    report.is_sound(&[]);
    report.passes_everything_at_once();
    assert_eq!(report.whole["proxies"][0]["name"], "streamgate");
    let limited = format!(
        "{}timeouts = {{ stream_idle = \"3s\" }}\n",
        app.for_everything()
    );
    gate.reload_well(&limited).await;
    let report = examine(&arguments).await;
    report.has("sse", "end", "problem", "cut after 3.0 s of silence");
    report.advises("sse", "end", "streamgate", "stream_idle");
    report.has("websocket", "end", "problem", "cut after 3.0 s of silence");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_of_a_server_that_is_not_trusted() {
    let backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let url = format!("https://localhost:{}/", gate.https.port());
    let secret = ["--header", "Authorization: Bearer hidden"];
    let report = examine(&[&url, secret[0], secret[1], FOR]).await;
    assert_eq!(report.code, 1);
    report.has("connection", "certificate", "problem", "UnknownIssuer");
    assert_eq!(backend.connections(), 0);
    let lines = gate.log.since(0);
    assert!(lines.iter().all(|line| line.message() != "request"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_answers_there_is_no_report() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let outcome = doctor(&[&format!("http://{address}/")]).await;
    assert_eq!(outcome.code, 2);
    assert!(outcome.said.contains("nobody answers"), "{}", outcome.said);
    let outcome = doctor(&["ftp://example.org/"]).await;
    assert_eq!(outcome.code, 64, "{}", outcome.said);
}

/// An app of somebody's: an event stream with ids for whoever accepts one, and no WebSocket.
async fn somebodys(mut exchange: Exchange) -> Option<Wire<TcpStream>> {
    if exchange.request.get("accept") != Some("text/event-stream") {
        exchange.answer("404 Not Found", "nothing").await;
        return Some(exchange.wire);
    }
    let last = exchange.request.get("last-event-id").map(str::to_owned);
    let mut number: u64 = last.and_then(|id| id.parse().ok()).unwrap_or(0);
    exchange.answer_in_chunks("text/event-stream").await;
    loop {
        number += 1;
        let event = format!("id: {number}\ndata: something\n\n");
        let framed = format!("{:x}\r\n{event}\r\n", event.len());
        if exchange.wire.try_send(framed.as_bytes()).await.is_err() {
            return None;
        }
        silence(Duration::from_millis(400)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_is_not_known_is_judged_by_what_comes() {
    let backend = Backend::that(somebodys).await;
    let report = examine(&[&format!("http://{}/", backend.address()), FOR]).await;
    report.is_sound(&["cache"]);
    report.has("sse", "delivery", "ok", "each by itself");
    report.has("sse", "heartbeat", "ok", "never silent");
    report.has("sse", "resume", "ok", "goes on behind it");
    report.has("websocket", "handshake", "note", "404");
    let report = examine(&[&format!("ws://{}/", backend.address()), FOR]).await;
    assert_eq!(report.code, 1);
    report.has("websocket", "handshake", "problem", "404");
}

/// Speaks nothing but WebSocket, with a subprotocol that nobody has asked for.
async fn sockets_only(exchange: Exchange) -> Option<Wire<TcpStream>> {
    exchange.request.get("upgrade")?;
    let chosen = "Sec-WebSocket-Protocol: unasked\r\n";
    let mut socket = exchange.into_feed_with(chosen).await.into_socket();
    while let Some(Ok(_)) = socket.next().await {}
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_websockets_alone_is_looked_at() {
    let backend = Backend::that(sockets_only).await;
    let url = format!("http://{}/", backend.address());
    let report = examine(&[&url, "--for=2s"]).await;
    report.has("sse", "answer", "note", "broke");
    report.has("websocket", "handshake", "problem", "not offered");
    report.has("websocket", "ping", "ok", "answered");
}

/// The same app behind a buffer of 200 bytes.
async fn buffered(mut exchange: Exchange) -> Option<Wire<TcpStream>> {
    if exchange.request.get("accept") != Some("text/event-stream") {
        exchange.answer("404 Not Found", "nothing").await;
        return Some(exchange.wire);
    }
    exchange.answer_in_chunks("text/event-stream").await;
    let stream = "data: something\n\n".repeat(100);
    for piece in stream.as_bytes().chunks(200) {
        let mut framed = format!("{:x}\r\n", piece.len()).into_bytes();
        framed.extend_from_slice(piece);
        framed.extend_from_slice(b"\r\n");
        if exchange.wire.try_send(&framed).await.is_err() {
            return None;
        }
        silence(Duration::from_secs(1)).await;
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_come_in_pieces_of_a_size_were_held_back() {
    let backend = Backend::that(buffered).await;
    let report = examine(&[&format!("http://{}/", backend.address()), FOR]).await;
    assert_eq!(report.code, 1);
    report.has("sse", "delivery", "problem", "200 bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_for_people_has_no_colours_in_a_file_and_no_secrets() {
    let backend = Backend::that(somebodys).await;
    let url = format!("http://{}/live?token=hidden", backend.address());
    let outcome = doctor(&[&url, "--sse", "--for=2s", "--header", "Cookie: a=hidden"]).await;
    let said = &outcome.said;
    assert_eq!(outcome.code, 0, "{said}");
    assert!(said.contains("Event stream\n  ok "), "{said}");
    assert!(!said.contains('\x1b') && !said.contains("hidden"), "{said}");
}

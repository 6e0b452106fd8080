//! Firefox through the program: native WebSocket and EventSource of another maker than Chromium's.
//!
//! No driver is needed: the browser opens one page, which does everything by itself and posts what it has seen.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::harness::{
    Backend, Directory, Exchange, Gate, Server, Wire, authority_file, output, tool, within_time,
};

const PAGE: &str = r#"<!DOCTYPE html><title>Firefox</title><script>
const large = new Uint8Array(1 << 20).map((_, at) => at % 251);

const echo = () => new Promise((resolve) => {
  const seen = {};
  const socket = new WebSocket(`wss://${location.host}/ws`);
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => { seen.extensions = socket.extensions; socket.send('grüße') };
  socket.onmessage = (event) => {
    if (typeof event.data === 'string') { seen.text = event.data; socket.send(large); return }
    const back = new Uint8Array(event.data);
    seen.binary = back.length === large.length && back.every((byte, at) => byte === large[at]);
    socket.close(4001, 'enough');
  };
  socket.onclose = (event) => resolve({ ...seen, closed: [event.code, event.reason, event.wasClean] });
});

// Closed by the page after its third event, which is the second after a break of the server's.
const listen = () => new Promise((resolve) => {
  const seen = []; let opens = 0;
  const source = new EventSource('/events');
  source.onopen = () => { opens += 1 };
  source.onmessage = (event) => {
    if (seen.push([event.data, event.lastEventId]) === 3) { source.close(); resolve({ seen, opens }) }
  };
});

(async () => {
  const outcome = { echo: await echo(), events: await listen() };
  await fetch('/outcome', { method: 'POST', body: JSON.stringify(outcome) });
})();
</script>"#;

/// What keeps a new profile from asking, updating and calling home.
const PREFERENCES: &str = r#"
user_pref("app.normandy.enabled", false);
user_pref("app.update.enabled", false);
user_pref("browser.aboutwelcome.enabled", false);
user_pref("browser.safebrowsing.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("extensions.update.enabled", false);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.proxy.type", 0);
user_pref("services.settings.server", "data:,#");
user_pref("toolkit.telemetry.enabled", false);
"#;

/// A browser with a profile of its own that trusts the tests' authority.
pub struct Firefox {
    process: Child,
    _profile: Directory,
}

impl Firefox {
    /// Starts it with one page.
    pub async fn open(url: &str) -> Self {
        Self::open_with("", url).await
    }

    /// The same with more preferences, a line each.
    pub async fn open_with(preferences: &str, url: &str) -> Self {
        let profile = Directory::new();
        profile.write("user.js", format!("{PREFERENCES}{preferences}"));
        let database = format!("sql:{}", profile.path().display());
        let mut create = tool("certutil");
        create.args(["-N", "--empty-password", "-d", &database]);
        output(create).await;
        let mut trust = tool("certutil");
        trust
            .args(["-A", "-n", "authority", "-t", "C,,", "-d", &database, "-i"])
            .arg(authority_file(profile.path()));
        output(trust).await;
        let mut command: Command = tool("firefox-esr");
        command
            .args(["--headless", "--no-remote", "--profile"])
            .arg(profile.path())
            .arg(url)
            .env("HOME", profile.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self {
            process: command.spawn().unwrap(),
            _profile: profile,
        }
    }

    /// Ends the browser.
    pub async fn close(mut self) {
        self.process.kill().await.unwrap();
    }
}

async fn answers_with_the_page(mut exchange: Exchange) -> Option<Wire<TcpStream>> {
    let length = PAGE.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {length}\r\n\r\n"
    );
    exchange.wire.send(head + PAGE).await;
    Some(exchange.wire)
}

#[tokio::test(flavor = "multi_thread")]
async fn firefox_echoes_over_a_websocket_and_follows_an_event_source() {
    let page = Backend::that(answers_with_the_page).await;
    let echo = Server::node("ws_deflate.js").await;
    let (mut events, mut outcome) = (Backend::by_hand().await, Backend::by_hand().await);
    let gate = Gate::start(&format!(
        "{}{}{}[upstream.echo]\nservers = [\"http://127.0.0.1:{}\"]\n\
         [[route]]\npath = \"/ws\"\nupstream = \"echo\"\n\
         [[route]]\npath = \"/events\"\nupstream = \"events\"\n\
         [[route]]\npath = \"/outcome\"\nupstream = \"outcome\"\n",
        page.for_everything(),
        events.upstream("events"),
        outcome.upstream("outcome"),
        echo.port
    ))
    .await;
    let browser = Firefox::open(&format!("https://localhost:{}/", gate.https.port())).await;

    // A browser that starts on a busy machine takes longer than any one thing of ours may.
    let begun = within_time(Duration::from_secs(60), "Firefox", async {
        loop {
            match events.request_if_any() {
                Some(exchange) => return exchange,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    let mut exchange = begun.await;
    exchange.answer_in_chunks("text/event-stream").await;
    let first = "retry: 100\nid: 1\ndata: one\n\n";
    exchange.wire.send_chunk(first).await;
    exchange.wire.end_chunks().await;
    drop(exchange);
    let mut exchange = events.next().await;
    assert_eq!(exchange.request.get("last-event-id"), Some("1"));
    exchange.answer_in_chunks("text/event-stream").await;
    for event in ["id: 2\ndata: two\n\n", "id: 3\ndata: three\n\n"] {
        exchange.wire.send_chunk(event).await;
    }

    let mut posted = outcome.next().await;
    let seen: Value = serde_json::from_str(&posted.wire.text().await).unwrap();
    posted.answer("200 OK", "noted").await;
    let expected = json!({
        "echo": {
            "extensions": "permessage-deflate",
            "text": "grüße",
            "binary": true,
            "closed": [4001, "enough", true],
        },
        "events": { "seen": [["one", "1"], ["two", "2"], ["three", "3"]], "opens": 2 },
    });
    assert_eq!(seen, expected);
    browser.close().await;
}

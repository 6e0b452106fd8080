//! Chromium through the program: native EventSource and WebSocket, in pages as one writes them.

use std::time::Duration;

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};

use crate::bridge::bridge;
use crate::harness::{
    Backend, Directory, Exchange, Gate, Relay, Server, Wire, browser_driver, connect,
    echo_websocket, within,
};
use crate::tunnel_h2::LISTEN;

/// A browser with one window. Its driver and its profile end with it.
pub struct Browser {
    client: Client,
    driver: Server,
    profile: Directory,
}

impl Browser {
    /// Starts it with a profile of its own.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same with more of Chromium's flags.
    pub async fn start_with(flags: &[&str]) -> Self {
        let driver = browser_driver().await;
        let profile = Directory::new();
        let arguments: &[&str] = &[
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-proxy-server",
            &format!("--user-data-dir={}", profile.path().display()),
        ];
        let arguments = [arguments, flags].concat();
        let capabilities = json!({
            "acceptInsecureCerts": true,
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let Value::Object(capabilities) = capabilities else {
            unreachable!("it is written as an object");
        };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities);
        let driver_address = format!("http://127.0.0.1:{}", driver.port);
        let connecting = builder.connect(&driver_address);
        let client =
            crate::harness::within_time(Duration::from_secs(40), "a browser", connecting).await;
        Self {
            client: client.unwrap(),
            driver,
            profile,
        }
    }

    /// Loads a page of the program's.
    pub async fn open(&self, port: u16, path: &str) {
        self.visit(&format!("https://localhost:{port}{path}")).await;
    }

    /// Loads any page.
    pub async fn visit(&self, url: &str) {
        within("the page", self.client.goto(url)).await.unwrap();
    }

    /// Clicks where a person would.
    pub async fn click(&self, selector: &str) {
        let click = async {
            self.client
                .find(Locator::Css(selector))
                .await?
                .click()
                .await
        };
        let clicked = within(selector, click).await;
        clicked.unwrap_or_else(|error| panic!("`{selector}`: {error}"));
    }

    /// Types where a person would.
    pub async fn type_into(&self, selector: &str, text: &str) {
        let typed = async {
            let field = self.client.find(Locator::Css(selector)).await?;
            field.send_keys(text).await
        };
        let typed = within(selector, typed).await;
        typed.unwrap_or_else(|error| panic!("`{selector}`: {error}"));
    }

    /// Runs statements, which may `return` a value.
    pub async fn run(&self, script: &str) -> Value {
        within("a script", self.client.execute(script, Vec::new()))
            .await
            .unwrap()
    }

    /// Evaluates an expression that is a promise.
    pub async fn promised(&self, expression: &str) -> Value {
        let script = format!("const done = arguments[0]; ({expression}).then(done);");
        let value = self.client.execute_async(&script, Vec::new());
        within(expression, value).await.unwrap()
    }

    /// A command of Chromium's own protocol.
    pub async fn command(&self, name: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": name, "params": parameters });
        self.ask_driver("goog/cdp/execute", &body).await
    }

    /// What has come to its console since this was asked last: `{ level, source, message }` each.
    pub async fn console(&self) -> Vec<Value> {
        let console = json!({ "type": "browser" });
        let told = self.ask_driver("se/log", &console).await;
        told.as_array().expect("a list").clone()
    }

    /// What the driver understands beyond the standard.
    async fn ask_driver(&self, what: &str, body: &Value) -> Value {
        let session = self.client.session_id().await.unwrap().expect("a session");
        let address = (std::net::Ipv4Addr::LOCALHOST, self.driver.port);
        let mut wire = Wire::new(connect(address.into()).await);
        let body = body.to_string();
        wire.send(format!(
            "POST /session/{session}/{what} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
        assert_eq!(wire.head().await.status(), 200, "{what}");
        let mut answer: Value = serde_json::from_str(&wire.text().await).unwrap();
        answer["value"].take()
    }

    /// Evaluates an expression.
    pub async fn value(&self, expression: &str) -> Value {
        let script = format!("return ({expression});");
        let value = within(expression, self.client.execute(&script, Vec::new())).await;
        value.unwrap()
    }

    /// Waits until an expression is true.
    pub async fn until(&self, expression: &str) {
        within(expression, async {
            while self.value(expression).await != json!(true) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Ends the browser.
    pub async fn close(self) {
        within("the browser's end", self.client.clone().close())
            .await
            .unwrap();
    }
}

impl Drop for Browser {
    /// A test that failed has not closed its browser, and the driver's end does not end it: whoever has this profile goes.
    fn drop(&mut self) {
        let profile = self.profile.path().display().to_string();
        for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let command = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let name = process.file_name().to_string_lossy().into_owned();
            if String::from_utf8_lossy(&command).contains(&profile) {
                let kill = format!("kill -s KILL {name}");
                let _ = std::process::Command::new("sh")
                    .args(["-c", &kill])
                    .output();
            }
        }
    }
}

/// A backend that serves `page` for every GET.
pub async fn serving(page: &'static str) -> Backend {
    let answer = move |mut exchange: Exchange| async move {
        let length = page.len();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {length}\r\n\r\n"
        );
        exchange.wire.send(head + page).await;
        Some(exchange.wire)
    };
    Backend::that(answer).await
}

const BRIDGE_PAGE: &str = r#"<!DOCTYPE html><title>Bridge</title><script>
const seen = [], ids = [], gaps = []; let opens = 0;
const source = new EventSource('/live/a');
source.onopen = () => { opens += 1 };
source.onmessage = (event) => { seen.push(event.data); ids.push(event.lastEventId) };
source.addEventListener('streamgate.gap', (event) => gaps.push(event.data));
</script>"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_source_that_is_cut_off_comes_back_and_misses_nothing() {
    let mut feeds = Backend::by_hand().await;
    let page = serving(BRIDGE_PAGE).await;
    let retry = "retry = { base = \"250ms\", spread = \"0\" }";
    let text = format!("{}{}", page.for_everything(), bridge(&feeds, retry));
    let gate = Gate::start(&text).await;
    let relay = Relay::to(gate.https).await;
    let browser = Browser::start().await;
    browser.open(relay.address.port(), "/").await;
    let mut feed = feeds.feed().await;
    browser.until("opens == 1").await;
    let mut sent = Vec::new();
    for cut in 0..3 {
        sent.push(format!("before cut {cut}"));
        feed.text(sent.last().unwrap()).await;
        browser
            .until(&format!("seen.length == {}", sent.len()))
            .await;
        relay.cut();
        // The page is away: these it can only get by its Last-Event-ID.
        for number in 0..5 {
            sent.push(format!("while away {cut}.{number}"));
            feed.text(sent.last().unwrap()).await;
        }
        browser.until(&format!("opens == {}", cut + 2)).await;
        browser
            .until(&format!("seen.length == {}", sent.len()))
            .await;
    }
    assert_eq!(browser.value("seen").await, json!(sent));
    assert_eq!(browser.value("gaps").await, json!([]));
    assert_eq!(browser.value("new Set(ids).size").await, json!(sent.len()));
    browser.close().await;
}

const SOCKET_PAGE: &str = r#"<!DOCTYPE html><title>Echo</title><script>
const outcome = { text: null, binary: null, closed: null };
const socket = new WebSocket(`wss://${location.host}/ws`);
socket.binaryType = 'arraybuffer';
const large = new Uint8Array(1 << 20).map((_, at) => at % 251);
socket.onopen = () => socket.send('grüße');
socket.onmessage = (event) => {
  if (typeof event.data === 'string') { outcome.text = event.data; socket.send(large); return }
  const back = new Uint8Array(event.data);
  outcome.binary = back.length === large.length && back.every((byte, at) => byte === large[at]);
  socket.close(1000);
};
socket.onclose = (event) => { outcome.closed = event.code };
</script>"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_echoes_text_and_a_megabyte() {
    let page = serving(SOCKET_PAGE).await;
    let echo = Backend::that(echo_websocket).await;
    let node = Server::node("ws_echo.js").await;
    let by_node = format!(
        "[upstream.echo]\nservers = [\"http://127.0.0.1:{}\"]\n",
        node.port
    );
    let browser = Browser::start().await;
    for upstream in [echo.upstream("echo"), by_node] {
        let route = "[[route]]\npath = \"/ws\"\nupstream = \"echo\"\n";
        let gate = Gate::start(&format!("{}{upstream}{route}", page.for_everything())).await;
        browser.open(gate.https.port(), "/").await;
        browser.until("outcome.closed !== null").await;
        let outcome = browser.value("outcome").await;
        assert_eq!(
            outcome,
            json!({ "text": "grüße", "binary": true, "closed": 1000 })
        );
        gate.stop().await;
    }
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_over_http_2_needs_no_other_connection() {
    let page = serving(SOCKET_PAGE).await;
    let echo = Backend::that(echo_websocket).await;
    let route = "[[route]]\npath = \"/ws\"\nupstream = \"echo\"\n";
    let upstream = echo.upstream("echo");
    let text = format!("{}{upstream}{route}{LISTEN}", page.for_everything());
    let gate = Gate::start(&text).await;
    let browser = Browser::start().await;
    browser.open(gate.https.port(), "/").await;
    browser.until("outcome.closed !== null").await;
    let outcome = browser.value("outcome").await;
    assert_eq!(
        outcome,
        json!({ "text": "grüße", "binary": true, "closed": 1000 })
    );
    let of_clients = ["stream open", "request"];
    let lines = gate.log.since(0);
    let versions = lines
        .iter()
        .filter(|line| of_clients.contains(&line.message()))
        .map(|line| (line.text("kind"), line.text("version")))
        .collect::<Vec<_>>();
    assert!(
        versions.contains(&(Some("tunnel".into()), Some("HTTP/2.0".into()))),
        "{versions:?}"
    );
    let of_http_1 = |(_, version): &(_, Option<String>)| version.as_deref() != Some("HTTP/2.0");
    assert!(!versions.iter().any(of_http_1), "{versions:?}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn express_s_event_stream_fills_its_page() {
    let server = Server::node("express_sse.js").await;
    let gate = Gate::start(&server.for_everything()).await;
    let browser = Browser::start().await;
    browser.open(gate.https.port(), "/").await;
    browser
        .until("document.querySelectorAll('#list li').length >= 3")
        .await;
    let first = browser.client.find(Locator::Css("#list li")).await.unwrap();
    assert_eq!(first.text().await.unwrap(), "{\"counter\":1}");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_s_date_ticks_in_its_page() {
    let server = Server::node("sse_date.js").await;
    let gate = Gate::start(&server.for_everything()).await;
    let browser = Browser::start().await;
    browser.open(gate.https.port(), "/").await;
    browser
        .until("document.getElementById('date').textContent !== ''")
        .await;
    let first = browser
        .value("document.getElementById('date').textContent")
        .await;
    let ticks = format!("document.getElementById('date').textContent !== {first}");
    browser.until(&ticks).await;
    browser.close().await;
}

const LATENCY_PAGE: &str = r#"<!DOCTYPE html><title>Latency</title><script>
const late = [];
const source = new EventSource('/events');
source.onmessage = (event) => late.push(performance.timeOrigin + performance.now() - Number(event.data));
</script>"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_median_latency_of_a_passed_event_is_small() {
    const EVENTS: usize = 100;
    let page = serving(LATENCY_PAGE).await;
    let mut events = Backend::by_hand().await;
    let route = "[[route]]\npath = \"/events\"\nupstream = \"events\"\n";
    let text = format!(
        "{}{}{route}",
        page.for_everything(),
        events.upstream("events")
    );
    let gate = Gate::start(&text).await;
    let browser = Browser::start().await;
    browser.open(gate.https.port(), "/").await;
    let mut exchange = events.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    for _ in 0..EVENTS {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let sent = now.as_secs_f64() * 1_000.0;
        exchange
            .wire
            .send_chunk(format!("data: {sent:.3}\n\n"))
            .await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    browser.until(&format!("late.length == {EVENTS}")).await;
    let median = browser
        .value("late.sort((a, b) => a - b)[late.length / 2]")
        .await;
    let median = median.as_f64().unwrap();
    println!("an event passed through reaches the page after {median:.2} ms (median of {EVENTS})");
    // A proxy that gathers before it sends would be past this; a busy machine is not.
    assert!(median < 50.0, "{median} ms");
    browser.close().await;
}

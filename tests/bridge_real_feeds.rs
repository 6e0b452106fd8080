//! Feeds that nobody here wrote, and the clients that people read them with: programs behind websocketd, a server of
//! Node's `ws` that wants to be asked first, and frames with a topic.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::browser::{Browser, serving};
use crate::clients::curl;
use crate::harness::{Gate, Heard, Server, Subscriber, node, output, silence, tool, within};
use crate::sse_clients::Listener;

/// A program whose lines are a feed's messages, one process for each connection.
struct Websocketd {
    port: u16,
    _child: Child,
}

impl Websocketd {
    async fn start(program: &[&str]) -> Self {
        // It cannot choose a port by itself. What is free now is, but for bad luck, free in a moment.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = tool("websocketd");
        command
            .args(["--address=127.0.0.1", &format!("--port={port}")])
            .args(program)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let started = Self {
            port,
            _child: command.spawn().unwrap(),
        };
        within("websocketd to listen", async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        started
    }

    /// A bridge on `/live/a` to it.
    fn bridge(&self, keys: &str) -> String {
        bridge(self.port, keys)
    }
}

fn bridge(port: u16, keys: &str) -> String {
    format!(
        "[bridge.live]\nsource = \"ws://127.0.0.1:{port}/\"\n{keys}\n\
         [[route]]\npath = \"/live/{{room}}\"\nbridge = \"live\"\n"
    )
}

/// The numbers of a line of vmstat's; nothing for a line of its head.
fn vmstat(line: &str) -> Option<Vec<u64>> {
    let numbers = line.split_whitespace().map(str::parse);
    numbers.collect::<Result<_, _>>().ok()
}

const VMSTAT_PAGE: &str = r#"<!DOCTYPE html><title>vmstat</title><ul id="lines"></ul><script>
const source = new EventSource('/live/a?lastEventId=earliest');
source.onmessage = (event) => {
  const item = document.createElement('li');
  item.textContent = event.data;
  document.getElementById('lines').append(item);
};
</script>"#;

#[tokio::test(flavor = "multi_thread")]
async fn vmstat_reaches_every_kind_of_client() {
    let feed = Websocketd::start(&["vmstat", "-n", "1"]).await;
    let page = serving(VMSTAT_PAGE).await;
    let gate = Gate::start(&format!("{}{}", feed.bridge(""), page.for_everything())).await;

    // curl opens the feed, and stays; the others come later and begin with what it has got.
    let mut curl = curl(&gate, &["--no-buffer"], "/live/a");
    let mut curl = curl.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(curl.stdout.take().unwrap()).lines();
    let mut at_curl = Vec::new();
    within("vmstat's lines at curl", async {
        while at_curl.len() < 4 {
            let line = lines.next_line().await.unwrap().expect("curl goes on");
            at_curl.extend(
                line.strip_prefix("data: ")
                    .filter(|data| !data.starts_with('{'))
                    .map(str::to_owned),
            );
        }
    })
    .await;
    assert!(at_curl[0].contains("procs"), "{at_curl:?}");
    assert_eq!(
        vmstat(&at_curl[2]).map(|numbers| numbers.len() > 10),
        Some(true),
        "{at_curl:?}"
    );

    let path = "/live/a?lastEventId=earliest";
    let mut eventsource = Listener::start(Listener::node(&gate, "eventsource_follow.js", path));
    let mut httpx = Listener::python(&gate, "httpx_sse_read.py", path);
    httpx.arg("4");
    let read = output(httpx).await;
    for (at, (expected, line)) in at_curl.iter().zip(read.lines()).enumerate() {
        let (id, data) = line.split_once(' ').unwrap();
        assert_eq!(data, expected);
        let number = (at + 1).to_string();
        assert_eq!(id.split('-').nth(1), Some(number.as_str()), "{line}");
    }
    for expected in &at_curl {
        let said = eventsource.json().await;
        assert_eq!([&said[0], &said[1]], [&json!("message"), &json!(expected)]);
    }
    let browser = Browser::start().await;
    browser.open(gate.https.port(), "/").await;
    browser
        .until("document.querySelectorAll('li').length >= 4")
        .await;
    let shown = "[...document.querySelectorAll('li')].slice(0, 4).map((item) => item.textContent)";
    assert_eq!(browser.value(shown).await, json!(at_curl));
    browser.close().await;
}

/// Numbers without an end of the stream: the program waits for more once it has said all.
fn flood(numbers: u64) -> [String; 3] {
    [
        "sh".into(),
        "-c".into(),
        format!("seq 1 {numbers}; exec cat"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_passed_on_whole_to_who_keeps_up() {
    const NUMBERS: u64 = 30_000;
    let program = flood(NUMBERS);
    let feed = Websocketd::start(&program.each_ref().map(String::as_str)).await;
    let keys =
        "replay = { events = 100_000 }\nslow = { events = 100_000 }\npublish = { enabled = true }";
    let gate = Gate::start(&feed.bridge(keys)).await;
    let mut subscriber = Subscriber::open(&gate, "/live/a", None).await;
    subscriber.opened().await;
    for number in 1..=NUMBERS {
        assert_eq!(subscriber.message().await, number.to_string());
    }
    // And the way back: what is posted is a line of the program's input, and `cat` says it again.
    let post = [
        "--header",
        "Content-Type: text/plain",
        "--data",
        "from curl",
    ];
    output(curl(&gate, &post, "/live/a")).await;
    assert_eq!(subscriber.message().await, "from curl");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_flood_nothing_is_missed_in_silence() {
    const NUMBERS: u64 = 30_000;
    let program = flood(NUMBERS);
    let feed = Websocketd::start(&program.each_ref().map(String::as_str)).await;
    // Less is kept than comes, and a client may be less behind than it will be.
    let keys = "replay = { events = 500 }\nslow = { events = 200 }\nretry = { base = \"250ms\", spread = \"0\" }";
    let gate = Gate::start(&feed.bridge(keys)).await;
    let mut subscriber = Subscriber::open(&gate, "/live/a", None).await;
    let (mut received, mut missed, mut last) = (0, 0, 0);
    let mut cursor = String::new();
    within("the last number", async {
        while last < NUMBERS {
            // A client that is too far behind is cut off, and comes back as a browser would.
            match subscriber.hear_or_cut().await.unwrap_or(None) {
                Some(Heard::Event(event)) if event.name == "message" => {
                    let number: u64 = event.data.parse().unwrap();
                    received += 1;
                    // Counted here, not believed: each number is either here or among the missed.
                    assert_eq!(number, received + missed, "{last} was before");
                    last = number;
                }
                Some(Heard::Event(event)) if event.name == "streamgate.gap" => {
                    let told = event.json();
                    assert_eq!(told["reason"], "evicted", "{told}");
                    missed += told["missed"].as_u64().unwrap();
                }
                Some(_) => {}
                None => {
                    // A stream that was cut before it said anything has moved nothing.
                    if !subscriber.cursor.is_empty() {
                        cursor.clone_from(&subscriber.cursor);
                    }
                    subscriber = Subscriber::open(&gate, "/live/a", Some(&cursor)).await;
                }
            }
        }
    })
    .await;
    assert_eq!(received + missed, NUMBERS);
}

/// What an exchange's feed needs: to be asked first, and its frames taken apart.
const ROOMS: &str = r#"connect = { send = ['{"op":"subscribe","room":"{room}"}'] }
event = { name = "/event", data = "/payload" }
filter = { query = "symbol", pointer = "/payload/symbol" }
key = "/payload/symbol"
publish = { enabled = true }
"#;

/// The next events, but for the bridge's own.
async fn events(subscriber: &mut Subscriber, count: usize) -> Vec<(String, String)> {
    let mut events = Vec::new();
    while events.len() < count {
        let event = subscriber.next_but_status().await;
        events.push((event.name, event.data));
    }
    events
}

fn quote(symbol: &str, price: u64) -> (String, String) {
    (
        "quote".into(),
        format!("{{\"symbol\":\"{symbol}\",\"price\":{price}}}"),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_wants_to_be_asked_is_asked_and_its_frames_are_taken_apart() {
    let server = Server::node("ws_subscribe.js").await;
    let keys = format!("{ROOMS}start = \"replay\"");
    let gate = Gate::start(&bridge(server.port, &keys)).await;
    let mut first = Subscriber::open(&gate, "/live/metals", None).await;
    first.opened().await;
    let heard = events(&mut first, 4).await;
    // The answer to the subscription has no event and no payload: it is passed on as it is.
    let subscribed: Value = serde_json::from_str(&heard[0].1).unwrap();
    assert_eq!(subscribed["op"], "subscribed");
    assert_eq!(subscribed["room"], "metals");
    assert_eq!(
        heard[1..],
        [quote("GOLD", 100), quote("TIN", 101), quote("GOLD", 102)]
    );

    // Who comes later gets what is kept, or what it asks for of that, and then what is new.
    let mut later = Subscriber::open(&gate, "/live/metals", None).await;
    later.opened().await;
    assert_eq!(events(&mut later, 4).await, heard);
    let mut tin = Subscriber::open(&gate, "/live/metals?symbol=TIN", None).await;
    tin.opened().await;
    assert_eq!(events(&mut tin, 1).await, [quote("TIN", 101)]);

    for (symbol, price) in [("GOLD", 103), ("TIN", 104)] {
        let order = json!({ "op": "quote", "symbol": symbol, "price": price }).to_string();
        let post = [
            "--header",
            "Content-Type: application/json",
            "--data",
            &order,
        ];
        output(curl(&gate, &post, "/live/metals")).await;
    }
    assert_eq!(events(&mut tin, 1).await, [quote("TIN", 104)]);
    assert_eq!(
        events(&mut first, 2).await,
        [quote("GOLD", 103), quote("TIN", 104)]
    );
    assert_eq!(
        events(&mut later, 2).await,
        [quote("GOLD", 103), quote("TIN", 104)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_wants_its_own_ping_is_kept_and_newest_of_each_key_is_served() {
    const SILENCE: Duration = Duration::from_secs(1);
    let mut command = node("ws_subscribe.js");
    command
        .env("PORT", "0")
        .env("SILENCE", SILENCE.as_millis().to_string());
    let server = Server::start(command, "listening").await;
    let keepalive = "keepalive = { every = \"300ms\", text = \"ping\", drop = \"pong\" }";
    let keys = format!("{ROOMS}{keepalive}\nstart = \"snapshot\"");
    let gate = Gate::start(&bridge(server.port, &keys)).await;
    let mut first = Subscriber::open(&gate, "/live/metals", None).await;
    first.opened().await;
    events(&mut first, 4).await;
    // A feed that is not pinged is closed by its server within this, and its clients would be told of a gap.
    silence(2 * SILENCE).await;
    let order = json!({ "op": "quote", "symbol": "TIN", "price": 102 }).to_string();
    let post = [
        "--header",
        "Content-Type: application/json",
        "--data",
        &order,
    ];
    output(curl(&gate, &post, "/live/metals")).await;
    assert_eq!(events(&mut first, 1).await, [quote("TIN", 102)]);
    // Who comes now gets the newest quote of each symbol, and no older one.
    let mut later = Subscriber::open(&gate, "/live/metals?symbol=TIN&symbol=GOLD", None).await;
    later.opened().await;
    let newest = [quote("GOLD", 102), quote("TIN", 102)];
    assert_eq!(events(&mut later, 2).await, newest);
}

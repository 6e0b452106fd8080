//! A bridge in the pages of two browsers, by nothing but EventSource: what HTML says of event streams, held against
//! what the bridge writes.
//!
//! Each page does everything by itself and posts what it has seen, so that one test serves both browsers.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bridge::bridge;
use crate::harness::{Backend, Feed, Gate, Relay, Subscriber, stays_pending, within_time};
use crate::sse_browser::scene::{Maker, START, Scene, Speaks, Window};

/// The page's own origin, where it posts, and a bridge with these keys.
fn config(scene: &Scene, feeds: &Backend, keys: &str) -> String {
    format!("{}{}", scene.config(&scene.events, ""), bridge(feeds, keys))
}

/// The first feed, for which a browser has to start.
async fn first_feed(feeds: &mut Backend) -> Feed {
    let begun = async {
        loop {
            match feeds.request_if_any() {
                Some(exchange) => return exchange.into_feed().await,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    within_time(START, "the browser", begun).await
}

const HEARS: &str = r#"<!DOCTYPE html><title>Hears</title><script>
const seen = [];
const source = new EventSource('/live/a');
const note = (event) => {
  seen.push([event.type, event.data, event.lastEventId.split('-')[1]]);
  if (event.data !== 'the end') return;
  source.close();
  fetch('/outcome', { method: 'POST', body: JSON.stringify(seen) });
};
const own = ['open', 'gap', 'status', 'ping', 'error'].map((name) => `streamgate.${name}`);
for (const name of ['message', 'binary', 'forged', 'error', 'open', ...own]) {
  source.addEventListener(name, (event) => { if (event.data !== undefined) note(event) });
}
</script>"#;

/// Texts that would say more than they should, and what a page has to make of them.
const HOSTILE: [(&str, &str); 9] = [
    ("plain", "plain"),
    ("", ""),
    ("a\revent: forged\rdata: x", "a\nevent: forged\ndata: x"),
    (
        "a\r\revent: forged\rdata: x\r\r",
        "a\n\nevent: forged\ndata: x\n\n",
    ),
    (
        "a\n\nid: 99\nevent: error\ndata: x\n\n",
        "a\n\nid: 99\nevent: error\ndata: x\n\n",
    ),
    ("a\r\n\r\nretry: 0\r\n\r\n", "a\n\nretry: 0\n\n"),
    ("\u{feff}data: a mark", "\u{feff}data: a mark"),
    (" a space, \0 and 🦀 ", " a space, \0 and 🦀 "),
    (": a comment\n:", ": a comment\n:"),
];

async fn nothing_is_forged(maker: Maker, speaks: Speaks) {
    let mut feeds = Backend::by_hand().await;
    let mut scene = Scene::with(HEARS).await;
    let gate = Gate::start(&config(&scene, &feeds, "")).await;
    let window = Window::open(maker, speaks, gate.https.port()).await;
    let mut feed = first_feed(&mut feeds).await;
    let mut expected = Vec::new();
    for (number, (sent, heard)) in (1..).zip(HOSTILE) {
        feed.text(sent).await;
        let heard = match maker {
            Maker::Google => heard.to_owned(),
            // It leaves NUL out, against the book.
            Maker::Mozilla => heard.replace('\0', ""),
        };
        expected.push(json!(["message", heard, number.to_string()]));
    }
    feed.binary(&[0, 13, 10, 255]).await;
    expected.push(json!(["binary", "AA0K/w==", "10"]));
    feed.text("the end").await;
    expected.push(json!(["message", "the end", "11"]));
    let (seen, mut posted) = scene.seen().await;
    posted.answer("200 OK", "noted").await;
    let names = |own: bool| {
        let events = seen.as_array().unwrap().iter().cloned();
        events.filter(move |event| event[0].as_str().unwrap().starts_with("streamgate.") == own)
    };
    assert_eq!(names(false).collect::<Vec<_>>(), expected);
    let own: Vec<_> = names(true).map(|event| event[0].clone()).collect();
    assert_eq!(own.first(), Some(&json!("streamgate.open")), "{own:?}");
    assert!(
        own[1..].iter().all(|name| name == "streamgate.status"),
        "{own:?}"
    );
    window.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_forges_nothing_in_chromium() {
    nothing_is_forged(Maker::Google, Speaks::Http2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_forges_nothing_in_firefox() {
    nothing_is_forged(Maker::Mozilla, Speaks::Http1).await;
}

/// Posts each message, and whatever would be the end of it.
const FOLLOWS: &str = r#"<!DOCTYPE html><title>Follows</title><script>
const heard = []; let opens = 0, posts = 0;
const source = new EventSource('/live/a');
const post = () => fetch('/outcome', { method: 'POST', body: JSON.stringify({ heard: heard.splice(0), opens }) });
source.onopen = () => { opens += 1 };
source.onmessage = (event) => { heard.push(event.data); post() };
for (const name of ['streamgate.gap', 'streamgate.status']) {
  source.addEventListener(name, (event) => { heard.push(event.data) });
}
source.onerror = () => { if (source.readyState === EventSource.CLOSED) { heard.push('closed for ever'); post() } };
</script>"#;

/// What the page has posted since.
async fn follows(scene: &mut Scene) -> (Vec<Value>, u64) {
    let (seen, mut posted) = scene.seen().await;
    posted.answer("200 OK", "noted").await;
    let heard = seen["heard"].as_array().unwrap();
    let heard = heard.iter().map(|text| {
        let text = text.as_str().unwrap();
        serde_json::from_str(text).unwrap_or_else(|_| json!(text))
    });
    (heard.collect(), seen["opens"].as_u64().unwrap())
}

const SOON: &str = "retry = { base = \"250ms\", spread = \"0\" }\nreconnect = { initial = \"20ms\", max = \"20ms\" }\n";

/// The cursor of a page that has heard no message stands in a block of nothing but an id.
#[tokio::test(flavor = "multi_thread")]
async fn an_id_alone_is_where_chromium_goes_on() {
    let mut feeds = Backend::by_hand().await;
    let mut scene = Scene::with(FOLLOWS).await;
    let keys = format!("{SOON}open_event = false");
    let gate = Gate::start(&config(&scene, &feeds, &keys)).await;
    let relay = Relay::to(gate.https).await;
    let window = Window::open(Maker::Google, Speaks::Http1, relay.address.port()).await;
    let mut feed = first_feed(&mut feeds).await;
    gate.logged("the page's stream", |line| line.message() == "stream open")
        .await;
    relay.cut();
    feed.text("while away").await;
    let (heard, opens) = follows(&mut scene).await;
    assert_eq!(heard.last(), Some(&json!("while away")), "{heard:?}");
    assert!(
        heard.iter().all(|told| told.get("reason").is_none()),
        "{heard:?}"
    );
    assert_eq!(opens, 2);
    window.close().await;
}

async fn faults_that_pass_end_nothing(maker: Maker, speaks: Speaks) {
    let mut feeds = Backend::by_hand().await;
    let mut scene = Scene::with(FOLLOWS).await;
    let text = config(&scene, &feeds, SOON);
    let first = Gate::start(&text).await;
    let relay = Relay::to(first.https).await;
    let window = Window::open(maker, speaks, relay.address.port()).await;
    let mut feed = first_feed(&mut feeds).await;
    feed.text("one").await;
    assert_eq!(follows(&mut scene).await.0.last(), Some(&json!("one")));

    // The feed breaks off and is down for a time: the stream stays.
    feed.cut();
    let mut refused = feeds.next().await;
    refused.answer("503 Service Unavailable", "down").await;
    drop(refused);
    let mut feed = feeds.feed().await;
    feed.text("two").await;
    let (heard, opens) = follows(&mut scene).await;
    assert_eq!(opens, 1);
    let about = |key: &str| {
        heard
            .iter()
            .filter_map(|told| told.get(key))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        about("upstream"),
        [&json!("reconnecting"), &json!("up")],
        "{heard:?}"
    );
    assert_eq!(about("reason"), [&json!("upstream_reconnect")], "{heard:?}");

    // The process ends and another one begins: the stream does too, and the break in the ids is told.
    first.stop().await;
    let second = Gate::start(&text).await;
    relay.aim(second.https);
    let mut feed = feeds.feed().await;
    feed.text("three").await;
    let (heard, opens) = follows(&mut scene).await;
    assert_eq!(opens, 2);
    let gap = json!({ "reason": "epoch", "missed": null });
    assert!(heard.contains(&gap), "{heard:?}");
    assert_eq!(heard.last(), Some(&json!("three")));
    window.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_pass_do_not_end_chromium_s_event_source() {
    faults_that_pass_end_nothing(Maker::Google, Speaks::Http2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_pass_do_not_end_firefox_s_event_source() {
    faults_that_pass_end_nothing(Maker::Mozilla, Speaks::Http1).await;
}

/// Posts how a source fares that there is no room for.
const CROWDED: &str = r#"<!DOCTYPE html><title>Crowded</title><script>
const seen = { opens: 0, status: [] };
const source = new EventSource('/live/a');
source.onopen = () => { seen.opens += 1 };
source.addEventListener('streamgate.status', (event) => seen.status.push(JSON.parse(event.data)));
source.onerror = () => {
  fetch('/outcome', { method: 'POST', body: JSON.stringify({ ...seen, closed: source.readyState === EventSource.CLOSED }) });
};
</script>"#;

async fn overload_is_not_the_end(maker: Maker, speaks: Speaks) {
    let feeds = Backend::by_hand().await;
    let mut scene = Scene::with(CROWDED).await;
    let keys = "limits = { subscribers = 1 }";
    let gate = Gate::start(&config(&scene, &feeds, keys)).await;
    let (head, _taken) = Subscriber::ask(&gate, "/live/a", None).await;
    assert_eq!(head.status(), 200);
    let window = Window::open(maker, speaks, gate.https.port()).await;
    let posted = within_time(START, "the browser", async {
        loop {
            if let Some(exchange) = scene.outcome.request_if_any() {
                return exchange;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut exchange = posted.await;
    let seen: Value = serde_json::from_str(&exchange.wire.text().await).unwrap();
    exchange.answer("200 OK", "noted").await;
    assert_eq!(
        seen,
        json!({ "opens": 1, "status": [{ "state": "busy" }], "closed": false })
    );
    // It was told to come back, and not at once: a storm would be back within these.
    stays_pending("the page", Duration::from_secs(2), scene.outcome.next()).await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_does_not_end_chromium_s_event_source() {
    overload_is_not_the_end(Maker::Google, Speaks::Http1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overload_does_not_end_firefox_s_event_source() {
    overload_is_not_the_end(Maker::Mozilla, Speaks::Http2).await;
}

/// Sources that are cut off at once, and when each of them is back, in ms since.
const RETURNS: &str = r#"<!DOCTYPE html><title>Returns</title><script>
const sources = 6, back = []; let opens = 0, cut = 0;
for (let number = 0; number < sources; number += 1) {
  const source = new EventSource('/live/a');
  source.onopen = () => {
    opens += 1;
    if (opens === sources) fetch('/outcome', { method: 'POST', body: '"here"' });
    if (opens <= sources) return;
    back.push(performance.now() - cut);
    if (back.length === sources) fetch('/outcome', { method: 'POST', body: JSON.stringify(back) });
  };
  source.onerror = () => { cut ||= performance.now() };
}
</script>"#;

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_were_cut_off_at_once_do_not_return_at_once() {
    let mut feeds = Backend::by_hand().await;
    let mut scene = Scene::with(RETURNS).await;
    let keys = "retry = { base = \"250ms\", spread = \"3s\" }";
    let gate = Gate::start(&config(&scene, &feeds, keys)).await;
    let relay = Relay::to(gate.https).await;
    let window = Window::open(Maker::Google, Speaks::Http2, relay.address.port()).await;
    let _feed = first_feed(&mut feeds).await;
    let (here, mut posted) = scene.seen().await;
    assert_eq!(here, json!("here"));
    posted.answer("200 OK", "noted").await;
    relay.cut();
    // The cut may have taken the answer, too: then the page's first post comes again.
    let back = loop {
        let (back, mut posted) = scene.seen().await;
        posted.answer("200 OK", "noted").await;
        if back != here {
            break back;
        }
    };
    let back: Vec<f64> = serde_json::from_value(back).unwrap();
    let (first, last) = (back[0], back[back.len() - 1]);
    // Six random parts of 3 s lie closer together than this once in ten thousand runs.
    assert!(last - first > 300.0, "they came back together: {back:?}");
    assert!(first >= 200.0, "one came back before its time: {back:?}");
    window.close().await;
}

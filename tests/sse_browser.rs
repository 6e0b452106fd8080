//! Event streams of a backend in the pages of two browsers, over HTTP/1.1 and over HTTP/2: what a page hears, when it
//! leaves, and how it comes back at another process.
//!
//! The page does everything by itself and posts what it has seen, so that one test serves both browsers.

pub mod scene;

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Gate, Meant, NumberedSource, Relay, every_kind_of_event, meant, silence, within_time,
};
use scene::{Maker, START, Scene, Speaks, Window, streams};

const HEARS: &str = r#"<!DOCTYPE html><title>Hears</title><script>
const seen = []; let opens = 0;
const source = new EventSource('/events/all');
source.onopen = () => { opens += 1 };
const note = (event) => {
  seen.push([event.type, event.data, event.lastEventId]);
  if (event.data !== 'again') return;
  source.close();
  fetch('/outcome', { method: 'POST', body: JSON.stringify({ seen, opens }) });
};
for (const name of ['message', 'named', 'last']) source.addEventListener(name, note);
</script>"#;

/// Plays every kind of event to a page, with a pause of the backend's between its writes, on a route with these keys.
async fn hears_what_was_meant(maker: Maker, speaks: Speaks, (pause, keys): (Duration, &str)) {
    let mut scene = Scene::with(HEARS).await;
    let gate = Gate::start(&scene.config(&scene.events, keys)).await;
    let window = Window::open(maker, speaks, gate.https.port()).await;
    let mut exchange = scene.first().await;
    exchange.answer_in_chunks("text/event-stream").await;
    for piece in every_kind_of_event() {
        exchange.wire.send_chunk(piece).await;
        silence(pause).await;
    }
    // What a stream ends within is no event.
    exchange.wire.send_chunk("id: 4\ndata: half\n").await;
    silence(pause).await;
    exchange.wire.end_chunks().await;
    drop(exchange);

    let mut exchange = scene.events.next().await;
    assert_eq!(exchange.request.get("last-event-id"), Some("3"));
    exchange.answer_in_chunks("text/event-stream").await;
    exchange.wire.send_chunk("data: again\n\n").await;
    // The page closes its source then, and nothing else is told to the backend than that.
    exchange.wire.closes_within(Duration::from_secs(2)).await;

    let (seen, mut posted) = scene.seen().await;
    assert_eq!(seen, json!({ "seen": expected(maker), "opens": 2 }));
    posted.answer("200 OK", "noted").await;
    let streams = streams(&gate);
    assert_eq!(streams.len(), 2, "{streams:?}");
    for (version, _client) in streams {
        assert_eq!(version, speaks.version());
    }
    window.close().await;
}

fn expected(maker: Maker) -> Vec<Meant> {
    let mut expected = meant();
    expected.push(("message", "again".to_owned(), "3"));
    if maker == Maker::Mozilla {
        // It forgets the id of a block that has no data, against the book.
        let forgotten = expected.iter_mut().filter(|(_, _, id)| *id == "2");
        forgotten.for_each(|event| event.2 = "1");
    }
    expected
}

const AT_ONCE: (Duration, &str) = (Duration::ZERO, "");

/// The backend is silent for longer than the heartbeat after each of its writes, wherever that stopped.
const WITH_HEARTBEATS: (Duration, &str) = (Duration::from_millis(150), "heartbeat = \"100ms\"");

#[tokio::test(flavor = "multi_thread")]
async fn chromium_hears_what_was_meant_over_http_1() {
    hears_what_was_meant(Maker::Google, Speaks::Http1, AT_ONCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_hears_what_was_meant_over_http_2() {
    hears_what_was_meant(Maker::Google, Speaks::Http2, AT_ONCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_hears_nothing_of_heartbeats() {
    hears_what_was_meant(Maker::Google, Speaks::Http1, WITH_HEARTBEATS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn firefox_hears_what_was_meant_over_http_1() {
    hears_what_was_meant(Maker::Mozilla, Speaks::Http1, AT_ONCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn firefox_hears_what_was_meant_over_http_2() {
    hears_what_was_meant(Maker::Mozilla, Speaks::Http2, AT_ONCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn firefox_hears_nothing_of_heartbeats() {
    hears_what_was_meant(Maker::Mozilla, Speaks::Http2, WITH_HEARTBEATS).await;
}

/// A route that takes up again what its server breaks off: the page hears nothing of a break within an event.
async fn hears_nothing_of_a_break(maker: Maker, speaks: Speaks) {
    let mut scene = Scene::with(HEARS).await;
    let gate = Gate::start(&scene.config(&scene.events, "resume = true")).await;
    let window = Window::open(maker, speaks, gate.https.port()).await;
    let mut exchange = scene.first().await;
    exchange.answer_in_chunks("text/event-stream").await;
    for piece in every_kind_of_event() {
        exchange.wire.send_chunk(piece).await;
    }
    let mut expected = expected(maker);
    let again = expected.pop().unwrap();
    for (id, text) in [("4", "four"), ("5", "five")] {
        let event = format!("id: {id}\ndata: {text}\n\n");
        let (half, _) = event.split_at(event.len() - 4);
        exchange.wire.send_chunk(half).await;
        match id {
            "4" => drop(exchange),
            _ => exchange.reset(),
        }
        exchange = scene.events.next().await;
        let known = expected.last().unwrap().2;
        assert_eq!(exchange.request.get("last-event-id"), Some(known));
        exchange.answer_in_chunks("text/event-stream").await;
        // A new response may begin with a mark again, which would be a part of a field's name in the old one.
        exchange.wire.send_chunk(format!("\u{feff}{event}")).await;
        expected.push(("message", text.to_owned(), id));
    }
    exchange.wire.send_chunk("data: again\n\n").await;
    exchange.wire.closes_within(Duration::from_secs(2)).await;
    expected.push((again.0, again.1, "5"));
    let (seen, mut posted) = scene.seen().await;
    assert_eq!(seen, json!({ "seen": expected, "opens": 1 }));
    posted.answer("200 OK", "noted").await;
    let streams = streams(&gate);
    assert_eq!(streams.len(), 1, "{streams:?}");
    assert_eq!(streams[0].0, speaks.version());
    window.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_hears_nothing_of_a_break_over_http_2() {
    hears_nothing_of_a_break(Maker::Google, Speaks::Http2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn firefox_hears_nothing_of_a_break_over_http_1() {
    hears_nothing_of_a_break(Maker::Mozilla, Speaks::Http1).await;
}

const TEN: &str = r#"<!DOCTYPE html><title>Ten</title><script>
const seen = [];
for (let number = 0; number < 10; number += 1) {
  const source = new EventSource(`/events/${number}`);
  source.onmessage = async (event) => {
    if (seen.push(`${number}: ${event.data}`) < 10) return;
    await fetch('/outcome', { method: 'POST', body: JSON.stringify(seen.sort()) });
    location.replace('about:blank');
  };
}
</script>"#;

async fn hears_ten_at_once(maker: Maker) {
    let mut scene = Scene::with(TEN).await;
    let gate = Gate::start(&scene.config(&scene.events, "")).await;
    let window = Window::open(maker, Speaks::Http2, gate.https.port()).await;
    let mut open = vec![scene.first().await];
    // More than the six that a browser opens at one host over HTTP/1.1.
    while open.len() < 10 {
        open.push(scene.events.next().await);
    }
    for exchange in &mut open {
        exchange.answer_in_chunks("text/event-stream").await;
        let event = format!("data: {}\n\n", exchange.request.target());
        exchange.wire.send_chunk(event).await;
    }
    let (seen, mut posted) = scene.seen().await;
    let expected: Vec<_> = (0..10)
        .map(|number| format!("{number}: /events/{number}"))
        .collect();
    assert_eq!(seen, json!(expected));
    let streams = streams(&gate);
    assert_eq!(streams.len(), 10, "{streams:?}");
    for stream in &streams {
        assert_eq!(stream, &("HTTP/2.0".to_owned(), streams[0].1.clone()));
    }
    // The page leaves once its post is answered, and its ten sources with it.
    posted.answer("200 OK", "noted").await;
    for exchange in &mut open {
        exchange.wire.closes_within(Duration::from_secs(5)).await;
    }
    window.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_sources_of_chromium_share_a_connection_and_leave_with_their_page() {
    hears_ten_at_once(Maker::Google).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_sources_of_firefox_share_a_connection_and_leave_with_their_page() {
    hears_ten_at_once(Maker::Mozilla).await;
}

/// Posts when it has twenty events, and again when it has twenty of a later connection.
const FOLLOWS: &str = r#"<!DOCTYPE html><title>Follows</title><script>
const seen = [], opens = [];
const source = new EventSource('/events/numbers');
source.onopen = () => { opens.push(seen.length) };
source.onmessage = (event) => {
  const number = parseInt(event.lastEventId);
  seen.push(event.data === `${number} ${'-'.repeat(200)}` ? number : event.data);
  if (opens.length <= 2 && seen.length === opens[opens.length - 1] + 20) {
    fetch('/outcome', { method: 'POST', body: JSON.stringify({ seen, opens: opens.length }) });
  }
};
source.onerror = () => {
  if (source.readyState !== EventSource.CLOSED) return;
  fetch('/outcome', { method: 'POST', body: JSON.stringify({ seen, closed: true }) });
};
</script>"#;

/// The process that has the page's stream is told to stop while another one takes what comes new.
async fn is_taken_up_elsewhere(maker: Maker, speaks: Speaks) {
    let source = NumberedSource::start().await;
    let mut scene = Scene::with(FOLLOWS).await;
    let config = scene.config(&source.backend, "");
    let mut first = Gate::start(&config).await;
    let second = Gate::start(&config).await;
    let relay = Relay::to(first.https).await;
    let window = Window::open(maker, speaks, relay.address.port()).await;

    let begun = within_time(START, "the first numbers", async {
        loop {
            if let Some(exchange) = scene.outcome.request_if_any() {
                return exchange;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let mut exchange = begun.await;
    let posted: Value = serde_json::from_str(&exchange.wire.text().await).unwrap();
    assert_eq!(posted["opens"], 1, "{posted}");
    exchange.answer("200 OK", "noted").await;

    relay.aim(second.https);
    first.signal("TERM");
    let (posted, mut exchange) = scene.seen().await;
    exchange.answer("200 OK", "noted").await;
    assert_eq!(posted["opens"], 2, "{posted}");
    let seen = posted["seen"].as_array().unwrap();
    for (at, number) in seen.iter().enumerate() {
        assert_eq!(number, &json!(at + 1), "{posted}");
    }
    for gate in [&first, &second] {
        let streams = streams(gate);
        assert_eq!(streams.len(), 1, "{streams:?}");
        assert_eq!(streams[0].0, speaks.version());
    }
    first.ended().await;
    // It was not cut: it ended between two events, once it had been told when to come back.
    let lines = first.log.since(0);
    let closed = lines.iter().find(|line| line.message() == "stream close");
    assert!(closed.unwrap().has("reason", "drain"), "{closed:?}");
    window.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_is_taken_up_by_another_process_over_http_1() {
    is_taken_up_elsewhere(Maker::Google, Speaks::Http1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chromium_is_taken_up_by_another_process_over_http_2() {
    is_taken_up_elsewhere(Maker::Google, Speaks::Http2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn firefox_is_taken_up_by_another_process_over_http_1() {
    is_taken_up_elsewhere(Maker::Mozilla, Speaks::Http1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn firefox_is_taken_up_by_another_process_over_http_2() {
    is_taken_up_elsewhere(Maker::Mozilla, Speaks::Http2).await;
}

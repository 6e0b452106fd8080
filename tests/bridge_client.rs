//! `streamgate.js` in Chromium: what its callbacks say, how it comes back, which way it takes where streams do not get
//! through, and how it sends.
//!
//! Where the way back or a fault has to be exact, the bridge is played by hand.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bridge::{bridge, id_parts};
use crate::browser::Browser;
use crate::harness::{Backend, Exchange, Gate, Relay, within};

const CLIENT: &str = include_str!("../src/demo/streamgate.js");

/// Makes a feed of the page's at `/live/a`, and keeps all that is heard of it.
const PAGE: &str = r#"<!DOCTYPE html><title>Client</title><script type="module">
import { Streamgate } from '/streamgate.js';
const heard = [];
const note = (what) => (...values) => { heard.push([what, ...values]) };
window.heard = heard;
window.named = (name) => heard.filter(([what]) => what === name).map(([, value]) => value);
window.listen = (options) => {
  window.feed = new Streamgate('/live/a', {
    message: note('message'), events: { binary: note('binary'), price: note('price') },
    open: note('open'), gap: note('gap'), status: note('status'), state: note('state'), ended: note('ended'),
  }, options);
};
window.say = (data, options) => {
  feed.send(data, options).then(note('sent'), ({ status, body }) => note('refused')({ status, body }));
};
window.ready = true;
</script>"#;

/// A site with the page at every path, and the client at its own.
pub async fn site(page: &'static str) -> Backend {
    Backend::that(move |mut exchange: Exchange| async move {
        let (kind, body) = match exchange.request.target() {
            "/streamgate.js" => ("text/javascript", CLIENT),
            _ => ("text/html; charset=utf-8", page),
        };
        let length = body.len();
        let head =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
        exchange.wire.send(head + body).await;
        Some(exchange.wire)
    })
    .await
}

/// A browser with the page open and its client loaded.
async fn window(port: u16) -> Browser {
    let browser = Browser::start().await;
    browser.open(port, "/").await;
    browser.until("window.ready === true").await;
    browser
}

/// Runs a statement in the page.
async fn run(browser: &Browser, statement: &str) {
    browser.value(&format!("(() => {{ {statement} }})()")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_tell_all_that_the_bridge_says() {
    let mut feeds = Backend::by_hand().await;
    let page = site(PAGE).await;
    let keys = "publish = { enabled = true }\nretry = { base = \"250ms\", spread = \"0\" }\n\
                reconnect = { initial = \"20ms\", max = \"20ms\" }";
    let gate = Gate::start(&format!(
        "{}{}",
        page.for_everything(),
        bridge(&feeds, keys)
    ))
    .await;
    let relay = Relay::to(gate.https).await;
    let browser = window(relay.address.port()).await;
    run(&browser, "listen()").await;
    let mut feed = feeds.feed().await;
    browser.until("named('open').length == 1").await;
    let open = browser.value("named('open')[0]").await;
    assert_eq!(
        (&open["resumed"], &open["replay"]),
        (&json!(false), &json!(0))
    );

    feed.text("one").await;
    feed.binary(b"hello").await;
    browser.until("named('binary').length == 1").await;
    assert_eq!(browser.value("named('message')").await, json!(["one"]));
    assert_eq!(browser.value("named('binary')").await, json!(["aGVsbG8="]));
    let id = browser.value("feed.lastEventId").await;
    assert_eq!(id_parts(id.as_str().unwrap()).1, 2);
    assert_eq!(
        browser.value("[feed.state, feed.way]").await,
        json!(["open", "sse"])
    );

    run(
        &browser,
        "say('text'); say({ json: 1 }); say(new Uint8Array([1, 2]))",
    )
    .await;
    assert_eq!(feed.next_text().await, "text");
    assert_eq!(feed.next_text().await, "{\"json\":1}");
    assert_eq!(feed.next_binary().await, [1, 2]);
    browser.until("named('sent').length == 3").await;
    assert_eq!(
        browser
            .value("named('sent').map((sent) => sent.status)")
            .await,
        json!([204, 204, 204])
    );

    // The line is cut: the browser comes back by itself, and nothing is missed.
    relay.cut();
    feed.text("while away").await;
    browser.until("named('open').length == 2").await;
    browser.until("named('message').length == 2").await;
    assert_eq!(browser.value("named('open')[1].resumed").await, json!(true));
    assert_eq!(browser.value("named('gap')").await, json!([]));

    // The feed is cut: the page is told, and what was missed is a gap.
    feed.cut();
    let _feed = feeds.feed().await;
    browser.until("named('gap').length == 1").await;
    assert_eq!(
        browser.value("named('gap')[0].reason").await,
        json!("upstream_reconnect")
    );
    let told = browser
        .value("named('status').map((status) => status.upstream)")
        .await;
    assert!(
        told.as_array().unwrap().contains(&json!("reconnecting")),
        "{told}"
    );
    browser
        .until("named('status').at(-1).upstream == 'up'")
        .await;

    run(&browser, "feed.close()").await;
    assert_eq!(browser.value("feed.state").await, json!("ended"));
    assert_eq!(
        browser.value("named('ended')").await,
        json!([]),
        "the page knows that it closed"
    );
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_that_starts_anew_is_found_again_and_the_gap_is_told() {
    let mut feeds = Backend::by_hand().await;
    let page = site(PAGE).await;
    let retry = "retry = { base = \"250ms\", spread = \"0\" }";
    let text = format!("{}{}", page.for_everything(), bridge(&feeds, retry));
    let first = Gate::start(&text).await;
    let relay = Relay::to(first.https).await;
    let browser = window(relay.address.port()).await;
    run(&browser, "listen()").await;
    let mut feed = feeds.feed().await;
    feed.text("before").await;
    browser.until("named('message').length == 1").await;
    first.stop().await;
    let second = Gate::start(&text).await;
    relay.aim(second.https);
    let mut feed = feeds.feed().await;
    browser.until("named('open').length == 2").await;
    feed.text("after").await;
    browser.until("named('message').length == 2").await;
    let gaps = browser.value("named('gap')").await;
    assert_eq!(gaps, json!([{ "reason": "epoch", "missed": null }]));
    assert_eq!(
        browser.value("named('message')").await,
        json!(["before", "after"])
    );
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_tells_the_same_and_misses_nothing() {
    let mut feeds = Backend::by_hand().await;
    let page = site(PAGE).await;
    let keys = "publish = { enabled = true }\nretry = { base = \"250ms\", spread = \"0\" }\nidle = { linger = \"3s\" }";
    let gate = Gate::start(&format!(
        "{}{}",
        page.for_everything(),
        bridge(&feeds, keys)
    ))
    .await;
    let relay = Relay::to(gate.https).await;
    let browser = window(relay.address.port()).await;
    for way in ["sse", "websocket", "poll"] {
        run(
            &browser,
            &format!("heard.length = 0; listen({{ ways: ['{way}'] }})"),
        )
        .await;
        let mut feed = feeds.feed().await;
        browser.until("named('open').length == 1").await;
        feed.text("one\nand two").await;
        feed.binary(b"hello").await;
        browser.until("named('binary').length == 1").await;
        relay.cut();
        feed.text("while away").await;
        browser.until("named('message').length == 2").await;
        assert_eq!(
            browser.value("named('message')").await,
            json!(["one\nand two", "while away"]),
            "{way}"
        );
        assert_eq!(browser.value("named('gap')").await, json!([]), "{way}");
        assert_eq!(browser.value("feed.way").await, json!(way));
        run(&browser, "say('back')").await;
        assert_eq!(feed.next_text().await, "back");
        run(&browser, "feed.close()").await;
        // Nobody listens any more: the feed is let go, and the next way begins with another.
        assert_eq!(feed.close_code().await, Some(1000), "{way}");
    }
    browser.close().await;
}

/// A bridge that the test plays: all requests for `/live/a` come to `requests`.
struct Played {
    requests: Backend,
    gate: Gate,
    _page: Backend,
}

impl Played {
    async fn start() -> Self {
        let requests = Backend::by_hand().await;
        let page = site(PAGE).await;
        let route = "[[route]]\npath = \"/live/a\"\nupstream = \"played\"\n";
        let upstream = requests.upstream("played");
        let gate = Gate::start(&format!("{}{upstream}{route}", page.for_everything())).await;
        Self {
            requests,
            gate,
            _page: page,
        }
    }

    async fn window(&self) -> Browser {
        window(self.gate.https.port()).await
    }

    /// The next request, which has to ask for this type.
    async fn asked(&mut self, accept: &str) -> Exchange {
        let exchange = self.requests.next().await;
        assert_eq!(
            exchange.request.get("accept"),
            Some(accept),
            "{:?}",
            exchange.request
        );
        exchange
    }

    /// Takes the next request for events, and begins a stream with these.
    async fn stream(&mut self, events: &str) -> Exchange {
        let mut exchange = self.asked("text/event-stream").await;
        exchange.answer_in_chunks("text/event-stream").await;
        exchange.wire.send_chunk(events).await;
        exchange
    }

    /// Takes the next message.
    async fn posted(&mut self) -> (Exchange, String) {
        let mut exchange = self.requests.next().await;
        assert_eq!(exchange.request.method(), "POST");
        let body = exchange.wire.text().await;
        (exchange, body)
    }
}

fn open_event(id: &str, session: Value) -> String {
    let told = json!({ "channel": "a", "resumed": false, "replay": 0, "session": session });
    format!("event: streamgate.open\nid: {id}\ndata: {told}\n\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn where_streams_are_held_back_it_takes_a_websocket_and_then_polls() {
    let mut played = Played::start().await;
    let browser = played.window().await;
    run(
        &browser,
        "listen({ patience: 2000, lastEventId: 'epoch00000-4' })",
    )
    .await;
    // A stream whose head is let through, and whose body is not.
    let mut held = played.asked("text/event-stream").await;
    assert_eq!(held.request.target(), "/live/a?lastEventId=epoch00000-4");
    held.answer_in_chunks("text/event-stream").await;

    let exchange = played.requests.next().await;
    assert_eq!(
        exchange.request.get("sec-websocket-protocol"),
        Some("streamgate.v1.json")
    );
    assert_eq!(
        exchange.request.target(),
        "/live/a?lastEventId=epoch00000-4"
    );
    held.wire.closes().await;
    let mut feed = exchange
        .into_feed_with("Sec-WebSocket-Protocol: streamgate.v1.json\r\n")
        .await;
    let event = |event: &str, id: Value, data: &str| {
        json!({ "event": event, "id": id, "data": data }).to_string()
    };
    let opened = json!({ "channel": "a", "resumed": true, "replay": 0, "session": null });
    feed.text(&event(
        "streamgate.open",
        json!("epoch00000-4"),
        &opened.to_string(),
    ))
    .await;
    feed.text(&event("message", json!("epoch00000-5"), "five"))
        .await;
    feed.text(&event("price", json!("epoch00000-6"), "six"))
        .await;
    feed.text(&event(
        "streamgate.status",
        Value::Null,
        "{\"upstream\":\"up\"}",
    ))
    .await;
    browser.until("named('status').length == 1").await;
    assert_eq!(browser.value("named('message')").await, json!(["five"]));
    assert_eq!(browser.value("named('price')").await, json!(["six"]));
    assert_eq!(
        browser.value("[feed.way, feed.lastEventId]").await,
        json!(["websocket", "epoch00000-6"])
    );

    // What has worked is tried again first; it now fails, and the next way is a poll.
    feed.cut();
    let mut refused = played.requests.next().await;
    assert_eq!(refused.request.target(), "/live/a?lastEventId=epoch00000-6");
    assert!(refused.request.get("sec-websocket-key").is_some());
    refused.answer("403 Forbidden", "no upgrades here").await;
    drop(refused);
    let mut poll = played.asked("application/json").await;
    assert_eq!(poll.request.target(), "/live/a?after=epoch00000-6");
    let body = json!({
        "channel": "a", "cursor": "epoch00000-9", "gap": null,
        "events": [{ "event": "message", "id": "epoch00000-7", "data": "seven" }],
    });
    poll.answer("200 OK", &body.to_string()).await;
    let poll = poll.next().await;
    assert_eq!(poll.request.target(), "/live/a?after=epoch00000-9");
    assert_eq!(
        browser.value("named('message')").await,
        json!(["five", "seven"])
    );
    assert_eq!(
        browser.value("[feed.way, feed.state]").await,
        json!(["poll", "open"])
    );
    // A page that closes leaves no request behind.
    run(&browser, "feed.close()").await;
    let mut wire = poll.wire;
    wire.closes().await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_ends_an_event_source_for_ever_does_not_end_it() {
    let mut played = Played::start().await;
    let browser = played.window().await;
    run(&browser, "listen()").await;
    let mut stream = played
        .stream("id: epoch00000-1\ndata: one\n\nretry: 50\n\n")
        .await;
    stream.wire.end_chunks().await;
    drop(stream);
    // Something before the gate answers in its place. The second is the client's own, to learn what it was.
    for _ in 0..2 {
        let mut exchange = played.asked("text/event-stream").await;
        exchange
            .answer("503 Service Unavailable", "<h1>maintenance</h1>")
            .await;
    }
    let exchange = played.asked("text/event-stream").await;
    assert_eq!(
        exchange.request.target(),
        "/live/a?lastEventId=epoch00000-1"
    );
    let states = browser.value("named('state')").await;
    assert_eq!(
        states,
        json!(["connecting", "open", "connecting", "waiting", "connecting"])
    );
    run(&browser, "feed.close()").await;
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_where_it_is_told_to() {
    let mut played = Played::start().await;
    let browser = played.window().await;
    // An end that is meant, as the status of an answer.
    for (answer, why) in [
        (
            "204 No Content",
            json!({ "reason": "finished", "status": 204 }),
        ),
        (
            "401 Unauthorized",
            json!({ "reason": "refused", "status": 401 }),
        ),
        (
            "404 Not Found",
            json!({ "reason": "refused", "status": 404 }),
        ),
    ] {
        run(&browser, "heard.length = 0; listen()").await;
        for _ in 0..2 {
            let mut exchange = played.asked("text/event-stream").await;
            let head = format!("HTTP/1.1 {answer}\r\nContent-Type: text/plain\r\n");
            let length = if answer.starts_with("204") {
                ""
            } else {
                "Content-Length: 0\r\n"
            };
            exchange.wire.send(format!("{head}{length}\r\n")).await;
        }
        browser.until("named('ended').length == 1").await;
        assert_eq!(browser.value("named('ended')[0]").await, why);
        assert_eq!(browser.value("feed.state").await, json!("ended"));
    }
    // As the last id of a feed that is over.
    run(&browser, "heard.length = 0; listen()").await;
    let last =
        "id: epoch00000-9-end\nevent: streamgate.status\ndata: {\"upstream\":\"closed\"}\n\n";
    let mut stream = played.stream(last).await;
    browser.until("named('ended').length == 1").await;
    assert_eq!(browser.value("named('status').length").await, json!(1));
    stream.wire.closes().await;
    // As the code of a WebSocket.
    run(
        &browser,
        "heard.length = 0; listen({ ways: ['websocket'] })",
    )
    .await;
    let exchange = played.requests.next().await;
    let feed = exchange
        .into_feed_with("Sec-WebSocket-Protocol: streamgate.v1.json\r\n")
        .await;
    feed.close(4401).await;
    browser.until("named('ended').length == 1").await;
    assert_eq!(browser.value("named('ended')[0].status").await, json!(401));
    assert!(played.requests.request_if_any().is_none(), "it came back");
    browser.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_session_go_in_order_and_none_is_said_twice() {
    let mut played = Played::start().await;
    let browser = played.window().await;
    run(&browser, "listen()").await;
    let first = open_event("epoch00000-0", json!("session-one"));
    let _stream = played.stream(&first).await;
    browser.until("feed.session == 'session-one'").await;
    run(
        &browser,
        "say('one'); say('two'); say('three', { attempts: 1 })",
    )
    .await;

    let (mut exchange, body) = played.posted().await;
    assert_eq!(
        exchange.request.get("streamgate-session"),
        Some("session-one")
    );
    let key = exchange.request.get("idempotency-key").unwrap().to_owned();
    let numbered = |exchange: &Exchange| exchange.request.get("streamgate-seq").unwrap().to_owned();
    assert_eq!((body.as_str(), numbered(&exchange).as_str()), ("one", "1"));
    // Nobody takes it now. It is tried again as what it was.
    exchange.answer("503 Service Unavailable", "away").await;
    drop(exchange);
    let (mut exchange, body) = played.posted().await;
    assert_eq!((body.as_str(), numbered(&exchange).as_str()), ("one", "1"));
    assert_eq!(exchange.request.get("idempotency-key"), Some(key.as_str()));
    exchange.answer("200 OK", "the reply").await;
    drop(exchange);

    let (mut exchange, body) = played.posted().await;
    assert_eq!((body.as_str(), numbered(&exchange).as_str()), ("two", "2"));
    assert_ne!(exchange.request.get("idempotency-key"), Some(key.as_str()));
    exchange.answer("409 Conflict", "{\"expected\":7}").await;
    drop(exchange);
    let (mut exchange, body) = played.posted().await;
    assert_eq!((body.as_str(), numbered(&exchange).as_str()), ("two", "7"));
    exchange.answer("200 OK", "").await;
    drop(exchange);

    // The session is gone: the page is told of this message, and the stream is opened anew without its name.
    let (mut exchange, body) = played.posted().await;
    assert_eq!(
        (body.as_str(), numbered(&exchange).as_str()),
        ("three", "8")
    );
    exchange.answer("410 Gone", "gone").await;
    drop(exchange);
    let second = open_event("epoch11111-0", json!("session-two"));
    let mut stream = played.stream(&second).await;
    assert_eq!(stream.request.target(), "/live/a?lastEventId=epoch00000-0");
    browser.until("feed.session == 'session-two'").await;
    assert_eq!(
        browser.value("named('refused')").await,
        json!([{ "status": 410, "body": "gone" }])
    );
    let sent = browser.value("named('sent')").await;
    assert_eq!(
        sent,
        json!([{ "status": 200, "reply": "the reply" }, { "status": 200, "reply": "" }])
    );
    run(&browser, "say('four')").await;
    let (mut exchange, _) = played.posted().await;
    assert_eq!(
        exchange.request.get("streamgate-session"),
        Some("session-two")
    );
    assert_eq!(numbered(&exchange), "1");
    exchange.answer("200 OK", "").await;
    run(&browser, "feed.close()").await;
    within(
        "the stream's end",
        stream.wire.closes_within(Duration::from_secs(5)),
    )
    .await;
    browser.close().await;
}

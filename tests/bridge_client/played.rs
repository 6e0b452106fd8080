//! `streamgate.js` at a bridge that the test plays by hand: which way it takes, where it stops, and how it numbers what
//! it sends.

use std::time::Duration;

use serde_json::{Value, json};

use super::{PAGE, run, site, window};
use crate::browser::Browser;
use crate::harness::{Backend, Exchange, Gate, within};

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

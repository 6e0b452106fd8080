//! `streamgate.js` in Chromium: what its callbacks say, how it comes back, which way it takes where streams do not get
//! through, and how it sends.
//!
//! Where the way back or a fault has to be exact, the bridge is played by hand (`played`).

mod played;

use serde_json::json;

use crate::bridge::{bridge, id_parts};
use crate::browser::Browser;
use crate::harness::{Backend, Exchange, Gate, Relay};

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

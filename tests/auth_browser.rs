//! Tickets in the pages of two browsers, by nothing but EventSource.

use std::time::Duration;

use serde_json::json;

use crate::auth::{bridge_with_auth, token};
use crate::harness::{Backend, Feed, Gate, Relay, within_time};
use crate::sse_browser::scene::{Maker, START, Scene, Speaks, Window};

const PAGE: &str = r#"<!DOCTYPE html><title>Tickets</title><script>
const seen = [];
const post = () => fetch('/outcome', { method: 'POST', body: JSON.stringify(seen) });
(async () => {
  const accept = 'text/event-stream';
  seen.push((await fetch('/live/a', { headers: { accept } })).status);
  const authorization = 'Bearer TOKEN';
  const given = await fetch('/live/a/ticket', { method: 'POST', headers: { authorization } });
  const { ticket } = await given.json();
  const source = new EventSource('/live/a?ticket=' + ticket);
  source.onmessage = (event) => {
    seen.push(event.data);
    if (event.data === 'one') post();
    if (event.data !== 'two') return;
    seen.push(document.cookie);
    source.close();
    post();
  };
  source.onerror = () => {
    if (source.readyState !== EventSource.CLOSED) return;
    seen.push('closed for ever');
    post();
  };
})();
</script>"#;

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

async fn a_page_comes_back_by_itself(maker: Maker, speaks: Speaks) {
    let mut feeds = Backend::by_hand().await;
    let page = PAGE.replace("TOKEN", &token("ann", 600));
    let mut scene = Scene::with(page.leak()).await;
    let soon = "retry = { base = \"250ms\", spread = \"0\" }";
    let config = format!(
        "{}{}",
        scene.config(&scene.events, ""),
        bridge_with_auth(&feeds, soon)
    );
    let gate = Gate::start(&config).await;
    let relay = Relay::to(gate.https).await;
    let window = Window::open(maker, speaks, relay.address.port()).await;
    let mut feed = first_feed(&mut feeds).await;
    gate.logged("the page's stream", |line| {
        line.message() == "stream open" && line.has("user", "ann")
    })
    .await;
    feed.text("one").await;
    // Cut before it has heard anything, it could not say from where to go on.
    let (seen, mut posted) = scene.seen().await;
    assert_eq!(seen, json!([401, "one"]));
    posted.answer("200 OK", "noted").await;
    drop(posted);
    // The browser asks again for the address that it has, with the ticket in it that is used up.
    relay.cut();
    feed.text("two").await;
    let (seen, mut posted) = loop {
        let (seen, mut posted) = scene.seen().await;
        if seen != json!([401, "one"]) {
            break (seen, posted);
        }
        // A browser says its first word once more where the answer to it was cut off.
        posted.answer("200 OK", "noted").await;
    };
    posted.answer("200 OK", "noted").await;
    assert_eq!(
        seen,
        json!([401, "one", "two", ""]),
        "no script sees the pass"
    );
    window.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_a_ticket_comes_back_by_itself_in_chromium() {
    a_page_comes_back_by_itself(Maker::Google, Speaks::Http2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_with_a_ticket_comes_back_by_itself_in_firefox() {
    a_page_comes_back_by_itself(Maker::Mozilla, Speaks::Http1).await;
}

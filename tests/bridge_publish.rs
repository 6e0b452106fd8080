//! The way back: POST on a bridge's path.

use crate::bridge::bridge;
use crate::harness::{Backend, Feed, Gate, H2Client, Head, Subscriber};

const ENABLED: &str = "publish = { enabled = true, max_size = \"1KiB\" }";

/// A subscriber and its feed, which is up: a message has come through.
async fn open(gate: &Gate, backend: &mut Backend) -> (Subscriber, Feed) {
    let (mut subscriber, mut feed) = crate::bridge::open(gate, backend).await;
    feed.text("up").await;
    assert_eq!(subscriber.message().await, "up");
    (subscriber, feed)
}

async fn post(gate: &Gate, content_type: &str, body: &[u8], more: &str) -> Head {
    let mut client = gate.tls().await;
    let content_type = match content_type {
        "" => String::new(),
        some => format!("Content-Type: {some}\r\n"),
    };
    let head = format!(
        "POST /live/a HTTP/1.1\r\nHost: localhost\r\n{content_type}{more}Content-Length: {}\r\n\r\n",
        body.len()
    );
    let mut request = head.into_bytes();
    request.extend_from_slice(body);
    let _ = client.try_send(&request).await;
    client.head().await
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_reach_the_feed_as_messages_of_their_kind() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, ENABLED)).await;
    let (_subscriber, mut feed) = open(&gate, &mut backend).await;
    for content_type in [
        "text/plain",
        "text/plain; charset=utf-8",
        "application/json",
    ] {
        let body = "{\"say\":\"grüße\"}";
        let head = post(&gate, content_type, body.as_bytes(), "").await;
        assert_eq!(head.status(), 204, "{content_type}");
        assert_eq!(feed.next_text().await, body, "{content_type}");
    }
    let head = post(&gate, "application/octet-stream", &[0, 255, 1], "").await;
    assert_eq!(head.status(), 204);
    assert_eq!(feed.next_binary().await, [0, 255, 1]);
    let head = post(&gate, "application/x-ndjson", b"{\"a\":1}\n{\"b\":2}\n", "").await;
    assert_eq!(head.status(), 204);
    assert_eq!(feed.next_text().await, "{\"a\":1}");
    assert_eq!(feed.next_text().await, "{\"b\":2}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_posted_and_comes_back_reaches_every_client() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, ENABLED)).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    assert_eq!(post(&gate, "text/plain", b"hello", "").await.status(), 204);
    let said = feed.next_text().await;
    feed.text(&said).await;
    assert_eq!(subscriber.message().await, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_over_h2_is_the_same() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, ENABLED)).await;
    let (_subscriber, mut feed) = open(&gate, &mut backend).await;
    let mut client = H2Client::connect(&gate).await;
    let request =
        http::Request::post("https://localhost/live/a").header("content-type", "text/plain");
    let (response, mut body) = client.begin(request.body(()).unwrap(), false).await;
    body.send_data("hello".into(), true).unwrap();
    let response = crate::harness::within("an answer", response).await.unwrap();
    assert_eq!(response.status(), 204);
    assert_eq!(feed.next_text().await, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_that_cannot_be_a_message_are_refused() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, ENABLED)).await;
    let (_subscriber, mut feed) = open(&gate, &mut backend).await;
    let large = vec![b'x'; 1025];
    for (content_type, body, status) in [
        ("text/plain", &large[..], 413),
        ("text/plain", b"\xc3\x28", 400),
        ("text/plain", b"", 400),
        ("application/json", b"{not json", 400),
        ("application/x-ndjson", b"{}\n{not json\n", 400),
        ("image/png", b"x", 415),
        ("application/x-www-form-urlencoded", b"a=b", 415),
        ("multipart/form-data; boundary=x", b"x", 415),
    ] {
        let head = post(&gate, content_type, body, "").await;
        assert_eq!(head.status(), status, "{content_type} {body:?}");
    }
    let mut client = gate.tls().await;
    client
        .send(
            "POST /live/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
             Transfer-Encoding: chunked\r\n\r\n",
        )
        .await;
    client.send_chunk(&large).await;
    assert_eq!(client.head().await.status(), 413);
    // None of it has reached the feed: the next it hears is this.
    assert_eq!(post(&gate, "text/plain", b"sound", "").await.status(), 204);
    assert_eq!(feed.next_text().await, "sound");
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_has_to_be_enabled() {
    let mut backend = Backend::by_hand().await;
    for more in ["", "publish = { enabled = false }"] {
        let gate = Gate::start(&bridge(&backend, more)).await;
        let (_subscriber, _feed) = open(&gate, &mut backend).await;
        assert_eq!(
            post(&gate, "text/plain", b"hello", "").await.status(),
            403,
            "{more}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_site_s_page_cannot_publish() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, ENABLED)).await;
    let (_subscriber, mut feed) = open(&gate, &mut backend).await;
    for (fields, status) in [
        ("Origin: https://evil.test\r\n", 403),
        (
            "Sec-Fetch-Site: cross-site\r\nOrigin: https://evil.test\r\n",
            403,
        ),
        ("Origin: null\r\n", 403),
        (
            "Origin: https://localhost\r\nSec-Fetch-Site: same-origin\r\n",
            204,
        ),
        ("", 204),
    ] {
        let body = format!("from `{fields}`");
        let head = post(&gate, "text/plain", body.as_bytes(), fields).await;
        assert_eq!(head.status(), status, "{fields}");
        if status == 204 {
            assert_eq!(feed.next_text().await, body);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_is_down_is_503_with_retry_after() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, ENABLED)).await;
    // The handshake is never answered, so the feed is not up.
    let mut subscriber = Subscriber::open(&gate, "/live/a", None).await;
    let _unanswered = backend.next().await;
    subscriber.opened().await;
    let head = post(&gate, "text/plain", b"hello", "").await;
    assert_eq!(head.status(), 503);
    assert!(head.get("retry-after").is_some(), "{head:?}");
}

//! Session mode from outside: a feed for each client, what they post, and how it ends.

use std::collections::BTreeMap;

use serde_json::json;

use crate::bridge::bridge;
use crate::harness::{Backend, Feed, Gate, H2Client, Head, Subscriber};

/// How many sessions at once; more by `STREAMGATE_SESSIONS`.
fn sessions() -> usize {
    let told = std::env::var("STREAMGATE_SESSIONS").ok();
    told.and_then(|told| told.parse().ok()).unwrap_or(100)
}

fn session_mode(backend: &Backend, more: &str) -> String {
    bridge(backend, &format!("mode = \"session\"\n{more}"))
}

/// A client, its session's name, and its feed, which is up.
struct Session {
    subscriber: Subscriber,
    name: String,
    feed: Feed,
}

async fn open(gate: &Gate, backend: &mut Backend, path: &str) -> Session {
    let mut subscriber = Subscriber::open(gate, path, None).await;
    let mut feed = backend.feed().await;
    let (open, _gap) = subscriber.opened().await;
    let name = open.json()["session"].as_str().unwrap().to_owned();
    assert_eq!(name.len(), 32, "128 bits: {name}");
    feed.text("up").await;
    assert_eq!(subscriber.message().await, "up");
    Session {
        subscriber,
        name,
        feed,
    }
}

async fn post(gate: &Gate, path: &str, fields: &str, body: &str) -> (Head, String) {
    post_as(gate, "text/plain", path, (fields, body)).await
}

async fn post_as(
    gate: &Gate,
    kind: &str,
    path: &str,
    (fields, body): (&str, &str),
) -> (Head, String) {
    let mut client = gate.tls().await;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{fields}\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.send(request).await;
    let head = client.head().await;
    let text = client.text().await;
    (head, text)
}

impl Session {
    /// Posts, and returns the status.
    async fn post(&self, gate: &Gate, fields: &str, body: &str) -> u16 {
        let fields = format!("Streamgate-Session: {}\r\n{fields}", self.name);
        post(gate, "/live/a", &fields, body).await.0.status()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sessions_each_reach_their_own_feed_and_no_other() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&session_mode(&backend, "")).await;
    let mut all = Vec::new();
    for _ in 0..sessions() {
        all.push(open(&gate, &mut backend, "/live/a").await);
    }
    let posts = all.iter().enumerate().map(|(number, session)| {
        let gate = &gate;
        async move { session.post(gate, "", &format!("from {number}")).await }
    });
    let statuses = futures_util::future::join_all(posts).await;
    assert!(statuses.iter().all(|status| *status == 204), "{statuses:?}");
    for (number, session) in all.iter_mut().enumerate() {
        assert_eq!(session.feed.next_text().await, format!("from {number}"));
        session.feed.text(&format!("to {number}")).await;
    }
    for (number, session) in all.iter_mut().enumerate() {
        assert_eq!(session.subscriber.message().await, format!("to {number}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_reach_the_feed_in_their_order_each_once() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&session_mode(&backend, "")).await;
    let mut session = open(&gate, &mut backend, "/live/a").await;
    let order = [3, 1, 2, 2, 5, 4, 1, 6];
    let posts = order.map(|number| {
        let (session, gate) = (&session, &gate);
        let field = format!("Streamgate-Seq: {number}\r\n");
        async move { session.post(gate, &field, &number.to_string()).await }
    });
    let statuses = futures_util::future::join_all(posts).await;
    assert_eq!(statuses, [204; 8]);
    for number in 1..=6 {
        assert_eq!(session.feed.next_text().await, number.to_string());
    }
    // One that never comes is not waited for, and its number is told.
    let field = format!(
        "Streamgate-Session: {}\r\nStreamgate-Seq: 8\r\n",
        session.name
    );
    let (head, body) = post(&gate, "/live/a", &field, "8").await;
    assert_eq!((head.status(), body.as_str()), (409, r#"{"expected":7}"#));
    assert_eq!(session.post(&gate, "Streamgate-Seq: 7\r\n", "7").await, 204);
    assert_eq!(session.post(&gate, "Streamgate-Seq: 7\r\n", "7").await, 204);
    assert_eq!(session.post(&gate, "Streamgate-Seq: x\r\n", "x").await, 400);
    assert_eq!(session.post(&gate, "", "last").await, 204);
    assert_eq!(session.feed.next_text().await, "7");
    assert_eq!(session.feed.next_text().await, "last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_sent_once_under_its_key() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&session_mode(&backend, "")).await;
    let mut session = open(&gate, &mut backend, "/live/a").await;
    let mut other = open(&gate, &mut backend, "/live/a").await;
    let key = "Idempotency-Key: one\r\n";
    let posts = (0..5).map(|_| session.post(&gate, key, "hello"));
    let statuses = futures_util::future::join_all(posts).await;
    assert_eq!(statuses, [204; 5]);
    assert_eq!(session.post(&gate, key, "something else").await, 400);
    // The same key of another session is another.
    assert_eq!(other.post(&gate, key, "hello").await, 204);
    assert_eq!(other.feed.next_text().await, "hello");
    assert_eq!(session.post(&gate, "", "end").await, 204);
    assert_eq!(session.feed.next_text().await, "hello");
    assert_eq!(session.feed.next_text().await, "end");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feeds_answer_is_the_answer_to_the_post_and_stays_in_the_stream() {
    let mut backend = Backend::by_hand().await;
    let more = "publish = { reply = { match = \"/id\", timeout = \"1s\" } }";
    let gate = Gate::start(&session_mode(&backend, more)).await;
    let mut session = open(&gate, &mut backend, "/live/a").await;
    let field = format!(
        "Streamgate-Session: {}\r\nIdempotency-Key: k\r\n",
        session.name
    );
    let ask = post(&gate, "/live/a", &field, r#"{"id":7,"op":"add"}"#);
    let reply = async {
        session.feed.next_text().await;
        session.feed.text(r#"{"id":8}"#).await;
        session.feed.text(r#"{"id":7,"ok":true}"#).await;
    };
    let ((head, body), ()) = tokio::join!(ask, reply);
    assert_eq!(head.status(), 200, "{head:?}");
    assert_eq!(head.get("content-type"), Some("application/json"));
    assert_eq!(body, r#"{"id":7,"ok":true}"#);
    assert_eq!(session.subscriber.message().await, r#"{"id":8}"#);
    assert_eq!(session.subscriber.message().await, r#"{"id":7,"ok":true}"#);
    let (head, body) = post(&gate, "/live/a", &field, r#"{"id":7,"op":"add"}"#).await;
    assert_eq!(
        (head.status(), body.as_str()),
        (200, r#"{"id":7,"ok":true}"#)
    );
    assert_eq!(session.post(&gate, "", r#"{"op":"log"}"#).await, 204);
    assert_eq!(session.feed.next_text().await, r#"{"op":"log"}"#);
    assert_eq!(session.post(&gate, "", r#"{"id":9}"#).await, 504);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_fast_is_told_when_to_go_on() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&session_mode(&backend, "publish = { rate = \"2/s\" }")).await;
    let session = open(&gate, &mut backend, "/live/a").await;
    let other = open(&gate, &mut backend, "/live/a").await;
    // Far more than a second's messages, which are owed: no machine is so slow that the next is in time.
    let field = format!("Streamgate-Session: {}\r\n", session.name);
    let lines = (field.as_str(), &*"1\n".repeat(400));
    let (head, _) = post_as(&gate, "application/x-ndjson", "/live/a", lines).await;
    assert_eq!(head.status(), 204);
    let (head, _) = post(&gate, "/live/a", &field, "3").await;
    assert_eq!(head.status(), 429);
    let wait: u64 = head.get("retry-after").unwrap().parse().unwrap();
    assert!((100..=200).contains(&wait), "{wait}");
    assert_eq!(other.post(&gate, "", "1").await, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_without_a_living_session_are_410() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&session_mode(&backend, "")).await;
    let session = open(&gate, &mut backend, "/live/a").await;
    for field in [
        "".to_owned(),
        "Streamgate-Session: \r\n".to_owned(),
        "Streamgate-Session: ../../a\r\n".to_owned(),
        format!("Streamgate-Session: {}\r\n", "0".repeat(32)),
    ] {
        let (head, _) = post(&gate, "/live/a", &field, "x").await;
        assert_eq!(head.status(), 410, "{field}");
    }
    // Another room's path is another place.
    let field = format!("Streamgate-Session: {}\r\n", session.name);
    assert_eq!(post(&gate, "/live/b", &field, "x").await.0.status(), 410);
    let query = format!("/live/a?session={}", session.name);
    assert_eq!(post(&gate, &query, "", "x").await.0.status(), 204);
    let mut subscriber = session.subscriber;
    session.feed.close(1011).await;
    while subscriber.hear().await.is_some() {}
    assert_eq!(post(&gate, "/live/a", &field, "x").await.0.status(), 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_close_of_the_feed_has_its_meaning() {
    let meanings: BTreeMap<u16, u16> = [
        (1000, 204),
        (1001, 200),
        (1011, 200),
        (4401, 401),
        (4403, 403),
        (4500, 200),
    ]
    .into();
    let mut backend = Backend::by_hand().await;
    let more = "close_map = { 4401 = 401, 4403 = 403 }";
    let gate = Gate::start(&session_mode(&backend, more)).await;
    for (code, status) in meanings {
        let mut session = open(&gate, &mut backend, "/live/a").await;
        session.feed.close(code).await;
        while session.subscriber.hear().await.is_some() {}
        let cursor = session.subscriber.cursor.clone();
        let (head, wire) = Subscriber::ask(&gate, "/live/a", Some(&cursor)).await;
        assert_eq!(head.status(), status, "{code}: {cursor}");
        if status != 200 {
            continue;
        }
        let mut back = Subscriber::over(wire);
        let _feed = backend.feed().await;
        let gap = back.next_named("streamgate.gap").await;
        assert_eq!(gap.json()["reason"], json!("epoch"), "{code}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_room_never_gets_a_session_by_its_cursor() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&session_mode(&backend, "")).await;
    let session = open(&gate, &mut backend, "/live/a").await;
    let cursor = session.subscriber.cursor.clone();
    let path = format!("/live/b?session={}", session.name);
    let mut other = Subscriber::open(&gate, &path, Some(&cursor)).await;
    let feed = backend.feed().await;
    assert!(feed.request.start.contains("/feed/b"), "{:?}", feed.request);
    let gap = other.next_named("streamgate.gap").await;
    assert_eq!(gap.json()["reason"], json!("epoch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_not_found_with_another_users_fields() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&session_mode(&backend, "connect.forward = [\"cookie\"]")).await;
    let mut client = H2Client::connect(&gate).await;
    let mut ask = async |user: &str, place: &str| {
        let request = http::Request::get("https://localhost/live/a")
            .header("cookie", user)
            .header("last-event-id", place);
        Subscriber::over_h2(client.request(request.body(()).unwrap()).await)
    };
    let mut one = ask("user=one", "latest").await;
    let mut feed = backend.feed().await;
    let (open, _) = one.opened().await;
    feed.text("for one").await;
    assert_eq!(one.message().await, "for one");
    let mut two = ask("user=two", &open.id).await;
    let other = backend.feed().await;
    assert_eq!(other.request.get("cookie"), Some("user=two"));
    let (opened, _) = two.opened().await;
    assert_ne!(opened.json()["session"], open.json()["session"]);
    let mut again = ask("user=one", &open.id).await;
    let (opened, _) = again.opened().await;
    assert_eq!(opened.json()["session"], open.json()["session"]);
    assert_eq!(again.message().await, "for one");
}

//! Sources of server-sent events behind the bridge.

use std::time::Duration;

use crate::harness::{
    Backend, Exchange, Gate, Subscriber, every_kind_of_event, meant, stays_pending,
};

const QUICK: &str = "reconnect = { initial = \"50ms\", max = \"200ms\" }";

fn bridge(backend: &Backend, more: &str) -> String {
    format!(
        "[bridge.live]\nsource = \"http://{}/events/{{room}}\"\n{QUICK}\n{more}\n\
         [[route]]\npath = \"/live/{{room}}\"\nbridge = \"live\"\n",
        backend.address()
    )
}

async fn open(gate: &Gate, backend: &mut Backend) -> (Subscriber, Exchange) {
    let mut subscriber = Subscriber::open(gate, "/live/a", None).await;
    let mut source = backend.next().await;
    source.answer_in_chunks("text/event-stream").await;
    subscriber.opened().await;
    (subscriber, source)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_an_event_of_the_same_name_with_an_id_of_ours() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "max_message = \"2MiB\"")).await;
    let (mut subscriber, mut source) = open(&gate, &mut backend).await;
    assert_eq!(source.request.target(), "/events/a");
    assert_eq!(source.request.get("accept"), Some("text/event-stream"));
    assert_eq!(source.request.get("last-event-id"), None);
    for piece in every_kind_of_event() {
        source.wire.send_chunk(&piece).await;
    }
    let mut numbers = Vec::new();
    for (name, data, _id) in meant() {
        let event = subscriber.next_but_status().await;
        assert_eq!((event.name.as_str(), &event.data), (name, &data));
        numbers.push(crate::bridge::id_parts(&event.id).1);
    }
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    source
        .wire
        .send_chunk("event: streamgate.gap\ndata: not ours\n\nevent: error\ndata: nor this\n\n")
        .await;
    for data in ["not ours", "nor this"] {
        assert_eq!(subscriber.message().await, data);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_asked_for_what_follows_its_id_and_leaves_no_gap() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let (mut subscriber, mut source) = open(&gate, &mut backend).await;
    let events = "retry: 300\nid: seven\ndata: before\n\nid: eight\ndata: half";
    source.wire.send_chunk(events).await;
    assert_eq!(subscriber.message().await, "before");
    let broken = tokio::time::Instant::now();
    source.reset();
    let mut source = backend.next().await;
    assert!(
        broken.elapsed() >= Duration::from_millis(300),
        "`retry` is heeded"
    );
    assert_eq!(source.request.get("last-event-id"), Some("seven"));
    source.answer_in_chunks("text/event-stream").await;
    source.wire.send_chunk("id: eight\ndata: after\n\n").await;
    assert_eq!(subscriber.message().await, "after");
    // Without an id nobody knows.
    source.wire.send_chunk("id\ndata: no id\n\n").await;
    assert_eq!(subscriber.message().await, "no id");
    source.wire.end_chunks().await;
    let mut source = backend.next().await;
    assert_eq!(source.request.get("last-event-id"), None);
    source.answer_in_chunks("text/event-stream").await;
    source.wire.send_chunk("data: anew\n\n").await;
    let gap = subscriber.next_but_status().await;
    assert_eq!(gap.json()["reason"], "upstream_reconnect", "{gap:?}");
    assert_eq!(subscriber.message().await, "anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_no_event_stream_are_tried_again() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let mut subscriber = Subscriber::open(&gate, "/live/a", None).await;
    for status in [
        "503 Service Unavailable",
        "404 Not Found",
        "307 Temporary Redirect",
    ] {
        backend.next().await.answer(status, "no").await;
    }
    backend.next().await.answer_in_chunks("text/html").await;
    let mut garbage = backend.next().await;
    garbage.wire.send("SSH-2.0-OpenSSH_9.9\r\n\r\n").await;
    let mut source = backend.next().await;
    source
        .answer_in_chunks("Text/Event-Stream; charset=utf-8")
        .await;
    source.wire.send_chunk("data: at last\n\n").await;
    subscriber.opened().await;
    assert_eq!(subscriber.message().await, "at last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_has_ended_is_asked_again_when_somebody_comes() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let (mut subscriber, mut source) = open(&gate, &mut backend).await;
    source.wire.send_chunk("id: 1\ndata: one\n\n").await;
    assert_eq!(subscriber.message().await, "one");
    source.wire.end_chunks().await;
    let end = "HTTP/1.1 204 No Content\r\n\r\n";
    backend.next().await.wire.send(end).await;
    subscriber.status("ended").await;
    stays_pending("a request", Duration::from_millis(600), backend.next()).await;
    let _second = Subscriber::open(&gate, "/live/a", None).await;
    let mut source = backend.next().await;
    assert_eq!(source.request.get("last-event-id"), Some("1"));
    source.answer_in_chunks("text/event-stream").await;
    source.wire.send_chunk("id: 2\ndata: two\n\n").await;
    assert_eq!(subscriber.message().await, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_too_long_is_a_gap_and_the_source_stays() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "max_message = \"1KiB\"")).await;
    let (mut subscriber, mut source) = open(&gate, &mut backend).await;
    let line = format!("data: {}\n", "x".repeat(100));
    source.wire.send_chunk("data: before\n\n").await;
    source.wire.send_chunk(line.repeat(1_000)).await;
    source.wire.send_chunk("\ndata: after\n\n").await;
    assert_eq!(subscriber.message().await, "before");
    let gap = subscriber.next_but_status().await;
    assert_eq!(gap.json()["reason"], "oversize", "{gap:?}");
    assert_eq!(subscriber.message().await, "after");
    assert_eq!(backend.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_without_a_byte_is_connected_to_anew_and_comments_count() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "idle.silence = \"500ms\"")).await;
    let (_subscriber, mut source) = open(&gate, &mut backend).await;
    for _ in 0..8 {
        source.wire.send_chunk(": here\n\n").await;
        stays_pending(
            "another request",
            Duration::from_millis(150),
            backend.next(),
        )
        .await;
    }
    let _again = backend.next().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_events_age_counts_from_when_it_came_and_not_from_the_one_before() {
    let mut backend = Backend::by_hand().await;
    let keys = "replay.age = \"2s\"\nheartbeat = \"1s\"\nheartbeat_event = true";
    let gate = Gate::start(&bridge(&backend, keys)).await;
    let (mut subscriber, mut source) = open(&gate, &mut backend).await;
    for _ in 0..3 {
        while subscriber.next().await.name != "streamgate.ping" {}
    }
    source.wire.send_chunk("data: fresh\n\n").await;
    assert_eq!(subscriber.message().await, "fresh");
    let mut late = Subscriber::open(&gate, "/live/a?lastEventId=earliest", None).await;
    late.opened().await;
    assert_eq!(late.message().await, "fresh");
}

/// A bridge with two sources, and a subscriber whose source, the first, has given it an event with an id.
async fn failed_over(more: &str) -> (Gate, Subscriber, Exchange) {
    let (mut first, mut second) = (Backend::by_hand().await, Backend::by_hand().await);
    let config = format!(
        "[bridge.live]\nsource = [\"http://{}/events\", \"http://{}/events\"]\n{QUICK}\n{more}\n\
         [[route]]\npath = \"/live/{{room}}\"\nbridge = \"live\"\n",
        first.address(),
        second.address()
    );
    let gate = Gate::start(&config).await;
    let (mut subscriber, mut source) = open(&gate, &mut first).await;
    source.wire.send_chunk("id: 7\ndata: one\n\n").await;
    assert_eq!(subscriber.message().await, "one");
    source.reset();
    let mut source = second.next().await;
    source.answer_in_chunks("text/event-stream").await;
    source.wire.send_chunk("id: 8\ndata: two\n\n").await;
    (gate, subscriber, source)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_one_source_means_nothing_to_another() {
    let (_gate, mut subscriber, source) = failed_over("").await;
    assert_eq!(source.request.get("last-event-id"), None);
    let gap = subscriber.next_but_status().await;
    assert_eq!(gap.json()["reason"], "upstream_reconnect", "{gap:?}");
    assert_eq!(subscriber.message().await, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_that_number_alike_go_on_for_one_another() {
    let more = "resume = { across_sources = true }";
    let (_gate, mut subscriber, source) = failed_over(more).await;
    assert_eq!(source.request.get("last-event-id"), Some("7"));
    assert_eq!(subscriber.message().await, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_websocket_has_said_since_is_not_asked_for_again() {
    let (mut first, mut second) = (Backend::by_hand().await, Backend::by_hand().await);
    let config = format!(
        "[bridge.live]\nsource = [\"http://{}/events\", \"ws://{}/feed\"]\n{QUICK}\n\
         resume = {{ across_sources = true }}\n\
         [[route]]\npath = \"/live/{{room}}\"\nbridge = \"live\"\n",
        first.address(),
        second.address()
    );
    let gate = Gate::start(&config).await;
    let (mut subscriber, mut source) = open(&gate, &mut first).await;
    source.wire.send_chunk("id: 7\ndata: one\n\n").await;
    assert_eq!(subscriber.message().await, "one");
    source.reset();
    let mut feed = second.feed().await;
    feed.text("two").await;
    assert_eq!(subscriber.next_but_status().await.name, "streamgate.gap");
    assert_eq!(subscriber.message().await, "two");
    drop(feed);
    let mut source = first.next().await;
    assert_eq!(source.request.get("last-event-id"), None);
    source.answer_in_chunks("text/event-stream").await;
    source.wire.send_chunk("id: 9\ndata: three\n\n").await;
    assert_eq!(subscriber.next_but_status().await.name, "streamgate.gap");
    assert_eq!(subscriber.message().await, "three");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_stream_is_refused_and_tried_again() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let mut subscriber = Subscriber::open(&gate, "/live/a", None).await;
    let mut source = backend.next().await;
    assert_eq!(source.request.get("accept-encoding"), Some("identity"));
    let kind = "text/event-stream\r\nContent-Encoding: gzip";
    source.answer_in_chunks(kind).await;
    let mut source = backend.next().await;
    let kind = "text/event-stream\r\nContent-Encoding: identity";
    source.answer_in_chunks(kind).await;
    source.wire.send_chunk("data: plain\n\n").await;
    subscriber.opened().await;
    assert_eq!(subscriber.message().await, "plain");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_has_ended_is_not_asked_again_at_once_however_many_come() {
    let mut backend = Backend::by_hand().await;
    let config = bridge(&backend, "").replace("200ms", "3s");
    let gate = Gate::start(&config).await;
    let mut subscriber = Subscriber::open(&gate, "/live/a", None).await;
    let end = "HTTP/1.1 204 No Content\r\n\r\n";
    let mut source = backend.next().await;
    let ended = tokio::time::Instant::now();
    source.wire.send(end).await;
    subscriber.opened().await;
    subscriber.status("ended").await;
    let mut others = Vec::new();
    for _ in 0..10 {
        others.push(Subscriber::open(&gate, "/live/a", None).await);
    }
    backend.next().await.wire.send(end).await;
    assert!(ended.elapsed() >= Duration::from_secs(3));
    assert_eq!(backend.connections(), 2);
}

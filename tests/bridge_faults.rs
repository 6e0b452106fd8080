//! The bridge when something is wrong: the feed, a client, or what was asked.

use std::time::Duration;

use serde_json::json;

use crate::bridge::{bridge, open};
use crate::harness::{Backend, Gate, Heard, Subscriber, stays_pending};

const QUICK: &str = "reconnect = { initial = \"50ms\", max = \"200ms\" }";

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_feed_is_told_once_and_marked_by_a_gap() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, QUICK)).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("before").await;
    assert_eq!(subscriber.message().await, "before");
    feed.cut();
    sees_a_reconnect(&mut subscriber, &mut backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_feed_is_told_once_and_marked_by_a_gap() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, QUICK)).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("before").await;
    assert_eq!(subscriber.message().await, "before");
    feed.close(1000).await;
    sees_a_reconnect(&mut subscriber, &mut backend).await;
}

/// `reconnecting` once, then `up` once, with a logged gap before the first message of the new connection.
async fn sees_a_reconnect(subscriber: &mut Subscriber, backend: &mut Backend) {
    // The handshake waits until the client has heard: an outage of milliseconds is told by its gap alone.
    let exchange = backend.next().await;
    let lost = subscriber.next_named("streamgate.status").await;
    assert_eq!(lost.json()["upstream"], "reconnecting");
    let mut feed = exchange.into_feed().await;
    feed.text("after").await;
    let (mut told, mut gaps) = (Vec::new(), Vec::new());
    loop {
        let event = subscriber.next().await;
        match event.name.as_str() {
            "streamgate.status" => told.push(event.json()["upstream"].clone()),
            "streamgate.gap" => gaps.push(event),
            _ => break assert_eq!(event.data, "after"),
        }
    }
    let [gap] = &gaps[..] else {
        panic!("one gap was awaited: {gaps:?}");
    };
    assert_eq!(gap.json()["reason"], "upstream_reconnect");
    assert!(gap.json()["down_ms"].is_u64(), "{gap:?}");
    // `up` may be told right after the first message as well; nothing is told twice.
    if told.is_empty() {
        subscriber.status("up").await;
        told.push(json!("up"));
    }
    assert_eq!(told, [json!("up")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_utf8_fails_the_feed_with_1007() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, QUICK)).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("sound").await;
    assert_eq!(subscriber.message().await, "sound");
    feed.raw(b"\x81\x02\xc3\x28").await;
    assert_eq!(feed.close_code().await, Some(1007));
    let mut feed = backend.feed().await;
    feed.text("sound again").await;
    let gap = subscriber.next_but_status().await;
    assert_eq!(gap.json()["reason"], "upstream_reconnect", "{gap:?}");
    assert_eq!(subscriber.message().await, "sound again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_answers_no_ping_is_dead() {
    let mut backend = Backend::by_hand().await;
    let idle = format!("{QUICK}\nidle = {{ ping = \"1s\", pong = \"1s\" }}");
    let gate = Gate::start(&bridge(&backend, &idle)).await;
    let mut subscriber = Subscriber::open(&gate, "/live/a", None).await;
    // The tunnel's bytes are read by nobody, so no pong comes.
    let _deaf = backend.next().await.into_tunnel().await;
    subscriber.opened().await;
    let mut feed = backend.feed().await;
    feed.text("alive").await;
    loop {
        let event = subscriber.next().await;
        if event.name == "message" {
            break assert_eq!(event.data, "alive");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_refuses_leaves_its_clients_waiting_and_not_failing() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, QUICK)).await;
    let mut subscriber = Subscriber::open(&gate, "/live/a", None).await;
    for _ in 0..2 {
        let mut exchange = backend.next().await;
        exchange.answer("503 Service Unavailable", "later").await;
    }
    // A client that comes while the feed is down gets its stream all the same.
    let mut second = Subscriber::open(&gate, "/live/a", None).await;
    second.opened().await;
    subscriber.opened().await;
    let mut feed = backend.feed().await;
    feed.text("at last").await;
    for subscriber in [&mut subscriber, &mut second] {
        loop {
            let event = subscriber.next().await;
            if event.name == "message" {
                break assert_eq!(event.data, "at last");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_sources_are_a_fail_over_list() {
    let mut first = Backend::by_hand().await;
    let mut second = Backend::by_hand().await;
    let text = format!(
        "[bridge.live]\nsource = [\"ws://{}/f\", \"ws://{}/f\"]\n{QUICK}\n\
         [[route]]\npath = \"/live/{{room}}\"\nbridge = \"live\"\n",
        first.address(),
        second.address()
    );
    let gate = Gate::start(&text).await;
    let mut subscriber = Subscriber::open(&gate, "/live/a", None).await;
    first.next().await.answer("403 Forbidden", "").await;
    let mut feed = second.feed().await;
    subscriber.opened().await;
    feed.text("from the second").await;
    assert_eq!(subscriber.message().await, "from the second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_too_slow_is_disconnected_and_resumes_without_loss() {
    let mut backend = Backend::by_hand().await;
    let slow = "slow = { events = 200, bytes = \"64MiB\", stall = \"30s\" }";
    let gate = Gate::start(&bridge(&backend, slow)).await;
    let (mut reader, mut feed) = open(&gate, &mut backend).await;
    let mut sleeper = Subscriber::open(&gate, "/live/a", None).await;
    sleeper.opened().await;
    // The sleeper reads nothing while the reader keeps up, so its lag grows past the limit.
    let filler = "x".repeat(20_000);
    let total = 2_000;
    for number in 0..total {
        feed.text(&format!("{number} {filler}")).await;
        let message = reader.message().await;
        assert!(
            message.starts_with(&format!("{number} ")),
            "{}",
            &message[..20]
        );
    }
    let mut next = 0;
    let mut count = |heard: &Heard| {
        if let Heard::Event(event) = heard
            && event.name != "streamgate.status"
        {
            assert_eq!(event.name, "message");
            assert!(
                event.data.starts_with(&format!("{next} ")),
                "{next} was lost or doubled"
            );
            next += 1;
        }
    };
    sleeper.until_any_end().await.iter().for_each(&mut count);
    let cursor = sleeper.cursor.clone();
    let mut back = Subscriber::open(&gate, "/live/a", Some(&cursor)).await;
    let (_, gap) = back.opened().await;
    assert_eq!(gap, None);
    while next < total {
        let message = back.message().await;
        assert!(
            message.starts_with(&format!("{next} ")),
            "{next} was lost or doubled"
        );
        next += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_beyond_the_limit_are_told_to_come_later() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "limits = { subscribers = 2 }")).await;
    let (_first, _feed) = open(&gate, &mut backend).await;
    let mut second = Subscriber::open(&gate, "/live/a", None).await;
    second.opened().await;
    // Never a status that would end an EventSource for good.
    let mut third = Subscriber::open(&gate, "/live/a", None).await;
    let rest = third.until_end().await;
    let busy = rest.iter().any(|heard| {
        matches!(heard, Heard::Event(event)
            if event.name == "streamgate.status" && event.json()["state"] == "busy")
    });
    assert!(busy, "{rest:?}");
    assert!(third.retry.is_some(), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn max_age_ends_a_subscription_cleanly() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "limits = { max_age = \"1s\" }")).await;
    let (mut subscriber, _feed) = open(&gate, &mut backend).await;
    subscriber.until_end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_noticed() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "idle = { linger = \"1s\" }")).await;
    let (subscriber, mut feed) = open(&gate, &mut backend).await;
    let open = gate
        .logged("a subscription", |line| line.message() == "stream open")
        .await;
    assert!(open.has("kind", "subscription"), "{open:?}");
    drop(subscriber);
    let close = gate
        .logged("its end", |line| line.message() == "stream close")
        .await;
    assert!(close.has("id", &open.text("id").unwrap()), "{close:?}");
    feed.ends_within(Duration::from_secs(10)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_and_options_are_answered_and_open_nothing() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let mut client = gate.tls().await;
    client
        .send("HEAD /live/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let head = client.head_of_answer_to("HEAD").await;
    assert_eq!(
        (head.status(), head.get("content-type")),
        (200, Some("text/event-stream"))
    );
    let mut client = gate.tls().await;
    client
        .send("OPTIONS /live/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let head = client.head().await;
    assert!(matches!(head.status(), 200 | 204), "{head:?}");
    assert!(
        head.get("allow").is_some_and(|allow| allow.contains("GET")),
        "{head:?}"
    );
    let mut client = gate.tls().await;
    client
        .send("DELETE /live/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 405);
    stays_pending(
        "a feed for a HEAD",
        Duration::from_millis(300),
        backend.next(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_take_event_streams_gets_an_honest_answer() {
    let backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let mut client = gate.tls().await;
    client
        .send("GET /live/a HTTP/1.1\r\nHost: localhost\r\nAccept: image/png\r\n\r\n")
        .await;
    let head = client.head().await;
    assert!(matches!(head.status(), 400 | 406), "{head:?}");
    for accept in [
        "Accept: */*\r\n",
        "",
        "Accept: text/*\r\n",
        "Accept: text/html, */*;q=0.1\r\n",
    ] {
        let mut client = gate.tls().await;
        client
            .send(format!(
                "GET /live/a HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n"
            ))
            .await;
        assert_eq!(client.head().await.status(), 200, "{accept}");
    }
}

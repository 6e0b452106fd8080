//! The bridge's log: coming back without missing any, and gaps that are told where that cannot be.

use std::time::Duration;

use serde_json::{Value, json};

use crate::bridge::{bridge, id_parts, message_at, open};
use crate::harness::{Backend, Gate, Subscriber, silence};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_comes_back_misses_nothing_and_gets_nothing_twice() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("one").await;
    feed.text("two").await;
    assert_eq!(subscriber.message().await, "one");
    assert_eq!(subscriber.message().await, "two");
    let cursor = subscriber.cursor.clone();
    drop(subscriber);
    // Another client shows that these have been logged while the first was away.
    let mut witness = Subscriber::open(&gate, "/live/a", Some(&cursor)).await;
    witness.opened().await;
    feed.texts(["three".to_owned(), "four".to_owned()]).await;
    assert_eq!(witness.message().await, "three");
    assert_eq!(witness.message().await, "four");
    let mut back = Subscriber::open(&gate, "/live/a", Some(&cursor)).await;
    let (open, gap) = back.opened().await;
    assert_eq!(gap, None);
    assert_eq!(open.json()["resumed"], json!(true));
    assert_eq!(open.json()["replay"], json!(2));
    assert_eq!(
        open.id, cursor,
        "a client cut off here comes back to the same place"
    );
    feed.text("five").await;
    for expected in ["three", "four", "five"] {
        assert_eq!(back.message().await, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_may_stand_in_the_query_but_the_header_wins() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    let mut ids = Vec::new();
    for text in ["one", "two", "three"] {
        feed.text(text).await;
        ids.push(message_at(&mut subscriber).await.1);
    }
    for name in ["lastEventId", "last_event_id", "evs_last_event_id"] {
        let path = format!("/live/a?{name}={}", ids[0]);
        let mut back = Subscriber::open(&gate, &path, None).await;
        back.opened().await;
        assert_eq!(back.message().await, "two", "{name}");
        let mut back = Subscriber::open(&gate, &path, Some(&ids[1])).await;
        back.opened().await;
        assert_eq!(back.message().await, "three", "{name} beside the header");
    }
    let mut earliest = Subscriber::open(&gate, "/live/a?lastEventId=earliest", None).await;
    earliest.opened().await;
    assert_eq!(earliest.message().await, "one");
    let mut latest = Subscriber::open(&gate, "/live/a?lastEventId=latest", None).await;
    latest.opened().await;
    feed.text("four").await;
    assert_eq!(latest.message().await, "four");
}

#[tokio::test(flavor = "multi_thread")]
async fn start_says_where_a_client_without_a_cursor_begins() {
    for (start, first) in [("live", "three"), ("replay", "one"), ("earliest", "one")] {
        let mut backend = Backend::by_hand().await;
        let gate = Gate::start(&bridge(&backend, &format!("start = \"{start}\""))).await;
        let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
        feed.text("one").await;
        feed.text("two").await;
        subscriber.message().await;
        subscriber.message().await;
        let mut late = Subscriber::open(&gate, "/live/a", None).await;
        late.opened().await;
        feed.text("three").await;
        assert_eq!(late.message().await, first, "start = {start}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_cursor_that_cannot_be_honoured_is_told_as_a_gap_once() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "replay = { events = 3 }")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    let mut last = String::new();
    for number in 1..=10 {
        feed.text(&number.to_string()).await;
        last = message_at(&mut subscriber).await.1;
    }
    let epoch = id_parts(&last).0;
    let cases = [
        (format!("{epoch}-2"), "evicted", json!(5)),
        ("zzzzzzzzzz-2".to_owned(), "epoch", Value::Null),
        (format!("{epoch}-99"), "ahead", Value::Null),
        ("what?".to_owned(), "bad_id", Value::Null),
        ("x".repeat(500), "bad_id", Value::Null),
        (format!("{epoch}-"), "bad_id", Value::Null),
        (
            format!("{epoch}-99999999999999999999999"),
            "bad_id",
            Value::Null,
        ),
    ];
    for (cursor, reason, missed) in cases {
        let mut back = Subscriber::open(&gate, "/live/a", Some(&cursor)).await;
        let (open, gap) = back.opened().await;
        let gap = match gap {
            Some(gap) => gap,
            None => back.next_named("streamgate.gap").await,
        };
        assert_eq!(gap.json()["reason"], reason, "{cursor}");
        assert_eq!(
            gap.json().get("missed").cloned().unwrap_or_default(),
            missed,
            "{cursor}"
        );
        assert_eq!(open.json()["resumed"], json!(false), "{cursor}");
        // `on_gap` is "available": what there still is.
        let (data, id) = message_at(&mut back).await;
        assert_eq!(data, "8", "{cursor}");
        assert_eq!(id_parts(&gap.id).1 + 1, id_parts(&id).1, "{cursor}");
        // Told once: who comes back with the gap's own id has missed nothing more.
        let mut again = Subscriber::open(&gate, "/live/a", Some(&gap.id)).await;
        let (_, gap) = again.opened().await;
        assert_eq!(gap, None, "{cursor}");
        assert_eq!(again.message().await, "8", "{cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_gap_live_goes_on_with_the_next_event() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "on_gap = \"live\"")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("old").await;
    subscriber.message().await;
    let mut back = Subscriber::open(&gate, "/live/a", Some("what?")).await;
    let (_, gap) = back.opened().await;
    if gap.is_none() {
        back.next_named("streamgate.gap").await;
    }
    feed.text("new").await;
    assert_eq!(back.message().await, "new");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_events_leave_the_log_with_time() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, "replay = { age = \"1s\" }")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("one").await;
    let first = message_at(&mut subscriber).await.1;
    feed.text("two").await;
    subscriber.message().await;
    silence(Duration::from_millis(2_500)).await;
    let mut back = Subscriber::open(&gate, "/live/a", Some(&first)).await;
    let (_, gap) = back.opened().await;
    let gap = match gap {
        Some(gap) => gap,
        None => back.next_named("streamgate.gap").await,
    };
    assert_eq!(
        (&gap.json()["reason"], &gap.json()["missed"]),
        (&json!("evicted"), &json!(1))
    );
}

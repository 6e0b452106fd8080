//! Feeds that flap, flood, break off or say nothing: each has its outcome, and none takes memory.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tungstenite::Message;

use crate::bridge::{bridge, id_parts, open};
use crate::bridge_feeds::{QUICK, frame, is_gap};
use crate::harness::{Backend, Event, Exchange, Gate, Subscriber, stays_pending, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_accepts_and_closes_is_tried_less_and_less_often() {
    let backend = Backend::that(async |exchange: Exchange| {
        drop(exchange.into_tunnel().await);
        None
    })
    .await;
    let keys = "reconnect = { initial = \"100ms\", max = \"10s\" }";
    let gate = Gate::start(&bridge(&backend, keys)).await;
    let mut subscriber = Subscriber::open(&gate, "/live/a", None).await;
    subscriber.opened().await;
    stays_pending("an end", Duration::from_secs(3), async {
        loop {
            assert_ne!(subscriber.next().await.name, "message");
        }
    })
    .await;
    // Waits of 50, 100, 200, 400, 800, 1600 ms on the average: thirty attempts would be waits that do not grow.
    let attempts = backend.connections();
    assert!((2..30).contains(&attempts), "{attempts} attempts in 3 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_frame_is_no_message() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, QUICK)).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("whole").await;
    feed.raw(&frame(0x81, b"cut off")[..5]).await;
    assert_eq!(subscriber.message().await, "whole");
    feed.cut();
    let mut feed = backend.feed().await;
    feed.text("whole again").await;
    is_gap(&subscriber.next_but_status().await, "upstream_reconnect");
    assert_eq!(subscriber.message().await, "whole again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_answers_nothing_is_given_up() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, QUICK)).await;
    let mut subscriber = Subscriber::open(&gate, "/live/a", None).await;
    let _mute = backend.next().await;
    let mut feed = backend.feed().await;
    subscriber.opened().await;
    feed.text("answered").await;
    assert_eq!(subscriber.message().await, "answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_messages_is_held_within_the_log() {
    const COUNT: usize = 300_000;
    let mut backend = Backend::by_hand().await;
    let keys = "replay = { events = 1000 }";
    let gate = Gate::start(&bridge(&backend, keys)).await;
    let (subscriber, mut feed) = open(&gate, &mut backend).await;
    let before = gate.memory();
    let mut batch = Vec::new();
    for number in 0..1_000 {
        batch.extend(frame(0x81, format!("message {number}").as_bytes()));
    }
    for _ in 0..COUNT / 1_000 {
        feed.raw(&batch).await;
    }
    feed.text("the last one").await;
    // Its pong comes when all before it was taken.
    let mut socket = feed.into_socket();
    let ping = Message::Ping(Bytes::from_static(b"taken?"));
    within("the ping to be taken", socket.send(ping))
        .await
        .unwrap();
    within("a pong", async {
        while !matches!(socket.next().await, Some(Ok(Message::Pong(pong))) if pong == "taken?") {}
    })
    .await;
    let mut late = Subscriber::open(&gate, "/live/a?lastEventId=earliest", None).await;
    within("the last message", async {
        while late.next().await.data != "the last one" {}
    })
    .await;
    let grown = gate.memory().saturating_sub(before);
    assert!(
        grown < 64 << 20,
        "{grown} bytes for a log of a thousand events"
    );
    drop(subscriber);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_flaps_costs_no_client_its_stream_and_each_loss_is_told_once() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&backend, QUICK)).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    let mut last = 0;
    let mut follows = |event: &Event| {
        let seq = id_parts(&event.id).1;
        assert_eq!(seq, last + 1, "{event:?}");
        last = seq;
    };
    for number in 0..20 {
        if number > 0 {
            feed.cut();
            feed = backend.feed().await;
            let gap = subscriber.next_but_status().await;
            is_gap(&gap, "upstream_reconnect");
            follows(&gap);
        }
        feed.text(&number.to_string()).await;
        let event = subscriber.next_but_status().await;
        assert_eq!(event.data, number.to_string());
        follows(&event);
    }
    assert_eq!(backend.connections(), 20);
}

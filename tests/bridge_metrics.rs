//! What a bridge counts, as `/metrics` tells it.

use futures_util::future::join_all;

use crate::bridge::{bridge, message_at, open};
use crate::harness::{ADMIN, Admin, Backend, Gate, H2Client, Subscriber, WebSocketClient};

async fn measured(text: &str) -> (Gate, Admin) {
    let gate = Gate::start(&format!("{ADMIN}{text}")).await;
    let admin = Admin::of(&gate).await;
    (gate, admin)
}

/// A series of the bridge, with one more label if there is one.
fn of(name: &str, more: &str) -> String {
    let more = match more.split_once('=') {
        Some((label, value)) => format!(",{label}=\"{value}\""),
        None => String::new(),
    };
    format!("streamgate_bridge_{name}{{bridge=\"live\"{more}}}")
}

async fn counts(admin: &Admin, expected: &[(&str, &str, f64)]) {
    let series: Vec<(String, f64)> = expected
        .iter()
        .map(|(name, more, value)| (of(name, more), *value))
        .collect();
    let series: Vec<(&str, f64)> = series
        .iter()
        .map(|(series, value)| (series.as_str(), *value))
        .collect();
    admin.counts(&series).await;
}

async fn post(gate: &Gate, kind: &str, body: &str) -> u16 {
    let mut client = gate.tls().await;
    let request = format!(
        "POST /live/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.send(request).await;
    client.head().await.status()
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_count_by_kind_and_events_once_for_all() {
    let mut backend = Backend::by_hand().await;
    let (gate, admin) = measured(&bridge(&backend, "")).await;
    counts(&admin, &[("channels", "upstream=up", 0.0)]).await;
    let (mut stream, mut feed) = open(&gate, &mut backend).await;
    let (another, _other_feed) = {
        let mut other = Subscriber::open(&gate, "/live/b", None).await;
        let feed = backend.feed().await;
        other.opened().await;
        (other, feed)
    };
    let socket = WebSocketClient::open(&gate, "/live/a", &[]).await;
    for text in ["one", "two", "three"] {
        feed.text(text).await;
        assert_eq!(stream.message().await, text);
    }
    let mut poll = gate.tls().await;
    poll.send(
        "GET /live/a?after=latest HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n",
    )
    .await;
    counts(
        &admin,
        &[
            ("subscribers", "kind=sse", 2.0),
            ("subscribers", "kind=websocket", 1.0),
            ("subscribers", "kind=long_poll", 1.0),
            ("channels", "upstream=up", 2.0),
            ("channels", "upstream=connecting", 0.0),
            ("events_total", "", 3.0),
            ("log_events", "", 3.0),
            ("drain_left", "", 0.0),
        ],
    )
    .await;
    let scrape = admin.scrape().await;
    let value = |series: &str| scrape.value(series).unwrap();
    let bytes = value(&of("log_bytes", ""));
    assert!(bytes > 3.0 * 20.0 && bytes < 1_000.0, "{bytes}");
    assert!(value("streamgate_bridge_memory_bytes") >= bytes);
    assert!(value("streamgate_bridge_memory_limit_bytes") > 1e6);
    let age = value(&of("log_oldest_age_seconds", ""));
    assert!(age > 0.0 && age < 60.0, "{age}");
    let sampled = value(&of("lag_seconds_count", ""));
    assert!(sampled >= 1.0, "clients that have caught up");
    // Nobody is behind. The bucket that has all of them is the one of half a minute, whatever the machine does.
    let quick = scrape.value("streamgate_bridge_lag_seconds_bucket{le=\"30.0\",bridge=\"live\"}");
    assert_eq!(quick, Some(sampled), "{}", scrape.0);
    drop((stream, another, socket, poll));
    let gone = ["sse", "websocket", "long_poll"].map(|kind| format!("kind={kind}"));
    let gone = gone.each_ref().map(|kind| ("subscribers", &**kind, 0.0));
    counts(&admin, &gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_channel_that_is_gone_leaves_its_events_in_the_count() {
    let mut backend = Backend::by_hand().await;
    let (gate, admin) = measured(&bridge(&backend, "idle = { linger = \"0s\" }")).await;
    for times in 1..=3_u8 {
        let (mut stream, mut feed) = open(&gate, &mut backend).await;
        for text in ["one", "two"] {
            feed.text(text).await;
            assert_eq!(stream.message().await, text);
        }
        drop(stream);
        let events = 2.0 * f64::from(times);
        let gone = [
            ("channels", "upstream=up", 0.0),
            ("events_total", "", events),
            ("log_events", "", 0.0),
        ];
        counts(&admin, &gone).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_feed_its_gap_and_a_replay_are_counted() {
    let mut backend = Backend::by_hand().await;
    let (gate, admin) = measured(&bridge(&backend, "")).await;
    let (mut stream, mut feed) = open(&gate, &mut backend).await;
    feed.text("one").await;
    let (_, cursor) = message_at(&mut stream).await;
    feed.text("two").await;
    feed.text("three").await;
    assert_eq!(stream.message().await, "two");
    assert_eq!(stream.message().await, "three");
    let mut back = Subscriber::open(&gate, "/live/a", Some(&cursor)).await;
    back.opened().await;
    assert_eq!(back.message().await, "two");
    let replayed = [("replayed_events_total", "", 2.0)];
    counts(&admin, &replayed).await;
    feed.cut();
    let feed = backend.feed().await;
    assert_eq!(stream.next_but_status().await.name, "streamgate.gap");
    feed.close(1001).await;
    let _feed = backend.feed().await;
    assert_eq!(stream.next_but_status().await.name, "streamgate.gap");
    for cursor in ["0000000000-7", "nonsense"] {
        let mut lost = Subscriber::open(&gate, "/live/a", Some(cursor)).await;
        lost.opened().await;
    }
    counts(
        &admin,
        &[
            ("feeds_lost_total", "reason=broken", 1.0),
            ("feeds_lost_total", "reason=closed", 1.0),
            ("feeds_lost_total", "reason=no_pong", 0.0),
            ("gaps_total", "reason=upstream_reconnect", 2.0),
            ("gaps_total", "reason=epoch", 1.0),
            ("gaps_total", "reason=bad_id", 1.0),
            ("gaps_total", "reason=evicted", 0.0),
            ("channels", "upstream=up", 1.0),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_that_refuses_is_counted_and_its_channel_is_not_up() {
    let mut backend = Backend::by_hand().await;
    let more = "reconnect = { initial = \"50ms\", max = \"50ms\" }";
    let (gate, admin) = measured(&bridge(&backend, more)).await;
    let _stream = Subscriber::open(&gate, "/live/a", None).await;
    backend.next().await.answer("503 Busy", "").await;
    counts(
        &admin,
        &[
            ("feeds_refused_total", "reason=status", 1.0),
            ("feeds_lost_total", "reason=status", 0.0),
            ("channels", "upstream=connecting", 1.0),
            ("channels", "upstream=up", 0.0),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn posts_and_messages_that_are_unfit_are_counted() {
    let mut backend = Backend::by_hand().await;
    let more = "max_message = \"1KiB\"\nbinary = \"reject\"\nevent = { data = \"/a\" }\n\
                publish = { enabled = true }";
    let (gate, admin) = measured(&bridge(&backend, more)).await;
    let (mut stream, mut feed) = open(&gate, &mut backend).await;
    feed.text("no JSON").await;
    assert_eq!(stream.message().await, "no JSON");
    assert_eq!(post(&gate, "text/plain", "up").await, 204);
    assert_eq!(post(&gate, "text/plain", "").await, 400);
    assert_eq!(post(&gate, "image/png", "x").await, 415);
    feed.binary(b"left out").await;
    feed.text(&"x".repeat(5_000)).await;
    assert_eq!(stream.next_but_status().await.name, "streamgate.gap");
    // A text frame that is not UTF-8.
    feed.raw(b"\x81\x01\xff").await;
    let _feed = backend.feed().await;
    counts(
        &admin,
        &[
            ("posts_total", "status=204", 1.0),
            ("posts_total", "status=400", 1.0),
            ("posts_total", "status=415", 1.0),
            ("posts_total", "status=other", 0.0),
            ("unfit_messages_total", "reason=unmapped", 1.0),
            ("unfit_messages_total", "reason=binary", 1.0),
            ("unfit_messages_total", "reason=oversize", 1.0),
            ("unfit_messages_total", "reason=invalid_utf8", 1.0),
            ("gaps_total", "reason=oversize", 1.0),
            ("feeds_lost_total", "reason=invalid_utf8", 1.0),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_slow_or_sent_away_is_counted() {
    let mut backend = Backend::by_hand().await;
    let more = "slow = { events = 50, bytes = \"64MiB\" }\nlimits = { subscribers = 2 }";
    let (gate, admin) = measured(&bridge(&backend, more)).await;
    let (mut reader, mut feed) = open(&gate, &mut backend).await;
    let mut sleeper = Subscriber::open(&gate, "/live/a", None).await;
    sleeper.opened().await;
    let mut third = Subscriber::open(&gate, "/live/a", None).await;
    third.until_end().await;
    let filler = "x".repeat(40_000);
    for _ in 0..400 {
        feed.text(&filler).await;
        reader.message().await;
    }
    counts(
        &admin,
        &[
            ("rejected_total", "reason=subscribers", 1.0),
            ("rejected_total", "reason=channels", 0.0),
            ("slow_clients_total", "policy=disconnect", 1.0),
            ("slow_clients_total", "policy=skip", 0.0),
            ("subscribers", "kind=sse", 1.0),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_inside_http_2_that_takes_nothing_is_found_on_a_quiet_feed_too() {
    let mut backend = Backend::by_hand().await;
    // hyper asks the body for one piece more than the window takes: here a heartbeat.
    let more = "slow = { stall = \"1s\" }\nheartbeat = \"1s\"";
    let (gate, admin) = measured(&bridge(&backend, more)).await;
    let (mut reader, mut feed) = open(&gate, &mut backend).await;
    let mut client = H2Client::connect(&gate).await;
    let _unread = client.get("/live/a").await;
    counts(&admin, &[("subscribers", "kind=sse", 2.0)]).await;
    // More than its window takes, and nothing after it.
    feed.text(&"x".repeat(200_000)).await;
    reader.message().await;
    let found = [
        ("slow_clients_total", "policy=stall", 1.0),
        ("subscribers", "kind=sse", 1.0),
    ];
    counts(&admin, &found).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_taken_over_is_counted() {
    let mut backend = Backend::by_hand().await;
    let (gate, admin) = measured(&bridge(&backend, "mode = \"session\"")).await;
    let (mut first, mut feed) = open(&gate, &mut backend).await;
    feed.text("one").await;
    let (_, cursor) = message_at(&mut first).await;
    let mut second = Subscriber::open(&gate, "/live/a", Some(&cursor)).await;
    second.opened().await;
    first.until_any_end().await;
    let taken = [
        ("takeovers_total", "", 1.0),
        ("subscribers", "kind=sse", 1.0),
        ("channels", "upstream=up", 1.0),
    ];
    counts(&admin, &taken).await;
    // Who comes back when nobody is there takes nothing over.
    drop(second);
    counts(&admin, &[("subscribers", "kind=sse", 0.0)]).await;
    let mut third = Subscriber::open(&gate, "/live/a", Some(&cursor)).await;
    third.opened().await;
    let same = [
        ("takeovers_total", "", 1.0),
        ("subscribers", "kind=sse", 1.0),
    ];
    counts(&admin, &same).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_outlive_a_reload_that_keeps_the_bridge_and_not_the_bridge() {
    let mut backend = Backend::by_hand().await;
    let routes = bridge(&backend, "");
    let (gate, admin) = measured(&routes).await;
    let (mut stream, mut feed) = open(&gate, &mut backend).await;
    feed.text("one").await;
    assert_eq!(stream.message().await, "one");
    let more = "[[route]]\npath = \"/more\"\nrespond = 204\n";
    gate.reload_well(&format!("{ADMIN}{routes}{more}")).await;
    counts(
        &admin,
        &[("events_total", "", 1.0), ("subscribers", "kind=sse", 1.0)],
    )
    .await;
    gate.reload_well(&format!("{ADMIN}{more}")).await;
    let scrape = admin.scrape().await;
    assert!(!scrape.0.contains("bridge=\"live\""), "{}", scrape.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_tells_how_many_are_left() {
    let mut backend = Backend::by_hand().await;
    let text = format!(
        "{}[server]\ndrain_timeout = \"60s\"\n",
        bridge(&backend, "")
    );
    let (mut gate, admin) = measured(&text).await;
    let (first, feed) = open(&gate, &mut backend).await;
    let opening = (0..20).map(async |_| {
        let mut stream = Subscriber::open(&gate, "/live/a", None).await;
        stream.opened().await;
        stream
    });
    let streams = join_all(opening).await;
    counts(&admin, &[("drain_left", "", 0.0)]).await;
    gate.signal("TERM");
    // They leave one by one, spread over the drain.
    let mut pace = tokio::time::interval(std::time::Duration::from_millis(20));
    let told = async {
        loop {
            pace.tick().await;
            let scrape = admin.scrape().await;
            let value = |name: &str, more: &str| scrape.value(&of(name, more));
            let left = value("drain_left", "");
            if left.is_some_and(|left| left > 0.0) {
                assert_eq!(left, value("subscribers", "kind=sse"));
                return;
            }
        }
    };
    crate::harness::within("the drain to be told", told).await;
    drop((first, feed, streams));
    gate.ended().await;
}

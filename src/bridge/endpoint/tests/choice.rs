//! Subscribers that get a part of the events: by a filter, a snapshot, or because they are too slow.

use super::*;
use crate::config::model::{FilterRule, Mapping, OnGap, Slow, SlowPolicy, SnapshotCaps, Start};
use crate::json::Pointer;

fn keyed(ports: &[u16]) -> model::Bridge {
    let pointer = |text| Pointer::parse(text).unwrap();
    model::Bridge {
        mapping: Mapping {
            key: Some(pointer("/k")),
            filter: Some(FilterRule {
                query: "k".into(),
                pointer: pointer("/k"),
            }),
            ..Mapping::default()
        },
        snapshot: Some(SnapshotCaps {
            keys: std::num::NonZeroUsize::new(100).unwrap(),
            bytes: 1 << 24,
        }),
        ..config(ports)
    }
}

fn tick(key: &str, value: usize) -> String {
    format!(r#"{{"k":"{key}","v":{value}}}"#)
}

#[test]
fn a_snapshot_is_the_newest_of_each_key_and_goes_on_without_a_hole() {
    worker(async {
        let feed = Feed::new().await;
        let mut config = keyed(&[feed.port]);
        config.start = Start::Snapshot;
        config.replay.events = std::num::NonZeroUsize::new(3).unwrap();
        let gate = Gate::new(config);
        let mut first = gate.subscribe("").await;
        let mut link = feed.accept().await;
        let mut last = None;
        for (key, value) in [("a", 1), ("b", 1), ("a", 2), ("c", 1), ("c", 2), ("c", 3)] {
            link.send(&tick(key, value)).await;
            last = Some(first.skip_to(&tick(key, value)).await);
        }
        let c3 = last.unwrap();
        // The log itself has no more than the last three.
        let mut client = gate.subscribe("").await;
        let open = client.next().await.unwrap();
        assert!(open.data.contains(r#""replay":3"#), "{}", open.data);
        let (b, a) = (client.next().await.unwrap(), client.next().await.unwrap());
        assert_eq!((b.data, a.data), (tick("b", 1), tick("a", 2)));
        assert_eq!(client.next().await.unwrap(), c3);
        link.send(&tick("b", 2)).await;
        assert_eq!(client.data().await, tick("b", 2));
        // A client that was cut off within the snapshot gets all that follows, or is told of what the log has lost.
        let mut back = gate.subscribe(&a.id).await;
        assert_eq!(back.data().await, r#"{"reason":"evicted","missed":1}"#);
        back.next().await.unwrap();
        assert_eq!(back.data().await, tick("c", 2));
    });
}

#[test]
fn a_gap_may_be_filled_with_the_newest_of_each_key() {
    worker(async {
        let feed = Feed::new().await;
        let mut config = keyed(&[feed.port]);
        config.on_gap = OnGap::Snapshot;
        config.replay.events = std::num::NonZeroUsize::new(2).unwrap();
        let gate = Gate::new(config);
        let mut first = gate.subscribe("").await;
        let mut link = feed.accept().await;
        link.send(&tick("a", 1)).await;
        let a = first.skip_to(&tick("a", 1)).await;
        for value in 1..10 {
            link.send(&tick("b", value)).await;
            first.skip_to(&tick("b", value)).await;
        }
        let mut back = gate.subscribe(&a.id).await;
        assert_eq!(back.data().await, r#"{"reason":"evicted","missed":8}"#);
        back.next().await.unwrap();
        assert_eq!(back.data().await, tick("a", 1));
        assert_eq!(back.data().await, tick("b", 9));
    });
}

#[test]
fn a_filter_holds_back_and_the_heartbeat_moves_the_cursor() {
    worker(async {
        let feed = Feed::new().await;
        let mut config = keyed(&[feed.port]);
        config.heartbeat = Some(Duration::from_millis(50));
        let gate = Gate::new(config);
        let mut all = gate.subscribe("").await;
        let mut link = feed.accept().await;
        all.skip_to(r#"{"upstream":"up"}"#).await;
        let request = Request::get("/live?k=a&k=c").body(Empty::new()).unwrap();
        let mut some = gate.subscribe_with(request).await;
        for key in ["a", "b", "c", "b"] {
            link.send(&tick(key, 1)).await;
        }
        some.next().await.unwrap();
        assert_eq!(some.data().await, tick("a", 1));
        let c = some.next().await.unwrap();
        assert_eq!(c.data, tick("c", 1));
        all.skip_to(&tick("c", 1)).await;
        let last = all.next().await.unwrap();
        assert_eq!(last.data, tick("b", 1));
        while some.decoder.last_id != last.id {
            some.tcp.read_buf(&mut some.raw).await.unwrap();
            some.decode();
        }
        assert!(some.events.is_empty());
    });
}

/// A client that reads nothing until the feed has sent more than the sockets between them hold.
async fn lag(policy: SlowPolicy, keys: usize) -> (Gate, Client, usize) {
    let feed = Feed::new().await;
    let mut config = keyed(&[feed.port]);
    config.slow = Slow {
        policy,
        bytes: 1 << 20,
        ..config.slow
    };
    let gate = Gate::new(config);
    let mut client = gate.subscribe("").await;
    let mut link = feed.accept().await;
    client.skip_to(r#"{"upstream":"up"}"#).await;
    let padding = "x".repeat(50_000);
    let counts = gate.bridge.counts();
    let (mut sent, mut late) = (0, 0);
    while late < 2 * keys {
        let fell = counts.slow_skipped.count() + counts.slow_conflated.count();
        late += usize::from(fell > 0);
        let text = format!(r#"{{"k":"{}","v":{sent},"x":"{padding}"}}"#, sent % keys);
        link.send(&text).await;
        sent += 1;
        tokio::task::yield_now().await;
    }
    link.send(r#"{"k":"end"}"#).await;
    (gate, client, sent)
}

fn value(event: &Decoded) -> usize {
    let json: serde_json::Value = serde_json::from_str(&event.data).unwrap();
    usize::try_from(json["v"].as_u64().unwrap()).unwrap()
}

#[test]
fn a_slow_client_that_skips_is_told_exactly_what_it_missed() {
    worker(async {
        let (gate, mut client, sent) = lag(SlowPolicy::Skip, 5).await;
        let (mut next, mut missed) = (0, 0);
        loop {
            let event = client.next().await.unwrap();
            if event.event == "streamgate.gap" {
                let gap: serde_json::Value = serde_json::from_str(&event.data).unwrap();
                assert_eq!(gap["reason"], "slow");
                let more = usize::try_from(gap["missed"].as_u64().unwrap()).unwrap();
                (next, missed) = (next + more, missed + more);
                continue;
            }
            if event.data.contains("end") {
                break;
            }
            assert_eq!(value(&event), next);
            next += 1;
        }
        assert!(
            next == sent && missed > 0,
            "{next} of {sent}, {missed} missed"
        );
        assert!(gate.bridge.counts().slow_skipped.count() > 0);
        assert_eq!(gate.bridge.subscribers(), 1);
    });
}

#[test]
fn a_slow_client_that_is_conflated_has_the_last_value_of_each_key() {
    worker(async {
        let (gate, mut client, sent) = lag(SlowPolicy::Conflate, 7).await;
        let (mut last, mut events) = (vec![None; 7], 0);
        loop {
            let event = client.next().await.unwrap();
            assert_ne!(event.event, "streamgate.gap");
            if event.data.contains("end") {
                break;
            }
            let value = value(&event);
            let before = last[value % 7].replace(value);
            assert!(before < Some(value));
            events += 1;
        }
        let expected: Vec<_> = (0..7)
            .map(|key| (0..sent).rev().find(|value| value % 7 == key))
            .collect();
        assert_eq!(last, expected);
        assert!(events < sent, "{events} of {sent}");
        assert_eq!(gate.bridge.counts().slow_conflated.count(), 1);
    });
}

#[test]
fn over_http_2_a_body_that_is_not_read_skips() {
    worker(async {
        let feed = Feed::new().await;
        let mut config = keyed(&[feed.port]);
        config.slow = Slow {
            policy: SlowPolicy::Skip,
            events: 10,
            ..config.slow
        };
        let gate = Gate::new(config);
        let request = Request::get("/live").body(Full::default()).unwrap();
        let mut body = gate.response(request).await.unwrap().into_body();
        let mut link = feed.accept().await;
        link.send("one").await;
        let mut text = String::new();
        while !text.contains("data: one\n\n") {
            let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
            text.push_str(std::str::from_utf8(&data).unwrap());
        }
        // Reading on until nothing is left shows that it has caught up.
        let nothing = tokio::time::timeout(Duration::from_millis(20), body.frame());
        assert!(nothing.await.is_err());
        for _ in 0..20 {
            link.send("more").await;
        }
        while gate.bridge.counts().slow_skipped.count() == 0 {
            tokio::task::yield_now().await;
        }
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let gap = std::str::from_utf8(&data).unwrap();
        assert!(gap.contains(r#"{"reason":"slow","missed":"#), "{gap}");
        assert_eq!(gate.bridge.subscribers(), 1);
    });
}

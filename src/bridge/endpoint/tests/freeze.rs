//! Feeds that stop, for their logs to be handed over, and go on.

use super::*;
use crate::bridge::channel::Channel;
use crate::bridge::log::{Budget, Writer};
use crate::bridge::state::{self, Dormant, Halt};

fn gate(feed: &Feed) -> Gate {
    let mut config = config(&[feed.port]);
    config.reconnect.initial = Duration::from_millis(1);
    Gate::new(config)
}

#[test]
fn a_frozen_log_is_not_appended_to_and_its_successor_goes_on() {
    worker(async {
        let feed = Feed::new().await;
        let old = gate(&feed);
        let (mut client, mut link) = tokio::join!(old.subscribe_up(""), feed.accept());
        link.send("one").await;
        let last = client.skip_to("one").await.id;
        assert_eq!(state::freeze([&old.bridge].into_iter()).await, 0);
        assert!(matches!(link.next().await, Message::Close(_)));
        let mut bytes = Vec::new();
        let saved = state::save([&old.bridge].into_iter(), &mut bytes).unwrap();
        assert_eq!((saved.channels, saved.events), (1, 1));

        let new = gate(&feed);
        state::restore([&new.bridge].into_iter(), &mut &bytes[..]).unwrap();
        let mut follower = new.subscribe(&last).await;
        assert!(follower.data().await.contains(r#""resumed":true"#));
        let mut link = feed.accept().await;
        link.send("two").await;
        let gap = follower.skip_to_name("streamgate.gap").await;
        assert!(gap.data.contains("upstream_reconnect"), "{gap:?}");
        let two = follower.skip_to("two").await.id;
        assert_eq!(two[..10], last[..10]);
    });
}

#[test]
fn a_feed_that_is_thawed_goes_on_where_it_stopped() {
    worker(async {
        let feed = Feed::new().await;
        let gate = gate(&feed);
        let (mut client, mut link) = tokio::join!(gate.subscribe_up(""), feed.accept());
        link.send("one").await;
        client.skip_to("one").await;
        assert_eq!(state::freeze([&gate.bridge].into_iter()).await, 0);
        // Who comes meanwhile opens nothing either.
        let mut late = gate.subscribe("earliest").await;
        late.skip_to("one").await;
        state::thaw([&gate.bridge].into_iter());
        let mut link = feed.accept().await;
        link.send("two").await;
        for client in [&mut client, &mut late] {
            client.skip_to_name("streamgate.gap").await;
            client.skip_to("two").await;
        }
    });
}

#[test]
fn a_feed_without_an_answer_stops_too_and_has_nothing_to_save() {
    worker(async {
        let gate = gate(&Feed::new().await);
        let _client = gate.subscribe("").await;
        assert_eq!(state::freeze([&gate.bridge].into_iter()).await, 0);
        let saved = state::save([&gate.bridge].into_iter(), &mut Vec::new()).unwrap();
        assert_eq!(saved.channels, 0);
    });
}

#[test]
fn a_drained_feed_leaves_its_log_and_who_comes_then_goes_on_in_it() {
    worker(async {
        let feed = Feed::new().await;
        let gate = gate(&feed);
        let (mut client, mut link) = tokio::join!(gate.subscribe_up(""), feed.accept());
        link.send("one").await;
        let last = client.skip_to("one").await.id;
        gate.trigger
            .begin(tokio::time::Instant::now() + Duration::from_secs(1));
        drop(client);
        while gate.bridge.channels() > 0 || tasks::live() > 0 {
            let _ = link.0.next().await;
            tokio::task::yield_now().await;
        }
        let standing = gate.bridge.standing(false);
        assert!(standing.channels.contains(&("dormant", 1)));
        assert_eq!((standing.events, standing.logs.events), (1, 1));
        let gate = Gate {
            bridge: gate.bridge.clone(),
            trigger: drain::Trigger::new(),
        };
        let mut back = gate.subscribe(&last).await;
        assert!(back.data().await.contains(r#""resumed":true"#));
        assert_eq!(
            gate.bridge.standing(false).events,
            1,
            "what was counted is not again"
        );
    });
}

#[test]
fn who_comes_before_it_is_certain_that_nobody_else_writes_opens_nothing() {
    worker(async {
        let feed = Feed::new().await;
        let gate = gate(&feed);
        state::begin_frozen([&gate.bridge].into_iter());
        let _client = gate.subscribe("").await;
        let channel = gate.bridge.lock()[""].clone();
        channel.ice.still().await;
        let nobody = tokio::time::timeout(Duration::from_millis(100), feed.accept());
        assert!(nobody.await.is_err(), "a feed that could write");
        state::thaw([&gate.bridge].into_iter());
        feed.accept().await;
    });
}

#[test]
fn a_state_that_names_a_source_that_there_is_not_is_taken_up_without_its_place() {
    worker(async {
        let feed = Feed::new().await;
        let gate = gate(&feed);
        let (bridge, config) = (&gate.bridge, gate.bridge.config());
        let mut writer = Writer::new(config.replay, None, Budget::process());
        writer.append(
            tokio::time::Instant::now(),
            Default::default(),
            |_seq, out| {
                out.extend_from_slice(b"data: before\n\n");
            },
        );
        let (channel, _publishes) = Channel::of(writer.log());
        let halt = Halt {
            down: tokio::time::Instant::now(),
            source: 99,
            last_id: Some(b"7".to_vec()),
            retry: None,
            place: None,
        };
        let epoch = channel.epoch();
        let dormant = Dormant {
            epoch,
            writer,
            halt,
        };
        bridge.lay_down(&Arc::new(channel), dormant);
        let mut client = gate.subscribe("earliest").await;
        client.skip_to("before").await;
        let mut link = feed.accept().await;
        link.send("one").await;
        client.skip_to_name("streamgate.gap").await;
        client.skip_to("one").await;
    });
}

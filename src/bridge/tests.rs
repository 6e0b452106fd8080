//! The bridge's bookkeeping, and what other tests of the bridge configure.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::task::LocalSet;

use super::*;
use crate::config::model::{
    Backoff, BridgeLimits, FeedConnect, FeedIdle, Mapping, Mode, OnGap, Publish, Replay, Retry,
    Slow, SlowPolicy, Source, Start, Verdict,
};
use crate::lifecycle::drain::Trigger;
use crate::net::{Authority, ServerAddr};
use crate::route::Template;

/// The defaults of the reference, with feeds on these ports of the loopback.
pub(crate) fn config(ports: &[u16]) -> model::Bridge {
    let seconds = Duration::from_secs;
    let source = |port: &u16| Source {
        kind: model::FeedKind::WebSocket,
        server: ServerAddr::from(Authority {
            host: "127.0.0.1".into(),
            port: *port,
        }),
        path: Template::parse("/feed").unwrap(),
    };
    model::Bridge {
        name: "prices".into(),
        source: ports.iter().map(source).collect(),
        mode: Mode::Shared,
        share_key: Template::parse("").unwrap(),
        tls: None,
        connect: FeedConnect::default(),
        keepalive: None,
        resume: None,
        across_sources: false,
        reconnect: Backoff {
            initial: Duration::from_millis(250),
            max: seconds(30),
        },
        idle: FeedIdle {
            linger: seconds(60),
            eager: false,
            ping: seconds(20),
            pong: seconds(10),
            silence: None,
        },
        max_message: 1 << 20,
        replay: Replay {
            events: NonZeroUsize::new(10_000).unwrap(),
            bytes: 64 << 20,
            age: seconds(600),
        },
        mapping: Mapping::default(),
        snapshot: None,
        start: Start::Live,
        on_gap: OnGap::Available,
        slow: Slow {
            policy: SlowPolicy::Disconnect,
            age: None,
            events: 5_000,
            bytes: 4 << 20,
            stall: seconds(30),
        },
        heartbeat: Some(seconds(15)),
        heartbeat_event: false,
        retry: Retry {
            base: seconds(2),
            spread: seconds(3),
        },
        limits: BridgeLimits {
            subscribers: 20_000,
            channels: 1_000,
            max_age: None,
            accept_rate: 1_000,
        },
        publish: Some(Publish {
            url: None,
            max_size: 64 * 1024,
            rate: None,
            reply: None,
        }),
        close_map: BTreeMap::from([(1000, Verdict::Done)]),
        open_event: true,
    }
}

#[tokio::test]
async fn limits_count_live_subscribers_and_channels() {
    let mut config = config(&[9]);
    config.limits.subscribers = 2;
    let bridge = Bridge::new(Arc::new(config));
    let (trigger, captures) = (Trigger::new(), Captures::empty());
    LocalSet::new()
        .run_until(async {
            let (claim, kind) = (Claim::default(), SubscriberKind::EventStream);
            let subscribe = || bridge.subscribe(&captures, claim, kind, &trigger.guard());
            let (first, second) = (subscribe().unwrap(), subscribe().unwrap());
            assert_eq!((bridge.subscribers(), bridge.channels()), (2, 1));
            assert_eq!(subscribe().unwrap_err(), Full::Subscribers(2));
            assert_eq!(second.channel().users(), 2);
            drop(first);
            assert_eq!(bridge.subscribers(), 1);
            subscribe().unwrap();
        })
        .await;
}

#[tokio::test]
async fn a_channel_too_many_is_refused_and_counts_nobody() {
    let mut config = config(&[9]);
    config.limits.channels = 0;
    let bridge = Bridge::new(Arc::new(config));
    let full = bridge.subscribe(
        &Captures::empty(),
        Claim::default(),
        SubscriberKind::EventStream,
        &Trigger::new().guard(),
    );
    assert_eq!(full.unwrap_err(), Full::Channels(0));
    assert_eq!(bridge.subscribers(), 0);
}

#[tokio::test]
async fn a_channel_goes_only_when_nobody_uses_it() {
    let bridge = Bridge::new(Arc::new(config(&[9])));
    let (trigger, captures) = (Trigger::new(), Captures::empty());
    LocalSet::new()
        .run_until(async {
            let guard = trigger.guard();
            let lease = bridge.lease(&captures, &guard).unwrap();
            let channel = lease.0.clone();
            assert!(!bridge.retire(&channel));
            drop(lease);
            assert!(bridge.retire(&channel));
            assert_eq!(bridge.channels(), 0);
            let again = bridge.lease(&captures, &guard).unwrap();
            assert!(!Arc::ptr_eq(&again.0, &channel));
            // The old feed's end does not touch the new channel.
            bridge.discard(&channel);
            assert_eq!(bridge.channels(), 1);
        })
        .await;
}

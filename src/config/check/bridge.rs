//! `[bridge.NAME]`

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::config::check::mapping;
use crate::config::check::{Context, feed, publish, seconds, to_usize};
use crate::config::model::{
    Backoff, Bridge, BridgeLimits, FeedIdle, Mode, OnGap, Replay, Retry, Slow, SlowPolicy, Start,
};
use crate::config::schema::bridge;
use crate::config::schema::decode::Field;

pub(crate) fn check(name: Arc<str>, table: &bridge::Bridge, context: &mut Context<'_>) -> Bridge {
    let source = feed::sources(&name, table, context);
    let connect = feed::connect(&table.connect, context);
    let resume = feed::resume(&table.resume, context);
    let share_key = feed::share_key(table, &source, &connect, resume.as_ref(), context);
    feed::check_eager(table, &share_key, context);
    let mode = table.mode.map_or(Mode::Shared, |mode| mode.0);
    let mut bridge = Bridge {
        tls: None,
        mode,
        share_key,
        connect,
        keepalive: feed::keepalive(&table.keepalive, context),
        resume,
        across_sources: feed::across_sources(table, context),
        reconnect: reconnect(&table.reconnect, context),
        idle: idle(&table.idle),
        max_message: table
            .max_message
            .map_or(1024 * 1024, |size| to_usize(size.0)),
        replay: replay(&table.replay),
        mapping: mapping::check(table, context),
        snapshot: None,
        start: table.start.map_or(Start::Live, |start| start.0),
        on_gap: table.on_gap.map_or(OnGap::Available, |on_gap| on_gap.0),
        slow: slow(&table.slow),
        heartbeat: table.heartbeat.map_or(Some(seconds(15)), |time| time.0),
        heartbeat_event: table.heartbeat_event.value().copied().unwrap_or(false),
        retry: Retry {
            base: table
                .retry
                .get(|retry| &retry.base)
                .map_or(seconds(2), |time| time.0),
            spread: table
                .retry
                .get(|retry| &retry.spread)
                .map_or(seconds(3), |time| time.0),
        },
        limits: limits(&table.limits),
        publish: publish::check(table, &source, context),
        source,
        close_map: publish::close_map(&table.close_map, mode, context),
        open_event: table.open_event.value().copied().unwrap_or(true),
        name,
    };
    bridge.tls = feed::tls(table, &bridge, context);
    bridge.snapshot = mapping::snapshot(table, &bridge, context);
    warn_of_short_replay(table, &bridge, context);
    bridge
}

fn reconnect(table: &Field<bridge::Reconnect>, context: &mut Context<'_>) -> Backoff {
    let initial = table
        .get(|reconnect| &reconnect.initial)
        .map_or(Duration::from_millis(250), |time| time.0);
    let max = table
        .get(|reconnect| &reconnect.max)
        .map_or(initial.max(seconds(30)), |time| time.0);
    if let Some(key) = table
        .value()
        .and_then(|reconnect| reconnect.max.key())
        .filter(|_| max < initial)
    {
        let message = format!(
            "`max` is shorter than `initial`, which is {}ms",
            initial.as_millis()
        );
        context.diagnostics.error(key, message);
    }
    Backoff { initial, max }
}

fn idle(table: &Field<bridge::Idle>) -> FeedIdle {
    FeedIdle {
        linger: table
            .get(|idle| &idle.linger)
            .map_or(seconds(60), |time| time.0),
        ping: table
            .get(|idle| &idle.ping)
            .map_or(seconds(20), |time| time.0),
        pong: table
            .get(|idle| &idle.pong)
            .map_or(seconds(10), |time| time.0),
        eager: table.get(|idle| &idle.eager).copied().unwrap_or(false),
        silence: table.get(|idle| &idle.silence).and_then(|time| time.0),
    }
}

fn replay(table: &Field<bridge::Replay>) -> Replay {
    let events = table
        .get(|replay| &replay.events)
        .map_or(10_000, |count| to_usize(count.0));
    Replay {
        // The schema's bounds begin at 1.
        events: NonZeroUsize::new(events).unwrap_or(NonZeroUsize::MIN),
        bytes: table
            .get(|replay| &replay.bytes)
            .map_or(64 * 1024 * 1024, |size| to_usize(size.0)),
        age: table
            .get(|replay| &replay.age)
            .map_or(seconds(600), |time| time.0),
    }
}

fn slow(table: &Field<bridge::Slow>) -> Slow {
    Slow {
        policy: table
            .get(|slow| &slow.policy)
            .map_or(SlowPolicy::Disconnect, |policy| policy.0),
        age: table.get(|slow| &slow.age).and_then(|time| time.0),
        events: table
            .get(|slow| &slow.events)
            .map_or(5_000, |count| count.0),
        bytes: table
            .get(|slow| &slow.bytes)
            .map_or(4 * 1024 * 1024, |size| size.0),
        stall: table
            .get(|slow| &slow.stall)
            .map_or(seconds(30), |time| time.0),
    }
}

fn limits(table: &Field<bridge::BridgeLimits>) -> BridgeLimits {
    BridgeLimits {
        subscribers: table
            .get(|limits| &limits.subscribers)
            .map_or(20_000, |count| to_usize(count.0)),
        channels: table
            .get(|limits| &limits.channels)
            .map_or(1_000, |count| to_usize(count.0)),
        max_age: table.get(|limits| &limits.max_age).and_then(|time| time.0),
        accept_rate: table
            .get(|limits| &limits.accept_rate)
            .map_or(1_000, |rate| rate.0 as u32),
    }
}

fn warn_of_short_replay(table: &bridge::Bridge, bridge: &Bridge, context: &mut Context<'_>) {
    let key = table.replay.value().and_then(|replay| replay.bytes.key());
    if let Some(key) = key.filter(|_| bridge.replay.bytes < bridge.max_message) {
        let message = format!(
            "`bytes` is less than one message may have: `max_message` is {} bytes",
            bridge.max_message
        );
        context.diagnostics.warning(key, message);
    }
}

//! `[bridge.NAME]`

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use crate::config::check::mapping;
use crate::config::check::{Context, seconds, secret, to_usize};
use crate::config::model::{
    Backoff, Bridge, BridgeLimits, FeedConnect, FeedIdle, OnGap, Publish, Replay, Retry, Slow,
    SlowPolicy, Source, Start,
};
use crate::config::schema::bridge;
use crate::config::schema::decode::Field;
use crate::config::schema::feed::Connect;
use crate::config::schema::table::Table;
use crate::route::Template;

pub(crate) fn check(name: Arc<str>, table: &bridge::Bridge, context: &mut Context<'_>) -> Bridge {
    let source = sources(&name, table, context);
    let connect = connect(&table.connect, context);
    let share_key = share_key(table, &source, &connect, context);
    let mut bridge = Bridge {
        source,
        share_key,
        connect,
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
        publish: publish(&table.publish, context),
        open_event: table.open_event.value().copied().unwrap_or(true),
        name,
    };
    bridge.snapshot = mapping::snapshot(table, &bridge, context);
    warn_of_short_replay(table, &bridge, context);
    bridge
}

fn sources(name: &str, table: &bridge::Bridge, context: &mut Context<'_>) -> Vec<Source> {
    let Some(list) = table.source.located() else {
        if table.source.is_absent() && !table.has_unknown_key() {
            let message = format!("`[bridge.{name}]` has no `source`");
            let finding = context.diagnostics.error(table.place(), message);
            finding.hint("`source = \"ws://127.0.0.1:9000/feed\"`");
        }
        return Vec::new();
    };
    if list.value.0.is_empty() {
        context
            .diagnostics
            .error(list.place, "`source` is empty: at least one is needed");
    }
    let source = |url: &crate::config::schema::feed::FeedUrl| Source {
        authority: url.authority.clone(),
        path: url.path.clone(),
    };
    list.value.0.iter().map(|url| source(&url.value)).collect()
}

fn connect(table: &Field<Connect>, context: &mut Context<'_>) -> FeedConnect {
    let headers = table
        .get(|connect| &connect.headers)
        .map(|headers| secret::headers(headers, context));
    let mut subprotocols: Vec<String> = Vec::new();
    for subprotocol in table
        .get(|connect| &connect.subprotocols)
        .into_iter()
        .flat_map(|list| &list.0)
    {
        let name = &subprotocol.value.0;
        if subprotocols.contains(name) {
            // RFC 6455 §4.1: the elements of the offer must be unique.
            let message = format!("`{}` is offered twice", context.typed(subprotocol.place));
            context.diagnostics.error(subprotocol.place, message);
        }
        subprotocols.push(name.clone());
    }
    let send = table
        .get(|connect| &connect.send)
        .into_iter()
        .flat_map(|list| &list.0);
    FeedConnect {
        headers: headers.unwrap_or_default(),
        subprotocols,
        send: send.map(|text| text.value.clone()).collect(),
    }
}

/// Clients that share a connection get what it was opened with, so the key must have every name that opens it.
fn share_key(
    table: &bridge::Bridge,
    source: &[Source],
    connect: &FeedConnect,
    context: &mut Context<'_>,
) -> Template {
    let opening = source
        .iter()
        .map(|source| &source.path)
        .chain(&connect.send);
    let mut names: Vec<&str> = Vec::new();
    for name in opening.flat_map(Template::names) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let Some(key) = table.share_key.located() else {
        return Template::of_names(names);
    };
    for name in names {
        if !key.value.names().any(|known| known == name) {
            let message = format!(
                "`share_key` leaves out `{{{name}}}`, which a connection to the feed is opened with"
            );
            let hint = "clients with different values would get each other's messages";
            context.diagnostics.error(key.place, message).hint(hint);
        }
    }
    key.value.clone()
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

fn publish(table: &Field<bridge::Publish>, context: &mut Context<'_>) -> Option<Publish> {
    let max_size = table.get(|publish| &publish.max_size);
    if table
        .get(|publish| &publish.enabled)
        .copied()
        .unwrap_or(false)
    {
        return Some(Publish {
            max_size: max_size.map_or(64 * 1024, |size| to_usize(size.0)),
        });
    }
    // `enabled = false` beside other keys is how something is switched off for a while; without it they are a mistake.
    let forgotten = table.value().filter(|publish| publish.enabled.is_absent());
    if let Some(key) = forgotten.and_then(|publish| publish.max_size.key()) {
        let finding = context.diagnostics.warning(key, "`publish` is not enabled");
        finding.hint("`enabled = true` lets clients send messages to the feed");
    }
    None
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

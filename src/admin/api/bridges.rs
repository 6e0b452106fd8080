//! `/api/bridges`: the channels of each bridge, their feeds and their logs.

use serde_json::{Value, json};

use crate::admin::State;
use crate::admin::answer::{Answer, json};
use crate::bridge::Bridge;
use crate::bridge::overview::{ChannelOverview, LogOverview};

/// Channels of one bridge that are shown.
const CHANNELS: usize = 1_000;

pub(super) fn bridges(state: &State) -> Answer {
    let snapshot = state.shown.shared.load();
    let all: Vec<_> = snapshot.bridges().map(|it| bridge_as_json(it)).collect();
    json(&json!({ "bridges": all }))
}

fn bridge_as_json(bridge: &Bridge) -> Value {
    let overview = bridge.overview(CHANNELS);
    let channels: Vec<_> = overview.channels.iter().map(channel_as_json).collect();
    json!({
        "name": &*bridge.config().name,
        "store": "memory",
        "subscribers": bridge.subscribers(),
        "channels_total": overview.total,
        "channels": channels,
    })
}

fn channel_as_json(channel: &ChannelOverview) -> Value {
    json!({
        "channel": &*channel.name,
        "state": channel.state,
        "cause": channel.cause,
        "since_seconds": channel.since.as_secs_f64(),
        "url": channel.url,
        "subscribers": channel.users,
        "log": log_as_json(&channel.log),
        "last_id": channel.last_id.map(|id| id.to_string()),
        "reconnects": channel.reconnects,
    })
}

fn log_as_json(log: &LogOverview) -> Value {
    json!({
        "messages": log.events,
        "bytes": log.bytes,
        "oldest_age_seconds": log.oldest.map(|age| age.as_secs_f64()),
    })
}

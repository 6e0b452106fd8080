//! `event`, `filter`, `key` and the like of a bridge.

use std::num::NonZeroUsize;

use crate::config::check::{Context, to_usize};
use crate::config::model::{Bridge, FilterRule, Mapping, OnGap, SlowPolicy, SnapshotCaps, Start};
use crate::config::schema::bridge;
use crate::config::schema::decode::Field;
use crate::config::schema::mapping;
use crate::config::schema::table::Table;

pub(super) fn check(table: &bridge::Bridge, context: &mut Context<'_>) -> Mapping {
    Mapping {
        name: table
            .event
            .get(|event| &event.name)
            .map(|name| name.0.clone()),
        data: table
            .event
            .get(|event| &event.data)
            .map(|pointer| pointer.0.clone()),
        envelope: table.envelope.value().copied().unwrap_or_default(),
        newline: table.newline.map_or(Default::default(), |word| word.0),
        binary: table.binary.map_or(Default::default(), |word| word.0),
        key: table.key.value().map(|pointer| pointer.0.clone()),
        filter: filter(&table.filter, context),
    }
}

fn filter(table: &Field<mapping::Filter>, context: &mut Context<'_>) -> Option<FilterRule> {
    let filter = table.value()?;
    let mut require = |name: &str, is_absent: bool| {
        if is_absent && !filter.has_unknown_key() {
            let message = format!("`filter` has no `{name}`");
            let finding = context.diagnostics.error(filter.place(), message);
            finding.hint("`filter = { query = \"symbol\", pointer = \"/symbol\" }`");
        }
    };
    require("query", filter.query.is_absent());
    require("pointer", filter.pointer.is_absent());
    Some(FilterRule {
        query: filter.query.value()?.0.clone(),
        pointer: filter.pointer.value()?.0.clone(),
    })
}

/// What is newest for each key, where anything asks for it; told where there are no keys.
pub(super) fn snapshot(
    table: &bridge::Bridge,
    bridge: &Bridge,
    context: &mut Context<'_>,
) -> Option<SnapshotCaps> {
    let users = [
        (
            table.start.key(),
            bridge.start == Start::Snapshot,
            "`start = \"snapshot\"`",
        ),
        (
            table.on_gap.key(),
            bridge.on_gap == OnGap::Snapshot,
            "`on_gap = \"snapshot\"`",
        ),
        (
            table.slow.value().and_then(|slow| slow.policy.key()),
            bridge.slow.policy == SlowPolicy::Conflate,
            "`policy = \"conflate\"`",
        ),
    ];
    let mut is_used = false;
    for (place, _, what) in users.iter().filter(|(_, uses, _)| *uses) {
        is_used = true;
        if let Some(place) = place.filter(|_| table.key.is_absent()) {
            let message = format!("{what} needs `key`: what is newest for each");
            let finding = context.diagnostics.error(place, message);
            finding.hint("`key = \"/symbol\"` says where the key is in a message");
        }
    }
    let caps = &table.snapshot;
    let keys = caps
        .get(|caps| &caps.keys)
        .map_or(10_000, |count| to_usize(count.0));
    is_used.then(|| SnapshotCaps {
        // The schema's bounds begin at 1.
        keys: NonZeroUsize::new(keys).unwrap_or(NonZeroUsize::MIN),
        bytes: caps
            .get(|caps| &caps.bytes)
            .map_or(16 * 1024 * 1024, |size| size.0),
    })
}

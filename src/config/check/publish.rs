//! `publish` and `close_map` of a `[bridge.NAME]`

use std::collections::BTreeMap;

use crate::config::check::{Context, seconds, to_usize};
use crate::config::model::{Mode, Publish, Reply, Verdict};
use crate::config::schema::decode::Field;
use crate::config::schema::publish;
use crate::config::schema::table::Table;

/// `publish`: on when it was enabled, in session mode unless it was disabled.
pub(crate) fn check(
    table: &Field<publish::Publish>,
    mode: Mode,
    context: &mut Context<'_>,
) -> Option<Publish> {
    let reply = table
        .get(|publish| &publish.reply)
        .and_then(|table| reply(table, context));
    let enabled = table.get(|publish| &publish.enabled).copied();
    if enabled.unwrap_or(mode == Mode::Session) {
        let max_size = table.get(|publish| &publish.max_size);
        let rate = table.get(|publish| &publish.rate);
        return Some(Publish {
            max_size: max_size.map_or(64 * 1024, |size| to_usize(size.0)),
            rate: rate.and_then(|rate| rate.0),
            reply,
        });
    }
    // `enabled = false` beside other keys is how something is switched off for a while; without it they are a mistake.
    let forgotten = table.value().filter(|publish| publish.enabled.is_absent());
    let key = forgotten.and_then(|publish| {
        let (max_size, rate) = (publish.max_size.key(), publish.rate.key());
        max_size.or(rate).or(publish.reply.key())
    });
    if let Some(key) = key {
        let finding = context.diagnostics.warning(key, "`publish` is not enabled");
        finding.hint("`enabled = true` lets clients send messages to the feed");
    }
    None
}

fn reply(table: &publish::Reply, context: &mut Context<'_>) -> Option<Reply> {
    let Some(pointer) = table.r#match.value() else {
        if table.r#match.is_absent() && !table.has_unknown_key() {
            let message = "`reply` has no `match`";
            let finding = context.diagnostics.error(table.place(), message);
            finding.hint("`match = \"/id\"`: where a message and its answer have the same value");
        }
        return None;
    };
    Some(Reply {
        pointer: pointer.0.as_str().into(),
        timeout: table.timeout.map_or(seconds(5), |time| time.0),
    })
}

/// `close_map`, to which 1000 belongs always.
pub(crate) fn close_map(
    table: &Field<publish::CloseMap>,
    mode: Mode,
    context: &mut Context<'_>,
) -> BTreeMap<u16, Verdict> {
    let mut map = BTreeMap::from([(1000, Verdict::Done)]);
    if let Some(key) = table.key().filter(|_| mode == Mode::Shared) {
        let message = "`close_map` means nothing in shared mode: the feed is connected to again";
        let finding = context.diagnostics.error(key, message);
        finding.hint("`mode = \"session\"` gives each client a connection of its own");
    }
    map.extend(
        table
            .value()
            .into_iter()
            .flat_map(|map| map.0.iter().copied()),
    );
    map
}

//! `publish` and `close_map` of a `[bridge.NAME]`

use std::collections::BTreeMap;

use crate::config::check::{Context, seconds, to_usize};
use crate::config::model::{FeedKind, Mode, PostUrl, Publish, Reply, Source, Verdict};
use crate::config::schema::decode::Field;
use crate::config::schema::table::Table;
use crate::config::schema::{bridge, publish};

/// `publish`: on when it was enabled, in session mode unless it was disabled.
pub(crate) fn check(
    bridge: &bridge::Bridge,
    source: &[Source],
    context: &mut Context<'_>,
) -> Option<Publish> {
    let table = &bridge.publish;
    let mode = bridge.mode.map_or(Mode::Shared, |mode| mode.0);
    let reply = table
        .get(|publish| &publish.reply)
        .and_then(|table| reply(table, context));
    let enabled = table.get(|publish| &publish.enabled).copied();
    // What cannot have a way is not there unless it is asked for.
    let has_way = takes_all(source) || table.value().is_some_and(|table| !table.url.is_absent());
    if enabled.unwrap_or(mode == Mode::Session && has_way) {
        let max_size = table.get(|publish| &publish.max_size);
        let rate = table.get(|publish| &publish.rate);
        return Some(Publish {
            url: url(bridge, source, context),
            max_size: max_size.map_or(64 * 1024, |size| to_usize(size.0)),
            rate: rate.and_then(|rate| rate.0),
            reply,
        });
    }
    // `enabled = false` beside other keys is how something is switched off for a while; without it they are a mistake.
    let forgotten = table.value().filter(|publish| publish.enabled.is_absent());
    let key = forgotten.and_then(|publish| {
        let (max_size, rate) = (publish.max_size.key(), publish.rate.key());
        let url = publish.url.key();
        url.or(max_size).or(rate).or(publish.reply.key())
    });
    if let Some(key) = key {
        let finding = context.diagnostics.warning(key, "`publish` is not enabled");
        finding.hint("`enabled = true` lets clients send messages to the feed");
    }
    None
}

/// Whether each of the sources takes messages on its own connection.
fn takes_all(source: &[Source]) -> bool {
    let is_websocket = |source: &Source| source.kind == FeedKind::WebSocket;
    source.iter().all(is_websocket)
}

/// A source of events takes no messages on its own connection, so another address has to; a WebSocket does.
fn url(bridge: &bridge::Bridge, source: &[Source], context: &mut Context<'_>) -> Option<PostUrl> {
    let needs_one = !takes_all(source);
    let publish = bridge.publish.value();
    let url = publish.map(|publish| &publish.url);
    if let Some(url) = url.and_then(Field::located) {
        if !needs_one && !source.is_empty() {
            let message =
                "`url` means nothing here: each `source` is a WebSocket, which messages go to";
            let finding = context.diagnostics.error(url.place, message);
            finding.hint("it is for a `source` that is `http://` or `https://`");
            return None;
        }
        return Some(PostUrl {
            server: url.value.server.clone(),
            path: url.value.path.clone(),
        });
    }
    // A key that is broken or misspelt has been told.
    let is_told = matches!(bridge.publish, Field::Broken)
        || publish.is_some_and(|publish| !publish.url.is_absent() || publish.has_unknown_key());
    if needs_one && !is_told {
        let place = bridge.publish.key().or(bridge.source.key());
        let message = "messages have no way to a `source` of server-sent events";
        let finding = context
            .diagnostics
            .error(place.unwrap_or(bridge.place()), message);
        finding.hint("`publish.url = \"https://…\"` says where they are posted to; `publish.enabled = false`: nothing can be sent");
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

//! The feed of a bridge: where it is, how it is opened, and who may share it.

use crate::config::check::server_tls::{self, Peers};
use crate::config::check::{Context, seconds, secret};
use crate::config::model::{Bridge, FeedConnect, Keepalive, Mode, Resume, Source};
use crate::config::schema::bridge;
use crate::config::schema::decode::Field;
use crate::config::schema::feed::{Connect, FeedUrl};
use crate::config::schema::opening;
use crate::config::schema::table::Table;
use crate::net::Scheme;
use crate::route::Template;
use crate::route::template::HEADER;
use crate::tls::client::ServerTls;

pub(super) fn sources(
    name: &str,
    table: &bridge::Bridge,
    context: &mut Context<'_>,
) -> Vec<Source> {
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
    let source = |url: &FeedUrl| Source {
        kind: url.kind,
        server: url.server.clone(),
        path: url.path.clone(),
    };
    list.value.0.iter().map(|url| source(&url.value)).collect()
}

pub(super) fn connect(table: &Field<Connect>, context: &mut Context<'_>) -> FeedConnect {
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
    let forward = table
        .get(|connect| &connect.forward)
        .into_iter()
        .flat_map(|list| &list.0);
    FeedConnect {
        headers: headers.unwrap_or_default(),
        subprotocols,
        send: send.map(|greeting| greeting.value.0.clone()).collect(),
        compression: table
            .get(|connect| &connect.compression)
            .copied()
            .unwrap_or(true),
        forward: forward.map(|field| field.value.0.clone()).collect(),
    }
}

/// Clients that share a connection get what it was opened with, so the key must have every name that opens it.
pub(super) fn share_key(
    table: &bridge::Bridge,
    source: &[Source],
    connect: &FeedConnect,
    resume: Option<&Resume>,
    context: &mut Context<'_>,
) -> Template {
    let opening = source
        .iter()
        .map(|source| &source.path)
        .chain(connect.send.iter().map(|greeting| &greeting.text))
        .chain(resume.map(|resume| &resume.send));
    let mut names: Vec<&str> = Vec::new();
    for name in opening.flat_map(Template::names) {
        if name != Resume::LAST && !names.contains(&name) {
            names.push(name);
        }
    }
    check_forward(table, context);
    let mode = table.mode.map_or(Mode::Shared, |mode| mode.0);
    let Some(key) = table.share_key.located() else {
        let forwarded: Vec<String> = match mode {
            Mode::Shared => Vec::new(),
            // A session is found again only with the fields that its feed was opened with: it is one user's.
            Mode::Session => connect.forward.iter().map(of_field).collect(),
        };
        return Template::of_names(
            names
                .into_iter()
                .chain(forwarded.iter().map(String::as_str)),
        );
    };
    let key_template = &key.value.0;
    for name in names {
        if !key_template.names().any(|known| known == name) {
            let message = format!(
                "`share_key` leaves out `{{{name}}}`, which a connection to the feed is opened with"
            );
            let hint = "clients with different values would get each other's messages";
            context.diagnostics.error(key.place, message).hint(hint);
        }
    }
    key_template.clone()
}

fn of_field(name: &http::HeaderName) -> String {
    format!("{HEADER}{name}")
}

/// One user's feed must never reach another: what is passed on of a client's request sets its connection apart.
fn check_forward(table: &bridge::Bridge, context: &mut Context<'_>) {
    let mode = table.mode.map_or(Mode::Shared, |mode| mode.0);
    // A session has all of them in its key, unless that is given.
    let is_whole = mode == Mode::Session && table.share_key.is_absent();
    if is_whole || matches!(table.share_key, Field::Broken) {
        return;
    }
    let forward = table.connect.get(|connect| &connect.forward);
    for field in forward.into_iter().flat_map(|list| &list.0) {
        let name = format!("{HEADER}{}", field.value.0);
        let is_shared = table
            .share_key
            .value()
            .is_some_and(|key| key.0.names().any(|known| known.eq_ignore_ascii_case(&name)));
        if !is_shared {
            let message = format!(
                "`forward` passes on `{}` of one client to a connection that others share",
                field.value.0
            );
            let hint = format!("`share_key = \"{{{name}}}\"` gives each its own");
            context.diagnostics.error(field.place, message).hint(hint);
        }
    }
}

/// A feed that is opened before anybody comes has no values to be opened with.
pub(super) fn check_eager(table: &bridge::Bridge, key: &Template, context: &mut Context<'_>) {
    let eager = table.idle.value().map(|idle| &idle.eager);
    let place = eager
        .filter(|eager| eager.value() == Some(&true))
        .and_then(Field::key);
    let mode = table.mode.map_or(Mode::Shared, |mode| mode.0);
    if let (Some(place), Mode::Session) = (place, mode) {
        let message = "`eager` means nothing in session mode: a feed is opened for its client";
        context.diagnostics.error(place, message);
        return;
    }
    if let (Some(place), Some(name)) = (place, key.names().next()) {
        let message =
            format!("`eager` is for a feed that is the same for all: `{{{name}}}` opens this one");
        context.diagnostics.error(place, message);
    }
}

pub(super) fn tls(
    table: &bridge::Bridge,
    bridge: &Bridge,
    context: &mut Context<'_>,
) -> Option<ServerTls> {
    let without = "`tls` has no effect: none of the sources is `wss://` or `https://`";
    let sources = bridge.source.iter().map(|source| &source.server);
    let publish = bridge.publish.as_ref();
    let url = publish.and_then(|publish| publish.url.as_ref());
    let peers = Peers {
        speak_tls: sources
            .chain(url.map(|url| &url.server))
            .any(|server| server.scheme == Scheme::Https),
        place: table.source.key().unwrap_or(table.place()),
        without: (!bridge.source.is_empty()).then_some(without),
    };
    server_tls::check(&table.tls, &peers, context)
}

pub(super) fn keepalive(
    table: &Field<opening::Keepalive>,
    context: &mut Context<'_>,
) -> Option<Keepalive> {
    let table = table.value()?;
    if table.text.is_absent() && !table.has_unknown_key() {
        let finding = context
            .diagnostics
            .error(table.place(), "`keepalive` has no `text`");
        finding.hint("`text = \"ping\"`");
    }
    Some(Keepalive {
        every: table.every.map_or(seconds(20), |time| time.0),
        text: table.text.value()?.0.value.clone(),
        drop: table.drop.value().map(|text| text.value.clone()),
    })
}

pub(super) fn resume(table: &Field<opening::Resume>, context: &mut Context<'_>) -> Option<Resume> {
    let table = table.value()?;
    let (pointer, send) = (table.pointer.is_absent(), table.send.is_absent());
    if pointer && send && !table.across_sources.is_absent() {
        return None;
    }
    if (pointer || send) && !table.has_unknown_key() {
        let message = "`resume` needs both `pointer` and `send`";
        context.diagnostics.error(table.place(), message);
    }
    let (pointer, send) = (table.pointer.value()?, table.send.located()?);
    if !send.value.0.0.names().any(|name| name == Resume::LAST) {
        let message = "`send` does not say where to go on";
        let finding = context.diagnostics.error(send.place, message);
        finding.hint("`{last}` is what the newest message said");
    }
    Some(Resume {
        pointer: pointer.0.clone(),
        send: send.value.0.0.clone(),
    })
}

/// `resume.across_sources`, which needs several to mean something.
pub(super) fn across_sources(table: &bridge::Bridge, context: &mut Context<'_>) -> bool {
    let resume = table.resume.value();
    let across = resume.map(|resume| &resume.across_sources);
    let is_one = table.source.value().is_some_and(|list| list.0.len() == 1);
    let key = across
        .filter(|across| across.value() == Some(&true))
        .and_then(Field::key);
    if let (Some(key), true) = (key, is_one) {
        let message = "`across_sources` has no effect: there is one `source`";
        context.diagnostics.warning(key, message);
    }
    across.and_then(Field::value).copied().unwrap_or(false)
}

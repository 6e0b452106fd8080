//! `[upstream.NAME]`

use std::num::NonZeroU64;
use std::sync::Arc;

use crate::config::check::server_tls::Peers;
use crate::config::check::{Context, balance, seconds, server_tls, to_usize};
use crate::config::model::{KeepAlive, Server, Upstream};
use crate::config::schema::decode::Located;
use crate::config::schema::table::Table;
use crate::config::schema::upstream;

pub(crate) fn check(
    name: Arc<str>,
    table: &upstream::Upstream,
    context: &mut Context<'_>,
) -> Upstream {
    let balance = balance::balance(&name, table, context);
    let servers = servers(&name, table, context);
    Upstream {
        tls: server_tls::check(&table.tls, &Peers::of_upstream(table, &servers), context),
        proxy_protocol: table.proxy_protocol.map_or(None, |word| word.0.0),
        keep_alive: keep_alive(table.keep_alive.value()),
        servers,
        connect_timeout: table.connect_timeout.map_or(seconds(3), |time| time.0),
        // Bounded by the schema to ten.
        retries: table
            .retries
            .map_or(1, |count| u32::try_from(count.0).unwrap_or(u32::MAX)),
        balance,
        max_wait: table
            .max_wait
            .map_or(seconds(1), |time| time.0.unwrap_or_default()),
        max_waiting: table.max_waiting.map_or(1000, |count| to_usize(count.0)),
        health: balance::health(&table.health, context),
        passive: balance::passive(&table.passive),
        slow_start: table.slow_start.value().and_then(|time| time.0),
        name,
    }
}

fn keep_alive(table: Option<&upstream::KeepAlive>) -> KeepAlive {
    let default = KeepAlive::default();
    let Some(table) = table else {
        return default;
    };
    KeepAlive {
        idle: table.idle.map_or(default.idle, |idle| idle.0),
        connections: table
            .connections
            .map_or(default.connections, |count| to_usize(count.0)),
        max_age: table.max_age.map_or(default.max_age, |age| age.0),
        requests: table
            .requests
            .map_or(default.requests, |count| NonZeroU64::new(count.0)),
    }
}

fn servers(name: &str, table: &upstream::Upstream, context: &mut Context<'_>) -> Vec<Server> {
    let Some(list) = table.servers.located() else {
        if table.servers.is_absent() && !table.has_unknown_key() {
            let message = format!("`[upstream.{name}]` has no `servers`");
            let finding = context.diagnostics.error(table.place(), message);
            finding.hint("`servers = [\"http://127.0.0.1:3000\"]`");
        }
        return Vec::new();
    };
    if list.value.0.is_empty() {
        context
            .diagnostics
            .error(list.place, "`servers` is empty: at least one is needed");
    }
    let mut servers: Vec<Server> = Vec::new();
    for Located { value: server, .. } in &list.value.0 {
        let (addr, place) = (&server.url.value.0, server.url.place);
        // Bounded by the schema to a thousand.
        let weight = u32::try_from(server.weight).unwrap_or(u32::MAX);
        if let Some(earlier) = servers.iter_mut().find(|earlier| earlier.addr == *addr) {
            let message = format!(
                "`{}` is the same server as an earlier one",
                context.typed(place)
            );
            context
                .diagnostics
                .warning(place, message)
                .hint("`weight` gives a server more requests");
            earlier.weight = earlier.weight.saturating_add(weight);
            continue;
        }
        servers.push(Server {
            addr: addr.clone(),
            weight,
            max_connections: to_usize(server.max_connections),
        });
    }
    servers
}

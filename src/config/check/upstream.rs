//! `[upstream.NAME]`

use std::sync::Arc;

use crate::config::check::{Context, seconds};
use crate::config::model::Upstream;
use crate::config::schema::table::Table;
use crate::config::schema::upstream;
use crate::net::Authority;

pub(crate) fn check(
    name: Arc<str>,
    table: &upstream::Upstream,
    context: &mut Context<'_>,
) -> Upstream {
    Upstream {
        servers: servers(&name, table, context),
        connect_timeout: table.connect_timeout.map_or(seconds(3), |time| time.0),
        // Bounded by the schema to ten.
        retries: table
            .retries
            .map_or(1, |count| u32::try_from(count.0).unwrap_or(u32::MAX)),
        name,
    }
}

fn servers(name: &str, table: &upstream::Upstream, context: &mut Context<'_>) -> Vec<Authority> {
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
    let mut servers: Vec<Authority> = Vec::new();
    for server in &list.value.0 {
        if servers.contains(&server.value.0) {
            let message = format!(
                "`{}` is the same server as an earlier one",
                context.typed(server.place)
            );
            context.diagnostics.warning(server.place, message);
        }
        servers.push(server.value.0.clone());
    }
    servers
}

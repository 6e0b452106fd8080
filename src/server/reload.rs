//! A reload: everything is read, checked and built first, then one `Arc` is swapped. What is wrong changes nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::{Origin, Server};
use crate::bridge::log::Budget;
use crate::config::{self, model::Config};
use crate::lifecycle::systemd;
use crate::observe::metrics::Reload;
use crate::respond;
use crate::snapshot::Snapshot;

impl Server {
    /// Puts what the configuration says now in force, or says why not.
    pub(super) fn reload(&mut self) {
        if self.restart.is_under_way() {
            tracing::error!("reload refused: a restart is under way");
            return;
        }
        let Origin::File(path) = &self.origin else {
            tracing::warn!("reload refused: the configuration was made in memory");
            return;
        };
        systemd::reloading();
        let outcome = match self.try_reload(&path.clone()) {
            Ok(changes) => {
                tracing::info!(changes = changes.join(", "), "reloaded");
                if changes.is_empty() {
                    Reload::Unchanged
                } else {
                    Reload::Done
                }
            }
            Err(cause) => {
                tracing::error!(cause, "reload refused");
                Reload::Refused
            }
        };
        self.metrics.reloaded(outcome);
        systemd::ready("serving");
    }

    fn try_reload(&mut self, path: &Path) -> Result<Vec<String>, String> {
        let config =
            config::load(path, &config::ProcessEnv).map_err(|mistakes| mistakes.to_string())?;
        let before = self.shared.load_full();
        let changes = changes(&before.config, &config);
        if changes.is_empty() {
            return Ok(changes);
        }
        let fresh = self
            .listeners
            .bind_fresh(
                &config.listeners,
                before.config.server.workers.get(),
                &self.inherited,
            )
            .map_err(|error| respond::chain(&error))?;
        let fresh_admin = self
            .admin
            .bind(&config.admin, &self.inherited)
            .map_err(|error| respond::chain(&error))?;
        if config.server.workers != before.config.server.workers {
            tracing::warn!("`server.workers` changes with the next start");
        }
        let (log, admin, listeners, connections) = (
            config.log,
            config.admin.clone(),
            config.listeners.clone(),
            config.limits.connections,
        );
        let snapshot = Snapshot::build(config, Some(&before), &self.tickets)
            .map_err(|error| respond::chain(&error))?;
        let dns = Arc::new(snapshot.config.dns.clone());
        // Nothing below can fail.
        self.shared.store(Arc::new(snapshot));
        self.checks.follow(self.shared.load().upstreams());
        self.listeners.replace(&listeners, fresh, &mut self.workers);
        self.admin.replace(&admin, fresh_admin);
        // Also where they are the same: what the system says may have changed.
        self.workers.resolve_by(&dns);
        Budget::process().set_limit(self.shared.load().config.limits.bridge_memory);
        self.permits.resize(connections);
        self.log.apply(&log);
        Ok(changes)
    }
}

/// What differs, by name. Empty: nothing does.
fn changes(before: &Config, after: &Config) -> Vec<String> {
    let mut changes = Vec::new();
    let mut setting = |name: &str, equal: bool| {
        if !equal {
            changes.push(format!("{name} changed"));
        }
    };
    setting("server", before.server == after.server);
    setting("listen", before.listeners == after.listeners);
    setting("tls", before.tls == after.tls);
    setting("trust", before.trust == after.trust);
    setting("dns", before.dns == after.dns);
    setting("limits", before.limits == after.limits);
    setting("errors", before.errors == after.errors);
    setting("log", before.log == after.log);
    setting("admin", before.admin == after.admin);
    named(
        &mut changes,
        "upstream",
        &before.upstreams,
        &after.upstreams,
    );
    named(&mut changes, "bridge", &before.bridges, &after.bridges);
    let routes = |config: &Config| {
        config
            .routes
            .iter()
            .map(|route| (route.key(), route.clone()))
            .collect()
    };
    let (old, new): (BTreeMap<Arc<str>, _>, BTreeMap<Arc<str>, _>) =
        (routes(before), routes(after));
    named(&mut changes, "route", &old, &new);
    changes
}

fn named<T: PartialEq>(
    changes: &mut Vec<String>,
    kind: &str,
    before: &BTreeMap<Arc<str>, T>,
    after: &BTreeMap<Arc<str>, T>,
) {
    for (name, new) in after {
        match before.get(name) {
            None => changes.push(format!("{kind} {name} added")),
            Some(old) if old != new => changes.push(format!("{kind} {name} changed")),
            Some(_same) => {}
        }
    }
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    changes.extend(gone.map(|name| format!("{kind} {name} removed")));
}

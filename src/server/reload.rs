//! A reload: everything is read, checked and built first, then one `Arc` is swapped. What is wrong changes nothing.
//!
//! All reloads run here, on the process's own thread and so one after another, whoever wants them; what comes while one runs
//! is one more afterwards.

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;
use serde_json::{Value, json};

use super::plan::Plan;
use super::{Origin, Server};
use crate::admin::control::Told;
use crate::admin::{self, AdminError};
use crate::bridge::log::Budget;
use crate::config::model::Config;
use crate::config::{self, Diagnostics};
use crate::lifecycle::systemd;
use crate::listen::BindError;
use crate::observe::metrics::Reload;
use crate::observe::trace;
use crate::respond;
use crate::server::listeners;
use crate::snapshot::{BuildError, Snapshot};

/// Why the configuration stays as it is.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The process was not started from a file.
    #[error("the configuration was made in memory")]
    InMemory,
    /// Another process is about to follow, with the configuration as it was when it began.
    #[error("a restart is under way")]
    Restarting,
    /// It has mistakes.
    #[error("{0}")]
    Mistakes(Diagnostics),
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin listener cannot be had.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// It cannot be put in force.
    #[error(transparent)]
    Build(#[from] BuildError),
}

/// How a reload went.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The new configuration is in force.
    Done(Plan),
    /// It means the same as the one in force.
    Unchanged,
    /// This is what a reload would change.
    Planned(Plan),
    /// Nothing has changed.
    Refused(Refusal),
}

/// A configuration that is checked, with all that it needs, and what it would change.
struct Built {
    plan: Plan,
    snapshot: Snapshot,
    listeners: listeners::Fresh,
    admin: admin::Fresh,
}

impl Refusal {
    /// Whether the configuration itself is to blame, and not the machine.
    fn is_mistake(&self) -> bool {
        matches!(self, Self::Mistakes(_) | Self::Build(_))
    }

    /// Whether a certificate and its key do not fit, and nothing else is wrong.
    pub(super) fn is_half_a_pair(&self) -> bool {
        matches!(self, Self::Mistakes(mistakes) if mistakes.is_half_a_pair())
    }
}

impl Outcome {
    /// What the operator is told.
    pub(super) fn told(&self) -> Told {
        let (status, json) = match self {
            Self::Done(plan) => (StatusCode::OK, changes("done", plan)),
            Self::Planned(plan) => (StatusCode::OK, changes("planned", plan)),
            Self::Unchanged => (StatusCode::OK, json!({"outcome": "unchanged"})),
            Self::Refused(refusal) => {
                let (status, because) = if refusal.is_mistake() {
                    (StatusCode::UNPROCESSABLE_ENTITY, "configuration")
                } else {
                    (StatusCode::CONFLICT, "system")
                };
                let error = respond::chain(refusal);
                let json = json!({"outcome": "refused", "because": because, "error": error});
                (status, json)
            }
        };
        Told {
            status,
            json: line(json),
        }
    }

    fn counted(&self) -> Reload {
        match self {
            Self::Done(_) => Reload::Done,
            Self::Unchanged | Self::Planned(_) => Reload::Unchanged,
            Self::Refused(_) => Reload::Refused,
        }
    }
}

fn changes(outcome: &str, plan: &Plan) -> Value {
    json!({"outcome": outcome, "changes": plan.json()})
}

/// With the time, in seconds since 1970.
fn line(mut json: Value) -> bytes::Bytes {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    json["at"] = now.unwrap_or_default().as_secs().into();
    format!("{json}\n").into()
}

impl Server {
    /// Puts what the configuration says now in force, or says why not, at somebody's request.
    pub(super) fn reload(&mut self) -> Outcome {
        systemd::reloading();
        self.watch.try_again();
        let outcome = self.try_reload();
        match &outcome {
            Outcome::Done(plan) => tracing::info!(changes = plan.line(), "reloaded"),
            Outcome::Unchanged | Outcome::Planned(_) => {
                // What the system says, in `/etc/resolv.conf`, may have changed all the same.
                let dns = self.shared.load().config.dns.clone();
                self.workers.resolve_by(&Arc::new(dns));
                // A level that was set for a while ends with a reload, whatever it changes.
                self.log.apply(&self.shared.load().config.log);
                tracing::info!("reload: unchanged");
            }
            Outcome::Refused(refusal) => {
                tracing::error!(cause = respond::chain(refusal), "reload refused");
            }
        }
        match &outcome {
            Outcome::Refused(refusal) => self.watch.refused(respond::chain(refusal)),
            Outcome::Done(_) | Outcome::Unchanged | Outcome::Planned(_) => {
                self.watch.mended();
            }
        }
        self.reloaded(&outcome);
        systemd::ready("serving");
        outcome
    }

    /// Counts a reload, and keeps how it went for whoever asks.
    pub(super) fn reloaded(&mut self, outcome: &Outcome) {
        self.metrics.reloaded(outcome.counted());
        self.admin.reloaded(outcome.told().json);
    }

    /// What a reload would change now. Nothing does.
    pub(super) fn plan(&mut self) -> Outcome {
        match self.build() {
            Ok(Some(built)) => Outcome::Planned(built.plan),
            Ok(None) => Outcome::Unchanged,
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// A reload without a word about it.
    pub(super) fn try_reload(&mut self) -> Outcome {
        match self.build() {
            Ok(Some(built)) => Outcome::Done(self.swap(built)),
            Ok(None) => Outcome::Unchanged,
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    /// Reads, checks and builds; `None`: it means the same as what is in force.
    fn build(&mut self) -> Result<Option<Built>, Refusal> {
        let config = self.read()?;
        let before = self.shared.load_full();
        let plan = Plan::of(&before, &config);
        if plan.is_empty() {
            return Ok(None);
        }
        let workers = before.config.server.workers.get();
        let listeners = self
            .listeners
            .bind_fresh(&config.listeners, workers, &self.inherited)?;
        let admin = self.admin.bind(&config.admin, &self.inherited)?;
        let snapshot = Snapshot::build(config, Some(&before), &self.tickets)?;
        Ok(Some(Built {
            plan,
            snapshot,
            listeners,
            admin,
        }))
    }

    fn read(&mut self) -> Result<Config, Refusal> {
        let Origin::File(path) = &self.origin else {
            return Err(Refusal::InMemory);
        };
        if self.restart.is_under_way() {
            return Err(Refusal::Restarting);
        }
        let config::Outcome { config, places } = read(path);
        self.watch.look_at(places);
        config.map_err(Refusal::Mistakes)
    }

    /// Puts a new configuration in force. Nothing in here can fail.
    fn swap(&mut self, built: Built) -> Plan {
        let Built {
            plan,
            snapshot,
            listeners,
            admin,
        } = built;
        let before = self.shared.swap(Arc::new(snapshot));
        let now = self.shared.load_full();
        before.superseded_by(&now);
        let config = &now.config;
        self.checks.follow(now.upstreams());
        self.keyrings.follow(now.auths());
        self.listeners
            .replace(&config.listeners, listeners, &mut self.workers);
        self.admin.replace(&config.admin, admin);
        self.watch.set(config.server.watch);
        // Also where they are the same: what the system says may have changed.
        self.workers.resolve_by(&Arc::new(config.dns.clone()));
        Budget::process().set_limit(config.limits.bridge_memory);
        self.permits.resize(config.limits.connections);
        self.permits.limit_each(config.limits.connections_per_ip);
        self.log.apply(&config.log);
        trace::apply(config.trace.as_ref());
        plan
    }
}

fn read(path: &Path) -> config::Outcome {
    config::read(path, &config::ProcessEnv)
}

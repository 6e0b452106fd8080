//! The process: build, serve, reload, restart, drain.

mod control;
mod drain;
mod expiry;
mod listeners;
mod plan;
mod reload;
mod restart;
mod state;
mod watch;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::task::LocalSet;

use crate::admin::control::Asks;
use crate::admin::{Admin, AdminError, Shown};
use crate::bridge::log::Budget;
use crate::config::Places;
use crate::config::model::Config;
use crate::guard::auth::Keyrings;
use crate::lifecycle::handover::{HandoverError, Predecessor};
use crate::lifecycle::signal::Signals;
use crate::lifecycle::systemd;
use crate::lifecycle::watchdog::Watchdog;
use crate::limits::Permits;
use crate::listen::{BindError, Inherited};
use crate::observe::log::LogHandle;
use crate::observe::metrics::Metrics;
use crate::observe::trace;
use crate::snapshot::{BuildError, Snapshot};
use crate::tls::accept::Tickets;
use crate::upstream::health::Checks;
use expiry::Expiry;
use listeners::Listeners;
use restart::Restart;
use watch::Watch;
use worker::Workers;

/// Why the process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin listener cannot be had.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The configuration cannot be put in force.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
    /// The process that runs already does not hand over.
    #[error("nothing was taken over")]
    Handover(#[from] HandoverError),
    /// A thread, a runtime, a signal.
    #[error("the system refuses")]
    System(#[from] std::io::Error),
}

/// Where a reload reads the configuration from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A file, with what it includes.
    File(PathBuf),
    /// It was made in memory: there is nothing to reload.
    Memory,
}

/// The process while it serves. Everything that a reload changes hangs on it.
struct Server {
    shared: Arc<ArcSwap<Snapshot>>,
    tickets: Tickets,
    permits: Permits,
    inherited: Inherited,
    listeners: Listeners,
    workers: Workers,
    checks: Checks,
    keyrings: Keyrings,
    metrics: Arc<Metrics>,
    admin: Admin,
    asks: Asks,
    watch: Watch,
    log: LogHandle,
    origin: Origin,
    restart: Restart,
    watchdog: Watchdog,
    expiry: Expiry,
}

/// Serves `config` until the process is told to stop and has drained. `ready` is called once it listens.
///
/// # Errors
/// [`StartError`]; nothing was served then.
pub fn run(
    config: Config,
    origin: Origin,
    log: LogHandle,
    ready: impl FnOnce(),
) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // Health checks, and keys that are fetched, are this thread's own tasks.
    LocalSet::new().block_on(&runtime, async {
        let mut signals = Signals::new()?;
        let mut server = Server::start(config, origin, log)?;
        ready();
        let cause = server.serve(&mut signals).await;
        server.drain(&mut signals, cause).await;
        Ok(())
    })
}

impl Server {
    fn start(config: Config, origin: Origin, log: LogHandle) -> Result<Self, StartError> {
        let tickets = Tickets::new()?;
        let restart = Restart::new();
        let (mut predecessor, mut inherited) = match Predecessor::greet()? {
            Some((predecessor, sockets)) => {
                (Some(predecessor), Inherited::from_predecessor(sockets))
            }
            None => (None, Inherited::take()?),
        };
        let permits = Permits::new(config.limits.connections);
        permits.limit_each(config.limits.connections_per_ip);
        let count = config.server.workers.get();
        let (wanted, wanted_admin) = (config.listeners.clone(), config.admin.clone());
        let places = Places {
            files: config.files.clone(),
            directories: config.directories.clone(),
        };
        let mut watch = Watch::new(config.server.watch);
        if let Origin::File(_) = origin {
            watch.look_at(places);
        }
        Budget::process().set_limit(config.limits.bridge_memory);
        trace::apply(config.trace.as_ref());
        let snapshot = Snapshot::build(config, None, &tickets)?;
        let listeners = Listeners::bind(&wanted, count, &inherited)?;
        let shared = Arc::new(ArcSwap::from_pointee(snapshot));
        let metrics = Arc::new(Metrics::new());
        let (mut admin, asks) = Admin::new(Shown {
            shared: shared.clone(),
            permits: permits.clone(),
            dropped: log.dropped(),
            verbosity: log.verbosity(),
            metrics: metrics.clone(),
        });
        if predecessor.is_some() {
            admin = admin.taking_over();
        }
        let fresh = admin.bind(&wanted_admin, &inherited)?;
        inherited.settle();
        // Bound, so that nobody else serves here, and nothing accepted yet. The workers open feeds: not before.
        match &mut predecessor {
            Some(predecessor) => {
                predecessor.built(|from| state::take_over(&shared.load(), from))?
            }
            None => state::take_up(&shared.load()),
        }
        let (watchdog, pulses) = Watchdog::new(systemd::watchdog(), count);
        let mut workers = Workers::start(pulses, &shared, &permits, &metrics)?;
        admin.reaches(workers.crew());
        listeners.announce(&mut workers);
        let mut checks = Checks::default();
        checks.follow(shared.load().upstreams());
        let mut keyrings = Keyrings::default();
        keyrings.follow(shared.load().auths());
        if let Some(predecessor) = predecessor {
            predecessor.ready()?;
            state::thaw(&shared.load());
        }
        // Not before the process before this one has stepped back: until then the admin socket is its own.
        admin.replace(&wanted_admin, fresh);
        tracing::info!(workers = count, "ready");
        systemd::ready("serving");
        Ok(Self {
            shared,
            tickets,
            permits,
            inherited,
            listeners,
            workers,
            checks,
            keyrings,
            metrics,
            admin,
            asks,
            watch,
            log,
            origin,
            restart,
            watchdog,
            expiry: Expiry::new(),
        })
    }
}

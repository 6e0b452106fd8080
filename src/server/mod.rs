//! The process: build, serve, reload, drain.

mod control;
mod listeners;
mod plan;
mod reload;
mod watch;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::admin::control::Asks;
use crate::admin::{Admin, AdminError, Shown};
use crate::bridge::log::Budget;
use crate::config::Places;
use crate::config::model::Config;
use crate::lifecycle::signal::{Request, Signals};
use crate::lifecycle::systemd;
use crate::limits::Permits;
use crate::listen::{BindError, Inherited};
use crate::observe::log::LogHandle;
use crate::observe::metrics::Metrics;
use crate::snapshot::{BuildError, Snapshot};
use crate::tls::accept::Tickets;
use crate::upstream::health::Checks;
use control::Event;
use listeners::Listeners;
use watch::Watch;
use worker::Workers;

/// How often a drain says how far it is.
const DRAIN_REPORT: Duration = Duration::from_secs(5);

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
    metrics: Arc<Metrics>,
    admin: Admin,
    asks: Asks,
    watch: Watch,
    log: LogHandle,
    origin: Origin,
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
    // Health checks are this thread's own tasks.
    LocalSet::new().block_on(&runtime, async {
        let mut signals = Signals::new()?;
        let mut server = Server::start(config, origin, log)?;
        ready();
        loop {
            match server.next(&mut signals).await {
                Event::Signal(Request::Reload) => drop(server.reload()),
                Event::Signal(Request::Stop) => break,
                Event::Files => server.files_changed(),
                Event::Asked(ask) => server.asked(ask),
            }
        }
        server.drain(&mut signals).await;
        Ok(())
    })
}

impl Server {
    fn start(config: Config, origin: Origin, log: LogHandle) -> Result<Self, StartError> {
        let tickets = Tickets::new()?;
        let inherited = Inherited::take()?;
        let permits = Permits::new(config.limits.connections);
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
        let snapshot = Snapshot::build(config, None, &tickets)?;
        let listeners = Listeners::bind(&wanted, count, &inherited)?;
        let shared = Arc::new(ArcSwap::from_pointee(snapshot));
        let metrics = Arc::new(Metrics::new());
        let (mut admin, asks) = Admin::new(Shown {
            shared: shared.clone(),
            permits: permits.clone(),
            dropped: log.dropped(),
            metrics: metrics.clone(),
        });
        let fresh = admin.bind(&wanted_admin, &inherited)?;
        let mut workers = Workers::start(count, &shared, &permits, &metrics)?;
        listeners.announce(&mut workers);
        admin.replace(&wanted_admin, fresh);
        let mut checks = Checks::default();
        checks.follow(shared.load().upstreams());
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
            metrics,
            admin,
            asks,
            watch,
            log,
            origin,
        })
    }

    async fn drain(self, signals: &mut Signals) {
        let limit = self.shared.load().config.server.drain_timeout;
        let deadline = Instant::now() + limit;
        tracing::info!(?limit, connections = self.permits.in_use(), "draining");
        systemd::stopping("draining");
        self.admin.draining();
        // Our own hold on the listening sockets: with the workers' gone too, nobody new is queued.
        drop((self.listeners, self.inherited));
        // Who is healthy matters to nobody any more.
        drop(self.checks);
        let mut workers = self.workers;
        workers.drain(deadline);
        let left = loop {
            tokio::select! {
                left = workers.ended() => break left,
                Request::Stop = signals.next() => {
                    tracing::warn!(connections = self.permits.in_use(), "stopped at once by a second signal");
                    return;
                }
                () = tokio::time::sleep(DRAIN_REPORT) => report(self.permits.in_use()),
            }
        };
        self.admin.end();
        let tasks = left.tasks + worker::tail().await;
        let (connections, log_lines_dropped) = (self.permits.in_use(), self.log.dropped().count());
        tracing::info!(
            connections,
            tasks,
            cut = left.cut,
            log_lines_dropped,
            "stopped"
        );
    }
}

fn report(live: usize) {
    tracing::info!(connections = live, "still draining");
    systemd::status(&format!("draining, {live} connections left"));
}

//! The end: nothing new, what is under way finishes, and it is said how far that is.

use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{Instant, MissedTickBehavior};

use super::worker::{self, Workers};
use super::{Server, state};
use crate::lifecycle::drain::{Cause, Order};
use crate::lifecycle::signal::{Request, Signals};
use crate::lifecycle::systemd;
use crate::limits::Permits;
use crate::observe::access::Kind;
use crate::observe::trace;
use crate::snapshot::Snapshot;

/// How often a drain says how far it is.
const REPORT: Duration = Duration::from_secs(5);

/// How much longer than the drain systemd is to wait: for the workers' last tasks, on a machine that may be busy.
const SLACK: Duration = Duration::from_secs(10);

/// How long the last spans get to reach their collector.
const LAST_SPANS: Duration = Duration::from_secs(5);

impl Server {
    /// Drains, and returns when nothing is left or a second signal says so.
    pub(super) async fn drain(mut self, signals: &mut Signals, cause: Cause) {
        self.abandon_restart().await;
        let order = Order {
            cause,
            begun: Instant::now(),
            times: self.shared.load().config.server.drain,
        };
        let deadline = order.deadline();
        let limit = deadline - order.begun;
        let connections = self.permits.in_use();
        tracing::info!(?limit, ?cause, connections, "draining");
        systemd::stopping("draining", limit + SLACK);
        if cause == Cause::Restart {
            self.admin.step_back();
        }
        self.admin.draining();
        // Our own hold on the listening sockets: with the workers' gone too, nobody new is queued.
        drop((self.listeners, self.inherited));
        // Whoever asks for a reload is told at once that it is too late.
        drop(self.asks);
        // Who is healthy matters to nobody any more.
        drop(self.checks);
        drop(self.keyrings);
        let mut workers = self.workers;
        workers.drain(order);
        let mut reports = tokio::time::interval_at(order.begun + REPORT, REPORT);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stops = Stops::after(cause);
        let left = loop {
            tokio::select! {
                left = workers.ended() => break left,
                request = signals.next() => if stops.cut_at(request) {
                    keep(&self.shared, cause).await;
                    tracing::warn!(connections = self.permits.in_use(), "stopped at once by a second signal");
                    return;
                },
                _now = reports.tick() => report(&workers, &self.permits, deadline),
                () = self.watchdog.due() => self.watchdog.look_and_tell(),
            }
        };
        self.admin.end();
        let tasks = left.tasks + worker::tail().await;
        keep(&self.shared, cause).await;
        trace::end(LAST_SPANS).await;
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

/// How often the process may still be told to stop before it waits no more.
struct Stops(u32);

impl Stops {
    /// A stop begins with a signal, and one more ends it. A restart does not: if the service is stopped while this process still
    /// drains for the one that follows it, systemd tells both of them, and this one again when the other has ended. Neither is
    /// somebody's impatience.
    const fn after(cause: Cause) -> Self {
        match cause {
            Cause::Stop => Self(0),
            Cause::Restart => Self(2),
        }
    }

    /// Whether it is not to wait any more.
    fn cut_at(&mut self, request: Request) -> bool {
        if request != Request::Stop {
            tracing::warn!(?request, "ignored: this process drains");
            return false;
        }
        let Some(left) = self.0.checked_sub(1) else {
            return true;
        };
        self.0 = left;
        tracing::info!("told to stop: the drain goes on");
        false
    }
}

/// Leaves the bridges' logs for the next process, unless it has them already: two that go on from the same log would give
/// the same id to two events.
async fn keep(shared: &ArcSwap<Snapshot>, cause: Cause) {
    if cause == Cause::Stop {
        state::keep(&shared.load()).await;
    }
}

fn report(workers: &Workers, permits: &Permits, deadline: Instant) {
    let (census, connections) = (workers.census(), permits.in_use());
    let [tunnels, event_streams, subscriptions] = Kind::ALL.map(|kind| census.of(kind));
    let routes = census.routes().to_string();
    tracing::info!(
        connections,
        tunnels,
        event_streams,
        subscriptions,
        routes,
        "still draining"
    );
    let status = format!(
        "draining: {connections} connections, {tunnels} tunnels, {event_streams} event streams, {subscriptions} subscriptions; {routes}"
    );
    let left = deadline.saturating_duration_since(Instant::now());
    systemd::draining(&status, left + SLACK);
}

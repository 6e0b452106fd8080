//! Active health checks: each server of an upstream with `health` is asked how it is.
//!
//! The checks run once in the process, on the thread that also reloads. A server keeps its check, and what was found so
//! far, through every reload that changes neither of them.

mod probe;
mod rounds;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{Endpoint, EndpointId, Upstream};
use crate::config::model::{self, Health};
use crate::lifecycle::tasks;
use rounds::{Change, Rounds};

/// The checks that run.
#[derive(Debug, Default)]
pub struct Checks(HashMap<EndpointId, Check>);

#[derive(Debug)]
struct Check {
    rule: Health,
    /// Ends with this.
    _task: AbortOnDropHandle<()>,
}

impl Checks {
    /// Starts and stops checks until they are those of `upstreams`, which are all that are in force.
    ///
    /// # Panics
    /// Outside of a `LocalSet`, as [`tasks::spawn`].
    pub fn follow<'a>(&mut self, upstreams: impl Iterator<Item = &'a Arc<Upstream>>) {
        let mut before = std::mem::take(&mut self.0);
        for upstream in upstreams {
            let config = upstream.config();
            for endpoint in upstream.endpoints() {
                let Some(rule) = &config.health else {
                    // Nobody would ever find it up again.
                    endpoint.standing.rise(Instant::now());
                    endpoint.tell_waiting();
                    continue;
                };
                let kept = before.remove(&endpoint.id());
                let check = kept.filter(|check| check.rule == *rule).unwrap_or_else(|| {
                    let run = run(config.clone(), endpoint.clone(), rule.clone());
                    Check {
                        rule: rule.clone(),
                        _task: AbortOnDropHandle::new(tasks::spawn(run)),
                    }
                });
                self.0.insert(endpoint.id(), check);
            }
        }
    }
}

/// Checks one server for ever.
async fn run(config: Arc<model::Upstream>, endpoint: Arc<Endpoint>, rule: Health) {
    let mut rounds = Rounds::of(endpoint.is_up());
    let (upstream, server) = (&config.name, endpoint.addr());
    loop {
        let outcome = probe::probe(server, &config, &rule).await;
        let cause = outcome.as_ref().err().map(ToString::to_string);
        let change = rounds.on(outcome.is_ok(), &rule);
        let now = Instant::now();
        if change.is_some() || endpoint.standing.checked(now).is_none() {
            let is_down = change == Some(Change::Fell);
            let told = cause.as_deref().filter(|_cause| is_down);
            endpoint.standing.note(now, told);
        }
        match change {
            Some(Change::Fell) => {
                tracing::warn!(%upstream, %server, cause, "server is down");
                endpoint.standing.fall();
            }
            Some(Change::Rose) => {
                tracing::info!(%upstream, %server, "server is up");
                endpoint.standing.rise(Instant::now());
                endpoint.tell_waiting();
            }
            None if cause.is_some() => {
                tracing::debug!(%upstream, %server, cause, "a health check failed");
            }
            None => {}
        }
        tokio::time::sleep(jittered(rule.interval)).await;
    }
}

/// ±10 %, so that the checks of many servers, and of many nodes, do not fall together.
fn jittered(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fastrand::f64())
}

//! `/api/status`: the process at one glance.

use serde_json::{Value, json};

use super::access::Access;
use super::live::{classes, kinds, word};
use super::moment::rfc3339;
use crate::admin::State;
use crate::admin::answer::{Answer, json};

pub(super) fn status(access: Access, state: &State) -> Answer {
    let snapshot = state.shown.shared.load();
    let totals = state.shown.metrics.totals();
    let (began, started) = state.began;
    json(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "started": rfc3339(started),
        "uptime_seconds": began.elapsed().as_secs_f64(),
        "state": word(state.draining.get()),
        "config": snapshot.config.files.first().map(|file| file.display().to_string()),
        "workers": state.crew.borrow().len(),
        "connections": state.shown.permits.in_use(),
        "connections_limit": snapshot.config.limits.connections,
        "streams": kinds(&totals),
        "requests": totals.requests,
        "requests_by_class": classes(&totals),
        "may_change": access == Access::Change,
        "log_level": state.shown.verbosity.word(),
        "reload": last_reload(state),
    }))
}

fn last_reload(state: &State) -> Option<Value> {
    let last = state.last.borrow();
    serde_json::from_slice(last.as_deref()?).ok()
}

//! `/api/routes`: what is configured, and how much of it is used.
//!
//! Requests are counted by a route's name. Routes that differ in their methods only have the same one, and the same counts.

use serde_json::{Value, json};

use super::live::classes;
use crate::admin::State;
use crate::admin::answer::{Answer, json};
use crate::config::model::{Route, RouteAction};
use crate::observe::metrics::Metrics;

pub(super) fn routes(state: &State) -> Answer {
    let snapshot = state.shown.shared.load();
    let metrics = &state.shown.metrics;
    let routes = snapshot.config.routes.iter();
    let all: Vec<_> = routes
        .map(|route| {
            let streams = snapshot.streams_of(&route.key()).live();
            route_as_json(route, streams, metrics)
        })
        .collect();
    json(&json!({ "routes": all }))
}

fn route_as_json(route: &Route, streams: usize, metrics: &Metrics) -> Value {
    let hosts: Vec<_> = route.host.iter().map(ToString::to_string).collect();
    let methods: Vec<_> = route.methods.iter().map(ToString::to_string).collect();
    json!({
        "name": &*route.name,
        "host": hosts,
        "path": route.path.to_string(),
        "methods": (!methods.is_empty()).then_some(methods),
        "action": action(&route.action),
        "auth": route.auth.as_deref(),
        "requests": classes(&metrics.totals_of(&route.name)),
        "streams": streams,
    })
}

fn action(action: &RouteAction) -> String {
    match action {
        RouteAction::Upstream { name, .. } => format!("upstream {name}"),
        RouteAction::Bridge { name } => format!("bridge {name}"),
        RouteAction::Redirect(redirect) => {
            format!("redirect {} {}", redirect.status.as_u16(), redirect.to)
        }
        RouteAction::Respond(fixed) => format!("respond {}", fixed.status.as_u16()),
    }
}

//! `/api/upstreams`: the servers, and how they stand.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::admin::State;
use crate::admin::answer::{Answer, json};
use crate::config::model::Balance;
use crate::net::{Place, Scheme, ServerAddr};
use crate::upstream::{ServerState, Upstream};

pub(super) fn upstreams(state: &State) -> Answer {
    let snapshot = state.shown.shared.load();
    let now = Instant::now();
    let all: Vec<_> = snapshot
        .upstreams()
        .map(|upstream| upstream_as_json(upstream, now))
        .collect();
    json(&json!({ "upstreams": all }))
}

fn upstream_as_json(upstream: &Upstream, now: Instant) -> Value {
    let config = upstream.config();
    let servers = upstream.endpoints().zip(&config.servers);
    let servers: Vec<_> = servers
        .map(|(endpoint, server)| {
            let condition = endpoint.condition(now, config);
            let address = match &endpoint.addr().place {
                Place::Tcp(authority) => Some(authority.to_string()),
                Place::Unix(_) => None,
            };
            json!({
                "url": url(endpoint.addr()),
                "address": address,
                "state": state_word(condition.state),
                "cause": condition.cause,
                "since_seconds": condition.since.map(|since| since.as_secs_f64()),
                "active": endpoint.live(),
                "weight": server.weight,
            })
        })
        .collect();
    json!({
        "name": &*config.name,
        "balance": balance(&config.balance),
        "servers": servers,
    })
}

fn state_word(state: ServerState) -> &'static str {
    match state {
        ServerState::Up => "up",
        ServerState::Down => "down",
        ServerState::Unknown => "unknown",
    }
}

fn url(addr: &ServerAddr) -> String {
    let scheme = match addr.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
        Scheme::H2c => "h2c",
    };
    match &addr.place {
        Place::Tcp(authority) => format!("{scheme}://{authority}"),
        Place::Unix(_) => addr.to_string(),
    }
}

fn balance(balance: &Balance) -> &'static str {
    match balance {
        Balance::RoundRobin => "round_robin",
        Balance::LeastConnections => "least_connections",
        Balance::RandomTwo => "random_two",
        Balance::IpHash => "ip_hash",
        Balance::Cookie(_) => "cookie",
    }
}

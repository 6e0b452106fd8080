//! `/metrics`: what was counted, with what the process knows at this moment.

use http::{HeaderMap, StatusCode};

use super::Shown;
use super::answer::{Answer, body};
use crate::bridge::log::Budget;
use crate::observe::metrics::{Format, LogMemory, Server, Standing};
use crate::snapshot::Snapshot;

pub(super) fn expose(shown: &Shown, is_draining: bool, headers: &HeaderMap) -> Answer {
    let snapshot = shown.shared.load();
    let standing = Standing {
        is_draining,
        connections: shown.permits.in_use(),
        connections_limit: snapshot.config.limits.connections,
        connections_refused: shown.permits.refused(),
        generations: snapshot.generations(),
        log_lines_dropped: shown.dropped.count(),
        certificates: certificates(&snapshot),
        servers: servers(&snapshot),
        bridges: snapshot
            .bridges()
            .map(|bridge| bridge.standing(is_draining))
            .collect(),
        log_memory: LogMemory {
            used: Budget::process().used(),
            limit: Budget::process().limit(),
        },
    };
    let format = Format::wanted(headers);
    let text = shown.metrics.expose(&standing, format);
    body(StatusCode::OK, format.content_type(), text.into())
}

fn certificates(snapshot: &Snapshot) -> Vec<(String, i64)> {
    let certificates = snapshot.config.tls.certificates.iter();
    certificates
        .filter_map(|certificate| {
            let name = certificate.names.first().unwrap_or(&certificate.origin);
            Some((name.clone(), certificate.expiry()?))
        })
        .collect()
}

fn servers(snapshot: &Snapshot) -> Vec<Server> {
    let upstreams = snapshot.upstreams().map(|upstream| {
        upstream.endpoints().map(|endpoint| Server {
            upstream: upstream.config().name.clone(),
            server: endpoint.addr().to_string(),
            is_up: endpoint.is_up(),
            live: endpoint.live(),
        })
    });
    upstreams.flatten().collect()
}

//! What a reload changes, and what becomes of what lives on that: told before it is done, when it was done, and in the log,
//! always from the same list.
//!
//! Owns the comparison of two configurations. Invariant: a plan is empty only where the two mean the same.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::config::model::{Bridge, Config, Route, RouteAction, StreamFate, Upstream};
use crate::net::ServerAddr;
use crate::snapshot::Snapshot;

/// Everything that a reload changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan(Vec<Change>);

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// What kind of thing it is, in the words of the configuration.
    subject: &'static str,
    /// Which of them; empty where there is but one.
    name: Arc<str>,
    what: What,
    /// What becomes of what lives on it; empty where nothing does.
    effects: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Added,
    Changed,
    Removed,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.subject)?;
        if !self.name.is_empty() {
            write!(f, " `{}`", self.name)?;
        }
        write!(f, ": {}", self.what.word())?;
        for effect in &self.effects {
            write!(f, ", {effect}")?;
        }
        Ok(())
    }
}

impl Plan {
    /// What is different in `after`, while `before` is in force.
    pub(super) fn of(before: &Snapshot, after: &Config) -> Self {
        let mut plan = Self(Vec::new());
        plan.settings(&before.config, after);
        plan.listeners(&before.config, after);
        plan.certificates(&before.config, after);
        let old = &before.config;
        plan.named("upstream", &old.upstreams, &after.upstreams, |name, new| {
            upstream_effects(before, name, new.map(Arc::as_ref))
        });
        plan.named("bridge", &old.bridges, &after.bridges, |name, new| {
            bridge_effects(before, name, new.map(Arc::as_ref))
        });
        plan.named("auth", &old.auths, &after.auths, |name, _new| {
            let before = old.auths.get(name);
            let streams = match before.and_then(|before| before.recheck) {
                Some(_every) => "its streams end whose clients are not let in any more",
                None => "its streams are kept",
            };
            vec![streams.to_owned()]
        });
        plan.named("route", &routes(old), &routes(after), |key, new| {
            route_effects(before, key, new.is_some())
        });
        plan
    }

    /// Whether nothing is different.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The changes in one line.
    pub(super) fn line(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        lines.join("; ")
    }

    /// The changes as JSON, each with its line.
    pub(super) fn json(&self) -> Value {
        let change = |change: &Change| {
            json!({
                "kind": change.subject,
                "name": &*change.name,
                "change": change.what.word(),
                "effects": change.effects,
                "line": change.to_string(),
            })
        };
        self.0.iter().map(change).collect()
    }

    fn push(&mut self, subject: &'static str, name: &str, what: What, effects: Vec<String>) {
        self.0.push(Change {
            subject,
            name: name.into(),
            what,
            effects,
        });
    }

    fn settings(&mut self, before: &Config, after: &Config) {
        let mut workers = Vec::new();
        if before.server.workers != after.server.workers {
            workers.push("`workers` with the next start".to_owned());
        }
        let mut format = Vec::new();
        if before.log.format != after.log.format {
            format.push("`format` with the next start".to_owned());
        }
        let same_tls = before.tls.min_version == after.tls.min_version
            && before.tls.session_tickets == after.tls.session_tickets
            && before.tls.client_auth == after.tls.client_auth
            && before.tls.hsts == after.tls.hsts;
        let settings = [
            ("server", before.server == after.server, workers),
            ("tls", same_tls, Vec::new()),
            ("trust", before.trust == after.trust, Vec::new()),
            ("dns", before.dns == after.dns, Vec::new()),
            ("limits", before.limits == after.limits, Vec::new()),
            ("errors", before.errors == after.errors, Vec::new()),
            ("log", before.log == after.log, format),
            ("trace", before.trace == after.trace, Vec::new()),
            ("admin", before.admin == after.admin, Vec::new()),
        ];
        for (subject, equal, effects) in settings {
            if !equal {
                self.push(subject, "", What::Changed, effects);
            }
        }
    }

    fn listeners(&mut self, before: &Config, after: &Config) {
        let by_address = |config: &Config| -> BTreeMap<Arc<str>, _> {
            let listeners = config.listeners.iter();
            listeners
                .map(|listener| (listener.address.to_string().into(), listener.clone()))
                .collect()
        };
        let (old, new) = (by_address(before), by_address(after));
        self.named("listen", &old, &new, |_address, new| match new {
            Some(_) => Vec::new(),
            None => vec!["its connections are kept".to_owned()],
        });
    }

    /// By the files that they come from: the same file with another certificate is a change of it.
    fn certificates(&mut self, before: &Config, after: &Config) {
        let by_origin = |config: &Config| -> BTreeMap<Arc<str>, _> {
            let certificates = config.tls.certificates.iter();
            certificates
                .map(|certificate| (certificate.origin.as_str().into(), certificate.clone()))
                .collect()
        };
        let (old, new) = (by_origin(before), by_origin(after));
        let count = self.0.len();
        self.named("certificate", &old, &new, |_origin, _new| Vec::new());
        let is_told = self.0.len() > count;
        if !is_told && before.tls.certificates != after.tls.certificates {
            // The first is for all names that no other has, so their order has a meaning.
            let effect = vec!["the certificates in another order".to_owned()];
            self.push("tls", "", What::Changed, effect);
        }
    }

    fn named<T: PartialEq>(
        &mut self,
        subject: &'static str,
        before: &BTreeMap<Arc<str>, T>,
        after: &BTreeMap<Arc<str>, T>,
        effects: impl Fn(&Arc<str>, Option<&T>) -> Vec<String>,
    ) {
        for (name, new) in after {
            match before.get(name) {
                None => self.push(subject, name, What::Added, Vec::new()),
                Some(old) if old != new => {
                    self.push(subject, name, What::Changed, effects(name, Some(new)));
                }
                Some(_same) => {}
            }
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            self.push(subject, name, What::Removed, effects(name, None));
        }
    }
}

fn routes(config: &Config) -> BTreeMap<Arc<str>, Route> {
    let routes = config.routes.iter();
    routes.map(|route| (route.key(), route.clone())).collect()
}

fn route_effects(before: &Snapshot, key: &str, stays: bool) -> Vec<String> {
    let streams = before.streams_of(key);
    if stays && streams.live() > 0 {
        let streams = count(streams.live(), "live stream");
        return vec![format!("{streams} kept as they began")];
    }
    // A stream has the fate that its route gave it when it began.
    let living = StreamFate::ALL.map(|fate| (fate, streams.live_with(fate)));
    let living = living.into_iter().filter(|(_, number)| *number > 0);
    living
        .map(|(fate, number)| {
            format!(
                "{} {}",
                count(number, "live stream"),
                word(fate, &before.config)
            )
        })
        .collect()
}

fn upstream_effects(before: &Snapshot, name: &str, new: Option<&Upstream>) -> Vec<String> {
    let Some(old) = before.upstream(name) else {
        return Vec::new();
    };
    let mut effects = Vec::new();
    let stays =
        |addr: &ServerAddr| new.is_some_and(|new| new.servers.iter().any(|it| it.addr == *addr));
    let leads_here = |route: &Route| matches!(&route.action, RouteAction::Upstream { name: led, .. } if **led == *name);
    for endpoint in old.endpoints() {
        if stays(endpoint.addr()) {
            continue;
        }
        let mut effect = format!("server `{}` removed", endpoint.addr());
        if endpoint.live() > 0 {
            let live = match endpoint.live() {
                1 => "1 request or stream".to_owned(),
                more => format!("{more} requests or streams"),
            };
            let fate = fate(&before.config, leads_here);
            effect = format!("{effect} with {live} under way (streams {fate})");
        }
        effects.push(effect);
    }
    let added = |new: &Upstream| {
        let fresh = new.servers.iter();
        let fresh = fresh.filter(|server| old.endpoint(&server.addr).is_none());
        fresh
            .map(|server| format!("server `{}` added", server.addr))
            .collect::<Vec<_>>()
    };
    effects.extend(new.map(added).unwrap_or_default());
    if new.is_some_and(|new| !old.is_reached_like(new)) {
        effects.push("its servers are connected to anew".to_owned());
    }
    effects
}

fn bridge_effects(before: &Snapshot, name: &str, new: Option<&Bridge>) -> Vec<String> {
    let Some(old) = before.bridge(name) else {
        return Vec::new();
    };
    let (channels, subscribers) = (old.channels(), old.subscribers());
    if channels == 0 && subscribers == 0 {
        return Vec::new();
    }
    let channels = count(channels, "channel");
    let subscribers = count(subscribers, "subscriber");
    let Some(new) = new else {
        let leads_here = |route: &Route| matches!(&route.action, RouteAction::Bridge { name: led } if **led == *name);
        let fate = fate(&before.config, leads_here);
        return vec![format!("{channels} with {subscribers} {fate}")];
    };
    if old.config().is_fed_alike(new) {
        return vec![format!("{channels} with {subscribers} kept")];
    }
    let within = drained(before.config.server.drain_timeout);
    vec![
        format!("feed settings changed, {channels} end"),
        format!("{subscribers} {within} and come back"),
    ]
}

/// What becomes of the streams of routes that a reload takes something away from.
fn fate(config: &Config, is_concerned: impl Fn(&Route) -> bool) -> String {
    let mut fates: Vec<StreamFate> = Vec::new();
    for route in config.routes.iter().filter(|route| is_concerned(route)) {
        if !fates.contains(&route.on_remove) {
            fates.push(route.on_remove);
        }
    }
    match fates[..] {
        [] => word(StreamFate::Keep, config),
        [fate] => word(fate, config),
        _ => "kept, drained or closed as the `on_remove` of their routes says".to_owned(),
    }
}

fn word(fate: StreamFate, config: &Config) -> String {
    match fate {
        StreamFate::Keep => "kept".to_owned(),
        StreamFate::Drain => drained(config.server.drain_timeout),
        StreamFate::Close => "closed".to_owned(),
    }
}

fn drained(length: Duration) -> String {
    format!("drained within {length:?}")
}

fn count(number: usize, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

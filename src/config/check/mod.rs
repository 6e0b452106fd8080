//! From what was typed to what is meant: whether the values fit each other and the machine.
//!
//! Each check tells its mistakes and goes on with a default, so that one run finds all of them; the [`Config`] that
//! comes out is only used if nothing was told.

mod action;
mod admin;
mod auth;
mod balance;
mod bridge;
mod client_auth;
mod errors;
mod feed;
mod fields;
mod file;
mod listen;
mod mapping;
mod names;
mod publish;
mod rate;
mod route;
mod secret;
mod server_tls;
mod state_dir;
mod streams;
mod tls;
mod trace;
mod upstream;

use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::Level;

use crate::config::diagnostic::{Diagnostics, FileId, Place};
use crate::config::env::Env;
use crate::config::include::Files;
use crate::config::model::{
    BodyPace, Config, Dns, DrainTimes, EncodedSlashes, Http2Limits, Kinds, Limits, Log, LogFormat,
    Process, Sampling, Trust,
};
use crate::config::schema::collection::Named;
use crate::config::schema::decode::{Field, Located};
use crate::config::schema::scalar::Text;
use crate::config::schema::{Root, dns, limits, server, trust};
use crate::tls::certificates::Certificate;

/// What a check needs beside what was typed.
pub(crate) struct Context<'a> {
    env: &'a dyn Env,
    diagnostics: &'a mut Diagnostics,
    main: FileId,
    /// Certificates and secrets that were read.
    read: Vec<PathBuf>,
}

impl Context<'_> {
    /// The path that a text means: it starts from the file that names it.
    fn path(&self, text: &Located<Text>) -> PathBuf {
        self.diagnostics
            .directory(text.place.file)
            .join(&text.value.value)
    }

    /// Notes that a file was read for this configuration.
    fn note_read(&mut self, path: &Path) {
        if !self.read.iter().any(|known| known == path) {
            self.read.push(path.to_owned());
        }
    }

    fn typed(&self, place: Place) -> String {
        self.diagnostics.typed(place)
    }
}

/// Checks all files together. `in_memory` are certificates that come before those of the files.
pub(crate) fn config(
    files: Files,
    in_memory: Vec<Certificate>,
    env: &dyn Env,
    diagnostics: &mut Diagnostics,
) -> Config {
    let Files {
        root,
        paths,
        directories,
        main,
        ..
    } = files;
    let mut context = Context {
        env,
        diagnostics,
        main,
        read: paths,
    };
    let tls = tls::check(&root.tls, in_memory, &mut context);
    let listeners = listen::check(&root, tls.certificates.is_empty(), &mut context);
    let admin = admin::check(&root, &mut context);
    let upstreams = named(&root.upstream, &mut context, upstream::check);
    let bridges = named(&root.bridge, &mut context, bridge::check);
    let auths = named(&root.auth, &mut context, auth::check);
    let auths = auths
        .into_iter()
        .filter_map(|(name, auth)| Some((name, Arc::new(Option::clone(&auth)?))))
        .collect();
    let trace = trace::check(&root.trace, &mut context);
    let errors = errors::check(&root.errors, &mut context);
    let limits = limits(&root.limits);
    let server = server(&root.server, &mut context);
    let routes = route::check(&root, &bridges, limits.body_size, &mut context);
    if context.diagnostics.is_empty() {
        // What is wrong may be what would use them.
        warn_of_unused(&root, &mut context);
    }
    Config {
        server,
        listeners,
        tls,
        trust: trust(&root.trust),
        limits,
        dns: dns(&root.dns),
        upstreams,
        bridges,
        auths,
        routes,
        errors,
        log: log(&root.log),
        trace,
        admin,
        files: context.read,
        directories,
        warnings: Diagnostics::default(),
    }
}

/// `socket` of `[admin]` alone.
pub(crate) fn admin_socket(
    root: &Root,
    env: &dyn Env,
    diagnostics: &mut Diagnostics,
    main: FileId,
) -> Option<PathBuf> {
    let context = Context {
        env,
        diagnostics,
        main,
        read: Vec::new(),
    };
    admin::socket(root, &context)
}

fn named<S, M>(
    tables: &Field<Named<S>>,
    context: &mut Context<'_>,
    check: impl Fn(Arc<str>, &S, &mut Context<'_>) -> M,
) -> BTreeMap<Arc<str>, Arc<M>> {
    let Some(named) = tables.value() else {
        return BTreeMap::new();
    };
    let checked = named.tables.iter().map(|(name, table)| {
        let name: Arc<str> = name.as_str().into();
        (
            Arc::clone(&name),
            Arc::new(check(name, &table.value, context)),
        )
    });
    checked.collect()
}

fn server(table: &Field<server::Server>, context: &mut Context<'_>) -> Process {
    let workers = table
        .get(|server| &server.workers)
        .map_or(0, |workers| to_usize(workers.0));
    // One worker is right where the number of cores cannot be known.
    let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let drain_timeout = table
        .get(|server| &server.drain_timeout)
        .map_or(seconds(30), |time| time.0);
    Process {
        workers: NonZeroUsize::new(workers).unwrap_or_else(cores),
        drain_timeout,
        drain: drain_times(table, drain_timeout),
        encoded_slashes: table
            .get(|server| &server.encoded_slashes)
            .map_or(EncodedSlashes::Reject, |word| word.0),
        watch: table.get(|server| &server.watch).copied().unwrap_or(true),
        state_dir: state_dir::check(table, context),
    }
}

/// Each kind's own time, and no more than there is for all.
fn drain_times(table: &Field<server::Server>, limit: Duration) -> DrainTimes {
    let times = table.get(|server| &server.drain);
    let time = |of: fn(&server::Drain) -> &Field<server::DrainTime>| {
        let own = times.and_then(|times| of(times).value());
        own.map_or(limit, |time| time.0.min(limit))
    };
    DrainTimes {
        requests: time(|drain| &drain.requests),
        event_streams: time(|drain| &drain.event_streams),
        websockets: time(|drain| &drain.websockets),
        subscribers: time(|drain| &drain.subscribers),
    }
}

fn trust(table: &Field<trust::Trust>) -> Trust {
    let proxies = table.get(|trust| &trust.proxies).into_iter();
    Trust {
        proxies: proxies
            .flat_map(|list| &list.0)
            .map(|network| network.value.0)
            .collect(),
        headers: table
            .get(|trust| &trust.headers)
            .map_or_else(Kinds::default, |list| {
                let has = |kind| list.0.iter().any(|word| word.value.0 == kind);
                Kinds {
                    x_forwarded: has(trust::Kind::XForwarded),
                    forwarded: has(trust::Kind::Forwarded),
                }
            }),
    }
}

fn dns(table: &Field<dns::Dns>) -> Dns {
    let servers = table.get(|dns| &dns.servers).into_iter();
    Dns {
        servers: servers
            .flat_map(|list| &list.0)
            .map(|server| server.value.0)
            .collect(),
    }
}

fn limits(table: &Field<limits::Limits>) -> Limits {
    Limits {
        connections: table
            .get(|limits| &limits.connections)
            .map_or(100_000, |count| to_usize(count.0)),
        connections_per_ip: table
            .get(|limits| &limits.connections_per_ip)
            .and_then(|count| NonZeroUsize::new(to_usize(count.0))),
        header_size: table
            .get(|limits| &limits.header_size)
            .map_or(32 * 1024, |size| to_usize(size.0)),
        header_count: table
            .get(|limits| &limits.header_count)
            .map_or(100, |count| to_usize(count.0)),
        header_timeout: table
            .get(|limits| &limits.header_timeout)
            .map_or(seconds(10), |time| time.0),
        tls_handshake_timeout: table
            .get(|limits| &limits.tls_handshake_timeout)
            .map_or(seconds(10), |time| time.0),
        keep_alive: table
            .get(|limits| &limits.keep_alive)
            .map_or(seconds(75), |time| time.0),
        body_size: table
            .get(|limits| &limits.body_size)
            .and_then(|size| size.0),
        body_pace: body_pace(table),
        requests_per_connection: table
            .get(|limits| &limits.requests_per_connection)
            .map(|count| count.0)
            .filter(|count| *count > 0),
        bridge_memory: table
            .get(|limits| &limits.bridge_memory)
            .map_or(1 << 30, |size| size.0),
        http2: table
            .value()
            .map_or_else(|| http2(&Field::Absent), |limits| http2(&limits.http2)),
    }
}

fn http2(table: &Field<limits::Http2>) -> Http2Limits {
    let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Http2Limits {
        streams: table
            .get(|http2| &http2.streams)
            .map_or(128, |count| number(count.0)),
        resets: table
            .get(|http2| &http2.resets)
            .map_or(100, |count| number(count.0)),
    }
}

fn body_pace(table: &Field<limits::Limits>) -> Option<BodyPace> {
    let rate = table
        .get(|limits| &limits.body_rate)
        .map_or(Some(240), |rate| rate.0)?;
    Some(BodyPace {
        rate: NonZeroU64::new(rate)?,
        grace: table
            .get(|limits| &limits.body_grace)
            .map_or(seconds(20), |time| time.0),
    })
}

fn log(table: &Field<server::Log>) -> Log {
    Log {
        level: table
            .get(|log| &log.level)
            .map_or(Level::INFO, |level| level.0),
        format: table
            .get(|log| &log.format)
            .map_or(LogFormat::Auto, |format| format.0),
        access: table.get(|log| &log.access).copied().unwrap_or(true),
        sampling: Sampling {
            share: table.get(|log| &log.sample).map_or(1.0, |share| share.0),
            slow: table.get(|log| &log.slow).map_or(seconds(1), |time| time.0),
        },
    }
}

fn warn_of_unused(root: &Root, context: &mut Context<'_>) {
    let Some(routes) = root.route.value() else {
        if root.route.is_absent() {
            let message = "there is no `[[route]]`: every request is answered with 404";
            context.diagnostics.file_warning(context.main, message);
        }
        return;
    };
    let names = |pick: fn(&crate::config::schema::route::Route) -> &Field<Text>| -> Vec<&str> {
        routes
            .0
            .iter()
            .filter_map(|route| pick(route).value())
            .map(|text| text.value.as_str())
            .collect()
    };
    let (upstreams, bridges) = (names(|route| &route.upstream), names(|route| &route.bridge));
    let auths = names(|route| &route.auth);
    let mut warn = |kind: &str, name: &str, place: Place| {
        context
            .diagnostics
            .warning(place, format!("no route leads to the {kind} `{name}`"));
    };
    for (name, table) in root
        .upstream
        .value()
        .into_iter()
        .flat_map(|named| &named.tables)
    {
        if !upstreams.contains(&name.as_str()) {
            warn("upstream", name, table.place);
        }
    }
    for (name, table) in root
        .bridge
        .value()
        .into_iter()
        .flat_map(|named| &named.tables)
    {
        if !bridges.contains(&name.as_str()) {
            warn("bridge", name, table.place);
        }
    }
    for (name, table) in root.auth.value().into_iter().flat_map(|it| &it.tables) {
        if !auths.contains(&name.as_str()) {
            let message = format!("no route has `auth = \"{name}\"`: it guards nothing");
            context.diagnostics.warning(table.place, message);
        }
    }
}

/// Numbers in the schema are 64 bits wide; on a smaller machine the largest one is as good as any beyond it.
fn to_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

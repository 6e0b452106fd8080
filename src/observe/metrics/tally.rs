//! What one worker has counted since its last tick.
//!
//! A request or a stream touches only its own worker's cells: no atomics, no locks, no other core's cache lines. The
//! tick adds them to the metrics of the process ([`Catalog`]), where a series is looked up the first time only.
//!
//! Invariant: what is added to a cell reaches the process's metrics once. The cells of a route stay until the worker
//! ends; there are as many as there were routes in its configurations.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::catalog::{Catalog, DELAYS, HEADS, LIVES};
use super::histogram::Observations;
use super::totals::{AllTotals, RouteTotals};
use super::{Resumption, StreamLimit, labels, words};
use crate::observe::access::{End, Kind};

/// The route of a request that found none. No route has this name: theirs have a path in them.
const NO_ROUTE: &str = "none";

/// A counter's part that is not added yet.
#[derive(Debug, Default)]
struct Count {
    pending: Cell<u64>,
    total: OnceCell<Counter>,
}

impl Count {
    fn add(&self, count: u64) {
        self.pending.set(self.pending.get() + count);
    }

    /// Returns how much was added.
    fn fold<L>(&self, family: &Family<L, Counter>, labels: impl FnOnce() -> L) -> u64
    where
        L: Clone + Hash + Eq + EncodeLabelSet,
    {
        let count = self.pending.take();
        if count > 0 {
            let total = || family.get_or_create_owned(&labels());
            self.total.get_or_init(total).inc_by(count);
        }
        count
    }
}

/// A worker's tally.
#[derive(Debug)]
pub(super) struct Tally {
    routes: RefCell<HashMap<Arc<str>, Rc<RouteTally>>>,
    kinds: [Rc<KindTally>; Kind::ALL.len()],
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            routes: RefCell::default(),
            kinds: Kind::ALL.map(|_kind| Rc::default()),
        }
    }
}

/// What is counted of a kind of stream on all routes.
#[derive(Debug)]
struct KindTally {
    life: Observations,
    delay: Observations,
    heartbeats: Count,
}

impl Default for KindTally {
    fn default() -> Self {
        Self {
            life: Observations::new(LIVES),
            delay: Observations::new(DELAYS),
            heartbeats: Count::default(),
        }
    }
}

/// What is counted of one route.
#[derive(Debug)]
pub(super) struct RouteTally {
    statuses: RefCell<BTreeMap<&'static str, Count>>,
    head: Observations,
    streams: [OnceCell<Rc<StreamTally>>; Kind::ALL.len()],
    refused: [Count; StreamLimit::ALL.len()],
    too_fast: Count,
    close_codes: RefCell<HashMap<&'static str, Count>>,
    totals: OnceCell<Arc<RouteTotals>>,
}

impl Default for RouteTally {
    fn default() -> Self {
        Self {
            statuses: RefCell::default(),
            head: Observations::new(HEADS),
            streams: Default::default(),
            refused: Default::default(),
            too_fast: Count::default(),
            close_codes: RefCell::default(),
            totals: OnceCell::new(),
        }
    }
}

/// What is counted of one kind of stream on one route. Each live stream holds it.
#[derive(Debug)]
pub(crate) struct StreamTally {
    /// Opened less closed.
    live: Cell<i64>,
    live_total: OnceCell<Gauge>,
    opened: Count,
    closed: [Count; End::ALL.len()],
    bytes_in: Count,
    bytes_out: Count,
    messages_in: Count,
    messages_out: Count,
    resumed: [Count; Resumption::ALL.len()],
    kind: Rc<KindTally>,
}

impl Tally {
    /// That of one route; `None`: of all requests that found none.
    pub(super) fn route(&self, name: Option<&Arc<str>>) -> Rc<RouteTally> {
        let mut routes = self.routes.borrow_mut();
        let known = routes.get(name.map_or(NO_ROUTE, |name| name));
        if let Some(known) = known {
            return known.clone();
        }
        let name = name.map_or_else(|| NO_ROUTE.into(), Arc::clone);
        routes.entry(name).or_default().clone()
    }

    /// A stream of this kind has been opened on this route.
    pub(super) fn open(&self, kind: Kind, route: &Arc<str>) -> Rc<StreamTally> {
        let route = self.route(Some(route));
        let streams = route.streams[kind as usize].get_or_init(|| {
            Rc::new(StreamTally {
                live: Cell::new(0),
                live_total: OnceCell::new(),
                opened: Count::default(),
                closed: Default::default(),
                bytes_in: Count::default(),
                bytes_out: Count::default(),
                messages_in: Count::default(),
                messages_out: Count::default(),
                resumed: Default::default(),
                kind: self.kinds[kind as usize].clone(),
            })
        });
        streams.opened.add(1);
        streams.live.set(streams.live.get() + 1);
        streams.clone()
    }

    /// Adds everything to the metrics of the process.
    pub(super) fn fold(&self, into: &Catalog, totals: &AllTotals) {
        for (kind, tally) in Kind::ALL.iter().zip(&self.kinds) {
            let labels = || labels::OfKind { kind: kind.label() };
            tally
                .life
                .add_to(|| into.life.get_or_create_owned(&labels()));
            tally
                .delay
                .add_to(|| into.delay.get_or_create_owned(&labels()));
            tally.heartbeats.fold(&into.heartbeats, labels);
        }
        for (name, route) in &*self.routes.borrow() {
            route.fold(name, into, route.totals.get_or_init(|| totals.of(name)));
        }
    }
}

impl RouteTally {
    /// A request has ended. `head`: what it was answered with, and when.
    pub(super) fn requested(&self, head: Option<(u16, Duration)>) {
        let status = words::status(head.map(|(status, _after)| status));
        self.statuses.borrow_mut().entry(status).or_default().add(1);
        if let Some((_status, after)) = head {
            self.head.observe(after);
        }
    }

    /// A stream was refused.
    pub(super) fn refused(&self, limit: StreamLimit) {
        self.refused[limit as usize].add(1);
    }

    /// A request came too fast.
    pub(super) fn too_fast(&self) {
        self.too_fast.add(1);
    }

    /// A WebSocket has ended with this code.
    pub(super) fn close_code(&self, code: u16) {
        let mut codes = self.close_codes.borrow_mut();
        codes.entry(words::close_code(code)).or_default().add(1);
    }

    fn fold(&self, name: &Arc<str>, into: &Catalog, totals: &RouteTotals) {
        let route = || name.clone();
        for (status, count) in &*self.statuses.borrow() {
            let more = count.fold(&into.requests, || labels::Answered {
                route: route(),
                status,
            });
            totals.requested(status, more);
        }
        self.head.add_to(|| {
            let labels = labels::OfRoute { route: route() };
            into.response_head.get_or_create_owned(&labels)
        });
        for (limit, count) in StreamLimit::ALL.iter().zip(&self.refused) {
            count.fold(&into.refused, || labels::Refused {
                route: route(),
                limit: limit.label(),
            });
        }
        self.too_fast
            .fold(&into.too_fast, || labels::OfRoute { route: route() });
        for (code, count) in &*self.close_codes.borrow() {
            count.fold(&into.close_codes, || labels::CloseCodes {
                route: route(),
                code,
            });
        }
        for (kind, streams) in Kind::ALL.iter().zip(&self.streams) {
            if let Some(streams) = streams.get() {
                streams.fold(*kind, name, into, totals);
            }
        }
    }
}

impl StreamTally {
    /// Bytes from the client.
    pub(crate) fn received(&self, bytes: u64) {
        self.bytes_in.add(bytes);
    }

    /// Bytes to the client.
    pub(crate) fn sent(&self, bytes: u64) {
        self.bytes_out.add(bytes);
    }

    /// Messages from the client.
    pub(crate) fn received_messages(&self, count: u64) {
        self.messages_in.add(count);
    }

    /// Messages to the client.
    pub(crate) fn sent_messages(&self, count: u64) {
        self.messages_out.add(count);
    }

    /// A heartbeat was sent.
    pub(crate) fn heartbeat(&self) {
        self.kind.heartbeats.add(1);
    }

    /// So much later than it was read the client's socket had taken what the backend sent.
    pub(crate) fn delayed(&self, added: Duration) {
        self.kind.delay.observe(added);
    }

    /// Its backend broke off.
    pub(crate) fn resumed(&self, outcome: Resumption) {
        self.resumed[outcome as usize].add(1);
    }

    /// It has ended.
    pub(crate) fn closed(&self, end: End, life: Duration) {
        self.closed[end as usize].add(1);
        self.live.set(self.live.get() - 1);
        self.kind.life.observe(life);
    }

    fn fold(&self, of: Kind, name: &Arc<str>, into: &Catalog, totals: &RouteTotals) {
        let kind = of.label();
        let labels = || labels::Streams {
            kind,
            route: name.clone(),
        };
        let live = || into.streams.get_or_create_owned(&labels());
        let more = self.live.take();
        self.live_total.get_or_init(live).inc_by(more);
        totals.live(of, more);
        self.opened.fold(&into.opened, labels);
        let bytes_in = self.bytes_in.fold(&into.bytes_in, labels);
        let bytes_out = self.bytes_out.fold(&into.bytes_out, labels);
        totals.passed(bytes_in, bytes_out);
        self.messages_in.fold(&into.messages_in, labels);
        self.messages_out.fold(&into.messages_out, labels);
        for (end, count) in End::ALL.iter().zip(&self.closed) {
            count.fold(&into.closed, || labels::Closed {
                kind,
                route: name.clone(),
                cause: end.label(),
            });
        }
        for (outcome, count) in Resumption::ALL.iter().zip(&self.resumed) {
            count.fold(&into.resumed, || labels::Resumed {
                route: name.clone(),
                outcome: outcome.label(),
            });
        }
    }
}

//! One immutable generation of everything that a configuration describes.
//!
//! A reload builds a new one beside the old and swaps one `Arc`. What is equal in both (an upstream, a bridge) is the
//! same object in both, so its connections, channels and clients do not notice. A request goes on with the
//! snapshot it began with; the last one that does frees it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use crate::bridge::Bridge;
use crate::config::model::{
    Config, EventStreams, FieldRules, Fixed, PageOrigins, PathChange, Redirect, RouteAction,
    StreamFate, StreamLimits, Timeouts, WebSocket,
};
use crate::guard::auth::Auth;
use crate::guard::rate;
use crate::lifecycle::removal::Removal;
use crate::limits::{Rates, Streams};
use crate::route::{PathPattern, Router};
use crate::stream::{AfterLoss, Losses};
use crate::tls::accept::{Acceptor, AcceptorError, Terms, Tickets};
use crate::tls::sni::ResolveBySni;
use crate::upstream::Upstream;

/// One generation.
pub struct Snapshot {
    /// What it was built from.
    pub config: Config,
    /// From a request to its route.
    pub router: Router<Route>,
    /// For TLS listeners; `None` when there is no certificate.
    pub acceptor: Option<Acceptor>,
    upstreams: BTreeMap<Arc<str>, Arc<Upstream>>,
    bridges: BTreeMap<Arc<str>, Arc<Bridge>>,
    auths: BTreeMap<Arc<str>, Arc<Auth>>,
    /// What lives on each route, by its key.
    live: BTreeMap<Arc<str>, Live>,
    /// One for all generations of the process: its holders are those that live.
    generations: Arc<()>,
}

/// What a route has as long as configurations name it.
#[derive(Debug, Clone, Default)]
struct Live {
    /// Its long streams.
    streams: Streams,
    /// Tells them when the route is gone.
    removal: Removal,
    /// How fast its requests have come.
    rates: Arc<Rates>,
}

/// A route with its action at hand.
pub struct Route {
    /// Its name in logs.
    pub name: Arc<str>,
    /// Which paths it takes.
    pub path: PathPattern,
    /// Its timeouts.
    pub timeouts: Timeouts,
    /// What holds for its WebSockets.
    pub websocket: WebSocket,
    /// What holds for its event streams.
    pub event_streams: EventStreams,
    /// Its long streams.
    pub streams: Streams,
    /// How many of them it may have.
    pub stream_limits: StreamLimits,
    /// How fast its requests may come; `None`: no limit.
    pub rate: Option<rate::Rule>,
    /// What ends its live streams before their time.
    pub losses: Arc<Losses>,
    /// What changes in requests to its upstream.
    pub request_fields: FieldRules,
    /// What changes in its responses.
    pub response_fields: FieldRules,
    /// From which pages browsers may open WebSockets or use the bridge; `None`: any.
    pub origins: Option<PageOrigins>,
    /// Bytes of a request's body at most.
    pub body_size: Option<u64>,
    /// Who may ask; `None`: anybody.
    pub auth: Option<Arc<Auth>>,
    /// What it does.
    pub action: Action,
}

/// What a route does.
pub enum Action {
    /// Passes requests to an upstream.
    Forward {
        /// The servers.
        upstream: Arc<Upstream>,
        /// What becomes of the path.
        path: PathChange,
        /// Whether the server gets the client's `Host`.
        preserve_host: bool,
    },
    /// Sends the client elsewhere.
    Redirect(Redirect),
    /// Always says the same.
    Respond(Fixed),
    /// Serves a bridge's channels.
    Bridge(Arc<Bridge>),
}

/// Why a configuration that passed its check cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// rustls refuses the TLS settings.
    #[error("the TLS settings cannot be used")]
    Tls(#[from] AcceptorError),
    /// The check let a conflict or an unknown name pass.
    #[error("the routes are inconsistent")]
    Routes,
}

impl Snapshot {
    /// Builds a generation from a checked configuration, and takes over from `previous` what is equal.
    ///
    /// # Errors
    /// [`BuildError`]; nothing was changed then.
    pub fn build(
        config: Config,
        previous: Option<&Self>,
        tickets: &Tickets,
    ) -> Result<Self, BuildError> {
        let upstreams = config.upstreams.iter().map(|(name, wanted)| {
            let kept = previous.and_then(|previous| previous.upstreams.get(name));
            let equal = kept.filter(|kept| kept.config() == wanted).cloned();
            (
                name.clone(),
                equal.unwrap_or_else(|| {
                    Arc::new(Upstream::new(wanted.clone(), kept.map(Arc::as_ref)))
                }),
            )
        });
        let upstreams: BTreeMap<_, _> = upstreams.collect();
        let bridges = config.bridges.iter().map(|(name, wanted)| {
            let kept = previous.and_then(|previous| previous.bridges.get(name));
            let equal = kept.filter(|kept| kept.config() == wanted).cloned();
            let followed = || kept.and_then(|kept| kept.followed_by(wanted));
            (
                name.clone(),
                equal
                    .or_else(followed)
                    .unwrap_or_else(|| Bridge::new(wanted.clone())),
            )
        });
        let bridges: BTreeMap<_, _> = bridges.collect();
        let auths = config.auths.iter().map(|(name, wanted)| {
            let kept = previous.and_then(|previous| previous.auths.get(name));
            let equal = kept.filter(|kept| kept.config() == wanted).cloned();
            let changed = || Auth::new(wanted.clone(), kept.map(Arc::as_ref));
            (name.clone(), equal.unwrap_or_else(changed))
        });
        let auths: BTreeMap<_, _> = auths.collect();
        let live: BTreeMap<_, _> = config
            .routes
            .iter()
            .map(|route| {
                let key = route.key();
                let kept = previous.and_then(|previous| previous.live.get(&key));
                (key, kept.cloned().unwrap_or_default())
            })
            .collect();
        let router = router(&config, (&upstreams, &bridges, &auths), &live)?;
        let generations = previous.map_or_else(Arc::default, |it| it.generations.clone());
        let acceptor = acceptor(&config, tickets)?;
        Ok(Self {
            config,
            router,
            acceptor,
            upstreams,
            bridges,
            auths,
            live,
            generations,
        })
    }
}

impl Snapshot {
    /// All upstreams, whether a route leads to them or not.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.upstreams.values()
    }

    /// The upstream of this name.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.get(name)
    }

    /// The bridge of this name.
    #[must_use]
    pub fn bridge(&self, name: &str) -> Option<&Arc<Bridge>> {
        self.bridges.get(name)
    }

    /// All that know who asks, whether a route wants to know it or not.
    pub fn auths(&self) -> impl Iterator<Item = &Arc<Auth>> {
        self.auths.values()
    }

    /// The `[auth.NAME]` of this name.
    #[must_use]
    pub fn auth(&self, name: &str) -> Option<&Arc<Auth>> {
        self.auths.get(name)
    }

    /// Live long streams of the route with this [`key`](crate::config::model::Route::key), a bridge's subscribers among them.
    #[must_use]
    pub fn streams_of(&self, key: &str) -> Streams {
        let live = self.live.get(key);
        live.map(|live| live.streams.clone()).unwrap_or_default()
    }

    /// Generations of this process that live: this one, and those that a request or a stream still holds.
    #[must_use]
    pub fn generations(&self) -> usize {
        Arc::strong_count(&self.generations)
    }

    /// Tells the streams of what `next`, which is in force now, has no more: routes, servers, bridges and their feeds.
    pub fn superseded_by(&self, next: &Self) {
        for (key, live) in &self.live {
            if !next.live.contains_key(key) {
                live.removal.tell();
            }
        }
        for (name, upstream) in &self.upstreams {
            let next = next.upstream(name);
            for endpoint in upstream.endpoints() {
                let stays = next.and_then(|next| next.endpoint(endpoint.addr()));
                if stays.is_none() {
                    endpoint.removal().tell();
                }
            }
        }
        for (name, bridge) in &self.bridges {
            match next.bridge(name) {
                None => bridge.removed(),
                Some(next) if !next.is_successor_of(bridge) => {
                    bridge.replaced(self.config.server.drain_timeout);
                }
                Some(_same) => {}
            }
        }
    }

    /// All bridges, whether a route leads to them or not.
    pub fn bridges(&self) -> impl Iterator<Item = &Arc<Bridge>> {
        self.bridges.values()
    }
}

type Named<T> = BTreeMap<Arc<str>, Arc<T>>;

fn router(
    config: &Config,
    (upstreams, bridges, auths): (&Named<Upstream>, &Named<Bridge>, &Named<Auth>),
    live: &BTreeMap<Arc<str>, Live>,
) -> Result<Router<Route>, BuildError> {
    let mut entries = Vec::with_capacity(config.routes.len());
    for route in &config.routes {
        let action = match &route.action {
            RouteAction::Upstream {
                name,
                path,
                preserve_host,
            } => {
                let upstream = upstreams.get(name).ok_or(BuildError::Routes)?.clone();
                Action::Forward {
                    upstream,
                    path: path.clone(),
                    preserve_host: *preserve_host,
                }
            }
            RouteAction::Redirect(redirect) => Action::Redirect(redirect.clone()),
            RouteAction::Respond(fixed) => Action::Respond(fixed.clone()),
            RouteAction::Bridge { name } => {
                Action::Bridge(bridges.get(name).ok_or(BuildError::Routes)?.clone())
            }
        };
        let live = live.get(&route.key()).ok_or(BuildError::Routes)?;
        let streams = live.streams.with_fate(route.on_remove);
        let auth = match &route.auth {
            Some(name) => Some(auths.get(name).ok_or(BuildError::Routes)?.clone()),
            None => None,
        };
        entries.push((
            route.rule(),
            Route {
                name: route.name.clone(),
                path: route.path.clone(),
                timeouts: route.timeouts.clone(),
                websocket: route.websocket.clone(),
                event_streams: route.event_streams,
                streams: streams.clone(),
                stream_limits: route.streams,
                rate: route
                    .rate
                    .as_ref()
                    .map(|rate| rate::Rule::new(rate, live.rates.clone())),
                losses: Arc::new(Losses {
                    after_fall: after(route.on_unhealthy, config),
                    after_removal: after(route.on_remove, config),
                    route: live.removal.clone(),
                    streams,
                    pass: None,
                }),
                request_fields: route.request_fields.clone(),
                response_fields: route.response_fields.clone(),
                origins: route.origins.clone(),
                body_size: route.body_size,
                auth,
                action,
            },
        ));
    }
    Router::new(entries).map_err(|_conflicts| BuildError::Routes)
}

fn after(fate: StreamFate, config: &Config) -> AfterLoss {
    match fate {
        StreamFate::Keep => AfterLoss::Keep,
        StreamFate::Drain => AfterLoss::Drain(config.server.drain_timeout),
        StreamFate::Close => AfterLoss::Close,
    }
}

fn acceptor(config: &Config, tickets: &Tickets) -> Result<Option<Acceptor>, BuildError> {
    let tls = &config.tls;
    if tls.certificates.is_empty() {
        return Ok(None);
    }
    let resolver = Arc::new(ResolveBySni::new(&tls.certificates));
    // rustls verifies nobody again who resumes a session, and gives new tickets for it: a client's certificate would never
    // expire, nor feel that its authority is gone.
    let resumes = tls.session_tickets && tls.client_auth.is_none();
    let tickets = Some(tickets).filter(|_tickets| resumes);
    Ok(Some(Acceptor::new(
        resolver,
        &Terms {
            min_version: tls.min_version,
            tickets,
            client_auth: tls.client_auth.as_ref(),
            limit: config.limits.tls_handshake_timeout,
        },
    )?))
}

/// The snapshot as one worker holds it. The outer count is the worker's own, so that two cores never fight over the
/// inner one.
pub type Held = Rc<Arc<Snapshot>>;

/// One worker's view of the snapshot in force. Reading it is one atomic load; the count of its holders is the
/// worker's own, so that two cores never fight over it.
pub struct Current {
    cache: RefCell<Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    held: RefCell<Held>,
}

impl Current {
    /// A view of what lies in `shared`.
    #[must_use]
    pub fn new(shared: Arc<ArcSwap<Snapshot>>) -> Self {
        let held = Rc::new(shared.load_full());
        Self {
            cache: RefCell::new(Cache::new(shared)),
            held: RefCell::new(held),
        }
    }

    /// The snapshot in force now.
    #[must_use]
    pub fn get(&self) -> Held {
        let mut cache = self.cache.borrow_mut();
        let newest = cache.load();
        let mut held = self.held.borrow_mut();
        if !Arc::ptr_eq(newest, &held) {
            *held = Rc::new(newest.clone());
        }
        held.clone()
    }
}

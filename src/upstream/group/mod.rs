//! A named group of servers, and the choice among them.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderMap, HeaderValue};
use tokio::time::Instant;

use super::balance::{self, Choice, Schedule};
use super::queue::{Queue, Waiting};
use super::sticky::{Channel, Sticky};
use super::{Endpoint, EndpointId, Lease};
use crate::config::model::{self, Balance};
use crate::net::ServerAddr;

/// Turns that are passed over in search of a server that can take a request; beyond, chance decides by the weights.
const MAX_SKIPS: usize = 64;

/// A named group of servers. It lives through every reload that leaves its configuration as it was, and its servers
/// live on in the group that takes its place.
#[derive(Debug)]
pub struct Upstream {
    config: Arc<model::Upstream>,
    members: Box<[Member]>,
    policy: Policy,
    queue: Arc<Queue>,
}

/// One server, with what the group's configuration says of it.
#[derive(Debug)]
struct Member {
    endpoint: Arc<Endpoint>,
    weight: f64,
    limit: Option<NonZeroUsize>,
    key: u64,
}

#[derive(Debug)]
enum Policy {
    RoundRobin(Schedule),
    LeastConnections,
    RandomTwo,
    IpHash,
    Cookie(Sticky),
}

/// What is known of a request that wants a server.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Who asks.
    pub client: IpAddr,
    /// What [`Upstream::take_cookie`] found.
    pub cookie: Option<&'a str>,
    /// Servers that have failed it already: another one is taken if there is one.
    pub tried: &'a [EndpointId],
}

/// Why a request gets no server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// None is healthy.
    #[error("no server of the upstream is healthy")]
    Unhealthy {
        /// When the first one may be back.
        retry_after: Duration,
    },
    /// None had a place in time, or too many wait already.
    #[error("every server of the upstream has its `max_connections`")]
    Full {
        /// When it is worth another try.
        retry_after: Duration,
    },
}

/// Why no server can be chosen now.
enum Blocked {
    /// None is healthy; this is when the first one may be back.
    Unhealthy(Duration),
    /// All that are healthy are full. With the time until the next one is no longer ejected, which nobody tells of.
    Full(Option<Duration>),
}

impl Upstream {
    /// The group that `config` describes. Servers that `previous` reaches in the same way live on, with their counts and
    /// their standing; nothing is changed for those who still use it.
    #[must_use]
    pub fn new(config: Arc<model::Upstream>, previous: Option<&Self>) -> Self {
        let kept = previous.filter(|previous| reached_alike(&previous.config, &config));
        // Endpoints tell those who wait in the queue that they were made with.
        let queue = kept.map_or_else(Arc::default, |previous| previous.queue.clone());
        let member = |server: &model::Server| {
            let known = previous.and_then(|previous| previous.endpoint(&server.addr));
            let endpoint = match known {
                Some(known) if kept.is_some() => known.clone(),
                Some(known) => {
                    Endpoint::after(known.removal().clone(), server.addr.clone(), &queue)
                }
                None => Endpoint::new(server.addr.clone(), &queue),
            };
            Member {
                endpoint,
                weight: f64::from(server.weight.max(1)),
                limit: NonZeroUsize::new(server.max_connections),
                key: balance::name_key(&server.addr.to_string()),
            }
        };
        Self {
            members: config.servers.iter().map(member).collect(),
            policy: Policy::of(&config),
            queue,
            config,
        }
    }

    /// What it was built from.
    #[must_use]
    pub fn config(&self) -> &Arc<model::Upstream> {
        &self.config
    }

    /// The server at this address, if it is one of them.
    #[must_use]
    pub fn endpoint(&self, addr: &ServerAddr) -> Option<&Arc<Endpoint>> {
        self.endpoints().find(|endpoint| endpoint.addr() == addr)
    }

    /// Whether its servers are reached as those of `other` are, so that a server of both is the same one.
    #[must_use]
    pub fn is_reached_like(&self, other: &model::Upstream) -> bool {
        reached_alike(&self.config, other)
    }

    /// Its servers, in the order of the configuration.
    pub fn endpoints(&self) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.members.iter().map(|member| &member.endpoint)
    }

    /// A place at the server that the policy chooses. Waits for one, in the order of asking, when all are full.
    ///
    /// # Errors
    /// [`Unavailable`]: no server is healthy, or none had a place within `max_wait`.
    ///
    /// # Cancel safety
    /// Dropping it gives the place in the queue up.
    pub async fn lease(&self, ask: &Ask<'_>) -> Result<Lease, Unavailable> {
        if self.queue.is_empty() {
            match self.pick(ask) {
                Ok(lease) => return Ok(lease),
                Err(Blocked::Unhealthy(retry_after)) => {
                    return Err(Unavailable::Unhealthy { retry_after });
                }
                Err(Blocked::Full(_)) => {}
            }
        }
        let limit = self.config.max_wait;
        let full = Unavailable::Full { retry_after: limit };
        if limit.is_zero() {
            return Err(full);
        }
        let waiting = self.queue.enter(self.config.max_waiting).ok_or(full)?;
        tokio::time::timeout(limit, self.wait(&waiting, ask))
            .await
            .unwrap_or(Err(full))
    }

    async fn wait(&self, waiting: &Waiting<'_>, ask: &Ask<'_>) -> Result<Lease, Unavailable> {
        let turn = waiting.turn().await;
        loop {
            match self.pick(ask) {
                Ok(lease) => return Ok(lease),
                Err(Blocked::Unhealthy(retry_after)) => {
                    return Err(Unavailable::Unhealthy { retry_after });
                }
                Err(Blocked::Full(None)) => turn.freed().await,
                Err(Blocked::Full(Some(until))) => {
                    // Whichever it was: the next look tells.
                    let _ = tokio::time::timeout(until, turn.freed()).await;
                }
            }
        }
    }

    /// Takes what names a server to its client out of a request's fields; no server sees it.
    #[must_use]
    pub fn take_cookie(&self, headers: &mut HeaderMap) -> Option<String> {
        match &self.policy {
            Policy::Cookie(sticky) => sticky.take(headers),
            _ => None,
        }
    }

    /// The `Set-Cookie` for the response of the server of `lease` to a request that brought `cookie`; `None`: the client
    /// has the right one, or needs none.
    #[must_use]
    pub fn set_cookie(
        &self,
        lease: &Lease,
        cookie: Option<&str>,
        channel: Channel,
    ) -> Option<HeaderValue> {
        let Policy::Cookie(sticky) = &self.policy else {
            return None;
        };
        let is_its = |member: &Member| Arc::ptr_eq(&member.endpoint, lease.endpoint());
        let server = self.members.iter().position(is_its)?;
        let named = cookie.and_then(|cookie| sticky.named_by(cookie));
        if named == Some(server) || lease.spilled {
            return None;
        }
        sticky.set(server, channel)
    }

    /// The server of `lease` failed a request before it answered. `Some`: it was one too many, and it gets no requests
    /// for so long.
    pub fn failed(&self, lease: &Lease) -> Option<Duration> {
        let rule = self.config.passive.as_ref()?;
        lease.endpoint().standing.fail(Instant::now(), rule)
    }

    fn pick(&self, ask: &Ask<'_>) -> Result<Lease, Blocked> {
        let now = Instant::now();
        let untried = |member: &Member| !ask.tried.contains(&member.endpoint.id());
        // A server that is chosen may have become full just now; then it is no choice any more.
        for _attempt in 0..=self.members.len() {
            let mut chosen = self.choose(ask, now, untried);
            if chosen.is_none() && !ask.tried.is_empty() {
                chosen = self.choose(ask, now, |_any| true);
            }
            let Some(chosen) = chosen else { break };
            let member = &self.members[chosen];
            if let Some(mut lease) = member.endpoint.lease(member.limit) {
                // Whoever falls between the choice and the lease has fallen before it, and would never be heard to fall.
                if self.config.health.is_some() && !member.endpoint.is_up() {
                    continue;
                }
                lease.spilled = self.is_spilled(ask, now, chosen);
                return Ok(lease);
            }
        }
        let away = |member: &Member| member.endpoint.standing.away(now, &self.config);
        let first_back = self
            .members
            .iter()
            .map(away)
            .try_fold(Duration::MAX, |first, away| {
                away.map(|away| first.min(away))
            });
        Err(match first_back {
            Some(first_back) => Blocked::Unhealthy(first_back),
            None => Blocked::Full(self.first_ejection_over(now)),
        })
    }

    fn first_ejection_over(&self, now: Instant) -> Option<Duration> {
        self.config.passive?;
        let ejected = |member: &Member| member.endpoint.standing.ejected(now);
        self.members.iter().filter_map(ejected).min()
    }

    fn choose(
        &self,
        ask: &Ask<'_>,
        now: Instant,
        wanted: impl Fn(&Member) -> bool + Copy,
    ) -> Option<usize> {
        let choices = self.choices(now, wanted);
        match &self.policy {
            Policy::RoundRobin(schedule) => self
                .next_turn(schedule, now, wanted)
                .or_else(|| balance::drawn(choices).map(|choice| choice.index)),
            Policy::LeastConnections => balance::least_loaded(choices),
            Policy::RandomTwo => balance::better_of_two(choices),
            Policy::IpHash => balance::highest(balance::client_key(ask.client), choices),
            Policy::Cookie(sticky) => {
                let named = ask.cookie.and_then(|cookie| sticky.named_by(cookie));
                named
                    .filter(|index| self.can_take(*index, now) && wanted(&self.members[*index]))
                    .or_else(|| balance::least_loaded(choices))
            }
        }
    }

    fn choices(
        &self,
        now: Instant,
        wanted: impl Fn(&Member) -> bool + Copy,
    ) -> impl Iterator<Item = Choice> + Clone {
        let slow_start = self.config.slow_start;
        let choice = move |(index, member): (usize, &Member)| Choice {
            index,
            weight: member.weight * member.endpoint.standing.share(now, slow_start),
            live: member.endpoint.live(),
            key: member.key,
        };
        self.members
            .iter()
            .enumerate()
            .filter(move |(index, member)| wanted(member) && self.can_take(*index, now))
            .map(choice)
    }

    /// The next server in turn that can take a request. One that has just come back lets most of its turns go by.
    fn next_turn(
        &self,
        schedule: &Schedule,
        now: Instant,
        wanted: impl Fn(&Member) -> bool,
    ) -> Option<usize> {
        let slow_start = self.config.slow_start;
        let takes = |index: &usize| {
            let member = &self.members[*index];
            let share = || member.endpoint.standing.share(now, slow_start);
            wanted(member)
                && self.can_take(*index, now)
                && (slow_start.is_none() || fastrand::f64() < share())
        };
        (0..schedule.len().min(MAX_SKIPS))
            .map_while(|_turn| schedule.next())
            .find(takes)
    }

    fn can_take(&self, index: usize, now: Instant) -> bool {
        let Member {
            endpoint, limit, ..
        } = &self.members[index];
        limit.is_none_or(|limit| endpoint.live() < limit.get())
            && endpoint.standing.away(now, &self.config).is_none()
    }

    /// Whether a request goes to `chosen` only because the server that its cookie names is full.
    fn is_spilled(&self, ask: &Ask<'_>, now: Instant, chosen: usize) -> bool {
        let Policy::Cookie(sticky) = &self.policy else {
            return false;
        };
        let named = ask.cookie.and_then(|cookie| sticky.named_by(cookie));
        named.filter(|named| *named != chosen).is_some_and(|named| {
            let endpoint = &self.members[named].endpoint;
            !ask.tried.contains(&endpoint.id())
                && endpoint.standing.away(now, &self.config).is_none()
        })
    }
}

impl Policy {
    fn of(config: &model::Upstream) -> Self {
        match &config.balance {
            Balance::RoundRobin => {
                let weights: Vec<u32> = config.servers.iter().map(|server| server.weight).collect();
                Self::RoundRobin(Schedule::new(&weights))
            }
            Balance::LeastConnections => Self::LeastConnections,
            Balance::RandomTwo => Self::RandomTwo,
            Balance::IpHash => Self::IpHash,
            Balance::Cookie(cookie) => {
                let servers = config.servers.iter().map(|server| &server.addr);
                Self::Cookie(Sticky::new(cookie, &config.name, servers))
            }
        }
    }
}

/// Whether connections to the servers of `before` are as those of `after` would be. What is not known to be without
/// effect on a connection may have one (TLS above all): then the servers are new ones, and nothing is kept of their
/// connections.
fn reached_alike(before: &model::Upstream, after: &model::Upstream) -> bool {
    let mut without_effect = before.clone();
    without_effect.servers.clone_from(&after.servers);
    without_effect.connect_timeout = after.connect_timeout;
    without_effect.retries = after.retries;
    without_effect.balance.clone_from(&after.balance);
    without_effect.max_wait = after.max_wait;
    without_effect.max_waiting = after.max_waiting;
    without_effect.health.clone_from(&after.health);
    without_effect.passive = after.passive;
    without_effect.slow_start = after.slow_start;
    without_effect.keep_alive = after.keep_alive;
    without_effect == *after
}

#[cfg(test)]
mod tests;

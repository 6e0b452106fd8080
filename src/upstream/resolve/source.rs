//! Who knows the addresses of a name: DNS, or the C library.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use tokio::time::Instant;

/// How long an answer that cannot be had anew is used beyond its TTL.
pub(super) const STALE: Duration = Duration::from_secs(5 * 60);

/// Answers hold at least so long, so that not every request asks.
const MIN_TTL: Duration = Duration::from_secs(1);

/// How long an answer of the C library's resolver holds, which tells no TTL.
const SYSTEM_TTL: Duration = Duration::from_secs(10);

/// One question to one name server may take so long; it is asked twice.
const QUESTION: Duration = Duration::from_secs(2);

/// Who is asked.
#[derive(Clone)]
pub(super) enum Source {
    Dns(Box<TokioResolver>),
    /// `getaddrinfo`, where the system's configuration cannot be read.
    System,
}

/// The addresses of a name.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) addresses: Rc<[IpAddr]>,
    pub(super) fresh_until: Instant,
    pub(super) usable_until: Instant,
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum Unanswered {
    #[error(transparent)]
    Dns(#[from] NetError),
    #[error("{0}")]
    System(Arc<io::Error>),
    #[error("the name has no address")]
    Nothing,
    #[error("no answer in time")]
    Slow,
}

impl Source {
    /// DNS by `servers`, or by those of the system where none are given.
    pub(super) fn of(servers: &[SocketAddr]) -> Self {
        match dns(servers) {
            Ok(resolver) => Self::Dns(Box::new(resolver)),
            Err(error) => {
                tracing::warn!(%error, "names are resolved by the C library: the system's DNS settings cannot be used");
                Self::System
            }
        }
    }

    pub(super) async fn answer(&self, name: &str) -> Result<Answer, Unanswered> {
        let (mut addresses, fresh_until): (Vec<IpAddr>, Instant) = match self {
            Self::Dns(resolver) => {
                let found = resolver.lookup_ip(name).await?;
                (found.iter().collect(), found.valid_until().into())
            }
            Self::System => {
                let found = tokio::net::lookup_host((name, 0)).await;
                let found = found.map_err(|error| Unanswered::System(Arc::new(error)))?;
                let until = Instant::now() + SYSTEM_TTL;
                (found.map(|address| address.ip()).collect(), until)
            }
        };
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.is_empty() {
            return Err(Unanswered::Nothing);
        }
        let fresh_until = fresh_until.max(Instant::now() + MIN_TTL);
        Ok(Answer {
            addresses: addresses.into(),
            fresh_until,
            usable_until: fresh_until + STALE,
        })
    }
}

fn dns(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if servers.is_empty() {
        TokioResolver::builder(provider)?
    } else {
        let servers = servers.iter().map(name_server).collect();
        let config = ResolverConfig::from_name_servers(servers);
        TokioResolver::builder_with_config(config, provider)
    };
    let options: &mut ResolverOpts = builder.options_mut();
    options.use_hosts_file = ResolveHosts::Always;
    options.timeout = options.timeout.min(QUESTION);
    options.attempts = 1;
    // What is remembered is remembered here, where old answers can be used too.
    options.cache_size = 0;
    builder.build()
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.into())
}

//! What `[upstream.NAME]` means besides its servers: who gets a request, and who gets none for a while.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

/// `balance`: which server a request goes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Balance {
    /// They go round, each as often as its weight says. The default.
    RoundRobin,
    /// The one with the fewest requests and streams under way for its weight.
    LeastConnections,
    /// The better one of two that are drawn by weight.
    RandomTwo,
    /// The same one for the same client address, as long as it is there.
    IpHash,
    /// The one that the client's cookie names.
    Cookie(Cookie),
}

/// `cookie = { … }`: how a server is named to its client.
#[derive(Debug, Clone, PartialEq)]
pub struct Cookie {
    /// The cookie's name. Default `streamgate_` and the upstream's name.
    pub name: Arc<str>,
    /// Keys the value. `None`: a random one, which lives as long as the process.
    pub secret: Option<Secret>,
    /// How long browsers keep it. `None` (`"0"`, the default): as long as their session.
    pub max_age: Option<Duration>,
    /// `SameSite`. Default `Lax`.
    pub same_site: SameSite,
}

/// `same_site`: on whose pages a browser sends the cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// Only from pages of the same site.
    Strict,
    /// Also when a link leads here.
    Lax,
    /// Always; browsers take this over https only.
    None,
}

/// Something that is never shown, and wiped from memory when nobody needs it any more.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Keeps `text`.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::new(Zeroizing::new(text.to_owned())))
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// `health = { … }`: requests that ask a server how it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// Path and query of the request.
    pub path: Arc<str>,
    /// The pause between two checks, ±10 %. Default 5 s.
    pub interval: Duration,
    /// One check, connecting included. Default 2 s.
    pub timeout: Duration,
    /// Successes in a row until a server that is down is up; at least 1. Default 2.
    pub rise: u32,
    /// Failures in a row until a server that is up is down; at least 1. Default 3.
    pub fall: u32,
    /// Statuses that are a success. Default 200 to 399.
    pub status: Vec<RangeInclusive<u16>>,
    /// The `Host` of the request. `None`: the server's own address.
    pub host: Option<Arc<str>>,
}

/// `passive = { … }`: what failed requests say of a server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Passive {
    /// So many failures within `window` eject the server; at least 1. Default 5.
    pub failures: u32,
    /// Default 10 s.
    pub window: Duration,
    /// For how long it gets no requests. Default 10 s.
    pub eject: Duration,
}

/// `on_unhealthy` and `on_remove`: what becomes of live streams whose server fails its health check, or whose server or
/// route a reload removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFate {
    /// They go on. The default.
    Keep,
    /// They end as in a drain, spread over `server.drain_timeout`.
    Drain,
    /// They end at once.
    Close,
}

impl StreamFate {
    /// Each of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Keep, Self::Drain, Self::Close];
}

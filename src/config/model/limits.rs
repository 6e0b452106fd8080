//! How fast requests may come, and how many streams may live.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use http::HeaderName;

/// How fast one sender's requests may come; 429 beyond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRate {
    /// Requests in each window in the long run.
    pub count: NonZeroU32,
    /// A second, a minute or an hour.
    pub window: Duration,
    /// Requests that may come at once. Default: those of one window.
    pub burst: NonZeroU32,
    /// Who is one sender.
    pub by: Sender,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sender {
    /// `"client"`: those of one address, IPv6 by /64.
    Client,
    /// `"user"`: those of one user, who is known before they are counted; without a name, those of one address.
    User,
    /// `"header:NAME"`: those with the same value of this field; without it, those of one address.
    Header(HeaderName),
}

/// How many long streams a route has at once. `None` (`0`, the default): no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamLimits {
    /// In all; 503 beyond.
    pub total: Option<NonZeroUsize>,
    /// Of one client address, IPv6 by /64; 429 beyond.
    pub per_ip: Option<NonZeroUsize>,
    /// Of one user, where it is known who asks; 429 beyond.
    pub per_user: Option<NonZeroUsize>,
}

//! Where a feed stood when it stopped, so that another can go on from there.

use std::time::Duration;

use tokio::time::Instant;

/// What a feed leaves behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bridge) struct Halt {
    /// Since when it has been down. How long that was is told in the gap, if there is one.
    pub(in crate::bridge) down: Instant,
    /// Which of the sources it was at.
    pub(in crate::bridge) source: usize,
    /// The last event id of a source of server-sent events; `None`: it gave none, or none that could be sent back.
    pub(in crate::bridge) last_id: Option<Vec<u8>>,
    /// The reconnection time that such a source asked for.
    pub(in crate::bridge) retry: Option<Duration>,
    /// The newest value of `resume`, as JSON.
    pub(in crate::bridge) place: Option<String>,
}

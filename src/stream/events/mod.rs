//! A response without an end on its way to its client: server-sent events, or another body that is made to go on for ever.
//!
//! `Flow` is what is the same wherever the client is. The server's bytes come out of it as they come in; where they are
//! events it says a word of its own between two of them: a heartbeat, and `retry:` before an end. It owns the stream's
//! clocks, its end, and its second life when the server breaks and the route says `resume`. [`run`] writes what comes out to
//! the socket of an HTTP/1.1 client, [`EventBody`] gives it to hyper for one of HTTP/2.
//!
//! Invariant: a client is told of an end as of one in order only where the server has said so, or where it stands between
//! two events.

mod beat;
mod body;
mod flow;
#[cfg(test)]
mod hostile_tests;
mod passage;
mod resume;
mod socket;
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::lifetime::Lifetime;
use super::{Losses, Moment};
use crate::lifecycle::drain;
use crate::limits::StreamPermit;
use crate::observe::access::StreamRecord;
use crate::upstream::Lease;

pub use body::EventBody;
pub use resume::{Reopen, Reopened, Resumption};
pub use socket::{Framing, run};
pub use source::{Pieces, Source};

/// What a stream's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Server-sent events: there is room between two of them.
    Events,
    /// Something else, or events that are compressed: nothing is known of its borders.
    Opaque,
}

/// What a stream needs besides its client.
pub struct Opening {
    /// The server's bytes.
    pub source: Source,
    /// What they are.
    pub content: Content,
    /// After so much silence towards the client it gets a comment; `None`: never.
    pub heartbeat: Option<Duration>,
    /// What is done when the server breaks off, and the client's own `Last-Event-ID`; `None`: the stream ends.
    pub resume: Option<(Resumption, Option<Bytes>)>,
    /// Its clocks.
    pub life: Lifetime,
    /// Its record, open.
    pub record: StreamRecord,
    /// Its place at the server, held to its end.
    pub lease: Lease,
    /// Its place on the route, held to its end.
    pub permit: StreamPermit,
    /// What ends it before its time.
    pub losses: Arc<Losses>,
    /// Tells of a drain.
    pub guard: drain::Guard,
}

/// What is next for the client.
enum Step {
    /// What was appended to the buffer.
    Written,
    /// These bytes.
    Bytes(Bytes),
    /// These fields, behind all data.
    Trailers(Box<HeaderMap>),
    /// Its end.
    Over(Over),
}

/// How a stream ends for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// In order.
    Whole,
    /// As something that broke off.
    Broken,
}

impl Content {
    /// What has no borders cannot be ended in order, so it gets most of a drain's time to come to an end by itself.
    fn moment(self) -> Moment {
        match self {
            Self::Events => Moment::Early,
            Self::Opaque => Moment::Late,
        }
    }
}

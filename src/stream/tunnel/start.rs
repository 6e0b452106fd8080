//! How a tunnel begins, runs, and is recorded.
//!
//! Owns what a tunnel holds beside its bytes: its record, its places at the server and on the route, and what ends it from
//! outside. Invariant: the future is not larger than what an idle tunnel needs.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Tunnel;
use crate::config::model::WebSocket;
use crate::lifecycle::drain::{self, Living};
use crate::limits::StreamPermit;
use crate::observe::access::{End, StreamRecord};
use crate::stream::direction::Direction;
use crate::stream::ending::Ending;
use crate::stream::follow::Follower;
use crate::stream::heartbeat::Heartbeat;
use crate::stream::lifetime::Lifetime;
use crate::stream::{Loss, Losses, Moment, Taken, cut_short};
use crate::tls::ServerStream;
use crate::upstream::Lease;
use crate::websocket::boundary::{Extensions, Sender};

/// What a tunnel needs besides its client.
pub struct Opening {
    /// The backend's socket.
    pub backend: ServerStream,
    /// What the client gets first: the head of the 101.
    pub greeting: Bytes,
    /// What the backend sent behind its head.
    pub early: Bytes,
    /// Its clocks.
    pub life: Lifetime,
    /// Its rules.
    pub rules: WebSocket,
    /// Whether the handshake agreed on extensions.
    pub extensions: Extensions,
    /// Its record, open.
    pub record: StreamRecord,
    /// Its place at the backend, held to its end.
    pub lease: Lease,
    /// Its place on the route, held to its end.
    pub permit: StreamPermit,
    /// What ends it before its time.
    pub losses: Arc<Losses>,
}

/// Data that a peer does not acknowledge for so long, and a heartbeat, ends its connection: what proxies usually
/// allow between two writes.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// Runs a tunnel to its end. What only the start needs is gone before the future is there: it lives as long as its client,
/// and there are as many as clients.
pub fn run(taken: Taken, opening: Opening) -> impl Future<Output = ()> {
    let Opening {
        mut record,
        lease,
        permit,
        losses,
        rules,
        extensions,
        ..
    } = opening;
    let limit = UNACKNOWLEDGED + rules.heartbeat.unwrap_or_default();
    taken.stream.give_up_after(limit);
    opening.backend.give_up_after(limit);
    let direction = |sender, greeting, early| {
        let follower = Follower::new(sender, extensions, &rules);
        Direction::new(sender, follower, greeting, early)
    };
    let up = direction(Sender::Client, Bytes::new(), taken.early);
    let down = direction(Sender::Server, opening.greeting, opening.early);
    let hearts = hearts(&rules, Instant::now());
    let mut tunnel = Tunnel::new(
        (taken.stream, opening.backend),
        (up, down),
        opening.life,
        hearts,
    );
    let guard = taken.guard;
    let loss = loss(&losses, &lease);
    drop(losses);
    // What is captured is used where it lies: bound to a name within, it would have two places in the future.
    async move {
        let cut = tokio::select! {
            end = poll_fn(|cx| tunnel.poll_heeding(cx, &mut record)) => end,
            end = cut_short(&guard, Moment::Tunnel, loss) => Ok(end),
        };
        let end = match cut {
            Err(end) => end,
            Ok(end) => {
                record.ending(end);
                let finish_by = finish_by(end, &guard).await;
                tunnel.cut(end, guard.close_code(), finish_by);
                poll_fn(|cx| tunnel.poll_telling(cx, &mut record)).await
            }
        };
        if let Some(code) = tunnel.close_code() {
            record.closed_with(code);
        }
        // Whoever reads of the end may come for the place.
        drop((lease, permit));
        record.close(end, tunnel.life.silence());
    }
}

/// What the tunnel may lose; nothing where it outlives that, which is the usual case and takes no memory.
fn loss(losses: &Losses, lease: &Lease) -> Loss {
    let watched = losses.watch(Some(lease));
    watched.unwrap_or_else(|| Box::pin(std::future::pending()))
}

/// The client's and the backend's heartbeat.
pub(super) fn hearts(rules: &WebSocket, now: Instant) -> Option<Box<[Heartbeat; 2]>> {
    let peer = |every| Heartbeat::new(every, rules.pong, now);
    rules
        .heartbeat
        .map(|every| Box::new([peer(every), peer(every)]))
}

/// How long a frame that is half sent may take to its end: in a drain, three quarters of the time that it leaves.
async fn finish_by(end: End, guard: &drain::Guard) -> Instant {
    let now = Instant::now();
    if end != End::Drain {
        return now + Ending::FINISH;
    }
    let deadline = guard.ordered().await.deadline_of(Living::WebSocket);
    now + deadline.saturating_duration_since(now) * 3 / 4
}

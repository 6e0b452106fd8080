//! A place for one more client: at the bridge, and among the streams of its route.

use std::sync::Arc;
use std::time::Duration;

use http::Request;

use super::{Asked, asks, cursor};
use crate::bridge::counts::SubscriberKind;
use crate::bridge::rejected::Reason;
use crate::bridge::session::Claim;
use crate::bridge::{self, Bridge, Subscription};
use crate::http::problem::Problem;
use crate::limits::{Holder, StreamPermit, StreamsFull};
use crate::observe::metrics;

/// No place is left for a subscriber now.
pub(super) enum Full {
    /// At the bridge.
    Bridge,
    /// Among the streams of the route, or of the client.
    Streams(StreamsFull),
}

/// A place for one more subscriber. Who gets none is counted and not logged as a warning: a storm of clients that return
/// must not be one of log lines too.
pub(super) fn admit<B>(
    bridge: &Arc<Bridge>,
    request: &Request<B>,
    asked: &Asked<'_>,
    kind: SubscriberKind,
) -> Result<Subscription, Full> {
    let guard = &asked.downstream.guard;
    if guard.is_draining() {
        bridge.rejected().count(Reason::Draining);
        return Err(Full::Bridge);
    }
    // A long poll is one until it is answered: else its clients would get round the limits of the others.
    let place = place(bridge, asked)?;
    let session = asks::session(request.headers(), request.uri().query());
    let claim = Claim::new(cursor(request), session);
    let subscription = bridge
        .subscribe(asked.captures, claim, kind, guard)
        .map_err(|full| {
            bridge.rejected().count(match full {
                bridge::Full::Subscribers(_) => Reason::Subscribers,
                bridge::Full::Channels(_) => Reason::Channels,
            });
            tracing::debug!(bridge = %bridge.config().name, error = %full, "subscriber sent away");
            Full::Bridge
        })?;
    Ok(Subscription {
        _place: Some(place),
        ..subscription
    })
}

/// A place among the streams of the route.
fn place(bridge: &Bridge, asked: &Asked<'_>) -> Result<StreamPermit, Full> {
    let holder = Holder {
        client: asked.downstream.client.0.ip(),
        user: asked.losses.user().map(|user| &**user),
    };
    let streams = &asked.losses.streams;
    streams
        .acquire(asked.stream_limits, holder)
        .map_err(|full| {
            bridge.rejected().count(Reason::Streams);
            metrics::stream_refused(&asked.route, full.into());
            tracing::debug!(bridge = %bridge.config().name, error = %full, "subscriber sent away");
            Full::Streams(full)
        })
}

/// For clients that are no EventSource: those read a status, and an EventSource is ended by it.
pub(super) fn unavailable(full: &Full) -> Problem {
    let retry_after = Duration::from_secs(10 + fastrand::u64(..20));
    if let Full::Streams(StreamsFull::Client | StreamsFull::User) = full {
        return Problem::TooManyRequests { retry_after };
    }
    Problem::Unavailable {
        retry_after,
        reason: "The bridge takes no more clients now.",
    }
}

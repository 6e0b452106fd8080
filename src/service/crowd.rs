//! What a request gets that comes too early, or that wants one stream more than there may be.

use std::time::Duration;

use http::Request;

use super::Asked;
use super::own::Told;
use crate::bridge::endpoint;
use crate::bridge::rejected::Reason;
use crate::http::problem::Problem;
use crate::limits::StreamsFull;
use crate::observe::metrics;
use crate::snapshot::{Action, Route};
use crate::stream::Answer;

/// The word in the log for a request that was too early.
const TOO_FAST: &str = "rate_limited";

/// What is known of a request's sender when it is taken at its route's pace.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum By<'a> {
    /// From where it comes.
    Origin,
    /// Who was let in, if it has a name.
    User(Option<&'a str>),
}

/// Takes the request at its route's pace, once as much is known of its sender as the route counts by. An answer: for an EventSource of a bridge, which a status would end for ever.
///
/// # Errors
/// 429
pub(super) fn pace<B>(
    route: &Route,
    by: By<'_>,
    asked: &Asked<'_>,
    request: &Request<B>,
    told: &mut Told,
) -> Result<Option<Answer>, Problem> {
    let Some(rule) = &route.rate else {
        return Ok(None);
    };
    let user = match (by, rule.is_by_user()) {
        (By::Origin, false) => None,
        (By::User(user), true) => user,
        // It is counted at the other of the two moments.
        (By::Origin, true) | (By::User(_), false) => return Ok(None),
    };
    let client = asked.downstream.client;
    let Err(too_fast) = rule.check(client.0.ip(), user, request.headers()) else {
        return Ok(None);
    };
    let retry_after = too_fast.retry_after;
    metrics::too_fast(&route.name);
    tracing::debug!(id = %asked.id, route = &*route.name, %client, ?retry_after, why = TOO_FAST, "request refused");
    let Action::Bridge(bridge) = &route.action else {
        return Err(Problem::TooFast {
            retry_after,
            quota: too_fast.quota,
        });
    };
    bridge.rejected().count(Reason::Rate);
    match endpoint::sent_away(bridge, request, asked.id, retry_after) {
        Some(answer) => {
            if let Some(record) = &mut told.record {
                record.failed(TOO_FAST);
            }
            Ok(Some(answer))
        }
        None => Err(Problem::TooFast {
            retry_after,
            quota: too_fast.quota,
        }),
    }
}

/// Streams are long, and nobody knows when a place will be free: `retry_after` is a guess.
pub(super) fn full(full: StreamsFull, retry_after: Duration) -> Problem {
    match full {
        StreamsFull::Route => Problem::Unavailable {
            retry_after,
            reason: "There are too many streams here.",
        },
        StreamsFull::Client | StreamsFull::User => Problem::TooManyRequests { retry_after },
    }
}

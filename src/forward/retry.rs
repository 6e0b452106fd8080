//! Which servers are asked, and how often.
//!
//! A request is repeated only where it cannot have had an effect twice: nothing of it reached a server, or it is
//! idempotent (RFC 9110 §9.2.2), has no body, and nothing of an answer had come. Its body is taken from the client only once
//! there is a connection to send it on. `retries` bounds the number of tries, each of which has its own limits in time, and
//! none begins after the response was due.

use std::rc::Rc;

use hyper::body::Incoming;
use tokio::time::Instant;

use super::attempt::{self, Failed, Way};
use super::request::Outbound;
use super::request_body::RequestBody;
use super::{Asked, ForwardError};
use crate::respond;
use crate::upstream::http1::{ExchangeError, Framing, ResponseHead};
use crate::upstream::pool::Pools;
use crate::upstream::{Ask, Lease, Reply, Upstream};

/// A place at a server, with the head of its response and what follows it.
pub(super) type Exchanged = (Lease, ResponseHead, Reply<RequestBody<Incoming>>);

/// Exchanges heads with a server of `upstream`; tries again where the request cannot have had an effect. `cookie` is
/// what the client brought to name its server.
pub(super) async fn exchange(
    upstream: &Upstream,
    pools: &Rc<Pools>,
    (outbound, body): (&Outbound, RequestBody<Incoming>),
    cookie: Option<&str>,
    asked: &Asked<'_>,
) -> Result<Exchanged, ForwardError> {
    let mut body = Some(body).filter(|_body| outbound.framing != Framing::Empty);
    let begun = Instant::now();
    let mut tries_left = upstream.config().retries;
    let mut tried = Vec::new();
    let mut failure: Option<ForwardError> = None;
    loop {
        let ask = Ask {
            client: asked.downstream.client.0.ip(),
            cookie,
            tried: &tried,
        };
        let lease = match upstream.lease(&ask).await {
            Ok(lease) => lease,
            // What the last server did says more than that there is no other.
            Err(none) => return Err(failure.unwrap_or(none.into())),
        };
        let request = (outbound, &mut body);
        let failed = match ask_one(upstream, pools, &lease, request, asked).await {
            Ok((head, reply)) => return Ok((lease, head, reply)),
            Err(failed) => failed,
        };
        let (is_servers, may_repeat) = (is_servers(&failed), may_repeat(&failed, outbound));
        let error = failed.at(&lease);
        if is_servers {
            report(upstream, &lease, &error);
        }
        let limit = asked.timeouts.response;
        let in_time = limit.is_none_or(|limit| begun.elapsed() < limit);
        if !may_repeat || !in_time || tries_left == 0 {
            return Err(error);
        }
        tries_left -= 1;
        let cause = respond::chain(&error);
        tracing::debug!(id = %asked.id, server = %lease.addr(), cause, tries_left, "trying again");
        tried.push(lease.endpoint().id());
        failure = Some(error);
    }
}

/// Asks one server: on a kept connection if there is one, and once more on a new one when the kept one turns out to be
/// closed, which is nobody's failure.
async fn ask_one(
    upstream: &Upstream,
    pools: &Rc<Pools>,
    lease: &Lease,
    (outbound, body): (&Outbound, &mut Option<RequestBody<Incoming>>),
    asked: &Asked<'_>,
) -> Result<(ResponseHead, Reply<RequestBody<Incoming>>), Failed> {
    // A tunnel keeps its connection for good, and its handshake is not repeated: it begins on a new one.
    let way = if outbound.key.is_some() {
        Way::Fresh
    } else {
        Way::PoolFirst
    };
    let request = (outbound, &mut *body);
    let outcome = attempt::run(upstream, pools, lease, request, asked, way).await;
    match outcome {
        Err(failed) if is_stale(&failed) && may_repeat(&failed, outbound) => {
            attempt::run(upstream, pools, lease, (outbound, body), asked, Way::Fresh).await
        }
        other => other,
    }
}

/// Counts a failure against its server.
fn report(upstream: &Upstream, lease: &Lease, error: &ForwardError) {
    if let Some(eject) = upstream.failed(lease) {
        let (name, cause) = (&upstream.config().name, respond::chain(error));
        tracing::warn!(upstream = %name, server = %lease.addr(), cause, ?eject, "server ejected");
    }
}

/// Whether nothing of an answer had come when the connection ended.
fn is_unanswered(source: &ExchangeError) -> bool {
    matches!(
        source,
        ExchangeError::Broken(_) | ExchangeError::Closed { answered: false }
    )
}

/// Whether a connection that had been idle was closed by its server just when it was needed.
fn is_stale(failed: &Failed) -> bool {
    matches!(failed, Failed::Exchange { source, reused: true } if is_unanswered(source))
}

/// Whether the request may be sent again, to whichever server.
fn may_repeat(failed: &Failed, outbound: &Outbound) -> bool {
    match failed {
        Failed::Unreached(_) => true,
        Failed::Exchange { source, .. } => {
            let bare = outbound.framing == Framing::Empty && outbound.key.is_none();
            // What its server says it has not looked at may be anything (RFC 9113 §8.7).
            let untouched = matches!(source, ExchangeError::Refused(_));
            bare && (untouched || outbound.method.is_idempotent() && is_unanswered(source))
        }
    }
}

/// Whether the failure says something of the server: what its client did, or did not do, does not.
fn is_servers(failed: &Failed) -> bool {
    match failed {
        Failed::Unreached(_) => true,
        stale if is_stale(stale) => false,
        Failed::Exchange { source, .. } => match source {
            // A server that takes no more for now, or is about to restart in order, has failed nobody.
            ExchangeError::Refused(_) => false,
            ExchangeError::Broken(_)
            | ExchangeError::Reset(_)
            | ExchangeError::Http2(_)
            | ExchangeError::Closed { .. }
            | ExchangeError::BadHead(_)
            | ExchangeError::HeadTooLarge
            | ExchangeError::TooManyInterim
            | ExchangeError::TimedOut(_) => true,
            ExchangeError::Stalled(_) | ExchangeError::Client(_) | ExchangeError::BodyTooShort => {
                false
            }
        },
    }
}

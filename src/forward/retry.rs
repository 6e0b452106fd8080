//! Which servers are asked, and how often.
//!
//! A request is repeated only where it cannot have had an effect twice: nothing of it reached a server, or it is
//! idempotent (RFC 9110 §9.2.2), has no body, and nothing of an answer had come. Its body is taken from the client only once
//! there is a connection to send it on. `retries` bounds the number of tries, each of which has its own limits in time, and
//! none begins after the response was due. Another server is tried at once; one that was tried before gets some time to
//! come back, as HAProxy gives it.

use std::rc::Rc;
use std::time::Duration;

use hyper::body::Incoming;
use tokio::time::Instant;

use super::attempt::{self, Failed, Way};
use super::request::Outbound;
use super::request_body::RequestBody;
use super::{Asker, ForwardError, Servers};
use crate::respond;
use crate::upstream::http1::{ExchangeError, ResponseHead};
use crate::upstream::pool::Pools;
use crate::upstream::{Ask, Lease, Reply, Upstream};

/// How long a server is left alone before its second try; twice as long before each further one.
const PAUSE: Duration = Duration::from_millis(100);

/// A place at a server, with the head of its response and what follows it.
pub(super) type Exchanged = (Lease, ResponseHead, Reply<RequestBody<Incoming>>);

/// Exchanges heads with one of `servers`; tries again where the request cannot have had an effect. There is a body only where
/// the request says so.
pub(super) async fn exchange(
    servers: Servers<'_>,
    (outbound, mut body): (&Outbound, Option<RequestBody<Incoming>>),
    asker: Asker<'_>,
) -> Result<Exchanged, ForwardError> {
    let Servers {
        upstream,
        pools,
        cookie,
    } = servers;
    let due = outbound
        .limit(asker.timeouts)
        .map(|limit| Instant::now() + limit);
    let mut tries_left = upstream.config().retries;
    let mut tried = Vec::new();
    let mut failure: Option<ForwardError> = None;
    loop {
        let ask = Ask {
            client: asker.client.0.ip(),
            cookie,
            tried: &tried,
        };
        let lease = match upstream.lease(&ask).await {
            Ok(lease) => lease,
            // What the last server did says more than that there is no other.
            Err(none) => return Err(failure.unwrap_or(none.into())),
        };
        if let Some(failed) = failure.take_if(|_failed| tried.contains(&lease.endpoint().id())) {
            let again = Instant::now() + pause(tried.len(), upstream.config().connect_timeout);
            if due.is_some_and(|due| again >= due) {
                return Err(failed);
            }
            tokio::time::sleep_until(again).await;
        }
        let request = (outbound, &mut body);
        let failed = match ask_one(upstream, pools, &lease, request, asker).await {
            Ok((head, reply)) => return Ok((lease, head, reply)),
            Err(failed) => failed,
        };
        let (is_servers, may_repeat) = (is_servers(&failed), may_repeat(&failed, outbound));
        let error = failed.at(&lease);
        if is_servers {
            report(upstream, &lease, &error);
        }
        let in_time = due.is_none_or(|due| Instant::now() < due);
        if !may_repeat || !in_time || tries_left == 0 {
            return Err(error);
        }
        tries_left -= 1;
        let cause = respond::chain(&error);
        tracing::debug!(id = %asker.id, server = %lease.addr(), cause, tries_left, "trying again");
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
    asker: Asker<'_>,
) -> Result<(ResponseHead, Reply<RequestBody<Incoming>>), Failed> {
    // A tunnel keeps its connection for good, and its handshake is not repeated: it begins on a new one.
    let way = if outbound.key.is_some() {
        Way::Fresh
    } else {
        Way::PoolFirst
    };
    let request = (outbound, &mut *body);
    let outcome = attempt::run(upstream, pools, lease, request, asker, way).await;
    match outcome {
        Err(failed) if is_stale(&failed) && may_repeat(&failed, outbound) => {
            attempt::run(upstream, pools, lease, (outbound, body), asker, Way::Fresh).await
        }
        other => other,
    }
}

/// How long to wait after so many tries before a server is tried that has failed one of them: at random about twice as
/// long each time, so that requests that failed together do not come back together, and no longer than `most`.
fn pause(tries: usize, most: Duration) -> Duration {
    let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX);
    let whole = PAUSE.saturating_mul(2_u32.saturating_pow(doublings));
    whole.mul_f64(0.75 + 0.5 * fastrand::f64()).min(most)
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
        ExchangeError::Broken {
            answered: false,
            ..
        } | ExchangeError::Closed { answered: false }
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
            // What its server says it has not looked at may be anything (RFC 9113 §8.7).
            let untouched = matches!(source, ExchangeError::Refused(_));
            outbound.is_bare() && untouched || outbound.is_repeatable() && is_unanswered(source)
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
            ExchangeError::Refused(_) | ExchangeError::Http1Required(_) => false,
            ExchangeError::Broken { .. }
            | ExchangeError::Reset(_)
            | ExchangeError::Http2(_)
            | ExchangeError::Closed { .. }
            | ExchangeError::BadHead(_)
            | ExchangeError::HeadTooLarge
            | ExchangeError::TooManyInterim
            | ExchangeError::NotTaken(_)
            | ExchangeError::TimedOut(_) => true,
            ExchangeError::Stalled(_) | ExchangeError::Client(_) | ExchangeError::BodyTooShort => {
                false
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pause_is_about_twice_as_long_up_to_the_most() {
        let most = Duration::from_secs(3);
        for (tries, milliseconds) in [
            (1, 75..=125),
            (2, 150..=250),
            (3, 300..=500),
            (11, 3000..=3000),
        ] {
            for _ in 0..100 {
                let pause = pause(tries, most).as_millis();
                assert!(milliseconds.contains(&pause), "{tries}: {pause} ms");
            }
        }
        assert_eq!(pause(usize::MAX, most), most);
    }
}

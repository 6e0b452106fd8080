//! Which servers are asked, and how often.

use std::rc::Rc;

use http::Method;
use hyper::body::Incoming;

use super::attempt::{self, Failed, Way};
use super::request::Outbound;
use super::{Asked, ForwardError};
use crate::upstream::http1::{ExchangeError, Framing, ResponseHead};
use crate::upstream::pool::Pools;
use crate::upstream::{Lease, Reply, Upstream};

/// A place at a server, with the head of its response and what follows it.
pub(super) type Exchanged = (Lease, ResponseHead, Reply<Incoming>);

/// Exchanges heads with a server of `upstream`; tries again where the request cannot have had an effect.
pub(super) async fn exchange(
    upstream: &Upstream,
    pools: &Rc<Pools>,
    outbound: &Outbound,
    body: Incoming,
    asked: &Asked<'_>,
) -> Result<Exchanged, ForwardError> {
    let mut body = Some(body).filter(|_body| outbound.framing != Framing::Empty);
    let mut tries_left = upstream.config().retries;
    let mut way = Way::PoolFirst;
    loop {
        let lease = upstream.lease();
        let failed =
            match attempt::run(upstream, pools, &lease, (outbound, &mut body), asked, way).await {
                Ok((head, reply)) => return Ok((lease, head, reply)),
                Err(failed) => failed,
            };
        let reused = match &failed {
            Failed::Unreached(_) => false,
            Failed::Exchange { source, reused } => {
                let harmless = outbound.framing == Framing::Empty
                    && outbound.key.is_none()
                    && is_idempotent(&outbound.method);
                let unanswered = matches!(
                    source,
                    ExchangeError::Broken(_)
                        | ExchangeError::Closed { answered: false }
                        | ExchangeError::Refused(_)
                );
                if !harmless || !unanswered {
                    return Err(failed.at(&lease));
                }
                *reused
            }
        };
        // A kept connection that its server closed just now is nobody's failure; anything else is a try.
        if reused {
            way = Way::Fresh;
        } else if tries_left == 0 {
            return Err(failed.at(&lease));
        } else {
            tries_left -= 1;
        }
    }
}

/// RFC 9110 §9.2.2
fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    )
}

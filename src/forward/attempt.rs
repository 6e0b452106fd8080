//! One attempt at one server: a connection, and an exchange of heads on it.

use std::rc::Rc;

use hyper::body::Incoming;

use super::request::Outbound;
use super::request_body::RequestBody;
use super::{Asked, ForwardError};
use crate::upstream::connect::{self, ConnectError};
use crate::upstream::http1::{Connection, Exchange, ExchangeError, Reply, ResponseHead};
use crate::upstream::pool::Pools;
use crate::upstream::{Lease, Upstream};

/// Which connection is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A kept one, if there is one.
    PoolFirst,
    /// A new one: a kept one was found closed.
    Fresh,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// There is no connection: nothing was sent.
    Unreached(ConnectError),
    /// There was one.
    Exchange {
        source: ExchangeError,
        /// Whether it had been used before: its server may have closed it just then.
        reused: bool,
    },
}

impl Failed {
    /// The error of a request whose last attempt this was.
    pub(super) fn at(self, lease: &Lease) -> ForwardError {
        match self {
            Self::Unreached(source) => ForwardError::Connect(source),
            Self::Exchange { source, .. } => ForwardError::Exchange {
                server: lease.addr().clone(),
                source,
            },
        }
    }
}

/// Sends the request to the server of `lease` and reads the head of its response. `body` is taken once a connection
/// is there.
pub(super) async fn run(
    upstream: &Upstream,
    pools: &Rc<Pools>,
    lease: &Lease,
    (outbound, body): (&Outbound, &mut Option<RequestBody<Incoming>>),
    asked: &Asked<'_>,
    way: Way,
) -> Result<(ResponseHead, Reply<RequestBody<Incoming>>), Failed> {
    let connection = connection(upstream, pools, lease, way)
        .await
        .map_err(Failed::Unreached)?;
    let mut head = Vec::with_capacity(1024);
    outbound.write_head(lease.addr(), &mut head);
    let exchange = Exchange::new(
        connection,
        outbound.method.clone(),
        head,
        (outbound.framing, body.take()),
        outbound.send,
    );
    let limit = if outbound.key.is_some() {
        asked.timeouts.upgrade
    } else {
        asked.timeouts.response
    };
    exchange
        .run(limit)
        .await
        .map_err(|(source, spent)| Failed::Exchange {
            source,
            reused: spent.reused,
        })
}

async fn connection(
    upstream: &Upstream,
    pools: &Pools,
    lease: &Lease,
    way: Way,
) -> Result<Connection, ConnectError> {
    if way == Way::PoolFirst
        && let Some(kept) = pools.take(lease.endpoint().id())
    {
        return Ok(kept);
    }
    let stream = connect::open(lease.addr(), upstream.config().connect_timeout).await?;
    Ok(Connection::new(stream))
}

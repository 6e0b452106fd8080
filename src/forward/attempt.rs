//! One attempt at one server: a connection, and an exchange of heads on it.

use std::rc::Rc;

use http::Request;
use hyper::body::Incoming;

use super::request::Outbound;
use super::request_body::RequestBody;
use super::{Asker, ForwardError};
use crate::tls::client::Offer;
use crate::upstream::connect::ConnectError;
use crate::upstream::http1::{Connection, Exchange, ExchangeError, Framing, ResponseHead};
use crate::upstream::link::{self, Link, Need};
use crate::upstream::pool::{Idle, Pools};
use crate::upstream::{Lease, Reply, Upstream, http2, proxy_header};

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

/// How often a request is sent to one server over HTTP/2: once more when nothing came of the first time, since what
/// the server closed just then is nobody's failure.
const SENT_OVER_HTTP2: u32 = 2;

/// What an attempt gives when it succeeds.
type Answered = (ResponseHead, Reply<RequestBody<Incoming>>);

/// Sends the request to the server of `lease` and reads the head of its response. `body` is taken once a connection
/// is there.
pub(super) async fn run(
    upstream: &Upstream,
    pools: &Rc<Pools>,
    lease: &Lease,
    (outbound, body): (&Outbound, &mut Option<RequestBody<Incoming>>),
    asker: Asker<'_>,
    way: Way,
) -> Result<Answered, Failed> {
    let greeting = greeting(upstream, asker);
    let mut need = Need {
        offer: match outbound.key {
            // RFC 8441 is not spoken to servers: a WebSocket is an upgrade.
            Some(_) => Offer::Http1,
            None => Offer::Either,
        },
        idle: idle(outbound, way),
        greeting: &greeting,
    };
    let mut tried = Tried::default();
    loop {
        let link = match link::take(upstream, pools, lease.endpoint(), need).await {
            Ok(link) => link,
            Err(error) => return Err(tried.with_body(outbound, Failed::Unreached(error))),
        };
        let earlier = tried.failed.take();
        let reserved = match link {
            Link::Http2(reserved) => reserved,
            Link::Http1(connection) => match earlier {
                // The server has forgotten HTTP/2 since, and the body is with the request that was not sent.
                Some(failed) if outbound.framing != Framing::Empty => return Err(failed),
                _ => return over_http1(connection, lease, (outbound, body), asker).await,
            },
        };
        let request = match tried.unsent.take() {
            Some(request) => request,
            None => request(lease, (outbound, body))?,
        };
        let exchange = http2::exchange(reserved, request, outbound.limit(asker.timeouts));
        // Boxed: requests over HTTP/1.1 should not carry the room for it.
        let failed = match Box::pin(exchange).await {
            Ok((head, reply)) => return Ok((head, Reply::Http2(reply))),
            Err(failed) => *failed,
        };
        if outbound.is_bare() && matches!(failed.error, ExchangeError::Http1Required(_)) {
            need.offer = Offer::Http1;
        }
        tried = tried.and_failed(failed, outbound, way)?;
    }
}

/// What has become of a request over HTTP/2 so far.
#[derive(Default)]
struct Tried {
    times: u32,
    failed: Option<Failed>,
    /// The request, where it came back as it was.
    unsent: Option<Request<http2::Upload>>,
}

impl Tried {
    /// The failure to be told where `next` followed: without its body, which went with an earlier try, a request cannot
    /// be given to another server.
    fn with_body(self, outbound: &Outbound, next: Failed) -> Failed {
        let earlier = self
            .failed
            .filter(|_failed| outbound.framing != Framing::Empty);
        earlier.unwrap_or(next)
    }

    /// Whether it may be sent once more.
    fn and_failed(
        self,
        failed: http2::Failed,
        outbound: &Outbound,
        way: Way,
    ) -> Result<Self, Failed> {
        let wants_http1 = matches!(failed.error, ExchangeError::Http1Required(_));
        let refused = wants_http1 || matches!(failed.error, ExchangeError::Refused(_));
        let untouched = failed.unsent.is_some() || outbound.is_bare() && refused;
        // Said once only: a shared connection is taken again whether or not it had been used before.
        let reused = failed.reused
            && way == Way::PoolFirst
            && matches!(failed.error, ExchangeError::Broken { .. });
        let error = Failed::Exchange {
            source: failed.error,
            reused,
        };
        let times = self.times + 1;
        if !untouched || times >= SENT_OVER_HTTP2 && !wants_http1 {
            return Err(error);
        }
        Ok(Self {
            times,
            failed: Some(error),
            unsent: failed.unsent,
        })
    }
}

/// Which kept connections will do: a request that could not be repeated must not meet its server's end.
fn idle(outbound: &Outbound, way: Way) -> Idle {
    match way {
        Way::Fresh => Idle::New,
        Way::PoolFirst if outbound.is_repeatable() => Idle::Any,
        Way::PoolFirst => Idle::Recent,
    }
}

fn greeting(upstream: &Upstream, asker: Asker<'_>) -> Vec<u8> {
    upstream
        .config()
        .proxy_protocol
        .map(|version| proxy_header::encode(version, asker.client.0, asker.local))
        .unwrap_or_default()
}

async fn over_http1(
    connection: Connection,
    lease: &Lease,
    (outbound, body): (&Outbound, &mut Option<RequestBody<Incoming>>),
    asker: Asker<'_>,
) -> Result<Answered, Failed> {
    let mut head = Vec::with_capacity(1024);
    outbound.write_head(lease.addr(), &mut head);
    let exchange = Exchange::new(
        connection,
        outbound.method.clone(),
        head,
        (outbound.framing, body.take()),
        outbound.send,
    );
    match exchange.run(outbound.limit(asker.timeouts)).await {
        Ok((head, reply)) => Ok((head, Reply::Http1(Box::new(reply)))),
        Err(failed) => Err(Failed::Exchange {
            source: failed.error,
            reused: failed.reused,
        }),
    }
}

fn request(
    lease: &Lease,
    (outbound, body): (&Outbound, &mut Option<RequestBody<Incoming>>),
) -> Result<Request<http2::Upload>, Failed> {
    let upload = http2::Upload::new(body.take());
    let (method, path) = (&outbound.method, &outbound.path);
    http2::request(
        lease.addr().scheme,
        method,
        path,
        outbound.fields(lease.addr()),
        upload,
    )
    .map_err(|error| Failed::Exchange {
        source: ExchangeError::Client(error.into()),
        reused: false,
    })
}

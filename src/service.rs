//! One request: route, guard, action, stream, log line.

use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;

use crate::bridge::endpoint;
use crate::forward::{self, ForwardError};
use crate::http::body::Body;
use crate::http::framing;
use crate::http::host::RequestHost;
use crate::http::problem::{GatewayFault, Problem};
use crate::observe::access::{End, RequestId, RequestRecord};
use crate::respond;
use crate::route::{self, Captures, Found};
use crate::snapshot::{Action, Current, Held, Route, Snapshot};
use crate::stream::{Answer, Downstream};
use crate::tls;
use crate::tls::client::ServerHandshakeError;
use crate::upstream::connect::ConnectError;
use crate::upstream::http1::ExchangeError;
use crate::upstream::pool::Pools;
use crate::websocket::handshake::HandshakeFault;

/// One worker's service: what every request on it needs.
pub struct Service {
    current: Current,
    pools: Rc<Pools>,
}

impl Service {
    /// A service that reads its configuration from `shared` at each request.
    #[must_use]
    pub fn new(shared: Arc<ArcSwap<Snapshot>>) -> Self {
        Self {
            current: Current::new(shared),
            pools: Rc::default(),
        }
    }

    /// The snapshot in force.
    #[must_use]
    pub fn snapshot(&self) -> Held {
        self.current.get()
    }

    /// The worker's connections to servers.
    #[must_use]
    pub fn pools(&self) -> &Rc<Pools> {
        &self.pools
    }

    /// Answers one request. Where the answer is a long stream that leaves hyper it never returns: the connection's
    /// owner takes the socket, and drops it.
    ///
    /// # Cancel safety
    /// Dropping it cancels the request, to its backend too.
    pub async fn serve(
        &self,
        downstream: &Downstream,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let id = RequestId::random();
        let mut record = RequestRecord::begin(&id, downstream.client, &request);
        let (version, accept) = (
            request.version(),
            request.headers().get(header::ACCEPT).cloned(),
        );
        let problem = match self.answer(downstream, request, &id, &mut record).await {
            Ok(Answer::Response(response)) => return finish(response, record),
            Ok(Answer::HandOver(stream)) => match &downstream.slot {
                Some(slot) => {
                    record.into_iter().for_each(RequestRecord::superseded);
                    match slot.give(stream).await {}
                }
                None => Problem::Internal,
            },
            Err(problem) => problem,
        };
        let mut response = problem.response(accept.as_ref()).map(Body::from);
        if let Ok(id) = HeaderValue::from_str(id.as_str()) {
            response.headers_mut().insert("x-request-id", id);
        }
        if ends_connection(&problem) && version < Version::HTTP_2 {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        if let Some(record) = &mut record {
            record.failed(problem.label());
        }
        finish(response, record)
    }

    async fn answer(
        &self,
        downstream: &Downstream,
        request: Request<Incoming>,
        id: &RequestId,
        record: &mut Option<RequestRecord>,
    ) -> Result<Answer, Problem> {
        let snapshot = self.current.get();
        let host = admit(&request)?;
        let (route, captures) = find_route(&snapshot, &host, &request)?;
        if let Some(record) = record {
            record.routed(host.name(), &route.name);
        }
        match &route.action {
            Action::Forward {
                upstream,
                strip_prefix,
            } => {
                let asked = forward::Asked {
                    downstream,
                    version: request.version(),
                    host: &host,
                    route: &route.name,
                    timeouts: &route.timeouts,
                    strip_prefix: strip_prefix.as_deref(),
                    body_size: guard_body(&snapshot, &request)?,
                    id,
                };
                let answer = forward::forward(upstream, &self.pools, request, &asked, record).await;
                answer.map_err(|error| explain(&error, id, route))
            }
            Action::Bridge(bridge) => {
                let asked = endpoint::Asked {
                    downstream,
                    captures: &captures,
                    id: id.clone(),
                    route: route.name.clone(),
                };
                endpoint::answer(bridge, request, asked).await
            }
        }
    }
}

/// Whether what follows on an HTTP/1.1 connection can no longer be trusted, or is a body that nobody wants.
fn ends_connection(problem: &Problem) -> bool {
    matches!(
        problem,
        Problem::BadRequest(_) | Problem::RequestTimeout | Problem::ContentTooLarge { .. }
    )
}

/// Refuses what two parsers could read in two ways, before anything is done with it.
fn admit(request: &Request<Incoming>) -> Result<RequestHost, Problem> {
    let (method, version, headers) = (request.method(), request.version(), request.headers());
    framing::check(method, version, headers)
        .map_err(|_ambiguous| Problem::BadRequest("the request is ambiguous"))?;
    route::path::check(request.uri().path())
        .map_err(|_unsafe| Problem::BadRequest("the path is not a plain one"))?;
    RequestHost::of(request.uri(), headers, version)
        .map_err(|_bad| Problem::BadRequest("the host is missing or not one"))
}

fn find_route<'a>(
    snapshot: &'a Snapshot,
    host: &RequestHost,
    request: &Request<Incoming>,
) -> Result<(&'a Route, Captures), Problem> {
    match snapshot
        .router
        .find(host.name(), request.uri().path(), request.method())
    {
        Found::Route { target, captures } => Ok((target, captures)),
        Found::MethodNotAllowed(allowed) => Err(Problem::MethodNotAllowed(allowed)),
        Found::Nothing => Err(Problem::NotFound),
    }
}

/// The limit for the request's body, which its announced length must not pass.
fn guard_body(snapshot: &Snapshot, request: &Request<Incoming>) -> Result<Option<u64>, Problem> {
    let limit = snapshot.config.limits.body_size;
    let announced = http_body::Body::size_hint(request.body()).lower();
    match limit {
        Some(limit) if announced > limit => Err(Problem::ContentTooLarge { limit }),
        within => Ok(within),
    }
}

/// From what went wrong to what the client is told; the log is told the cause.
fn explain(error: &ForwardError, id: &RequestId, route: &Route) -> Problem {
    let problem = problem(error);
    let cause = respond::chain(error);
    if problem.status().is_server_error() {
        tracing::warn!(%id, route = &*route.name, error = problem.label(), cause, "no response from upstream");
        return problem;
    }
    tracing::debug!(%id, route = &*route.name, error = problem.label(), cause, "request refused");
    problem
}

fn problem(error: &ForwardError) -> Problem {
    Problem::Gateway(match error {
        ForwardError::Connect(ConnectError::Resolve { .. }) => GatewayFault::DnsError,
        ForwardError::Connect(ConnectError::Refused { .. }) => GatewayFault::ConnectionRefused,
        ForwardError::Connect(ConnectError::TimedOut { .. }) => GatewayFault::ConnectionTimeout,
        ForwardError::Connect(ConnectError::Tls { source, .. }) => match source {
            ServerHandshakeError::Certificate(_) => GatewayFault::TlsCertificate,
            ServerHandshakeError::Alert(_) => GatewayFault::TlsAlert,
            ServerHandshakeError::Failed(_) => GatewayFault::TlsProtocol,
        },
        ForwardError::Connect(ConnectError::Http2 { .. }) => GatewayFault::ProtocolError,
        ForwardError::Exchange { source, .. } => match source {
            ExchangeError::Broken(error) if tls::client::alert(error).is_some() => {
                GatewayFault::TlsAlert
            }
            ExchangeError::Broken(_) | ExchangeError::Closed { answered: false } => {
                GatewayFault::ConnectionTerminated
            }
            ExchangeError::Closed { answered: true } => GatewayFault::ResponseIncomplete,
            ExchangeError::Refused(_) | ExchangeError::Reset(_) => {
                GatewayFault::ConnectionTerminated
            }
            ExchangeError::Http2(_) | ExchangeError::BadHead(_) | ExchangeError::TooManyInterim => {
                GatewayFault::ProtocolError
            }
            ExchangeError::HeadTooLarge => GatewayFault::ResponseHeadTooLarge,
            ExchangeError::TimedOut(_) => GatewayFault::ResponseTimeout,
            ExchangeError::Stalled(_) => return Problem::RequestTimeout,
            ExchangeError::Client(_) | ExchangeError::BodyTooShort => {
                return Problem::BadRequest("the request's body broke off");
            }
            ExchangeError::BodyTooLarge { limit } => {
                return Problem::ContentTooLarge { limit: *limit };
            }
        },
        ForwardError::Handshake(HandshakeFault::Version) => return Problem::UpgradeRequired,
        ForwardError::Handshake(_) => {
            return Problem::BadRequest("the WebSocket handshake is not a valid one");
        }
        ForwardError::Upgrade { .. } | ForwardError::UnaskedUpgrade { .. } => {
            GatewayFault::UpgradeFailed
        }
    })
}

/// Closes the record of a request whose answer is at hand. A body that streams has taken the request's record with it,
/// or has a record of its own.
fn finish(response: Response<Body>, record: Option<RequestRecord>) -> Response<Body> {
    let Some(mut record) = record else {
        return response;
    };
    if matches!(response.body(), Body::Stream(_)) {
        record.superseded();
        return response;
    }
    record.answered(response.status());
    record.bytes_out = http_body::Body::size_hint(response.body()).lower();
    record.ended(End::Backend);
    response
}

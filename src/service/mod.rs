//! One request: route, guard, action, stream, log line.

mod crowd;
mod host;
mod own;
mod page;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName, Method, Request, Response};
use hyper::body::Incoming;

use crate::bridge::endpoint;
use crate::config::model::{Fixed, PathChange};
use crate::forward::{self, BodyFault, ForwardError};
use crate::guard;
use crate::http::body::Body;
use crate::http::host::RequestHost;
use crate::http::origin::Origin;
use crate::http::problem::{GatewayFault, Problem};
use crate::observe::access::{RequestId, RequestRecord};
use crate::observe::metrics;
use crate::respond::fields::Rendered;
use crate::respond::values::Values;
use crate::respond::{self, action};
use crate::route::{Captures, Escape, Found};
use crate::snapshot::{Action, Current, Held, Route, Snapshot};
use crate::stream::{Answer, Downstream};
use crate::tls;
use crate::tls::client::ServerHandshakeError;
use crate::upstream::Unavailable;
use crate::upstream::connect::ConnectError;
use crate::upstream::http1::ExchangeError;
use crate::upstream::pool::Pools;
use crate::websocket::handshake::HandshakeFault;

use own::{Asker, Told, asked_of, finish, owned, refused};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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
        mut request: Request<Incoming>,
    ) -> Response<Body> {
        let snapshot = self.current.get();
        let origin = origin(&snapshot, downstream, request.headers());
        let id = request_id(&origin, request.headers());
        // From here on the client is who asked, not who passed it on.
        let downstream = downstream.told_by(&origin);
        let mut told = Told {
            record: Some(RequestRecord::begin(
                &id,
                downstream.client,
                request.version(),
                || asked_of(&request),
            )),
            fields: Rendered::default(),
        };
        let asker = Asker::of(&request);
        let asked = Asked {
            snapshot: &snapshot,
            downstream: &downstream,
            origin: &origin,
            id: &id,
        };
        let upgrade = guard::websocket::extended(&downstream, &mut request);
        let is_connect = upgrade.as_ref().is_ok_and(Option::is_some);
        let answer = match &upgrade {
            Ok(_) => self.answer(&asked, request, &mut told).await,
            Err(problem) => Err(problem.clone()),
        };
        let problem = match answer {
            // It would say that there is a tunnel (RFC 9110 §9.3.6).
            Ok(Answer::Response(response)) if is_connect && response.status().is_success() => {
                Problem::BadRequest("this path does not serve WebSocket")
            }
            Ok(Answer::Response(response)) => return finish(response, told.record),
            Ok(Answer::Tunnel(response, stream)) => match (&downstream.tunnels, upgrade) {
                (Some(tunnels), Ok(Some(upgrade))) => {
                    told.answered(response.status());
                    tunnels.begin(upgrade, stream, downstream.guard.clone());
                    told.record.into_iter().for_each(RequestRecord::superseded);
                    return response;
                }
                _ => Problem::Internal,
            },
            Ok(Answer::HandOver(stream)) => match &downstream.slot {
                Some(slot) => {
                    told.record.into_iter().for_each(RequestRecord::superseded);
                    match slot.give(stream).await {}
                }
                None => Problem::Internal,
            },
            Err(problem) => problem,
        };
        refused(&problem, &snapshot, &asker, &id, told)
    }

    async fn answer(
        &self,
        asked: &Asked<'_>,
        request: Request<Incoming>,
        told: &mut Told,
    ) -> Result<Answer, Problem> {
        let host = host::admit(asked, &request)?;
        let (route, captures) = find_route(asked.snapshot, &host, &request)?;
        if let Some(record) = &mut told.record {
            record.routed(host.name(), &route.name);
        }
        let values = Values {
            captures: &captures,
            pattern: &route.path,
            path: request.uri().path(),
            query: request.uri().query(),
            host: host.name(),
            origin: asked.origin,
            id: asked.id,
        };
        told.fields = Rendered::of(&route.response_fields, &values);
        page::admit(route, &request, &mut told.fields)?;
        if let Some(answer) = crowd::pace(route, asked, &request, told)? {
            return Ok(owned(answer, asked.id, &told.fields));
        }
        match &route.action {
            Action::Forward {
                upstream,
                path,
                preserve_host,
            } => {
                let rewritten = match path {
                    PathChange::Rewrite(path) => Some(values.render(path, Escape::PathSegment)),
                    PathChange::Keep | PathChange::Strip(_) => None,
                };
                let towards = forward::Asked {
                    downstream: asked.downstream,
                    version: request.version(),
                    host: &host,
                    origin: asked.origin,
                    route: &route.name,
                    timeouts: &route.timeouts,
                    websocket: &route.websocket,
                    event_streams: route.event_streams,
                    streams: &route.streams,
                    stream_limits: route.stream_limits,
                    losses: &route.losses,
                    path,
                    rewritten,
                    preserve_host: *preserve_host,
                    request_fields: &Rendered::of(&route.request_fields, &values),
                    response_fields: &told.fields,
                    body_size: guard_body(route.body_size, &request)?,
                    body_pace: asked.snapshot.config.limits.body_pace,
                    id: asked.id,
                };
                let record = &mut told.record;
                let answer =
                    forward::forward(upstream, &self.pools, request, &towards, record).await;
                answer.map_err(|error| explain(&error, asked.id, route))
            }
            Action::Bridge(bridge) => {
                let towards = endpoint::Asked {
                    downstream: asked.downstream,
                    captures: &captures,
                    id: asked.id.clone(),
                    route: route.name.clone(),
                    fields: &told.fields,
                    losses: &route.losses,
                    stream_limits: route.stream_limits,
                    is_listed: guard::cors::is_listed(route.origins.as_ref(), request.headers()),
                };
                let answer = endpoint::answer(bridge, request, towards).await?;
                Ok(owned(answer, asked.id, &told.fields))
            }
            Action::Redirect(redirect) => {
                let answer = Answer::Response(action::redirect(redirect, &values)?);
                Ok(owned(answer, asked.id, &told.fields))
            }
            Action::Respond(fixed) => {
                let answer = Answer::Response(said(fixed, request.method()));
                Ok(owned(answer, asked.id, &told.fields))
            }
        }
    }
}

/// What is known of a request besides itself.
struct Asked<'a> {
    snapshot: &'a Snapshot,
    downstream: &'a Downstream,
    origin: &'a Origin,
    id: &'a RequestId,
}

/// Who asked: the other end of the connection, or who it says, if it is believed.
fn origin(snapshot: &Snapshot, downstream: &Downstream, headers: &HeaderMap) -> Origin {
    let trust = &snapshot.config.trust;
    let Downstream {
        client,
        scheme,
        local,
        ..
    } = downstream;
    Origin::of_connection(client.0, scheme, local.port()).told_by(
        headers,
        trust.headers,
        |address| trust.believes(address),
    )
}

/// The name that a believed proxy gave, if it is one and the only one; else ours.
fn request_id(origin: &Origin, headers: &HeaderMap) -> RequestId {
    let mut names = headers.get_all(X_REQUEST_ID).iter();
    match (names.next(), names.next()) {
        (Some(name), None) if origin.is_believed => {
            RequestId::told(name.as_bytes()).unwrap_or_else(RequestId::random)
        }
        _ => RequestId::random(),
    }
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

/// A fixed response to a request of this method.
fn said(fixed: &Fixed, method: &Method) -> Response<Body> {
    let response = action::fixed(fixed);
    if *method == Method::HEAD {
        return action::without_body(response);
    }
    response
}

/// The limit for the request's body, which its announced length must not pass.
fn guard_body(limit: Option<u64>, request: &Request<Incoming>) -> Result<Option<u64>, Problem> {
    let announced = http_body::Body::size_hint(request.body()).lower();
    match limit {
        Some(limit) if announced > limit => Err(Problem::ContentTooLarge { limit }),
        within => Ok(within),
    }
}

/// From what went wrong to what the client is told; the log is told the cause.
fn explain(error: &ForwardError, id: &RequestId, route: &Route) -> Problem {
    if let ForwardError::Streams(full) = error {
        metrics::stream_refused(&route.name, (*full).into());
    }
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
        ForwardError::Unavailable(unavailable) => return busy(*unavailable),
        ForwardError::Streams(full) => return crowd::full(*full, Duration::from_secs(5)),
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
            ExchangeError::Broken { source, .. } if tls::client::alert(source).is_some() => {
                GatewayFault::TlsAlert
            }
            ExchangeError::Broken { answered, .. } | ExchangeError::Closed { answered } => {
                if *answered {
                    GatewayFault::ResponseIncomplete
                } else {
                    GatewayFault::ConnectionTerminated
                }
            }
            ExchangeError::Refused(_) | ExchangeError::Reset(_) => {
                GatewayFault::ConnectionTerminated
            }
            ExchangeError::Http2(_)
            | ExchangeError::Http1Required(_)
            | ExchangeError::BadHead(_)
            | ExchangeError::TooManyInterim => GatewayFault::ProtocolError,
            ExchangeError::HeadTooLarge => GatewayFault::ResponseHeadTooLarge,
            ExchangeError::TimedOut(_) => GatewayFault::ResponseTimeout,
            ExchangeError::NotTaken(_) => GatewayFault::ConnectionWriteTimeout,
            ExchangeError::Stalled(_) => return Problem::RequestTimeout,
            ExchangeError::Client(_) | ExchangeError::BodyTooShort => {
                return Problem::BadRequest("The request's body broke off.");
            }
        },
        ForwardError::Body(BodyFault::BrokeOff) => {
            return Problem::BadRequest("The request's body broke off.");
        }
        ForwardError::Body(BodyFault::TooLarge { limit }) => {
            return Problem::ContentTooLarge { limit: *limit };
        }
        ForwardError::Body(BodyFault::TooSlow { .. }) => return Problem::RequestTimeout,
        ForwardError::Handshake(HandshakeFault::Version) => return Problem::UpgradeRequired,
        ForwardError::Handshake(_) => {
            return Problem::BadRequest("The WebSocket handshake is not a valid one.");
        }
        ForwardError::Upgrade { .. } | ForwardError::UnaskedUpgrade { .. } => {
            GatewayFault::UpgradeFailed
        }
    })
}

fn busy(unavailable: Unavailable) -> Problem {
    match unavailable {
        Unavailable::Unhealthy { retry_after } => Problem::Unavailable {
            retry_after,
            reason: "No server behind this one is healthy.",
        },
        Unavailable::Full { retry_after } => Problem::Unavailable {
            retry_after,
            reason: "The servers behind this one are busy.",
        },
    }
}

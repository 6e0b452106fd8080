//! One request: route, guard, action, stream, log line.

mod crowd;
mod fault;
mod find;
mod known;
mod own;
mod page;
mod rounds;

use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderName, Method, Request, Response};
use hyper::body::Incoming;

use crate::bridge::endpoint;
use crate::config::model::{Fixed, PathChange};
use crate::forward;
use crate::guard;
use crate::guard::auth::{Known, Seen};
use crate::http::body::Body;
use crate::http::host::RequestHost;
use crate::http::origin::Origin;
use crate::http::problem::Problem;
use crate::observe::access::{RequestId, RequestRecord};
use crate::respond::action;
use crate::respond::fields::Rendered;
use crate::route::{Captures, Escape};
use crate::snapshot::{Action, Current, Held, Route, Snapshot};
use crate::stream::{Answer, Downstream, Losses};
use crate::upstream::pool::Pools;

pub use find::ticket_stem;

use crowd::By;
use fault::explain;
use find::{Wanted, named, origin, values};
use known::Judged;
use own::{Asker, Told, asked_of, finish, owned, refused};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// One worker's service: what every request on it needs.
pub struct Service {
    shared: Arc<ArcSwap<Snapshot>>,
    current: Current,
    pools: Rc<Pools>,
}

impl Service {
    /// A service that reads its configuration from `shared` at each request.
    #[must_use]
    pub fn new(shared: Arc<ArcSwap<Snapshot>>) -> Self {
        Self {
            current: Current::new(shared.clone()),
            shared,
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
        let id = named(&snapshot, &origin, &request);
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
        mut request: Request<Incoming>,
        told: &mut Told,
    ) -> Result<Answer, Problem> {
        let host = find::admit(asked, &request)?;
        let Wanted {
            route,
            captures,
            ticket,
        } = find::route(asked.snapshot, &host, &request)?;
        if let Some(record) = &mut told.record {
            record.routed(host.name(), &route.name);
        }
        let seen = Seen {
            origin: asked.origin,
            host: &host,
            certificate: asked.downstream.certificate(),
        };
        let shown = known::take(route, &mut request, &seen);
        let values = values(asked, route, &captures, &host, &request);
        told.fields = Rendered::of(&route.response_fields, &values);
        page::admit(route, &request, &mut told.fields)?;
        if let Some(answer) = crowd::pace(route, By::Origin, asked, &request, told)? {
            return Ok(owned(answer, asked.id, &told.fields));
        }
        let known = match self
            .know(asked.id, route, shown.as_ref(), &request, told)
            .await?
        {
            Judged::LetIn(known) => known,
            Judged::Answered(answer) => return Ok(owned(answer, asked.id, &told.fields)),
        };
        let user = known.as_ref().and_then(|known| known.user.as_deref());
        if let Some(answer) = crowd::pace(route, By::User(user), asked, &request, told)? {
            return Ok(owned(answer, asked.id, &told.fields));
        }
        if let Some(stem) = ticket {
            let response = known::ticket(route, known.as_ref(), &stem)?;
            return Ok(respond_with(response, asked, told));
        }
        let losses = self.losses(route, shown, known.as_ref());
        let way = Way {
            route,
            captures,
            host,
            known,
            losses,
        };
        self.act(asked, &way, request, told).await
    }

    /// Does what the route says, for a request that has passed its guards.
    async fn act(
        &self,
        asked: &Asked<'_>,
        way: &Way<'_>,
        mut request: Request<Incoming>,
        told: &mut Told,
    ) -> Result<Answer, Problem> {
        let Way {
            route,
            captures,
            host,
            known,
            losses,
        } = way;
        let values = values(asked, route, captures, host, &request);
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
                let mut request_fields = Rendered::of(&route.request_fields, &values);
                known::tell_server(known.as_ref(), &mut request_fields);
                let towards = forward::Asked {
                    downstream: asked.downstream,
                    version: request.version(),
                    host,
                    origin: asked.origin,
                    route: &route.name,
                    timeouts: &route.timeouts,
                    websocket: &route.websocket,
                    event_streams: route.event_streams,
                    streams: &route.streams,
                    stream_limits: route.stream_limits,
                    losses,
                    path,
                    rewritten,
                    preserve_host: *preserve_host,
                    request_fields: &request_fields,
                    response_fields: &told.fields,
                    body_size: page::body_limit(route.body_size, &request)?,
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
                    captures,
                    id: asked.id.clone(),
                    route: route.name.clone(),
                    fields: &told.fields,
                    losses,
                    stream_limits: route.stream_limits,
                    is_listed: guard::cors::is_listed(route.origins.as_ref(), request.headers()),
                };
                known::tell_in(known.as_ref(), request.headers_mut());
                let answer = endpoint::answer(bridge, request, towards).await?;
                Ok(owned(answer, asked.id, &told.fields))
            }
            Action::Redirect(redirect) => Ok(respond_with(
                action::redirect(redirect, &values)?,
                asked,
                told,
            )),
            Action::Respond(fixed) => Ok(respond_with(said(fixed, request.method()), asked, told)),
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

/// What is known of a request that has passed its route's guards.
struct Way<'a> {
    route: &'a Route,
    captures: Captures,
    host: RequestHost,
    known: Option<Known>,
    losses: Arc<Losses>,
}

/// A response of streamgate's own.
fn respond_with(response: Response<Body>, asked: &Asked<'_>, told: &Told) -> Answer {
    owned(Answer::Response(response), asked.id, &told.fields)
}

/// A fixed response to a request of this method.
fn said(fixed: &Fixed, method: &Method) -> Response<Body> {
    let response = action::fixed(fixed);
    if *method == Method::HEAD {
        return action::without_body(response);
    }
    response
}

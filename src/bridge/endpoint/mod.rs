//! The bridge's endpoint: what a request on its path gets. The only part of the bridge that knows HTTP.
//!
//! `GET` subscribes: to an event stream, to messages where it is a WebSocket handshake, to one answer where it accepts JSON.
//! `POST` publishes, `HEAD` and `OPTIONS` are answered. A fault that passes is never a 5xx towards an EventSource, which
//! would end it for ever: it gets a 200, a `retry:` and the end. All others get the honest 503.

mod admission;
mod asks;
mod body;
mod clock;
mod dialogue;
mod filter;
mod gather;
mod outlet;
mod outside;
mod parting;
mod poll;
mod position;
mod prelude;
mod publish;
mod sse;
mod sweep;
mod task;
mod upgrade;
mod whereabouts;

pub use whereabouts::{Whereabouts, whereabouts};

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};

use crate::config::model::{StreamLimits, Verdict};
use crate::http::body::Body;
use crate::http::problem::Problem;
use crate::http::provenance;
use crate::net::ClientAddr;
use crate::observe::access::RequestId;
use crate::respond::fields::Rendered;
use crate::route::Captures;
use crate::stream::{Answer, Downstream, HandOver, Losses};

use super::counts::SubscriberKind;
use super::cursor::Cursor;
use super::log::{Filter, Form};
use super::rejected::Reason;
use super::{Bridge, Subscription, values};

use self::admission::{admit, unavailable};
use self::asks::Accepted;
use self::task::Dialect;

/// The fields of a page's request that a preflight allows.
const PAGES_MAY_SEND: &str = "authorization, cache-control, content-type, idempotency-key, last-event-id, streamgate-seq, streamgate-session";
/// How long a browser may remember that, in seconds.
const PREFLIGHT_LASTS: &str = "600";

/// What is known of a request besides itself.
#[derive(Clone)]
pub struct Asked<'a> {
    /// The connection it came on.
    pub downstream: &'a Downstream,
    /// The values in its path.
    pub captures: &'a Captures,
    /// Its name in the log.
    pub id: RequestId,
    /// Its route's name.
    pub route: Arc<str>,
    /// The route's rules for a response that leaves hyper; to any other the caller applies them.
    pub fields: &'a Rendered,
    /// What ends its streams before their time.
    pub losses: &'a Arc<Losses>,
    /// How many streams the route may have.
    pub stream_limits: StreamLimits,
    /// Whether it is known to come from a page of an origin that the route lists.
    pub is_listed: bool,
}

/// A subscription that is about to begin.
struct Plan {
    bridge: Arc<Bridge>,
    subscription: Subscription,
    cursor: Cursor,
    form: Form,
    filter: Option<Arc<Filter>>,
    dialect: Dialect,
    client: ClientAddr,
    id: RequestId,
    route: Arc<str>,
    version: Version,
    fields: Rendered,
    losses: Arc<Losses>,
}

/// Answers one request on a bridge's path.
///
/// # Errors
/// A [`Problem`] that is the client's own fault, or 503 for what passes, where no EventSource asks.
///
/// # Cancel safety
/// Dropping it gives the request up; a `POST` may have been sent then.
pub async fn answer<B>(
    bridge: &Arc<Bridge>,
    mut request: Request<B>,
    asked: Asked<'_>,
) -> Result<Answer, Problem>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    tell_certificate(asked.downstream, request.headers_mut());
    let (headers, query) = (request.headers(), request.uri().query());
    let values = values::of_request(bridge.config(), asked.captures, headers, query);
    let captures = values.as_ref().unwrap_or(asked.captures);
    let of_user = asked
        .losses
        .user()
        .map(|user| values::with_user(captures, user));
    let asked = Asked {
        captures: of_user.as_ref().unwrap_or(captures),
        ..asked
    };
    match *request.method() {
        Method::GET => get(bridge, &request, &asked).await,
        Method::HEAD => match cursor(&request) {
            Cursor::Over(verdict) => over(verdict),
            _ => Ok(Answer::Response(match accept(bridge, &request)? {
                Accepted::EventStream => head(&asked.id, Body::empty()),
                Accepted::Json => poll::response(Bytes::new()),
            })),
        },
        Method::POST => {
            let answer = publish::answer(bridge, request, &asked).await;
            bridge.counts().posts.add(status(&answer));
            answer
        }
        Method::OPTIONS => Ok(Answer::Response(options(bridge, request.headers()))),
        _ => Err(Problem::MethodNotAllowed(allowed(bridge))),
    }
}

/// A feed may be told who asks by the client's certificate (`connect.forward`, `{header.x-client-cert-subject}`): what the client says
/// of it itself is nothing.
fn tell_certificate(downstream: &Downstream, headers: &mut HeaderMap) {
    provenance::remove_certificates(headers);
    if let Some(certificate) = downstream.certificate() {
        certificate.tell(headers);
    }
}

/// The status that a request is answered with.
fn status(answer: &Result<Answer, Problem>) -> StatusCode {
    match answer {
        Ok(Answer::Response(response)) => response.status(),
        Ok(Answer::Tunnel(response, _)) => response.status(),
        Ok(Answer::HandOver(_)) => StatusCode::OK,
        Err(problem) => problem.status(),
    }
}

async fn get<B>(
    bridge: &Arc<Bridge>,
    request: &Request<B>,
    asked: &Asked<'_>,
) -> Result<Answer, Problem> {
    if let Cursor::Over(verdict) = cursor(request) {
        return over(verdict);
    }
    if upgrade::is_asked_for(request) {
        return converse(bridge, request, asked);
    }
    match accept(bridge, request)? {
        Accepted::EventStream => subscribe(bridge, request, asked),
        Accepted::Json => poll(bridge, request, asked).await,
    }
}

/// Where the client says it is.
fn cursor<B>(request: &Request<B>) -> Cursor {
    let (headers, query) = (request.headers(), request.uri().query());
    let is_poll =
        !upgrade::is_asked_for(request) && matches!(asks::accepted(headers), Ok(Accepted::Json));
    if is_poll {
        return asks::poll_cursor(headers, query);
    }
    asks::cursor(headers, query)
}

/// What a client gets that comes back to a session that is over for good. Whatever it is, an EventSource stops.
fn over(verdict: Verdict) -> Result<Answer, Problem> {
    match verdict {
        Verdict::Done => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(Answer::Response(response))
        }
        Verdict::Unauthorized => Err(Problem::Unauthorized),
        Verdict::Forbidden => Err(Problem::Forbidden("The feed has closed this session.")),
        Verdict::NotFound => Err(Problem::NotFound),
        Verdict::Gone => Err(Problem::Gone("This session is over.")),
    }
}

/// An event stream. A fault that passes is none to it.
fn subscribe<B>(
    bridge: &Arc<Bridge>,
    request: &Request<B>,
    asked: &Asked<'_>,
) -> Result<Answer, Problem> {
    let filter = filter(bridge, request)?;
    let Ok(subscription) = admit(bridge, request, asked, SubscriberKind::EventStream) else {
        return Ok(busy(bridge, &asked.id, parting::BUSY));
    };
    let plan = plan(bridge, (subscription, filter), request, asked);
    let downstream = asked.downstream;
    if downstream.slot.is_some() {
        return Ok(Answer::HandOver(HandOver::new(move |taken| {
            task::run(plan, taken)
        })));
    }
    let body = body::EventBody::new(plan, downstream.guard.clone());
    Ok(Answer::Response(head(&asked.id, Body::stream(body))))
}

/// What an EventSource is told that is not to be served now: to come back, not earlier than after `wait`. `None`: no EventSource
/// asks, and a status says the same.
#[must_use]
pub fn sent_away<B>(
    bridge: &Bridge,
    request: &Request<B>,
    id: &RequestId,
    wait: Duration,
) -> Option<Answer> {
    let is_event_source = *request.method() == Method::GET
        && !upgrade::is_asked_for(request)
        && matches!(asks::accepted(request.headers()), Ok(Accepted::EventStream));
    is_event_source.then(|| busy(bridge, id, wait.max(parting::BUSY)))
}

fn busy(bridge: &Bridge, id: &RequestId, at_least: Duration) -> Answer {
    Answer::Response(head(id, parting::busy(bridge, at_least).into()))
}

fn filter<B>(bridge: &Bridge, request: &Request<B>) -> Result<Option<Arc<Filter>>, Problem> {
    let rule = bridge.config().mapping.filter.as_ref();
    filter::asked(rule, request.uri().query())
}

/// A WebSocket.
fn converse<B>(
    bridge: &Arc<Bridge>,
    request: &Request<B>,
    asked: &Asked<'_>,
) -> Result<Answer, Problem> {
    let agreement =
        upgrade::agree(request).inspect_err(|_fault| bridge.rejected().count(Reason::Handshake))?;
    if !asked.is_listed {
        publish::site::check(request.headers(), request.uri())
            .inspect_err(|_refused| bridge.rejected().count(Reason::Origin))?;
    }
    let filter = filter(bridge, request)?;
    let subscription = admit(bridge, request, asked, SubscriberKind::WebSocket)
        .map_err(|full| unavailable(&full))?;
    let plan = plan(bridge, (subscription, filter), request, asked);
    Ok(agreement.answer(plan, asked))
}

async fn poll<B>(
    bridge: &Arc<Bridge>,
    request: &Request<B>,
    asked: &Asked<'_>,
) -> Result<Answer, Problem> {
    let query = request.uri().query();
    let question = poll::Question {
        cursor: cursor(request),
        filter: filter(bridge, request)?,
        wait: poll::wait(query)?,
    };
    let subscription = admit(bridge, request, asked, SubscriberKind::LongPoll)
        .map_err(|full| unavailable(&full))?;
    let guard = &asked.downstream.guard;
    let response = poll::answer(bridge, subscription, question, guard).await;
    Ok(Answer::Response(response))
}

fn plan<B>(
    bridge: &Arc<Bridge>,
    (subscription, filter): (Subscription, Option<Arc<Filter>>),
    request: &Request<B>,
    asked: &Asked<'_>,
) -> Plan {
    Plan {
        bridge: bridge.clone(),
        subscription,
        cursor: cursor(request),
        form: Form::for_version(request.version()),
        filter,
        dialect: Dialect::EventStream,
        client: asked.downstream.client,
        id: asked.id.clone(),
        route: asked.route.clone(),
        version: request.version(),
        fields: asked.fields.clone(),
        losses: asked.losses.clone(),
    }
}

fn accept<B>(bridge: &Bridge, request: &Request<B>) -> Result<Accepted, Problem> {
    asks::accepted(request.headers())
        .inspect_err(|_refused| bridge.rejected().count(Reason::Accept))
}

fn head(id: &RequestId, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    for (name, value) in prelude::FIELDS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let id = HeaderValue::from_str(id.as_str()).expect("hexadecimal digits are a field's value");
    headers.insert("x-request-id", id);
    response
}

/// The answer to `OPTIONS`; to a preflight with what a page of a listed origin may send. Whether the origin is one is said
/// by the fields that the caller adds (Fetch §3.2.2).
fn options(bridge: &Bridge, asked: &HeaderMap) -> Response<Body> {
    let methods = allowed(bridge);
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let allow = HeaderValue::from_str(&names.join(", ")).expect("methods are tokens");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    if asked.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allow.clone());
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_HEADERS, PAGES_MAY_SEND),
            (header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_LASTS),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    headers.insert(header::ALLOW, allow);
    response
}

fn allowed(bridge: &Bridge) -> Vec<Method> {
    let mut methods = vec![Method::GET, Method::HEAD, Method::OPTIONS];
    methods.extend(
        bridge
            .config()
            .publish
            .as_ref()
            .map(|_publish| Method::POST),
    );
    methods
}

#[cfg(test)]
mod tests;

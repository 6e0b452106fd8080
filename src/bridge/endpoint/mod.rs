//! The bridge's endpoint: what a request on its path gets. The only part of the bridge that knows HTTP.
//!
//! `GET` subscribes, `POST` publishes, `HEAD` and `OPTIONS` are answered. A fault that passes is never a 5xx towards an
//! EventSource, which would end it for ever: it gets a 200, a `retry:` and the end.

mod body;
mod clock;
mod gather;
mod prelude;
mod publish;
mod sse;
mod sweep;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use percent_encoding::percent_decode_str;

use crate::http::body::Body;
use crate::http::extended_connect;
use crate::http::problem::Problem;
use crate::net::ClientAddr;
use crate::observe::access::RequestId;
use crate::respond::fields::Rendered;
use crate::route::Captures;
use crate::stream::{Answer, Downstream, HandOver};

use super::cursor::Cursor;
use super::log::{Filter, Form};
use super::{Bridge, Subscription};

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
}

/// A subscription that is about to begin.
struct Plan {
    bridge: Arc<Bridge>,
    subscription: Subscription,
    cursor: Cursor,
    form: Form,
    filter: Option<Arc<Filter>>,
    client: ClientAddr,
    id: RequestId,
    route: Arc<str>,
    version: Version,
    fields: Rendered,
}

/// Answers one request on a bridge's path.
///
/// # Errors
/// A [`Problem`] that is the client's own fault, or, for a `POST`, 503 while the feed is down.
///
/// # Cancel safety
/// Dropping it gives the request up; a `POST` may have been sent then.
pub async fn answer<B>(
    bridge: &Arc<Bridge>,
    request: Request<B>,
    asked: Asked<'_>,
) -> Result<Answer, Problem>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    match *request.method() {
        Method::GET => subscribe(bridge, &request, &asked),
        Method::HEAD => {
            check_accept(request.headers())?;
            Ok(Answer::Response(head(&asked.id, Body::empty())))
        }
        Method::POST => publish::answer(bridge, request, &asked).await,
        Method::OPTIONS => Ok(Answer::Response(options(bridge))),
        _ => Err(Problem::MethodNotAllowed(allowed(bridge))),
    }
}

fn subscribe<B>(
    bridge: &Arc<Bridge>,
    request: &Request<B>,
    asked: &Asked<'_>,
) -> Result<Answer, Problem> {
    let headers = request.headers();
    let over_http2 = extended_connect::is_one(request.extensions());
    if over_http2 || headers.contains_key(header::SEC_WEBSOCKET_KEY) {
        return Err(Problem::BadRequest(
            "this path serves event streams, not WebSocket",
        ));
    }
    check_accept(headers)?;
    let downstream = asked.downstream;
    let busy = || Answer::Response(head(&asked.id, prelude::busy(bridge).into()));
    if downstream.guard.is_draining() {
        return Ok(busy());
    }
    let subscription = match bridge.subscribe(asked.captures, &downstream.guard) {
        Ok(subscription) => subscription,
        // Not a warning: a storm of clients that return must not be one of log lines too.
        Err(full) => {
            tracing::debug!(bridge = %bridge.config().name, error = %full, "subscriber sent away");
            return Ok(busy());
        }
    };
    let plan = Plan {
        bridge: bridge.clone(),
        subscription,
        cursor: cursor(headers, request.uri().query()),
        form: Form::for_version(request.version()),
        filter: None,
        client: downstream.client,
        id: asked.id.clone(),
        route: asked.route.clone(),
        version: request.version(),
        fields: asked.fields.clone(),
    };
    if downstream.slot.is_some() {
        return Ok(Answer::HandOver(HandOver::new(move |taken| {
            sse::run(plan, taken)
        })));
    }
    let body = body::EventBody::new(plan, downstream.guard.clone());
    Ok(Answer::Response(head(&asked.id, Body::stream(body))))
}

/// What the client says it has: the header, which a browser sets on a reconnect, before the query, which is stale then.
fn cursor(headers: &HeaderMap, query: Option<&str>) -> Cursor {
    if let Some(value) = headers
        .get("last-event-id")
        .filter(|value| !value.is_empty())
    {
        return value.to_str().map_or(Cursor::Unreadable, Cursor::parse);
    }
    let pairs = query.unwrap_or_default().split('&');
    let pairs: Vec<_> = pairs.filter_map(|pair| pair.split_once('=')).collect();
    let value = ["lastEventId", "last_event_id", "evs_last_event_id"]
        .iter()
        .find_map(|name| pairs.iter().find(|(key, _)| key == name));
    let Some((_, value)) = value else {
        return Cursor::Absent;
    };
    percent_decode_str(value)
        .decode_utf8()
        .map_or(Cursor::Unreadable, |text| Cursor::parse(&text))
}

/// Refuses who asks for something else than an event stream (RFC 9110 §12.5.1).
fn check_accept(headers: &HeaderMap) -> Result<(), Problem> {
    let mut ranges = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|range| range.split(';').next().unwrap_or_default().trim())
        .peekable();
    let takes = |range: &str| {
        let known = ["text/event-stream", "text/*", "*/*"];
        known.iter().any(|known| known.eq_ignore_ascii_case(range))
    };
    if ranges.peek().is_none() || ranges.any(takes) {
        return Ok(());
    }
    Err(Problem::BadRequest(
        "this path answers with `text/event-stream` only",
    ))
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

fn options(bridge: &Bridge) -> Response<Body> {
    let methods = allowed(bridge);
    let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
    let allow = HeaderValue::from_str(&names.join(", ")).expect("methods are tokens");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

fn allowed(bridge: &Bridge) -> Vec<Method> {
    let mut methods = vec![Method::GET, Method::HEAD, Method::OPTIONS];
    methods.extend(bridge.config().publish.map(|_publish| Method::POST));
    methods
}

#[cfg(test)]
mod tests;

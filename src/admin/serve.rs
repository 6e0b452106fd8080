//! One connection of the admin listener, and which path is whose.
//!
//! A connection serves one request: a scrape comes every few seconds at most, and what is closed behind it holds nothing
//! until the next.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::answer::{Answer, Body, text};
use super::api::{self, live};
use super::door::Way;
use super::{State, dashboard, health, metrics};

/// For the head of the request.
const HEAD: Duration = Duration::from_secs(10);

/// For all of it, the response taken by the client; one that goes on as time goes by has [`live::LONGEST`] besides.
const WHOLE: Duration = Duration::from_secs(30);

/// Bytes of a request's head at most.
const MAX_HEAD: usize = 16 * 1024;

/// Serves a connection to its end.
pub(super) async fn connection<S>(stream: S, way: Way, state: &Rc<State>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let is_lasting = Cell::new(false);
    let service = service_fn(async |request: Request<Incoming>| {
        let path = request.uri().path();
        let answer = if api::is_for(path) {
            api::answer(request, way, state).await
        } else if let Some(page) = dashboard::answer(request.method(), path, request.headers()) {
            page
        } else {
            answer(&request, state)
        };
        is_lasting.set(matches!(answer.body(), Body::Right(_)));
        Ok::<_, Infallible>(guarded(answer))
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let mut served = timeout(WHOLE, &mut serving).await;
    if served.is_err() && is_lasting.get() {
        served = timeout(live::LONGEST, serving).await;
    }
    match served {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection broke"),
        Err(_elapsed) => tracing::debug!("an admin connection took too long"),
    }
}

fn answer(request: &Request<Incoming>, state: &State) -> Answer {
    // hyper leaves the body of an answer to HEAD away.
    let may_read = matches!(*request.method(), Method::GET | Method::HEAD);
    match request.uri().path() {
        "/metrics" | "/healthz" | "/readyz" if !may_read => {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            response
        }
        "/metrics" => metrics::expose(&state.shown, state.draining.get(), request.headers()),
        "/healthz" => health::alive(),
        "/readyz" => health::ready(state.draining.get()),
        _ => text(StatusCode::NOT_FOUND, "not found\n"),
    }
}

/// Nothing of it is kept, where it does not say so itself, or taken for something else.
fn guarded(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    answer
}

//! One connection of the admin listener, and which path is whose.
//!
//! A connection serves one request: a scrape comes every few seconds at most, and what is closed behind it holds nothing
//! until the next.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::control::{self, Access};
use super::{State, health, metrics};

/// For the head of the request.
const HEAD: Duration = Duration::from_secs(10);

/// For all of it, the response taken by the client.
const WHOLE: Duration = Duration::from_secs(30);

/// Bytes of a request's head at most.
const MAX_HEAD: usize = 16 * 1024;

const TEXT: &str = "text/plain; charset=utf-8";

/// Serves a connection to its end.
pub(super) async fn connection<S>(stream: S, access: Access, state: &State)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = service_fn(async |request: Request<Incoming>| {
        let (method, uri) = (request.method(), request.uri());
        let response = match uri.path() {
            "/api/reload" => control::reload(method, uri, access, state).await,
            _ => answer(&request, state),
        };
        Ok::<_, Infallible>(guarded(response))
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .keep_alive(false)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    match timeout(WHOLE, serving).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an admin connection broke"),
        Err(_elapsed) => tracing::debug!("an admin connection took too long"),
    }
}

fn answer(request: &Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
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

/// Nothing of it is kept, or taken for something else.
fn guarded(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

/// A few words.
pub(super) fn text(status: StatusCode, words: &'static str) -> Response<Full<Bytes>> {
    body(status, TEXT, Bytes::from_static(words.as_bytes()))
}

/// A body of this type.
pub(super) fn body(
    status: StatusCode,
    content_type: &'static str,
    bytes: Bytes,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(bytes));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

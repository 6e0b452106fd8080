//! One check: a `GET` on a connection of its own.
//!
//! A server is asked in the version of HTTP in which its requests go to it: `h2c://` in HTTP/2, `https://` in what ALPN says.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;

use crate::config::model::{Health, Upstream};
use crate::lifecycle::tasks;
use crate::net::{Place, Scheme, ServerAddr};
use crate::tls::ServerStream;
use crate::tls::accept::Protocol;
use crate::tls::client::Offer;
use crate::upstream::connect::{self, ConnectError, Manner};
use crate::upstream::http1::{
    Connection, Exchange, ExchangeError, Framing, SendBody, write_request_head,
};
use crate::upstream::proxy_header;

/// How the server knows a check from a request.
const USER_AGENT: HeaderValue = HeaderValue::from_static("streamgate-health-check");

/// Why a check failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{}", chain(.0))]
    Connect(#[from] ConnectError),
    #[error("{}", chain(.0))]
    Exchange(ExchangeError),
    #[error("{}", chain(.0))]
    Http2(#[from] hyper::Error),
    #[error("the server answered with {0}")]
    Status(StatusCode),
    #[error("the server did not answer within {0:?}")]
    TimedOut(std::time::Duration),
    #[error("the path or the host cannot be sent")]
    Unsendable(#[from] http::Error),
}

/// The error and its causes on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.join(": ")
}

/// Asks `server` how it is, by a connection as those of its `upstream`'s requests are.
///
/// # Cancel safety
/// Dropping it closes the connection.
pub(super) async fn probe(
    server: &ServerAddr,
    upstream: &Upstream,
    rule: &Health,
) -> Result<(), Failure> {
    let greeting = upstream.proxy_protocol.map(proxy_header::of_our_own);
    let manner = Manner {
        tls: upstream.tls.as_ref(),
        offer: Offer::Either,
        greeting: greeting.as_deref().unwrap_or_default(),
    };
    let asked = async {
        match connect::open(server, manner, rule.timeout).await? {
            (stream, Protocol::Http2) => http2(stream, server, rule).await,
            (stream, Protocol::Http1) => http1(stream, server, rule).await,
        }
    };
    let status = tokio::time::timeout(rule.timeout, asked)
        .await
        .map_err(|_elapsed| Failure::TimedOut(rule.timeout))??;
    let wanted = |range: &std::ops::RangeInclusive<u16>| range.contains(&status.as_u16());
    if rule.status.iter().any(wanted) {
        return Ok(());
    }
    Err(Failure::Status(status))
}

fn host(server: &ServerAddr, rule: &Health) -> String {
    match (&rule.host, &server.place) {
        (Some(host), _) => host.to_string(),
        (None, Place::Tcp(authority)) => authority.to_string(),
        // RFC 9110 §7.2 wants a `Host`; the path of a socket is none.
        (None, Place::Unix(_)) => "localhost".to_owned(),
    }
}

async fn http1(
    stream: ServerStream,
    server: &ServerAddr,
    rule: &Health,
) -> Result<StatusCode, Failure> {
    let mut headers = HeaderMap::new();
    let host = HeaderValue::try_from(host(server, rule)).map_err(http::Error::from)?;
    headers.insert(header::HOST, host);
    headers.insert(header::USER_AGENT, USER_AGENT);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let mut head = Vec::with_capacity(256);
    write_request_head(&mut head, &Method::GET, &rule.path, &headers, b"");
    let body: Option<Empty<Bytes>> = None;
    let exchange = Exchange::new(
        Connection::new(stream),
        Method::GET,
        head,
        (Framing::Empty, body),
        SendBody::AtOnce,
    );
    let (head, _reply) = exchange
        .run(None)
        .await
        .map_err(|failed| Failure::Exchange(failed.error))?;
    Ok(head.status)
}

async fn http2(
    stream: ServerStream,
    server: &ServerAddr,
    rule: &Health,
) -> Result<StatusCode, Failure> {
    let scheme = match server.scheme {
        Scheme::Https => "https",
        Scheme::Http | Scheme::H2c => "http",
    };
    let uri = format!("{scheme}://{}{}", host(server, rule), rule.path);
    let request = Request::get(uri)
        .header(header::USER_AGENT, USER_AGENT)
        .body(Empty::<Bytes>::new())?;
    let handshake = hyper::client::conn::http2::handshake(tasks::Local, TokioIo::new(stream));
    let (mut requests, connection) = handshake.await?;
    let response = requests.send_request(request);
    tokio::pin!(response, connection);
    let mut ended = false;
    loop {
        tokio::select! {
            response = &mut response => return Ok(response?.status()),
            // With the connection's end the response has its own, which says why.
            _end = &mut connection, if !ended => ended = true,
        }
    }
}

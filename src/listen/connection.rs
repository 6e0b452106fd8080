//! One connection of a client, from its handshake to its end.
//!
//! [`serve`] is its owner. Over HTTP/1.1 the owner drives hyper until the connection ends or a long stream wants the
//! socket ([`crate::stream::Slot`]); then it takes the socket out of hyper and starts the stream as a task of its
//! own, so that what hyper and this owner hold is freed. Over HTTP/2 hyper keeps the connection to its end.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service as HyperService;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::Listener;
use super::idle::{Activity, Busy, Patience, Tired};
use super::watched::Watched;
use crate::config::model::{Limits, ListenerProtocol};
use crate::http::body::{Body, BodyError};
use crate::http::problem::Problem;
use crate::lifecycle::{drain, tasks};
use crate::limits::Permit;
use crate::net::ClientAddr;
use crate::respond;
use crate::stream::{Downstream, HandOver, Slot, Taken};
use crate::tls::ClientStream;
use crate::tls::accept::Protocol;

/// HTTP/2 streams that a client may have open at once.
const MAX_STREAMS: u32 = 128;

/// Bytes that a client may send on one HTTP/2 stream ahead of its backend.
const STREAM_WINDOW: u32 = 128 * 1024;

/// The same for a connection. Wide, so that stalled streams do not hold up their siblings.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// Bytes of responses that wait within hyper on one HTTP/2 stream.
const SEND_BUFFER: usize = 64 * 1024;

/// How often a silent HTTP/2 client is pinged, and how long its answer may take.
const PING: Duration = Duration::from_secs(20);

/// How long a last word may take.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What a connection holds until its very end, streams included: its place in the drain and its permit.
type Held = (drain::Guard, Permit);

/// Serves one connection to its end, or until a stream has taken its socket.
pub(super) async fn serve(tcp: TcpStream, client: ClientAddr, listener: Rc<Listener>, held: Held) {
    // It cannot fail on a connected socket; if it does, servers are told of no address.
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let local = tcp.local_addr().unwrap_or(nowhere);
    let snapshot = listener.service.snapshot();
    let (stream, protocol) = match listener.protocol {
        ListenerProtocol::Clear | ListenerProtocol::RedirectToHttps => {
            (ClientStream::Clear(tcp), Protocol::Http1)
        }
        ListenerProtocol::Tls => {
            let Some(acceptor) = snapshot.acceptor.clone() else {
                return;
            };
            match acceptor.accept(tcp).await {
                Ok((stream, protocol)) => (ClientStream::Tls(stream), protocol),
                Err(error) => {
                    tracing::debug!(%client, cause = respond::chain(&error), "no TLS connection");
                    return;
                }
            }
        }
    };
    let limits = snapshot.config.limits.clone();
    // A connection outlives many snapshots: only its requests hold one.
    drop(snapshot);
    let scheme = if listener.protocol == ListenerProtocol::Tls {
        "https"
    } else {
        "http"
    };
    let slot = (protocol == Protocol::Http1).then(Slot::default);
    let downstream = Downstream {
        client,
        local,
        port: local.port(),
        scheme,
        slot,
        guard: held.0.clone(),
    };
    let connection = Connection(Rc::new(Facts {
        listener,
        downstream,
        activity: Activity::new(),
    }));
    match protocol {
        Protocol::Http1 => Box::pin(serve_http1(stream, connection, &limits, held)).await,
        Protocol::Http2 => Box::pin(serve_http2(stream, connection, &limits, held)).await,
    }
}

/// What hyper calls for each request.
struct Connection(Rc<Facts>);

/// What all requests of a connection share.
struct Facts {
    listener: Rc<Listener>,
    downstream: Downstream,
    activity: Rc<Activity>,
}

impl HyperService<Request<Incoming>> for Connection {
    type Response = Response<Tracked>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let facts = self.0.clone();
        let busy = facts.activity.begin();
        Box::pin(async move {
            let Facts {
                listener,
                downstream,
                ..
            } = &*facts;
            let response = match listener.protocol {
                ListenerProtocol::RedirectToHttps => redirect(&request, listener.https_port),
                ListenerProtocol::Tls | ListenerProtocol::Clear => {
                    listener.service.serve(downstream, request).await
                }
            };
            Ok(response.map(|body| Tracked { body, _busy: busy }))
        })
    }
}

fn redirect(request: &Request<Incoming>, port: u16) -> Response<Body> {
    respond::redirect_to_https(request, port).unwrap_or_else(|problem| {
        problem
            .response(request.headers().get(http::header::ACCEPT))
            .map(Body::from)
    })
}

/// A response's body, which keeps its connection busy until it has ended.
struct Tracked {
    body: Body,
    _busy: Busy,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How hyper's part of an HTTP/1.1 connection ends.
enum Http1End {
    /// It is over, in order or not.
    Over(hyper::Result<()>),
    /// A stream wants the socket.
    HandOver(HandOver),
    /// Waited for long enough.
    Tired(Tired),
}

async fn serve_http1(stream: ClientStream, connection: Connection, limits: &Limits, held: Held) {
    let (activity, client) = (
        connection.0.activity.clone(),
        connection.0.downstream.client,
    );
    let (slot, guard) = (
        connection.0.downstream.slot.clone().unwrap_or_default(),
        held.0.clone(),
    );
    let io = TokioIo::new(Watched::new(stream, activity.clone()));
    let mut builder = http1::Builder::new();
    // A header section of one field too many is answered with 431 by hyper itself.
    builder
        .max_headers(limits.header_count)
        .max_header_size(limits.header_size)
        // `Patience` does this: hyper's one timer would also end connections that only wait for their next request.
        .header_read_timeout(None);
    let mut driver = builder.serve_connection(io, connection);
    let mut patience = Patience::new(activity, limits.keep_alive, limits.header_timeout);
    let mut draining = false;
    let end = loop {
        let step = poll_fn(|cx| poll_http1(cx, &mut driver, &slot, &mut patience));
        tokio::select! {
            end = step => break end,
            _deadline = guard.draining(), if !draining => {
                draining = true;
                Pin::new(&mut driver).graceful_shutdown();
            }
        }
    };
    match end {
        Http1End::Over(Ok(())) => {}
        Http1End::Over(Err(error)) => {
            tracing::debug!(%client, cause = respond::chain(&error), "connection broke");
        }
        Http1End::HandOver(stream) => {
            let parts = driver.into_parts();
            let (guard, permit) = held;
            let taken = Taken {
                stream: parts.io.into_inner().stream,
                early: parts.read_buf,
                guard,
            };
            let life = stream.run(taken);
            tasks::spawn(async move {
                let _permit = permit;
                life.await;
            });
        }
        Http1End::Tired(Tired::Silent) => {}
        Http1End::Tired(Tired::HalfHead) => {
            tracing::debug!(%client, "a request's head was not whole in time");
            say_timed_out(driver.into_parts().io.into_inner().stream).await;
        }
    }
}

type Http1Driver = http1::Connection<TokioIo<Watched>, Connection>;

fn poll_http1(
    cx: &mut Context<'_>,
    driver: &mut Http1Driver,
    slot: &Slot,
    patience: &mut Patience,
) -> Poll<Http1End> {
    if let Poll::Ready(over) = Pin::new(driver).poll(cx) {
        return Poll::Ready(Http1End::Over(over));
    }
    // The service has laid the stream down within the poll above. An earlier, pipelined response may still lie in
    // hyper's buffer: it goes first.
    if slot.is_due()
        && !patience.activity().is_behind()
        && let Some(stream) = slot.take()
    {
        return Poll::Ready(Http1End::HandOver(stream));
    }
    patience.poll(cx).map(Http1End::Tired)
}

/// 408 (RFC 9110 §15.5.9) to a client that sent half a head.
async fn say_timed_out(mut stream: ClientStream) {
    let response = Problem::RequestTimeout.response(None);
    let (parts, body) = response.into_parts();
    let mut headers = parts.headers;
    headers.insert(
        http::header::CONNECTION,
        http::HeaderValue::from_static("close"),
    );
    headers.insert(http::header::CONTENT_LENGTH, body.len().into());
    let mut text = Vec::with_capacity(512);
    crate::upstream::http1::write_response_head(&mut text, parts.status, &headers);
    text.extend_from_slice(&body);
    let word = async {
        stream.write_all(&text).await?;
        stream.shutdown().await
    };
    // Whether it could still be told does not matter any more.
    let _ = tokio::time::timeout(LAST_WORD, word).await;
}

async fn serve_http2(stream: ClientStream, connection: Connection, limits: &Limits, held: Held) {
    let (guard, _permit) = held;
    let (activity, client) = (
        connection.0.activity.clone(),
        connection.0.downstream.client,
    );
    let io = TokioIo::new(Watched::new(stream, activity.clone()));
    let mut builder = http2::Builder::new(tasks::Local);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.header_size).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let mut driver = std::pin::pin!(builder.serve_connection(io, connection));
    // HTTP/2 has no half heads of its own: whoever has no request yet is silent.
    let mut patience = Patience::new(activity, limits.keep_alive, limits.keep_alive);
    let mut ending = false;
    let over = loop {
        tokio::select! {
            over = driver.as_mut() => break over,
            _deadline = guard.draining(), if !ending => {}
            _tired = poll_fn(|cx| patience.poll(cx)), if !ending => {}
        }
        ending = true;
        // GOAWAY (RFC 9113 §6.8): what runs is finished. A client that does not go then is pinged, and cut by the drain.
        driver.as_mut().graceful_shutdown();
    };
    if let Err(error) = over {
        tracing::debug!(%client, cause = respond::chain(&error), "connection broke");
    }
}

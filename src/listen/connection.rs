//! One connection of a client, from its handshake to its first request.
//!
//! [`serve`] is its owner: it finds out what is spoken, and lets [`http1`] or [`http2`] drive hyper.

use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service as HyperService;
use tokio::net::TcpStream;

use super::Listener;
use super::idle::{Activity, Busy};
use super::{http1, http2};
use crate::config::model::ListenerProtocol;
use crate::http::body::{Body, BodyError};
use crate::lifecycle::drain;
use crate::limits::Permit;
use crate::net::ClientAddr;
use crate::respond;
use crate::stream::{Downstream, Slot};
use crate::tls::ClientStream;
use crate::tls::accept::Protocol;

/// What a connection holds until its very end, streams included: its place in the drain and its permit.
pub(super) type Held = (drain::Guard, Permit);

/// Serves one connection to its end, or until a stream has taken its socket.
pub(super) async fn serve(tcp: TcpStream, client: ClientAddr, listener: Rc<Listener>, held: Held) {
    let port = tcp.local_addr().map_or(0, |address| address.port());
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
        port,
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
        Protocol::Http1 => Box::pin(http1::serve(stream, connection, &limits, held)).await,
        Protocol::Http2 => Box::pin(http2::serve(stream, connection, &limits, held)).await,
    }
}

/// What hyper calls for each request.
pub(super) struct Connection(pub(super) Rc<Facts>);

/// What all requests of a connection share.
pub(super) struct Facts {
    listener: Rc<Listener>,
    pub(super) downstream: Downstream,
    pub(super) activity: Rc<Activity>,
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
pub(super) struct Tracked {
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

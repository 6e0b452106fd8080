//! One connection of a client, from its handshake to its first request.
//!
//! [`serve`] is its owner: it finds out what is spoken, and lets [`http1`] or [`http2`] drive hyper.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service as HyperService;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::Listener;
use super::http2_streams::{Latest, Progress};
use super::idle::{Activity, Busy};
use super::proxy_protocol::{self, ProxyError};
use super::{http1, http2};
use crate::config::model::{Config, ListenerProtocol};
use crate::http::body::{Body, BodyError};
use crate::http::inbound::{Bounds, Outline};
use crate::http::problem::Problem;
use crate::lifecycle::drain;
use crate::limits::{Permit, TooMany};
use crate::net::ClientAddr;
use crate::respond;
use crate::stream::{Downstream, Slot, Tunnels};
use crate::tls::ClientStream;
use crate::tls::accept::{Accepted, Protocol};

/// What a connection holds until its very end, streams included: its place in the drain and its permit.
pub(super) type Held = (drain::Guard, Permit);

/// Serves one connection to its end, or until a stream has taken its socket.
pub(super) async fn serve(
    mut tcp: TcpStream,
    client: ClientAddr,
    listener: Rc<Listener>,
    mut held: Held,
) {
    let begun = Instant::now();
    let snapshot = listener.service.snapshot();
    let Ends { client, local } = match ends(&mut tcp, client, &listener, &snapshot.config).await {
        Ok(ends) => ends,
        Err(error) => {
            tracing::debug!(%client, cause = respond::chain(&error), "no PROXY header");
            return;
        }
    };
    if let Err(error) = count(client, &listener, &snapshot.config, &mut held.1) {
        tracing::debug!(%client, why = %error, "connection closed");
        return;
    }
    let (stream, protocol, handshake) = match listener.protocol {
        ListenerProtocol::Clear | ListenerProtocol::RedirectToHttps => {
            (ClientStream::Clear(tcp), Protocol::Http1, None)
        }
        ListenerProtocol::Tls => {
            let Some(acceptor) = snapshot.acceptor.clone() else {
                return;
            };
            match acceptor.accept(tcp, begun).await {
                Ok(Accepted {
                    stream,
                    protocol,
                    shown,
                }) => (ClientStream::Tls(stream), protocol, Some(Rc::new(shown))),
                Err(error) => {
                    tracing::debug!(%client, cause = respond::chain(&error), "no TLS connection");
                    return;
                }
            }
        }
    };
    let limits = snapshot.config.limits.clone();
    let hsts = hsts(&snapshot.config).filter(|_field| handshake.is_some());
    // A connection outlives many snapshots: only its requests hold one.
    drop(snapshot);
    let scheme = if listener.protocol == ListenerProtocol::Tls {
        "https"
    } else {
        "http"
    };
    let slot = (protocol == Protocol::Http1).then(Slot::default);
    let has_tunnels = protocol == Protocol::Http2 && listener.websocket_over_h2;
    let downstream = Downstream {
        client,
        local,
        scheme,
        handshake,
        slot,
        tunnels: has_tunnels.then(Tunnels::default),
        guard: held.0.clone(),
    };
    let connection = Connection(Rc::new(Facts {
        listener,
        downstream,
        activity: Activity::new(),
        latest: Latest::default(),
        head: Bounds {
            size: limits.header_size,
            count: limits.header_count,
        },
        hsts,
        requests: limits.requests_per_connection,
        resets: limits.http2.resets,
    }));
    match protocol {
        Protocol::Http1 => Box::pin(http1::serve(stream, connection, &limits, held)).await,
        Protocol::Http2 => Box::pin(http2::serve(stream, connection, &limits, held)).await,
    }
}

/// The value of `Strict-Transport-Security`, where it is sent.
fn hsts(config: &Config) -> Option<HeaderValue> {
    let seconds = config.tls.hsts?.as_secs();
    HeaderValue::try_from(format!("max-age={seconds}")).ok()
}

/// Counts the connection among its client's. A proxy that is trusted has many clients, and what it does not say of them is not held
/// against it.
fn count(
    client: ClientAddr,
    listener: &Listener,
    config: &Config,
    permit: &mut Permit,
) -> Result<(), TooMany> {
    let client = client.0.ip();
    if config.trust.believes(client) {
        return Ok(());
    }
    permit.of_client(&listener.permits, client)
}

/// Who a connection's client is, and what it has connected to.
struct Ends {
    client: ClientAddr,
    local: SocketAddr,
}

/// Why it is not known who the client is.
#[derive(Debug, thiserror::Error)]
enum NotAnnounced {
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error("the PROXY header was not whole within {0:?}")]
    TimedOut(Duration),
}

/// The ends of a connection, by what its trusted proxy says or else by what the socket says. From a peer that is not
/// trusted nothing is read: a header that it sends is neither TLS nor HTTP, and is refused as such.
async fn ends(
    tcp: &mut TcpStream,
    peer: ClientAddr,
    listener: &Listener,
    config: &Config,
) -> Result<Ends, NotAnnounced> {
    // It cannot fail on a connected socket; if it does, servers are told of no address.
    let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
    let local = tcp.local_addr().unwrap_or(nowhere);
    if !listener.proxy_protocol || !config.trust.believes(peer.0.ip()) {
        return Ok(Ends {
            client: peer,
            local,
        });
    }
    let limit = match listener.protocol {
        ListenerProtocol::Tls => config.limits.tls_handshake_timeout,
        ListenerProtocol::Clear | ListenerProtocol::RedirectToHttps => config.limits.header_timeout,
    };
    let announced = tokio::time::timeout(limit, proxy_protocol::read(tcp))
        .await
        .map_err(|_elapsed| NotAnnounced::TimedOut(limit))??;
    Ok(announced.map_or(
        Ends {
            client: peer,
            local,
        },
        |announced| Ends {
            client: ClientAddr(announced.client),
            local: announced.local,
        },
    ))
}

/// What hyper calls for each request.
pub(super) struct Connection(pub(super) Rc<Facts>);

/// What all requests of a connection share.
pub(super) struct Facts {
    listener: Rc<Listener>,
    pub(super) downstream: Downstream,
    pub(super) activity: Rc<Activity>,
    pub(super) latest: Latest,
    /// How large a request's head may be.
    pub(super) head: Bounds,
    /// What every response says of https (RFC 6797 §7.1), unless its route or its backend says it otherwise.
    hsts: Option<HeaderValue>,
    /// How many requests a connection may have.
    requests: Option<u64>,
    /// How many a client may cancel within a short time.
    resets: u32,
}

impl Facts {
    /// The response to a request that did not come as far as hyper.
    pub(super) fn refuse(&self, outline: Outline, problem: &Problem) -> Response<Bytes> {
        let (service, client) = (&self.listener.service, self.downstream.client);
        service.refuse_unread(client, outline, problem)
    }

    /// Whether a request of HTTP/2 has more of a head than it may have, counted as RFC 9113 §6.5.2 does. (Over HTTP/1.1 it
    /// would not have come this far.)
    fn is_too_large(&self, request: &Request<Incoming>) -> bool {
        let (fields, target) = (request.headers(), request.uri().path_and_query());
        let field = |name: usize, value: usize| name + value + 32;
        let size = fields
            .iter()
            .map(|(name, value)| field(name.as_str().len(), value.len()))
            .sum::<usize>()
            + field(5, target.map_or(0, |target| target.as_str().len()));
        fields.len() > self.head.count || size > self.head.size
    }

    /// Whether the request that has just come is the connection's last.
    fn is_last(&self) -> bool {
        let last = self
            .requests
            .is_some_and(|most| self.activity.requests() >= most);
        if last {
            self.activity.tell_enough();
        }
        last
    }
}

/// A request of HTTP/2 whose response has not begun. If that never happens the client has cancelled it.
struct Unanswered(Option<Rc<Facts>>);

impl Unanswered {
    fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(facts) = &self.0 {
            facts.activity.cancelled();
            if facts.activity.cancellations() > facts.resets {
                facts.activity.tell_enough();
            }
        }
    }
}

impl HyperService<Request<Incoming>> for Connection {
    type Response = Response<Tracked>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let facts = self.0.clone();
        let busy = facts.activity.begin();
        let over_http2 = facts.downstream.slot.is_none();
        let is_connect = *request.method() == Method::CONNECT;
        let close = facts.is_last() && !over_http2;
        let unanswered = Unanswered(over_http2.then(|| facts.clone()));
        let progress = over_http2.then(|| facts.latest.begin());
        Box::pin(async move {
            let Facts {
                listener,
                downstream,
                ..
            } = &*facts;
            let mut response = match listener.protocol {
                _ if over_http2 && facts.is_too_large(&request) => {
                    let problem = Problem::HeaderTooLarge;
                    listener.service.refuse(downstream, &request, &problem)
                }
                ListenerProtocol::RedirectToHttps => {
                    let port = listener.https_port;
                    listener.service.send_to_https(downstream, &request, port)
                }
                ListenerProtocol::Tls | ListenerProtocol::Clear => {
                    listener.service.serve(downstream, request).await
                }
            };
            unanswered.answered();
            if let Some(hsts) = &facts.hsts {
                let fields = response.headers_mut();
                fields
                    .entry(header::STRICT_TRANSPORT_SECURITY)
                    .or_insert_with(|| hsts.clone());
            }
            // The drain may have begun since the request came.
            if close || !over_http2 && downstream.guard.is_draining() {
                let close = HeaderValue::from_static("close");
                let fields = response.headers_mut();
                fields.entry(header::CONNECTION).or_insert(close);
            }
            // hyper drops the body of a tunnel's response: it is the tunnel that keeps the connection busy.
            let tunnel = downstream.tunnels.as_ref().and_then(Tunnels::latest);
            let busy = match tunnel.filter(|_| is_connect && response.status().is_success()) {
                Some(halves) => {
                    halves.hold(busy);
                    None
                }
                None => Some(busy),
            };
            Ok(response.map(|body| Tracked {
                body,
                progress,
                _busy: busy,
            }))
        })
    }
}

/// A response's body, which keeps its connection busy until it has ended.
pub(super) struct Tracked {
    body: Body,
    /// Over HTTP/2, where the connection may live while a client takes nothing of this.
    progress: Option<Rc<Progress>>,
    _busy: Option<Busy>,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(progress) = &self.progress {
            progress.asked();
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let (Some(progress), Some(Ok(_))) = (&self.progress, &frame) {
            progress.given();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! How a long stream leaves hyper.
//!
//! As long as hyper drives a connection it keeps two buffers of 8 KiB on it. So when an HTTP/1.1 request turns out
//! to be a long stream (a tunnel, an event stream, a subscription), its action does not answer through hyper: it
//! returns [`Answer::HandOver`], the service lays that into the connection's [`Slot`] and stays pending, and the
//! connection's owner takes the socket out of hyper and lets the hand-over run on it, head and all. HTTP/2 streams
//! have no slot: they stay with hyper and are answered by a body, or, where they become tunnels, by [`Answer::Tunnel`].

use std::borrow::Cow;
use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use http::{Response, Version};

use super::http2_tunnel::Tunnels;
use crate::http::body::Body;
use crate::http::origin::Origin;
use crate::lifecycle::drain;
use crate::net::ClientAddr;
use crate::tls::ClientStream;
use crate::tls::accept::Shown;
use crate::tls::peer::ClientCertificate;

/// What an action knows of the connection its request came on.
#[derive(Clone)]
pub struct Downstream {
    /// The client.
    pub client: ClientAddr,
    /// Our own address on it, for PROXY headers and `X-Forwarded-Port`.
    pub local: SocketAddr,
    /// `https` or `http`.
    pub scheme: &'static str,
    /// What its TLS handshake has shown; `None` in clear text.
    pub handshake: Option<Rc<Shown>>,
    /// Where a long stream's hand-over is laid; `None` where streams stay with hyper (HTTP/2).
    pub slot: Option<Slot>,
    /// Where a tunnel within HTTP/2 begins; `None` where there are none.
    pub tunnels: Option<Tunnels>,
    /// Held by all that outlives the request.
    pub guard: drain::Guard,
}

impl Downstream {
    /// Who is at the connection's other end by its certificate.
    #[must_use]
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.handshake.as_ref()?.client.as_ref()
    }

    /// The same as a request's origin tells it: who asked may not be who is at the connection's other end.
    #[must_use]
    pub fn told_by(&self, origin: &Origin) -> Cow<'_, Self> {
        if !origin.is_believed {
            return Cow::Borrowed(self);
        }
        Cow::Owned(Self {
            client: ClientAddr(origin.client),
            scheme: origin.proto,
            ..self.clone()
        })
    }
}

/// What an action answers.
pub enum Answer {
    /// A response that hyper writes.
    Response(Response<Body>),
    /// A long stream that wants the socket. Only given where [`Downstream::slot`] is there.
    HandOver(HandOver),
    /// The answer to an extended CONNECT, with what then runs on its stream. Only given where [`Downstream::tunnels`] is there.
    Tunnel(Response<Body>, HandOver),
}

/// A client's socket, taken out of hyper. Nothing of an earlier response is unwritten, and nothing of this one written.
pub struct Taken {
    /// The socket.
    pub stream: ClientStream,
    /// What the client sent after the request and hyper had read already.
    pub early: Bytes,
    /// Held until the stream has ended.
    pub guard: drain::Guard,
}

type Run = Box<dyn FnOnce(Taken) -> Pin<Box<dyn Future<Output = ()>>>>;

/// A long stream that is ready to run on its client's socket: it writes the response's head itself, and closes the
/// connection at its end.
pub struct HandOver(Run);

impl HandOver {
    /// A stream that runs as `run`.
    pub fn new<F>(run: impl FnOnce(Taken) -> F + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self(Box::new(|taken| Box::pin(run(taken))))
    }

    /// The stream's whole remaining life.
    #[must_use]
    pub fn run(self, taken: Taken) -> Pin<Box<dyn Future<Output = ()>>> {
        (self.0)(taken)
    }
}

/// The place on a connection where a hand-over is laid. The service runs inside of the connection's own future, so
/// the owner need not be woken: it looks here after each poll.
#[derive(Clone, Default)]
pub struct Slot(Rc<RefCell<Option<HandOver>>>);

impl Slot {
    /// Lays `stream` down and stays pending until the owner has taken the socket and dropped the request.
    pub async fn give(&self, stream: HandOver) -> Infallible {
        self.0.replace(Some(stream));
        std::future::pending().await
    }

    /// Whether a stream waits for the socket.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// The stream that waits.
    #[must_use]
    pub fn take(&self) -> Option<HandOver> {
        self.0.borrow_mut().take()
    }
}

/// Whether a client of this version understands chunked framing (RFC 9112 §7.1).
#[must_use]
pub fn takes_chunks(version: Version) -> bool {
    version > Version::HTTP_10
}

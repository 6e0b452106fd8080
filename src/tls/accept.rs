//! The server's side of a TLS handshake.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{TlsStream, unbuffered};

/// What a client and a listener have agreed to speak (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// `h2`
    Http2,
    /// `http/1.1`, or nothing.
    Http1,
}

/// A protocol version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246)
    V1_2,
    /// TLS 1.3 (RFC 8446)
    V1_3,
}

/// What seals session tickets. One for the whole process, so that sessions resume on any worker and across reloads.
#[derive(Debug, Clone)]
pub struct Tickets(Arc<dyn ProducesTickets>);

impl Tickets {
    /// Fresh keys, which rotate by themselves.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new() -> Result<Self, rustls::Error> {
        rustls::crypto::aws_lc_rs::Ticketer::new().map(Self)
    }
}

/// Why a connection has not become one of TLS.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client broke off, or does not speak TLS as we do.
    #[error("the TLS handshake failed")]
    Failed(#[source] io::Error),
    /// The whole handshake was not done in time.
    #[error("the TLS handshake was not done within {0:?}")]
    TimedOut(Duration),
}

/// Turns TCP connections into TLS ones.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    limit: Duration,
}

impl Acceptor {
    /// An acceptor with the certificates of `resolver`; `tickets`, if sessions are to resume; `limit` for the whole
    /// handshake.
    ///
    /// # Errors
    /// rustls refuses the combination.
    pub fn new(
        resolver: Arc<dyn ResolvesServerCert>,
        min_version: TlsVersion,
        tickets: Option<&Tickets>,
        limit: Duration,
    ) -> Result<Self, rustls::Error> {
        let versions: &[_] = match min_version {
            TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        // A client that names HTTP/1.0 alone (`curl --http1.0`) would be refused without it (RFC 7301 section 3.2).
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        // Sessions live in their tickets: a store in memory would be a lock that all workers share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match tickets {
            Some(tickets) => config.ticketer = tickets.0.clone(),
            None => config.send_tls13_tickets = 0,
        }
        Ok(Self {
            config: Arc::new(config),
            limit,
        })
    }

    /// Does the whole handshake. Its time runs from `begun`: what a load balancer says before it is a part of it.
    ///
    /// # Errors
    /// [`HandshakeError`]; the connection is closed then.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub async fn accept(
        &self,
        tcp: TcpStream,
        begun: Instant,
    ) -> Result<(TlsStream, Protocol), HandshakeError> {
        let accept = unbuffered::Stream::accept(tcp, self.config.clone());
        let handshake = tokio::time::timeout_at(begun + self.limit, accept);
        let accepted = handshake
            .await
            .map_err(|_elapsed| HandshakeError::TimedOut(self.limit))?;
        let stream = accepted.map_err(HandshakeError::Failed)?;
        let protocol = match stream.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Ok((TlsStream::new(stream), protocol))
    }
}

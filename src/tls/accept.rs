//! The server's side of a TLS handshake.

use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::client_auth::{ClientAuth, ClientAuthError};
use super::peer::ClientCertificate;
use super::sni::{Names, ResolveBySni};
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

/// What a handshake has shown to both sides.
#[derive(Debug, Default)]
pub struct Shown {
    /// The names of the certificate that the client has got for the name it asked for; `None`: it asked for none.
    pub names: Option<Names>,
    /// The client's own certificate, which has been verified.
    pub client: Option<ClientCertificate>,
}

/// A connection after its handshake.
pub struct Accepted {
    /// Its bytes.
    pub stream: TlsStream,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// Who is at both ends.
    pub shown: Shown,
}

/// Why a configuration cannot be put in force.
#[derive(Debug, thiserror::Error)]
pub enum AcceptorError {
    /// rustls refuses the combination.
    #[error(transparent)]
    Refused(#[from] rustls::Error),
    /// Clients cannot be verified.
    #[error("`client_auth` {0}")]
    ClientAuth(#[from] ClientAuthError),
}

/// What a handshake is to be like.
pub struct Terms<'a> {
    /// The lowest version.
    pub min_version: TlsVersion,
    /// What seals sessions, if they are to resume.
    pub tickets: Option<&'a Tickets>,
    /// Whose certificates clients show.
    pub client_auth: Option<&'a ClientAuth>,
    /// For the whole handshake.
    pub limit: Duration,
}

tokio::task_local! {
    /// The names of the certificate that this task's handshake has chosen. The resolver is asked within it, and by no other way does
    /// it know for whom.
    static CHOSEN: RefCell<Option<Names>>;
}

/// Notes which certificate the handshake of this task shows.
pub(super) fn note_chosen(names: &Names) {
    // Outside of a handshake nobody asks.
    let _ = CHOSEN.try_with(|chosen| chosen.replace(Some(names.clone())));
}

/// Turns TCP connections into TLS ones.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    resolver: Arc<ResolveBySni>,
    limit: Duration,
}

impl Acceptor {
    /// An acceptor with the certificates of `resolver`.
    ///
    /// # Errors
    /// [`AcceptorError`]
    pub fn new(resolver: Arc<ResolveBySni>, terms: &Terms<'_>) -> Result<Self, AcceptorError> {
        let versions: &[_] = match terms.min_version {
            TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
        let builder = match terms.client_auth {
            Some(client_auth) => builder.with_client_cert_verifier(client_auth.verifier()?),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(resolver.clone());
        // A client that names HTTP/1.0 alone (`curl --http1.0`) would be refused without it (RFC 7301 section 3.2).
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"http/1.0".to_vec()];
        // Sessions live in their tickets: a store in memory would be a lock that all workers share.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match terms.tickets {
            Some(tickets) => config.ticketer = tickets.0.clone(),
            None => config.send_tls13_tickets = 0,
        }
        Ok(Self {
            config: Arc::new(config),
            resolver,
            limit: terms.limit,
        })
    }

    /// Whether one of the certificates is for this host, in lower case.
    #[must_use]
    pub fn is_named(&self, host: &str) -> bool {
        self.resolver.named(host).is_some()
    }

    /// Does the whole handshake. Its time runs from `begun`: what a load balancer says before it is a part of it.
    ///
    /// # Errors
    /// [`HandshakeError`]; the connection is closed then.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub async fn accept(&self, tcp: TcpStream, begun: Instant) -> Result<Accepted, HandshakeError> {
        let handshake = CHOSEN.scope(RefCell::default(), async {
            let accepted = unbuffered::Stream::accept(tcp, self.config.clone()).await;
            (accepted, CHOSEN.with(RefCell::take))
        });
        let handshake = tokio::time::timeout_at(begun + self.limit, handshake);
        let (accepted, names) = handshake
            .await
            .map_err(|_elapsed| HandshakeError::TimedOut(self.limit))?;
        let stream = accepted.map_err(HandshakeError::Failed)?;
        let protocol = match stream.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let chain = stream.peer_certificates();
        let client = chain.and_then(<[_]>::first).map(ClientCertificate::of);
        Ok(Accepted {
            stream: TlsStream::new(stream),
            protocol,
            shown: Shown { names, client },
        })
    }
}

//! The client's side of a TLS handshake: what we ask of a server, and what we show it.
//!
//! A [`ServerTls`] is made once for an upstream, when its configuration is checked: all files were read by then, and
//! nothing here touches a disk later. Sessions resume by what rustls keeps in it.

use std::error::Error as _;
use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::ServerStream;
use super::accept::Protocol;
use super::certificates::Certificate;

/// Whom a server's certificate has to be signed by.
#[derive(Debug, Clone, PartialEq)]
pub enum Roots {
    /// One of those that the system trusts. They are read once in the process's life.
    System,
    /// One of these.
    Given(Vec<CertificateDer<'static>>),
    /// Nobody: any certificate is taken. Whoever stands in between can read along.
    Unverified,
}

/// How an upstream's `https://` servers are spoken to. Compares by what was configured.
#[derive(Debug, Clone)]
pub struct ServerTls {
    asked: Asked,
    either: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

#[derive(Debug, Clone, PartialEq)]
struct Asked {
    roots: Roots,
    name: Option<ServerName<'static>>,
    identity: Option<Certificate>,
}

impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        self.asked == other.asked
    }
}

/// What is offered to a server by ALPN (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// `h2` and `http/1.1`.
    Either,
    /// `http/1.1` only: what follows is a WebSocket, or a connection that is used once.
    Http1,
}

/// Why the TLS settings of an upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerTlsError {
    /// The system has no root certificates, or they cannot be read.
    #[error("the system has no root certificates")]
    NoSystemRoots,
    /// One of the given roots is not one.
    #[error("holds a certificate that cannot be a root")]
    BadRoot(#[source] rustls::Error),
    /// rustls refuses the combination.
    #[error("the TLS settings cannot be used")]
    Refused(#[source] rustls::Error),
}

/// Why a connection to a server has not become one of TLS.
#[derive(Debug, thiserror::Error)]
pub enum ServerHandshakeError {
    /// The server's certificate is not one that we trust for this name.
    #[error("the server's certificate is not trusted")]
    Certificate(#[source] rustls::Error),
    /// The server ended the handshake with an alert (RFC 8446 §6).
    #[error("the server ended the TLS handshake")]
    Alert(#[source] rustls::Error),
    /// Anything else: the server does not speak TLS as we do, or broke off.
    #[error("the TLS handshake failed")]
    Failed(#[source] io::Error),
}

impl ServerTls {
    /// What they are compared by, as bytes: the same in every process.
    #[must_use]
    pub fn fingerprint(&self) -> Vec<u8> {
        let Asked {
            roots,
            name,
            identity,
        } = &self.asked;
        let (word, given) = match roots {
            Roots::System => ("system", &[][..]),
            Roots::Given(given) => ("given", &given[..]),
            Roots::Unverified => ("unverified", &[][..]),
        };
        let name = name.as_ref().map(ServerName::to_str);
        let chain = identity.iter().flat_map(|identity| &identity.key.cert);
        let texts = [
            word.as_bytes(),
            name.as_deref().unwrap_or_default().as_bytes(),
        ];
        let parts = texts.into_iter().chain(given.iter().map(AsRef::as_ref));
        let mut bytes = Vec::new();
        for part in parts
            .chain([&b"identity"[..]])
            .chain(chain.map(AsRef::as_ref))
        {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    /// Settings that trust `roots`, look for `name` in the certificate (`None`: for the host that is connected to), and
    /// show `identity` to a server that asks who we are.
    ///
    /// # Errors
    /// [`ServerTlsError`].
    pub fn new(
        roots: Roots,
        name: Option<ServerName<'static>>,
        identity: Option<Certificate>,
    ) -> Result<Self, ServerTlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match &roots {
            Roots::System => pki(system_roots()?, &provider)?,
            Roots::Given(given) => pki(store(given)?, &provider)?,
            Roots::Unverified => Arc::new(Unverified(provider.clone())),
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(ServerTlsError::Refused)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &identity {
            Some(identity) => builder
                .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity.key.clone()))),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = Arc::new(config.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            asked: Asked {
                roots,
                name,
                identity,
            },
            either: Arc::new(config),
            http1,
        })
    }

    /// Does the handshake on `tcp` with the server that is called `host` unless the settings say otherwise.
    ///
    /// # Errors
    /// [`ServerHandshakeError`]; the connection is closed then.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub async fn connect(
        &self,
        host: &str,
        offer: Offer,
        tcp: TcpStream,
    ) -> Result<(ServerStream, Protocol), ServerHandshakeError> {
        let config = match offer {
            Offer::Either => &self.either,
            Offer::Http1 => &self.http1,
        };
        let name = match &self.asked.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|_no_name| {
                ServerHandshakeError::Failed(io::ErrorKind::InvalidInput.into())
            })?,
        };
        let handshake = TlsConnector::from(config.clone()).connect(name, tcp);
        let stream = Box::pin(handshake).await.map_err(blame)?;
        let protocol = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Protocol::Http2,
            _ => Protocol::Http1,
        };
        Ok((ServerStream::Tls(Box::new(stream)), protocol))
    }
}

/// The alert by which a server ended a connection, if `error` is one: a server that misses our certificate says so only
/// after the handshake (RFC 8446 §4.6.2).
#[must_use]
pub fn alert(error: &io::Error) -> Option<rustls::AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

fn blame(error: io::Error) -> ServerHandshakeError {
    let cause = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match cause {
        Some(cause @ rustls::Error::InvalidCertificate(_)) => {
            ServerHandshakeError::Certificate(cause.clone())
        }
        Some(cause @ rustls::Error::NoCertificatesPresented) => {
            ServerHandshakeError::Certificate(cause.clone())
        }
        Some(cause @ rustls::Error::AlertReceived(_)) => ServerHandshakeError::Alert(cause.clone()),
        _ => ServerHandshakeError::Failed(error),
    }
}

fn pki(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, ServerTlsError> {
    WebPkiServerVerifier::builder_with_provider(roots, provider.clone())
        .build()
        .map_err(|_empty| ServerTlsError::NoSystemRoots)
}

fn store(given: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, ServerTlsError> {
    let mut store = RootCertStore::empty();
    for certificate in given {
        store
            .add(certificate.clone())
            .map_err(ServerTlsError::BadRoot)?;
    }
    Ok(Arc::new(store))
}

/// What the system trusts, without what cannot be parsed: systems have odd certificates among theirs.
fn system_roots() -> Result<Arc<RootCertStore>, ServerTlsError> {
    static SYSTEM: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let system = SYSTEM.get_or_init(|| {
        let mut store = RootCertStore::empty();
        let loaded = rustls_native_certs::load_native_certs();
        for error in &loaded.errors {
            let cause = error.source().map(ToString::to_string);
            tracing::warn!(%error, cause, "some root certificates of the system cannot be read");
        }
        store.add_parsable_certificates(loaded.certs);
        Arc::new(store)
    });
    if system.is_empty() {
        return Err(ServerTlsError::NoSystemRoots);
    }
    Ok(system.clone())
}

/// Takes any certificate, as long as the server has its key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> CertificateDer<'static> {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        made.cert.der().clone()
    }

    #[test]
    fn settings_compare_by_what_was_configured() {
        let root = root();
        let made = |roots: &[&CertificateDer<'static>], name: Option<&str>| {
            let roots = Roots::Given(roots.iter().map(|&root| root.clone()).collect());
            let name = name.map(|name| ServerName::try_from(name.to_owned()).unwrap());
            ServerTls::new(roots, name, None).unwrap()
        };
        assert_eq!(made(&[&root], None), made(&[&root], None));
        assert_ne!(made(&[&root], None), made(&[&root], Some("a.test")));
        assert_ne!(made(&[&root], None), made(&[&self::root()], None));
        let any = ServerTls::new(Roots::Unverified, None, None).unwrap();
        assert_ne!(made(&[&root], None), any);
    }

    #[test]
    fn a_root_that_is_no_certificate_is_refused() {
        let roots = Roots::Given(vec![CertificateDer::from(vec![1, 2, 3])]);
        let refused = ServerTls::new(roots, None, None);
        assert!(matches!(refused, Err(ServerTlsError::BadRoot(_))));
    }
}

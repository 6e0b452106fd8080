//! The way to the server: its addresses, TCP, TLS, and how long each took.
//!
//! Invariant: where the certificate is not trusted and `--insecure` was not said, the way ends with the handshake: it is
//! made to read the certificate, and nothing is asked, so that no field of the user's reaches whoever is there.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use crate::respond::chain;
use crate::tls::ServerStream;
use crate::tls::accept::Protocol;
use crate::tls::client::{Offer, Roots, ServerHandshakeError, ServerTls, ServerTlsError};
use crate::tls::described::Described;

use super::target::Target;

/// How long each step may take.
const STEP: Duration = Duration::from_secs(10);

/// Bytes of a PEM file at most.
const LONGEST_PEM: u64 = 1 << 20;

/// Why there is no connection.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    #[error("the name `{0}` has no address")]
    NoAddress(String),
    #[error("the name `{name}` cannot be looked up")]
    Lookup {
        name: String,
        #[source]
        source: io::Error,
    },
    #[error("nobody answers at `{address}`")]
    Tcp {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("{0} took longer than {STEP:?}")]
    Late(&'static str),
    #[error(transparent)]
    Handshake(#[from] ServerHandshakeError),
    #[error(transparent)]
    Settings(#[from] ServerTlsError),
    #[error("the file `{}` cannot be read", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the file `{}` holds no certificates as PEM", .0.display())]
    NoCertificates(PathBuf),
}

/// What was seen on the way.
#[derive(Debug)]
pub(super) struct Way {
    /// Everything that the name stands for.
    pub(super) addresses: Vec<SocketAddr>,
    /// Which of them answered.
    pub(super) address: SocketAddr,
    /// How long the look-up took; `None`: the address was given.
    pub(super) lookup: Option<Duration>,
    /// How long TCP took.
    pub(super) tcp: Duration,
    /// TLS, if it is spoken.
    pub(super) tls: Option<Tls>,
}

/// What was seen of TLS.
#[derive(Debug)]
pub(super) struct Tls {
    /// How long the handshake took.
    pub(super) took: Duration,
    /// `TLS 1.3`
    pub(super) version: &'static str,
    /// What ALPN chose.
    pub(super) protocol: Protocol,
    /// The server's certificate.
    pub(super) certificate: Option<Described>,
    /// Why it is not trusted, if it is not.
    pub(super) untrusted: Option<String>,
}

/// Opens connections to the server that has been found.
#[derive(Debug)]
pub(super) struct Door {
    host: String,
    address: SocketAddr,
    tls: Option<ServerTls>,
}

impl Door {
    /// A new connection.
    ///
    /// # Errors
    /// [`ConnectError`]
    pub(super) async fn open(
        &self,
        offer: Offer,
    ) -> Result<(ServerStream, Protocol), ConnectError> {
        let tcp = tcp(self.address).await?;
        let Some(tls) = &self.tls else {
            return Ok((ServerStream::Tcp(tcp), Protocol::Http1));
        };
        handshake(tls, &self.host, offer, tcp).await
    }
}

/// What came of it.
pub(super) struct Arrived {
    /// What was seen.
    pub(super) way: Way,
    /// How to get there again; `None`: it must not be gone on.
    pub(super) door: Option<Door>,
}

/// Goes there for the first time. `insecure` goes on whatever the certificate is.
///
/// # Errors
/// [`ConnectError`]
pub(super) async fn arrive(
    target: &Target,
    ca: Option<&Path>,
    insecure: bool,
) -> Result<Arrived, ConnectError> {
    let (addresses, lookup) = addresses(target).await?;
    let started = Instant::now();
    let (stream, address) = first(&addresses).await?;
    let tcp = started.elapsed();
    let mut way = Way {
        addresses,
        address,
        lookup,
        tcp,
        tls: None,
    };
    let mut door = Door {
        host: target.authority.host.as_ref().to_owned(),
        address,
        tls: None,
    };
    if !target.is_secure {
        let door = Some(door);
        return Ok(Arrived { way, door });
    }
    let trusting = ServerTls::new(roots(ca)?, None, None)?;
    let host = &target.authority.host;
    let started = Instant::now();
    let (tls, untrusted) = match handshake(&trusting, host, Offer::Either, stream).await {
        Ok((stream, protocol)) => (seen(&stream, protocol, started.elapsed()), None),
        Err(ConnectError::Handshake(ServerHandshakeError::Certificate(fault))) => {
            let blind = ServerTls::new(Roots::Unverified, None, None)?;
            let started = Instant::now();
            let again = self::tcp(address).await?;
            let (stream, protocol) = handshake(&blind, host, Offer::Either, again).await?;
            let tls = seen(&stream, protocol, started.elapsed());
            (tls, Some((chain(&fault), blind)))
        }
        Err(other) => return Err(other),
    };
    let may_go_on = untrusted.is_none() || insecure;
    let (words, settings) = match untrusted {
        Some((words, blind)) => (Some(words), blind),
        None => (None, trusting),
    };
    door.tls = Some(settings);
    way.tls = Some(Tls {
        untrusted: words,
        ..tls
    });
    let door = may_go_on.then_some(door);
    Ok(Arrived { way, door })
}

async fn addresses(target: &Target) -> Result<(Vec<SocketAddr>, Option<Duration>), ConnectError> {
    if let Some(address) = target.address {
        return Ok((vec![address], None));
    }
    let (name, port) = (&*target.authority.host, target.authority.port);
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok((vec![SocketAddr::new(address, port)], None));
    }
    let started = Instant::now();
    let found = timeout(STEP, lookup_host((name, port))).await;
    let found = found.map_err(|_late| ConnectError::Late("looking up the name"))?;
    let found = found.map_err(|source| ConnectError::Lookup {
        name: name.to_owned(),
        source,
    })?;
    let mut addresses: Vec<SocketAddr> = found.take(16).collect();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(ConnectError::NoAddress(name.to_owned()));
    }
    Ok((addresses, Some(started.elapsed())))
}

/// The first address that answers, in the order in which the system gives them.
async fn first(addresses: &[SocketAddr]) -> Result<(TcpStream, SocketAddr), ConnectError> {
    let mut last = ConnectError::Late("the connection");
    for &address in addresses {
        match tcp(address).await {
            Ok(stream) => return Ok((stream, address)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn tcp(address: SocketAddr) -> Result<TcpStream, ConnectError> {
    let opened = timeout(STEP, TcpStream::connect(address)).await;
    let opened = opened.map_err(|_late| ConnectError::Late("the connection"))?;
    let stream = opened.map_err(|source| ConnectError::Tcp { address, source })?;
    // Without it only the times would be a little less exact.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn handshake(
    tls: &ServerTls,
    host: &str,
    offer: Offer,
    tcp: TcpStream,
) -> Result<(ServerStream, Protocol), ConnectError> {
    let done = timeout(STEP, tls.connect(host, offer, tcp)).await;
    Ok(done.map_err(|_late| ConnectError::Late("the TLS handshake"))??)
}

fn seen(stream: &ServerStream, protocol: Protocol, took: Duration) -> Tls {
    let session = match stream {
        ServerStream::Tls(tls) => Some(tls.get_ref().1),
        ServerStream::Tcp(_) | ServerStream::Unix(_) => None,
    };
    let version = match session.and_then(|session| session.protocol_version()) {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
        _ => "TLS",
    };
    let chain = session.and_then(|session| session.peer_certificates());
    let certificate = chain.and_then(<[CertificateDer<'_>]>::first);
    Tls {
        took,
        version,
        protocol,
        certificate: certificate.map(Described::of),
        untrusted: None,
    }
}

fn roots(ca: Option<&Path>) -> Result<Roots, ConnectError> {
    let Some(path) = ca else {
        return Ok(Roots::System);
    };
    let unread = |source| ConnectError::File {
        path: path.to_owned(),
        source,
    };
    let size = std::fs::metadata(path).map_err(unread)?.len();
    let none = || ConnectError::NoCertificates(path.to_owned());
    if size > LONGEST_PEM {
        return Err(none());
    }
    let text = std::fs::read(path).map_err(unread)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(Roots::Given(found)),
        _ => Err(none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_told() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let none = roots(Some(&here.join("Cargo.toml")));
        assert!(
            matches!(none, Err(ConnectError::NoCertificates(_))),
            "{none:?}"
        );
        let missing = roots(Some(&here.join("no such file")));
        assert!(matches!(missing, Err(ConnectError::File { .. })));
        assert!(matches!(roots(None), Ok(Roots::System)));
    }
}

//! A new connection to a server: its name, TCP or a socket in the file system, the PROXY header, TLS.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};

use super::{dial, resolve};
use crate::net::{Authority, Place, Scheme, ServerAddr};
use crate::tls::ServerStream;
use crate::tls::accept::Protocol;
use crate::tls::client::{Offer, ServerHandshakeError, ServerTls};

/// Why a server could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address, or the resolver failed.
    #[error("`{host}` could not be resolved")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        #[source]
        source: io::Error,
    },
    /// No address took the connection.
    #[error("`{server}` does not take connections")]
    Refused {
        /// Where.
        server: ServerAddr,
        /// What the last address tried said.
        #[source]
        source: io::Error,
    },
    /// There is a connection, but not one of TLS.
    #[error("no TLS with `{server}`")]
    Tls {
        /// Where.
        server: ServerAddr,
        /// What is wrong.
        #[source]
        source: ServerHandshakeError,
    },
    /// The server does not speak HTTP/2 although it should.
    #[error("no HTTP/2 with `{server}`")]
    Http2 {
        /// Where.
        server: ServerAddr,
        /// What is wrong.
        #[source]
        source: hyper::Error,
    },
    /// The time was up: for name resolution, TCP and TLS in all, or for the turn to connect.
    #[error("`{server}` did not answer within {limit:?}")]
    TimedOut {
        /// Where.
        server: ServerAddr,
        /// The limit.
        limit: Duration,
    },
}

/// How a connection is opened.
#[derive(Debug, Clone, Copy)]
pub struct Manner<'a> {
    /// For `https://` servers.
    pub tls: Option<&'a ServerTls>,
    /// What is to be spoken.
    pub offer: Offer,
    /// A PROXY header: it goes before anything else, TLS included.
    pub greeting: &'a [u8],
}

/// Connects to `server` within `limit` in all, and tells what is spoken there.
///
/// # Errors
/// [`ConnectError`].
///
/// # Cancel safety
/// Dropping it gives the connection up.
pub async fn open(
    server: &ServerAddr,
    manner: Manner<'_>,
    limit: Duration,
) -> Result<(ServerStream, Protocol), ConnectError> {
    within(server, limit, connected(server, manner)).await
}

/// Connects to `authority` by TCP, whichever of its addresses is first, within `limit` in all.
///
/// # Errors
/// [`ConnectError`]: the name does not resolve, every address refuses, or the time is up.
///
/// # Cancel safety
/// Dropping it gives the connection up.
pub async fn tcp(authority: &Authority, limit: Duration) -> Result<TcpStream, ConnectError> {
    within(&authority.clone().into(), limit, dialled(authority)).await
}

/// Gives `attempt` at `server` so much time.
pub(super) async fn within<T>(
    server: &ServerAddr,
    limit: Duration,
    attempt: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    let in_time = tokio::time::timeout(limit, attempt).await;
    in_time.unwrap_or_else(|_elapsed| {
        Err(ConnectError::TimedOut {
            server: server.clone(),
            limit,
        })
    })
}

async fn connected(
    server: &ServerAddr,
    manner: Manner<'_>,
) -> Result<(ServerStream, Protocol), ConnectError> {
    let refused = |source| ConnectError::Refused {
        server: server.clone(),
        source,
    };
    let authority = match &server.place {
        Place::Tcp(authority) => authority,
        Place::Unix(path) => {
            let mut unix = UnixStream::connect(path).await.map_err(refused)?;
            unix.write_all(manner.greeting).await.map_err(refused)?;
            return Ok((ServerStream::Unix(unix), Protocol::Http1));
        }
    };
    let mut tcp = dialled(authority).await?;
    tcp.write_all(manner.greeting).await.map_err(refused)?;
    match (server.scheme, manner.offer) {
        (Scheme::Https, offer) => {
            let wrong = |source| ConnectError::Tls {
                server: server.clone(),
                source,
            };
            let Some(tls) = manner.tls else {
                // The check makes settings wherever there is such a server.
                let source = ServerHandshakeError::Failed(io::ErrorKind::Unsupported.into());
                return Err(wrong(source));
            };
            tls.connect(&authority.host, offer, tcp)
                .await
                .map_err(wrong)
        }
        (Scheme::H2c, Offer::Either) => Ok((ServerStream::Tcp(tcp), Protocol::Http2)),
        (Scheme::H2c, Offer::Http1) | (Scheme::Http, _) => {
            Ok((ServerStream::Tcp(tcp), Protocol::Http1))
        }
    }
}

async fn dialled(authority: &Authority) -> Result<TcpStream, ConnectError> {
    let addresses =
        resolve::addresses(authority)
            .await
            .map_err(|source| ConnectError::Resolve {
                host: authority.host.to_string(),
                source,
            })?;
    let tcp = dial::first_of(&addresses)
        .await
        .map_err(|source| ConnectError::Refused {
            server: authority.clone().into(),
            source,
        })?;
    // Without this a small frame waits for the acknowledgement of the one before it (RFC 896). It cannot fail on a
    // connected socket; if it does, the stream is only slower.
    let _ = tcp.set_nodelay(true);
    Ok(tcp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_port_refuses_and_names_the_server() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let authority = Authority {
            host: "127.0.0.1".into(),
            port,
        };
        let error = tcp(&authority, Duration::from_secs(5)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Refused { .. }));
        assert!(error.to_string().contains(&port.to_string()));
    }
}

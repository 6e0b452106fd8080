//! A new connection to a server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use crate::net::{Authority, Place, ServerAddr};
use crate::tls::ServerStream;

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
    /// The time was up, name resolution included.
    #[error("`{server}` did not answer within {limit:?}")]
    TimedOut {
        /// Where.
        server: ServerAddr,
        /// The limit.
        limit: Duration,
    },
}

/// Connects to `server` within `limit` in all.
///
/// # Errors
/// [`ConnectError`].
///
/// # Cancel safety
/// Dropping it gives the connection up.
pub async fn open(server: &ServerAddr, limit: Duration) -> Result<ServerStream, ConnectError> {
    match &server.place {
        Place::Tcp(authority) => tcp(authority, limit).await.map(ServerStream::Tcp),
        Place::Unix(path) => {
            let connected = tokio::time::timeout(limit, UnixStream::connect(path)).await;
            let (server, timed_out) = (server.clone(), server.clone());
            connected
                .map_err(|_elapsed| ConnectError::TimedOut {
                    server: timed_out,
                    limit,
                })?
                .map(ServerStream::Unix)
                .map_err(|source| ConnectError::Refused { server, source })
        }
    }
}

/// Connects to `authority` by TCP, trying all of its addresses in turn, within `limit` in all.
///
/// # Errors
/// [`ConnectError`]: the name does not resolve, every address refuses, or the time is up.
///
/// # Cancel safety
/// Dropping it gives the connection up.
pub async fn tcp(authority: &Authority, limit: Duration) -> Result<TcpStream, ConnectError> {
    let deadline = Instant::now() + limit;
    let timed_out = || ConnectError::TimedOut {
        server: authority.clone().into(),
        limit,
    };
    let attempt = async {
        let mut refused = None;
        for address in resolve(authority).await? {
            match TcpStream::connect(address).await {
                Ok(tcp) => return Ok(tcp),
                Err(error) => refused = Some(error),
            }
        }
        let source = refused.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
        Err(ConnectError::Refused {
            server: authority.clone().into(),
            source,
        })
    };
    let tcp = tokio::time::timeout_at(deadline, attempt)
        .await
        .map_err(|_elapsed| timed_out())??;
    // Without this a small frame waits for the acknowledgement of the one before it (RFC 896). It cannot fail on a
    // connected socket; if it does, the stream is only slower.
    let _ = tcp.set_nodelay(true);
    Ok(tcp)
}

async fn resolve(authority: &Authority) -> Result<Vec<SocketAddr>, ConnectError> {
    if let Ok(address) = authority.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, authority.port)]);
    }
    let found = tokio::net::lookup_host((&*authority.host, authority.port)).await;
    let failed = |source| ConnectError::Resolve {
        host: authority.host.to_string(),
        source,
    };
    Ok(found.map_err(failed)?.collect())
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

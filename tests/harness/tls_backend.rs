//! A backend that speaks HTTP/1.1 over TLS, byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Wire, within};

/// A listening backend, played by hand.
pub struct TlsBackend {
    /// Where it listens.
    pub address: SocketAddr,
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl TlsBackend {
    /// With this certificate, these protocols, this demand for the client's certificate.
    pub async fn start(config: ServerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            listener,
            tls: TlsAcceptor::from(Arc::new(config)),
        }
    }

    /// The next connection before anything was said on it.
    pub async fn tcp(&self) -> TcpStream {
        let accepted = within("a connection", self.listener.accept()).await;
        accepted.unwrap().0
    }

    /// The handshake on a connection.
    pub async fn handshake(&self, tcp: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        within("a TLS handshake", self.tls.accept(tcp)).await
    }

    /// The next connection after its handshake.
    pub async fn next(&self) -> std::io::Result<Wire<TlsStream<TcpStream>>> {
        let tcp = self.tcp().await;
        self.handshake(tcp).await.map(Wire::new)
    }
}

//! A client's connection as bytes, in clear text or decrypted.
//!
//! The only place that knows which TLS implementation carries the bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection after its TLS handshake. Boxed: it is moved from owner to owner, and is large.
pub struct TlsStream(Box<tokio_rustls::server::TlsStream<TcpStream>>);

impl TlsStream {
    pub(super) fn new(inner: tokio_rustls::server::TlsStream<TcpStream>) -> Self {
        Self(Box::new(inner))
    }

    /// The TCP connection below.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        self.0.get_ref().0
    }
}

/// A client's connection. Reading gives plain bytes; writing may leave sealed records in memory (at most 64 KiB)
/// until it is flushed.
pub enum ClientStream {
    /// A clear-text listener's.
    Clear(TcpStream),
    /// A TLS listener's.
    Tls(TlsStream),
}

impl ClientStream {
    /// The TCP connection below.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Clear(tcp) => tcp,
            Self::Tls(tls) => tls.tcp(),
        }
    }
}

/// One arm for each kind, so that the four methods below read as one line each.
macro_rules! each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            ClientStream::Clear($stream) => {
                let $stream = Pin::new($stream);
                $call
            }
            ClientStream::Tls(TlsStream($stream)) => {
                let $stream = Pin::new($stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

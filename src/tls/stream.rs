//! A connection as bytes, in clear text or decrypted: a client's, and one to a server.
//!
//! The only place that knows which TLS implementation carries the bytes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::http2_stream::Http2Stream;
use super::unbuffered;

/// A connection after its TLS handshake. Boxed: it is moved from owner to owner, and is large.
pub struct TlsStream(Box<unbuffered::Stream<TcpStream>>);

impl TlsStream {
    pub(super) fn new(inner: Box<unbuffered::Stream<TcpStream>>) -> Self {
        Self(inner)
    }

    /// The TCP connection below.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        self.0.io()
    }
}

/// A client's connection. Reading gives plain bytes; writing may leave sealed records in memory (at most 64 KiB)
/// until it is flushed.
pub enum ClientStream {
    /// A clear-text listener's.
    Clear(TcpStream),
    /// A TLS listener's.
    Tls(TlsStream),
    /// One stream of an HTTP/2 connection. Dropped before its end was asked for, it is reset.
    Http2(Http2Stream),
}

impl ClientStream {
    /// The TCP connection below, where it is the stream's own.
    #[must_use]
    pub fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Clear(tcp) => Some(tcp),
            Self::Tls(tls) => Some(tls.tcp()),
            Self::Http2(_) => None,
        }
    }

    /// Ready when the client is known to be gone although nothing is read from it: only HTTP/2 tells.
    pub fn poll_reset(&mut self, cx: &Context<'_>) -> Poll<()> {
        match self {
            Self::Clear(_) | Self::Tls(_) => Poll::Pending,
            Self::Http2(stream) => stream.poll_reset(cx),
        }
    }

    /// Ends the connection when its peer acknowledges nothing of what it was sent for `limit`.
    pub fn give_up_after(&self, limit: Duration) {
        // Within HTTP/2 it is the connection's affair, which has pings of its own.
        if let Some(tcp) = self.tcp() {
            give_up_after(tcp, limit);
        }
    }
}

/// Lets TCP give up when data is not acknowledged for `limit` (RFC 5482's user timeout): a peer that is gone is found, and
/// so is one that takes nothing for as long.
fn give_up_after(tcp: &TcpStream, limit: Duration) {
    if let Err(error) = SockRef::from(tcp).set_tcp_user_timeout(Some(limit)) {
        tracing::debug!(%error, "the connection has no user timeout");
    }
}

/// A connection to a server, in clear text or decrypted. Reading and writing are as in [`ClientStream`].
#[derive(Debug)]
pub enum ServerStream {
    /// `http://` and `h2c://`
    Tcp(TcpStream),
    /// `unix:`
    Unix(UnixStream),
    /// `https://`. Boxed: it is moved from owner to owner, and is large.
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl From<TcpStream> for ServerStream {
    fn from(tcp: TcpStream) -> Self {
        Self::Tcp(tcp)
    }
}

impl ServerStream {
    /// Ends the connection when its peer acknowledges nothing of what it was sent for `limit`. A unix socket's peer
    /// cannot vanish.
    pub fn give_up_after(&self, limit: Duration) {
        match self {
            Self::Tcp(tcp) => give_up_after(tcp, limit),
            Self::Tls(tls) => give_up_after(tls.get_ref().0, limit),
            Self::Unix(_) => {}
        }
    }

    /// Lets TCP ask a peer that has sent nothing for `after` whether it is there, and give up when it has not answered for
    /// about `limit` (RFC 1122 §4.2.3.6). Both are whole seconds, one at least.
    pub fn probe_when_idle(&self, after: Duration, limit: Duration) {
        const PROBES: u32 = 3;
        let tcp = match self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
            Self::Unix(_) => return,
        };
        let second = Duration::from_secs(1);
        let keep_alive = TcpKeepalive::new()
            .with_time(after.max(second))
            .with_interval((limit / PROBES).max(second))
            .with_retries(PROBES);
        if let Err(error) = SockRef::from(tcp).set_tcp_keepalive(&keep_alive) {
            tracing::debug!(%error, "the connection has no probes");
        }
    }

    /// Whether an idle connection is still good: nothing has come on it, no end and no bytes that nobody asked for.
    #[must_use]
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        let nothing = |read: io::Result<usize>| matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        match self {
            Self::Tcp(tcp) => nothing(tcp.try_read(&mut byte)),
            Self::Unix(unix) => nothing(unix.try_read(&mut byte)),
            // What lies there may be a session ticket (RFC 8446 §4.6.1), which is no answer to anything.
            Self::Tls(tls) => {
                let mut cx = Context::from_waker(std::task::Waker::noop());
                let mut byte = ReadBuf::new(&mut byte);
                Pin::new(tls.as_mut())
                    .poll_read(&mut cx, &mut byte)
                    .is_pending()
            }
        }
    }
}

/// The I/O of a stream that is one of several: one arm for each kind, so that each method reads as one line.
macro_rules! io {
    ($name:ident { $($variant:ident($stream:ident) => $inner:expr,)+ }) => {
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant($stream) => Pin::new($inner).poll_read(cx, buf),)+
                }
            }
        }

        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant($stream) => Pin::new($inner).poll_write(cx, buf),)+
                }
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant($stream) => Pin::new($inner).poll_flush(cx),)+
                }
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                match self.get_mut() {
                    $(Self::$variant($stream) => Pin::new($inner).poll_shutdown(cx),)+
                }
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                match self.get_mut() {
                    $(Self::$variant($stream) => Pin::new($inner).poll_write_vectored(cx, bufs),)+
                }
            }

            fn is_write_vectored(&self) -> bool {
                true
            }
        }
    };
}

io!(ClientStream {
    Clear(stream) => stream,
    Tls(stream) => stream.0.as_mut(),
    Http2(stream) => stream,
});

io!(ServerStream {
    Tcp(stream) => stream,
    Unix(stream) => stream,
    Tls(stream) => stream.as_mut(),
});

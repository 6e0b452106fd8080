//! A client's TLS connection over rustls's unbuffered API: bytes in clear on one side, a socket on the other.
//!
//! Why not rustls's buffered API: that keeps a buffer for each connection for ever, four KiB that an idle one does not need.
//! Here ciphertext is read into the worker's scratch buffer and decrypted there. On the heap stand only: the start of a
//! record whose rest has not come, plaintext that the reader had no room for, and records that the socket did not take. Each
//! is freed when it was used, and each has a bound:
//! - received: 64 KiB of a handshake message, else one record;
//! - plaintext: little more than a record, for no more is read than the reader has room for, or a record needs;
//! - unsent: one batch of 64 KiB, for nothing is sealed while anything is unsent.
//!
//! Owns the order of reading, writing and ending; the `Session` has the TLS, without I/O. It has no deadlines: its callers have.

mod backlog;
mod pieces;
mod scratch;
mod session;

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustls::ServerConfig;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use session::Session;

/// The largest record with its head (RFC 5246 §6.2.3; those of RFC 8446 §5.2 are smaller).
const LARGEST_RECORD: usize = 5 + 16 * 1024 + 2048;

/// The most that is kept of an unfinished handshake message: rustls takes none that is larger.
const MOST_RECEIVED: usize = 0xffff;

/// What a read finds room for behind what is kept, at least.
const LEAST_READ: usize = 4096;

/// What the heads and seals of a batch's records add to it, amply.
const OVERHEAD: usize = 512;

/// A client's connection over `IO`.
///
/// Writing may leave sealed records in memory (one batch of 64 KiB) until it is flushed. The end of the client's direction
/// without a close_notify is an error of the kind `UnexpectedEof`.
pub struct Stream<IO> {
    io: IO,
    session: Session,
    /// The socket has told its end.
    is_at_end: bool,
    /// The peer has been told the end, or is being told.
    is_closing: bool,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Stream<IO> {
    /// Does the whole handshake. Data that came with its last flight is kept for the reader.
    ///
    /// # Errors
    /// The client broke off (`UnexpectedEof`), or does not speak TLS as `config` wants it (`InvalidData`, with the
    /// [`rustls::Error`] inside); it was sent an alert then.
    ///
    /// # Cancel safety
    /// Dropping it closes the connection.
    pub async fn accept(io: IO, config: Arc<ServerConfig>) -> io::Result<Box<Self>> {
        // Boxed at once: it is moved from owner to owner, and is large.
        let mut stream = Box::new(Self {
            io,
            session: Session::new(config).map_err(io::Error::other)?,
            is_at_end: false,
            is_closing: false,
        });
        std::future::poll_fn(|cx| stream.poll_handshake(cx)).await?;
        Ok(stream)
    }

    fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            // A client reads our flight before it goes on: there is nothing to read while it does not.
            ready!(self.poll_send(cx))?;
            if !self.session.is_handshaking() {
                return Pin::new(&mut self.io).poll_flush(cx);
            }
            ready!(self.poll_receive(cx, &mut ReadBuf::new(&mut [])))?;
            if self.is_at_end {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Reads from the socket once.
    ///
    /// # Errors
    /// Those of the socket, and a fault of the session.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let kept = self.session.received().len();
        if kept >= MOST_RECEIVED {
            let error = "an unfinished handshake message is too large";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
        let wanted = (reader.remaining() + OVERHEAD).clamp(LARGEST_RECORD, pieces::BATCH);
        let end = wanted.max(kept + LEAST_READ);
        ready!(scratch::with(|scratch| {
            let mut read = ReadBuf::new(&mut scratch.sealed[kept..end]);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            let filled = kept + read.filled().len();
            if filled == kept {
                self.is_at_end = true;
                return Poll::Ready(Ok(()));
            }
            scratch.sealed[..kept].copy_from_slice(self.session.received());
            self.session.receive(&mut scratch.sealed[..filled], reader);
            Poll::Ready(io::Result::Ok(()))
        }))?;
        if let Some(fault) = self.session.fault().cloned() {
            // It hides nothing if the alert does not go out.
            let _ = self.poll_send(cx);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is unsent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.settle();
        while !self.session.unsent.is_empty() {
            let unsent = self.session.unsent.rest();
            match ready!(Pin::new(&mut self.io).poll_write(cx, unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.session.unsent.take(sent),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Seals and writes once, and keeps what the socket does not take.
    fn poll_write_pieces(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_closing {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        ready!(self.poll_send(cx))?;
        scratch::with(|scratch| {
            let sealed = self.session.seal(pieces, scratch)?;
            let records = &scratch.sealed[..sealed.cipher];
            if records.is_empty() {
                return Poll::Ready(Ok(0));
            }
            let sent = match Pin::new(&mut self.io).poll_write(cx, records)? {
                Poll::Ready(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(sent) => sent,
                Poll::Pending => 0,
            };
            if sent < records.len() {
                self.session.unsent.push(&records[sent..]);
            }
            Poll::Ready(Ok(sealed.plain))
        })
    }
}

impl<IO> Stream<IO> {
    /// What carries the records.
    #[must_use]
    pub fn io(&self) -> &IO {
        &self.io
    }

    /// What client and server have agreed to speak (RFC 7301).
    #[must_use]
    pub fn alpn_protocol(&self) -> Option<&[u8]> {
        self.session.alpn_protocol()
    }

    /// The certificates that the client has shown and that were verified, its own first; `None`: none.
    #[must_use]
    pub fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.session.peer_certificates()
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        loop {
            let plain = this.session.plain.rest();
            if !plain.is_empty() {
                let length = plain.len().min(buf.remaining());
                buf.put_slice(&plain[..length]);
                this.session.plain.take(length);
            }
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            if let Some(fault) = this.session.fault() {
                let fault = io::Error::new(io::ErrorKind::InvalidData, fault.clone());
                return Poll::Ready(Err(fault));
            }
            if this.session.has_peer_closed() {
                return Poll::Ready(Ok(()));
            }
            if this.is_at_end {
                let error = "the peer has ended its direction without a close_notify";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)));
            }
            let received = ready!(this.poll_receive(cx, buf));
            // What came before a fault is read first; the fault is told by the next read.
            if buf.filled().len() == before {
                received?;
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<IO> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_pieces(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_pieces(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_closing {
            this.is_closing = true;
            this.session.settle();
            this.session.close();
        }
        ready!(this.poll_send(cx))?;
        match ready!(Pin::new(&mut this.io).poll_shutdown(cx)) {
            // Who is gone already need not be told.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            ended => Poll::Ready(ended),
        }
    }
}

#[cfg(test)]
mod tests;

//! One TLS session without I/O: ciphertext in, plaintext out, and the other way round.
//!
//! It drives rustls's unbuffered API, which keeps no buffers of its own. Invariants:
//! - What is kept of the ciphertext is an unfinished record or an unfinished handshake message, never a whole record of
//!   application data: rustls may be asked to write at any time, and would give that out first. It is given back to rustls
//!   whenever that is called, for rustls remembers places in it.
//! - Whatever rustls has to say stands in `unsent` before anything of the application is sealed: records leave in the order
//!   in which they were numbered.
//! - After a fault nothing is read or sealed any more; its alert may still be sent.

use std::io::{self, IoSlice};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, UnbufferedStatus, WriteTraffic,
};
use rustls_pki_types::CertificateDer;
use tokio::io::ReadBuf;

use super::backlog::Backlog;
use super::pieces::Pieces;
use super::scratch::Scratch;

/// A server's side of a session.
pub(super) struct Session {
    tls: UnbufferedServerConnection,
    /// The start of a record or of a handshake message whose rest has not come.
    received: Vec<u8>,
    /// What the reader had no room for.
    pub(super) plain: Backlog,
    /// Records on their way to the peer.
    pub(super) unsent: Backlog,
    fault: Option<rustls::Error>,
    has_peer_closed: bool,
}

/// What [`Session::seal`] has done.
pub(super) struct Sealed {
    /// Bytes of plaintext that it took.
    pub(super) plain: usize,
    /// Bytes of ciphertext that stand in the scratch buffer.
    pub(super) cipher: usize,
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            tls: UnbufferedServerConnection::new(config)?,
            received: Vec::new(),
            plain: Backlog::default(),
            unsent: Backlog::default(),
            fault: None,
            has_peer_closed: false,
        })
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// What client and server have agreed to speak (RFC 7301).
    pub(super) fn alpn_protocol(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// What the client has shown, verified, its own certificate first.
    pub(super) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.peer_certificates()
    }

    /// Why the session is over, if it did not end in order.
    pub(super) fn fault(&self) -> Option<&rustls::Error> {
        self.fault.as_ref()
    }

    /// Whether the peer has said that nothing more will come (close_notify, RFC 8446 §6.1).
    pub(super) fn has_peer_closed(&self) -> bool {
        self.has_peer_closed
    }

    /// The ciphertext that is to stand in front of what is received next.
    pub(super) fn received(&self) -> &[u8] {
        &self.received
    }

    /// Takes `incoming`: what [`Session::received`] gave, and what has come behind it. It is decrypted in place. Plaintext
    /// goes to `reader`, and what that has no room for is kept. A fault is kept as well, and told by [`Session::fault`].
    pub(super) fn receive(&mut self, incoming: &mut [u8], reader: &mut ReadBuf<'_>) {
        let mut start = 0;
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.tls.process_tls_records(&mut incoming[start..]);
            let is_done = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        discard += record.discard;
                        deliver(record.payload, reader, &mut self.plain);
                    }
                    false
                }
                Ok(ConnectionState::EncodeTlsData(record)) => {
                    encode(record, &mut self.unsent);
                    false
                }
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    transmit.done();
                    false
                }
                Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                    self.has_peer_closed = true;
                    // What stands behind a close_notify is ignored (RFC 8446 §6.1).
                    discard = incoming.len() - start;
                    true
                }
                // `WriteTraffic` and `BlockedHandshake`: more has to come. Early data is not accepted here.
                Ok(_) => true,
                Err(fault) => {
                    self.fault = Some(fault);
                    true
                }
            };
            start += discard;
            if is_done {
                break;
            }
        }
        self.keep(&mut incoming[start..]);
    }

    /// Keeps what is unfinished, and no memory where nothing is.
    fn keep(&mut self, rest: &mut [u8]) {
        if self.fault.is_some() {
            self.received = Vec::new();
            // The alert that tells the peer.
            self.settle_with(rest);
        } else if self.received.capacity() < rest.len() || rest.is_empty() {
            self.received = rest.to_vec();
        } else {
            self.received.clear();
            self.received.extend_from_slice(rest);
        }
    }

    /// Moves what rustls itself has to say to what is unsent.
    pub(super) fn settle(&mut self) {
        if self.tls.wants_write() {
            let mut received = std::mem::take(&mut self.received);
            self.settle_with(&mut received);
            self.received = received;
        }
    }

    fn settle_with(&mut self, received: &mut [u8]) {
        while self.tls.wants_write() {
            match self.tls.process_tls_records(received).state {
                Ok(ConnectionState::EncodeTlsData(record)) => encode(record, &mut self.unsent),
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                _ => break,
            }
        }
    }

    /// Seals of `pieces` what has room in the scratch buffer. To be called when nothing is unsent.
    ///
    /// # Errors
    /// The session has had a fault, or has no numbers left for its records.
    pub(super) fn seal(
        &mut self,
        pieces: &[IoSlice<'_>],
        scratch: &mut Scratch,
    ) -> Result<Sealed, SealError> {
        debug_assert!(self.unsent.is_empty());
        let mut pieces = Pieces::new(pieces);
        let mut sealed = Sealed {
            plain: 0,
            cipher: 0,
        };
        self.write(|mut traffic| {
            while let Some(plain) = pieces.next(&mut scratch.gathered) {
                match traffic.encrypt(plain, &mut scratch.sealed[sealed.cipher..]) {
                    Ok(cipher) => sealed.cipher += cipher,
                    // What is sealed must go.
                    Err(_exhausted) if sealed.plain > 0 => break,
                    Err(error) => return Err(error),
                }
                sealed.plain += plain.len();
            }
            Ok(())
        })?;
        Ok(sealed)
    }

    /// Tells the peer that nothing more will come (close_notify); it is unsent then. Once only.
    pub(super) fn close(&mut self) {
        let mut record = [0; 256];
        let told = self.write(|mut traffic| traffic.queue_close_notify(&mut record));
        match told {
            Ok(length) => self.unsent.push(&record[..length]),
            // rustls has it, and gives it out as a record of its own.
            Err(SealError::Encrypt(_)) => self.settle(),
            // Of a broken session nobody expects it.
            Err(SealError::Fault(_) | SealError::Closed) => {}
        }
    }

    /// Bytes of memory that it holds beside rustls's own state.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.received.capacity() + self.plain.held() + self.unsent.held()
    }

    /// Lets rustls write.
    fn write<R>(
        &mut self,
        act: impl FnOnce(WriteTraffic<'_, ServerConnectionData>) -> Result<R, EncryptError>,
    ) -> Result<R, SealError> {
        if let Some(fault) = &self.fault {
            return Err(SealError::Fault(fault.clone()));
        }
        loop {
            let status = self.tls.process_tls_records(&mut self.received);
            // What could be discarded was, when it came.
            debug_assert_eq!(status.discard, 0);
            match status.state {
                Ok(ConnectionState::WriteTraffic(traffic)) => return Ok(act(traffic)?),
                Ok(ConnectionState::TransmitTlsData(transmit)) => transmit.done(),
                _ => return Err(SealError::Closed),
            }
        }
    }
}

/// Why nothing can be sealed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SealError {
    /// The session has had a fault.
    #[error(transparent)]
    Fault(rustls::Error),
    /// It has been closed, or is not open yet.
    #[error("the TLS session is not open")]
    Closed,
    /// No numbers are left for records under this key.
    #[error("the TLS session seals nothing more")]
    Encrypt(#[from] EncryptError),
}

impl From<SealError> for io::Error {
    fn from(error: SealError) -> Self {
        match error {
            SealError::Fault(fault) => Self::new(io::ErrorKind::InvalidData, fault),
            SealError::Closed => Self::new(io::ErrorKind::BrokenPipe, error),
            SealError::Encrypt(_) => Self::other(error),
        }
    }
}

fn deliver(plain: &[u8], reader: &mut ReadBuf<'_>, kept: &mut Backlog) {
    let room = if kept.is_empty() {
        reader.remaining().min(plain.len())
    } else {
        0
    };
    reader.put_slice(&plain[..room]);
    if room < plain.len() {
        kept.push(&plain[room..]);
    }
}

fn encode(mut record: EncodeTlsData<'_, ServerConnectionData>, unsent: &mut Backlog) {
    // Asked with no room it tells how much it needs.
    let Err(EncodeError::InsufficientSize(size)) = record.encode(&mut []) else {
        return;
    };
    let mut bytes = vec![0; size.required_size];
    if let Ok(length) = record.encode(&mut bytes) {
        unsent.push(&bytes[..length]);
    }
}

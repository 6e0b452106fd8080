//! An HTTP/2 client that writes any frames it likes (RFC 9113 §4.1), over TLS.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::{END_HEADERS, END_STREAM, GOAWAY, HEADERS, SETTINGS};
use crate::harness::{Gate, client_config, within};

/// How long a peer that does not read on is waited for.
const STALLED: Duration = Duration::from_secs(2);

/// A frame that came.
#[derive(Debug, Clone)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// One connection.
pub struct Frames {
    read: ReadHalf<TlsStream<TcpStream>>,
    write: WriteHalf<TlsStream<TcpStream>>,
    buffer: BytesMut,
}

/// A frame as bytes.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend_from_slice(&[kind, flags]);
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A field as a literal that is not indexed and not compressed (RFC 7541 §6.2.2).
pub fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        match u8::try_from(text.len()) {
            Ok(length) if length < 127 => bytes.push(length),
            _ => {
                bytes.push(127);
                let mut left = text.len() - 127;
                while left >= 128 {
                    bytes.push((left % 128) as u8 | 0x80);
                    left /= 128;
                }
                bytes.push(left as u8);
            }
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

/// The fields of a plain GET.
pub fn head(path: &str) -> Vec<u8> {
    [
        // `:method: GET` and `:scheme: https` of the static table.
        vec![0x82, 0x87],
        field(":authority", "localhost"),
        field(":path", path),
    ]
    .concat()
}

/// A whole GET.
pub fn get(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(path))
}

impl Frames {
    /// Connects, and sends nothing.
    pub async fn silent(gate: &Gate) -> Self {
        let config = client_config(&["h2"], rustls::ALL_VERSIONS);
        let stream = gate.handshake(Arc::new(config), "localhost").await.unwrap();
        let (read, write) = tokio::io::split(stream);
        Self {
            read,
            write,
            buffer: BytesMut::new(),
        }
    }

    /// Connects with default settings.
    pub async fn connect(gate: &Gate) -> Self {
        Self::with_settings(gate, b"").await
    }

    /// Connects with these.
    pub async fn with_settings(gate: &Gate, settings: &[u8]) -> Self {
        let mut client = Self::silent(gate).await;
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        client.send(&frame(SETTINGS, 0, 0, settings)).await;
        client
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.expect("the bytes are taken");
    }

    pub async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("bytes to be taken", async {
            self.write.write_all(bytes).await?;
            self.write.flush().await
        })
        .await
    }

    /// The next frame, nothing at the end.
    pub async fn next(&mut self) -> Option<Frame> {
        within("a frame", async {
            while self.buffer.len() < 9 || self.buffer.len() < 9 + self.length() {
                self.buffer.reserve(16 << 10);
                if !matches!(self.read.read_buf(&mut self.buffer).await, Ok(1..)) {
                    return None;
                }
            }
            let length = self.length();
            let head = self.buffer.split_to(9);
            let payload = self.buffer.split_to(length).to_vec();
            Some(Frame {
                kind: head[3],
                flags: head[4],
                stream: (&head[5..]).get_u32(),
                payload,
            })
        })
        .await
    }

    fn length(&self) -> usize {
        self.buffer[..3]
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte))
    }

    /// The next frame of a kind.
    pub async fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().await;
            let frame = frame.unwrap_or_else(|| panic!("the end before a frame of kind {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The reason of the last GOAWAY, once the connection has ended.
    pub async fn reason(&mut self) -> Option<u32> {
        let mut reason = None;
        while let Some(frame) = self.next().await {
            if frame.kind == GOAWAY {
                reason = Some((&frame.payload[4..8]).get_u32());
            }
        }
        reason
    }

    /// Sends pieces until the peer takes no more, or has taken so many bytes. Nothing is read meanwhile; at the end it is
    /// asked why the connection was ended, if it was.
    pub async fn flood(
        &mut self,
        piece: &mut impl FnMut(u32) -> Vec<u8>,
        bytes: usize,
    ) -> Option<u32> {
        let (mut sent, mut number) = (0, 0);
        while sent < bytes {
            let mut batch = Vec::new();
            while batch.len() < 16 << 10 {
                batch.extend(piece(number));
                number += 1;
            }
            sent += batch.len();
            let sending = tokio::time::timeout(STALLED, self.write.write_all(&batch));
            match sending.await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return self.reason().await,
                Err(_stalled) => return None,
            }
        }
        None
    }
}

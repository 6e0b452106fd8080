//! A client's WebSocket, frame by frame: what a library hides (pings, compression, how it ended) is what is looked for.
//!
//! Invariants: a ping is answered before anything else is read (RFC 6455 §5.5.2); of a payload at most [`KEPT`] bytes are
//! kept, whatever a head says.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::websocket::boundary::{
    Boundary, Event, Extensions, FrameHead, Opcode, Sender, Violation,
};
use crate::websocket::{deflate, frame};

/// Bytes of a payload that are kept.
const KEPT: usize = 4096;

/// Bytes that are read at once.
const ROOM: usize = 16 << 10;

/// How long a write may take.
const WRITE: Duration = Duration::from_secs(5);

/// RSV1: the message is compressed (RFC 7692 §6).
const COMPRESSED: u8 = 0x4;

/// How the frames ended.
#[derive(Debug, Error)]
pub(super) enum FramesError {
    /// The connection was closed without a Close frame: what browsers call 1006.
    #[error("the connection ended without a Close frame")]
    Ended,
    #[error("the connection broke")]
    Broken(#[from] io::Error),
    #[error("what came is no WebSocket")]
    Framing(#[from] Violation),
    #[error("nothing was taken for {WRITE:?}")]
    Stalled,
}

/// A frame from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    /// What it is.
    pub(super) opcode: Opcode,
    /// The beginning of its payload, as it was sent.
    payload: Vec<u8>,
    is_compressed: bool,
    is_kept: bool,
}

impl Frame {
    fn of(head: &FrameHead) -> Self {
        Self {
            opcode: head.opcode,
            payload: Vec::new(),
            is_compressed: head.rsv & COMPRESSED != 0,
            is_kept: head.fin && head.payload <= KEPT as u64,
        }
    }

    fn push(&mut self, part: &[u8]) {
        let room = KEPT - self.payload.len();
        self.payload
            .extend_from_slice(&part[..part.len().min(room)]);
    }

    /// The text of a message that is short and whole in this frame.
    pub(super) fn text(&self) -> Option<Vec<u8>> {
        if self.opcode != Opcode::Text || !self.is_kept {
            return None;
        }
        match self.is_compressed {
            true => deflate::inflate(&self.payload, KEPT).ok(),
            false => Some(self.payload.clone()),
        }
    }

    /// The payload of a control frame.
    pub(super) fn control(&self) -> &[u8] {
        &self.payload
    }

    /// The code of a Close, and its reason (RFC 6455 §5.5.1).
    pub(super) fn close(&self) -> (Option<u16>, String) {
        match self.payload.split_first_chunk() {
            Some((code, reason)) => {
                let reason = String::from_utf8_lossy(reason).into_owned();
                (Some(u16::from_be_bytes(*code)), reason)
            }
            None => (None, String::new()),
        }
    }
}

/// A WebSocket.
pub(super) struct Frames<S> {
    io: S,
    boundary: Boundary,
    unread: BytesMut,
    current: Option<Frame>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// One whose handshake is done. `extensions` says whether messages may be compressed.
    pub(super) fn new(io: S, extensions: Extensions) -> Self {
        Self {
            io,
            boundary: Boundary::new(Sender::Server, extensions),
            unread: BytesMut::new(),
            current: None,
        }
    }

    /// The next frame. Pings are not answered by it.
    ///
    /// # Errors
    /// How the connection ended.
    ///
    /// # Cancel safety
    /// What was read stays.
    pub(super) async fn next(&mut self) -> Result<Frame, FramesError> {
        loop {
            if let Some(frame) = self.parse()? {
                return Ok(frame);
            }
            self.unread.reserve(ROOM);
            if self.io.read_buf(&mut self.unread).await? == 0 {
                return Err(FramesError::Ended);
            }
        }
    }

    fn parse(&mut self) -> Result<Option<Frame>, FramesError> {
        loop {
            let mut rest = &self.unread[..];
            let event = self.boundary.next(&mut rest)?;
            let taken = self.unread.len() - rest.len();
            if !matches!(event, Some(Event::Head(_)))
                && let Some(current) = &mut self.current
            {
                current.push(&self.unread[..taken]);
            }
            self.unread.advance(taken);
            match event {
                Some(Event::Head(head)) => self.current = Some(Frame::of(&head)),
                Some(Event::End { .. }) => return Ok(self.current.take()),
                None => return Ok(None),
            }
        }
    }

    async fn send(&mut self, frame: &[u8]) -> Result<(), FramesError> {
        let sending = async {
            self.io.write_all(frame).await?;
            self.io.flush().await
        };
        let sent = timeout(WRITE, sending).await;
        Ok(sent.map_err(|_late| FramesError::Stalled)??)
    }

    /// Sends a ping.
    ///
    /// # Errors
    /// [`FramesError`]
    pub(super) async fn ping(&mut self, payload: &frame::PingPayload) -> Result<(), FramesError> {
        self.send(&frame::ping(Sender::Client, payload)).await
    }

    /// Answers a ping.
    ///
    /// # Errors
    /// [`FramesError`]
    pub(super) async fn pong(&mut self, payload: &[u8]) -> Result<(), FramesError> {
        self.send(&frame::pong(Sender::Client, payload)).await
    }

    /// Sends a Close with a code.
    ///
    /// # Errors
    /// [`FramesError`]
    pub(super) async fn close(&mut self, code: u16) -> Result<(), FramesError> {
        self.send(&frame::close(Sender::Client, code, "")).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// All frames of these bytes, which come one at a time, and how they end.
    async fn frames(bytes: &[u8]) -> (Vec<Frame>, FramesError) {
        let (mut server, client) = duplex(1);
        let mut frames = Frames::new(client, Extensions::Negotiated);
        let sending = async move {
            // Who has seen enough reads no more.
            let _ = server.write_all(bytes).await;
        };
        let reading = async move {
            let mut all = Vec::new();
            loop {
                match frames.next().await {
                    Ok(frame) => all.push(frame),
                    Err(error) => return (all, error),
                }
            }
        };
        tokio::join!(sending, reading).1
    }

    #[tokio::test]
    async fn frames_are_read_however_they_are_split() {
        let text = vec![b'a'; 300];
        let packed = deflate::compress(&text).unwrap();
        let mut bytes = b"\x81\x02hi\x89\x01p".to_vec();
        bytes.extend([0xc1, packed.len() as u8]);
        bytes.extend(&packed);
        bytes.extend(b"\x88\x05\x03\xe9bye");
        let (all, end) = frames(&bytes).await;
        assert!(matches!(end, FramesError::Ended), "{end:?}");
        assert_eq!(all[0].text().as_deref(), Some(&b"hi"[..]));
        assert_eq!((all[1].opcode, all[1].control()), (Opcode::Ping, &b"p"[..]));
        assert_eq!(all[2].text(), Some(text));
        assert_eq!(all[3].close(), (Some(1001), "bye".to_owned()));
    }

    #[tokio::test]
    async fn of_a_long_payload_little_is_kept_and_what_is_no_frame_is_told() {
        let mut bytes = vec![0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0];
        bytes.extend(vec![7; 1 << 16]);
        bytes.extend(b"HTTP");
        let (all, end) = frames(&bytes).await;
        assert_eq!((all.len(), all[0].payload.len()), (1, KEPT));
        assert_eq!(all[0].text(), None);
        assert!(matches!(end, FramesError::Framing(_)), "{end:?}");
    }
}

//! A client's WebSocket, frame by frame: what a library hides (pings, compression, how it ended) is what is looked for.
//!
//! Invariants: a ping is answered before anything else is read (RFC 6455 §5.5.2); of a payload at most [`KEPT`] bytes are
//! kept, whatever a head says.

use std::io;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
pub(super) struct Frames {
    io: TokioIo<Upgraded>,
    boundary: Boundary,
    unread: BytesMut,
    current: Option<Frame>,
}

impl Frames {
    /// One whose handshake is done. `extensions` says whether messages may be compressed.
    pub(super) fn new(upgraded: Upgraded, extensions: Extensions) -> Self {
        Self {
            io: TokioIo::new(upgraded),
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

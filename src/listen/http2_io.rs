//! A client's HTTP/2 connection, as hyper may see it.
//!
//! Owns two things that hyper does not offer: when the client's preface is whole, and an end with `ENHANCE_YOUR_CALM`
//! (RFC 9113 §5.4.1, §7). For the second it follows the borders of the frames that hyper writes. Invariant: a frame that
//! was begun is finished before the last GOAWAY, and nothing comes behind it.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::idle::Activity;
use crate::tls::ClientStream;

/// The client's preface: the fixed text and the head of its SETTINGS (RFC 9113 §3.4).
const PREFACE: usize = 24 + FRAME_HEAD;

/// Bytes of a frame's head (RFC 9113 §4.1).
const FRAME_HEAD: usize = 9;

/// GOAWAY with ENHANCE_YOUR_CALM. Its last stream is the highest there can be: which requests were begun is not told,
/// so that none of them is sent again (RFC 9113 §6.8).
const CALM: [u8; 17] = [
    0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0x0b,
];

/// Says that the client is to be cut off; whoever holds it may say so at any time.
#[derive(Clone, Default)]
pub(super) struct Calm(Rc<Cell<bool>>);

impl Calm {
    /// The next write ends the connection.
    pub(super) fn order(&self) {
        self.0.set(true);
    }
}

/// The connection.
pub(super) struct Http2Io {
    stream: ClientStream,
    activity: Rc<Activity>,
    preface_left: usize,
    written: Frames,
    calm: Calm,
    /// Bytes of [`CALM`] that are out.
    told: usize,
}

impl Http2Io {
    pub(super) fn new(stream: ClientStream, activity: Rc<Activity>, calm: Calm) -> Self {
        activity.head(true);
        Self {
            stream,
            activity,
            preface_left: PREFACE,
            written: Frames::default(),
            calm,
            told: 0,
        }
    }

    fn note<'b>(
        &mut self,
        written: Poll<io::Result<usize>>,
        bufs: impl IntoIterator<Item = &'b [u8]>,
    ) -> Poll<io::Result<usize>> {
        self.activity.wrote(written.is_ready());
        let length = ready!(written)?;
        let mut left = length;
        for buf in bufs {
            let taken = left.min(buf.len());
            self.written.follow(&buf[..taken]);
            left -= taken;
        }
        Poll::Ready(Ok(length))
    }

    /// Finishes the frame that was begun, then tells the client to calm down, then fails.
    fn poll_calm(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let begun = self.written.begun().min(buf.len());
        if begun > 0 && self.told == 0 {
            let written = Pin::new(&mut self.stream).poll_write(cx, &buf[..begun]);
            return self.note(written, [buf]);
        }
        while self.told < CALM.len() {
            let written = Pin::new(&mut self.stream).poll_write(cx, &CALM[self.told..]);
            self.activity.wrote(written.is_ready());
            self.told += ready!(written)?;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl AsyncRead for Http2Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if self.preface_left > 0 {
            let read = buf.filled().len() - before;
            self.preface_left = self.preface_left.saturating_sub(read);
            self.activity.head(self.preface_left > 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.calm.0.get() {
            return self.poll_calm(cx, buf);
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(written, [buf])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.calm.0.get() {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_calm(cx, first.map_or(&[], |buf| &**buf));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(written, bufs.iter().map(|buf| &**buf))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Where in a frame the bytes that were written end.
#[derive(Debug, Default)]
struct Frames {
    /// Bytes of the frame's head so far; 0 between two frames, [`FRAME_HEAD`] within a payload.
    head: usize,
    /// Bytes of the payload that are to come.
    payload: usize,
}

impl Frames {
    fn follow(&mut self, mut bytes: &[u8]) {
        while let Some(byte) = bytes.first() {
            if self.head < FRAME_HEAD {
                // The length is the first three bytes, the highest one first.
                if self.head < 3 {
                    self.payload = self.payload << 8 | usize::from(*byte);
                }
                self.head += 1;
                bytes = &bytes[1..];
            } else {
                let taken = self.payload.min(bytes.len());
                self.payload -= taken;
                bytes = &bytes[taken..];
            }
            if self.head == FRAME_HEAD && self.payload == 0 {
                self.head = 0;
            }
        }
    }

    /// How many of the next bytes belong to a frame that was begun, at least; 0 between two frames.
    fn begun(&self) -> usize {
        match self.head {
            0 => 0,
            FRAME_HEAD => self.payload,
            part => FRAME_HEAD - part,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_are_found_however_the_frames_are_written() {
        let frame = |length: usize| {
            let mut frame = vec![0, (length >> 8) as u8, length as u8, 0, 0, 0, 0, 0, 1];
            frame.resize(FRAME_HEAD + length, 0xff);
            frame
        };
        let bytes = [frame(0), frame(300), frame(1), CALM.to_vec()].concat();
        let borders = [0, 9, 9 + 309, 9 + 309 + 10, bytes.len()];
        for size in [1, 2, 7, 9, 10, 308, 1000] {
            let mut frames = Frames::default();
            let mut at = 0;
            for piece in bytes.chunks(size) {
                assert_eq!(frames.begun() == 0, borders.contains(&at), "{size} {at}");
                frames.follow(piece);
                at += piece.len();
            }
            assert_eq!(frames.begun(), 0);
        }
    }
}

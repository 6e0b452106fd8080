//! What follows the head of a response: a body, or a bare socket.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Version, header};
use http_body::{Body, Frame, SizeHint};

use super::connection::Connection;
use super::exchange::ExchangeError;
use super::head::{Framing, ResponseHead};
use super::upload::Upload;
use crate::http::chunked::{self, Piece};
use crate::tls::ServerStream;

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    /// The connection broke.
    #[error("the connection broke within the body")]
    Broken(#[source] io::Error),
    /// The server ended the connection within the body.
    #[error("the server closed the connection within the body")]
    Incomplete,
    /// The chunk framing is broken.
    #[error("the server broke the chunk framing")]
    Chunk(#[source] chunked::ChunkError),
    /// The server ended the stream within the body (RFC 9113 §5.4.2), or its connection broke.
    #[error("the server ended the stream within the body")]
    Http2(#[source] hyper::Error),
    /// The request's body, still under way, broke off.
    #[error("the request's body broke off")]
    Request(#[source] ExchangeError),
}

/// A server's socket whose HTTP is over, or whose body the taker reads by itself.
#[derive(Debug)]
pub struct Socket {
    /// The socket.
    pub stream: ServerStream,
    /// What was read too far: it comes before what the socket gives.
    pub early: Bytes,
    /// How the body that comes is framed.
    pub framing: Framing,
}

/// The rest of a response. As a body it gives data as it comes; once it has ended, [`Reply::reusable`] gives the
/// connection back.
pub struct Reply<B> {
    connection: Connection,
    upload: Upload<B>,
    framing: Framing,
    chunks: chunked::Decoder,
    trailers: Option<HeaderMap>,
    keep_alive: bool,
    ended: bool,
}

impl<B> Reply<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(connection: Connection, upload: Upload<B>, head: &ResponseHead) -> Self {
        Self {
            connection,
            upload,
            framing: head.framing,
            chunks: chunked::Decoder::new(),
            trailers: None,
            keep_alive: keeps_alive(head.version, &head.headers),
            ended: head.framing == Framing::Empty,
        }
    }

    /// Whether the request was sent whole: only then can the socket be taken for a stream.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.upload.is_done()
    }

    /// Whether nothing more comes.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.ended && self.trailers.is_none()
    }

    /// The whole body, where it has come with the head and the request was sent: there is nothing left to wait for.
    /// `None`, and nothing is taken: it is to be read piece by piece.
    #[must_use]
    pub fn take_whole(&mut self) -> Option<Bytes> {
        let length = match self.framing {
            Framing::Empty => 0,
            Framing::Length(length) => length,
            Framing::Chunked | Framing::UntilClose => return None,
        };
        if !self.is_sent() || self.connection.unread.len() as u64 != length {
            return None;
        }
        self.framing = Framing::Empty;
        self.ended = true;
        Some(std::mem::take(&mut self.connection.unread))
    }

    /// The bare socket, for a long stream.
    #[must_use]
    pub fn into_socket(self) -> Socket {
        Socket {
            stream: self.connection.stream,
            early: self.connection.unread,
            framing: self.framing,
        }
    }

    /// The connection, if it can take another request: all was sent, all was read, nothing more came, and neither
    /// side wants it closed.
    #[must_use]
    pub fn reusable(self) -> Option<Connection> {
        let clean = self.ended
            && self.keep_alive
            && self.upload.is_done()
            && self.connection.unread.is_empty();
        clean.then_some(Connection {
            reused: true,
            requests: self.connection.requests + 1,
            ..self.connection
        })
    }

    /// The next piece of the body.
    pub fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        if !self.upload.is_done()
            && let Poll::Ready(Err(error)) = self.upload.poll(cx, &mut self.connection.stream)
        {
            return Poll::Ready(Some(Err(ReplyError::Request(error))));
        }
        if self.ended {
            return Poll::Ready(
                self.trailers
                    .take()
                    .map(|trailers| Ok(Frame::trailers(trailers))),
            );
        }
        let next = match self.framing {
            Framing::Empty => return Poll::Ready(None),
            Framing::Length(left) => ready!(self.poll_counted(cx, left)),
            Framing::Chunked => ready!(self.poll_chunked(cx)),
            Framing::UntilClose => ready!(self.poll_until_close(cx)),
        };
        Poll::Ready(next.transpose())
    }

    fn poll_counted(
        &mut self,
        cx: &mut Context<'_>,
        left: u64,
    ) -> Poll<Result<Option<Frame<Bytes>>, ReplyError>> {
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let data = ready!(self.connection.poll_bytes(cx, most)).map_err(ReplyError::Broken)?;
        if data.is_empty() {
            return Poll::Ready(Err(ReplyError::Incomplete));
        }
        let left = left - data.len() as u64;
        self.framing = Framing::Length(left);
        self.ended = left == 0;
        Poll::Ready(Ok(Some(Frame::data(data))))
    }

    /// All the data of one read is one frame, however many chunks it came in.
    fn poll_chunked(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, ReplyError>> {
        loop {
            let chunks = &mut self.chunks;
            let (data, ended) =
                ready!(self.connection.poll_with(cx, |input| decode(chunks, input)))
                    .map_err(ReplyError::Broken)??;
            if ended {
                self.ended = true;
                self.trailers = self.chunks.trailers();
            }
            if !data.is_empty() {
                return Poll::Ready(Ok(Some(Frame::data(data))));
            }
            if ended {
                return Poll::Ready(Ok(self.trailers.take().map(Frame::trailers)));
            }
        }
    }

    fn poll_until_close(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Frame<Bytes>>, ReplyError>> {
        let data =
            ready!(self.connection.poll_bytes(cx, usize::MAX)).map_err(ReplyError::Broken)?;
        if data.is_empty() {
            self.ended = true;
            self.keep_alive = false;
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Ok(Some(Frame::data(data))))
    }

    /// What is known of the body's length.
    #[must_use]
    pub fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Empty => SizeHint::with_exact(0),
            Framing::Length(left) => SizeHint::with_exact(left),
            Framing::Chunked | Framing::UntilClose => SizeHint::default(),
        }
    }
}

type Decoded = Result<(Bytes, bool), ReplyError>;

/// Takes the chunks in `input` apart, up to the end of the input or of the body.
fn decode(chunks: &mut chunked::Decoder, input: &[u8]) -> (usize, Decoded) {
    if input.is_empty() {
        return (0, Err(ReplyError::Incomplete));
    }
    let mut data = Vec::new();
    let mut at = 0;
    while at < input.len() {
        let step = match chunks.decode(&input[at..]) {
            Ok(step) => step,
            Err(error) => return (input.len(), Err(ReplyError::Chunk(error))),
        };
        match step.piece {
            Piece::Framing => {}
            Piece::Data(range) => data.extend_from_slice(&input[at..][range]),
            Piece::End => return (at + step.consumed, Ok((data.into(), true))),
        }
        at += step.consumed;
    }
    (at, Ok((data.into(), false)))
}

fn keeps_alive(version: Version, headers: &HeaderMap) -> bool {
    let says = |word: &str| {
        let values = headers.get_all(header::CONNECTION).iter();
        let mut tokens = values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        tokens.any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    if version == Version::HTTP_10 {
        says("keep-alive")
    } else {
        !says("close")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_chunks_of_one_read_are_one_frame() {
        let mut chunks = chunked::Decoder::new();
        let input = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\nHTTP/1.1";
        let (taken, decoded) = decode(&mut chunks, input);
        let (data, ended) = decoded.unwrap();
        assert_eq!((&data[..], ended), (&b"abcde"[..], true));
        assert_eq!(&input[taken..], b"HTTP/1.1");
    }

    #[test]
    fn an_end_within_the_chunks_is_not_the_end_of_the_body() {
        let mut chunks = chunked::Decoder::new();
        let (_, decoded) = decode(&mut chunks, b"3\r\nab");
        assert!(!decoded.unwrap().1);
        assert!(matches!(
            decode(&mut chunks, b"").1,
            Err(ReplyError::Incomplete)
        ));
    }
}

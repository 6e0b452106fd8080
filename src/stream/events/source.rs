//! Where a stream's bytes come from: the server's body, without its framing.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use tokio::io::AsyncRead;

use crate::http::chunked::{self, Piece};
use crate::lifecycle::scratch;
use crate::tls::ServerStream;
use crate::upstream::http1::{Framing, ReplyError, Socket};

/// A body that comes in pieces, from whatever connection it shares.
pub trait Pieces {
    /// The next piece; `None`: the body is complete.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>>;
}

/// Where a stream's bytes come from.
pub struct Source(From);

enum From {
    /// A socket of its own, which holds no buffer while it waits.
    Socket(Box<FromSocket>),
    Shared(Box<dyn Pieces>),
}

struct FromSocket {
    stream: ServerStream,
    early: Bytes,
    /// `None`: the body ends with the connection.
    chunks: Option<chunked::Decoder>,
    /// What is told once the data before it has been.
    ended: Option<Read>,
}

/// What a look at a source has found.
#[derive(Debug)]
pub(super) enum Read {
    /// Data, which was lent; there may be nothing of it.
    Lent,
    /// Data that nobody else has.
    Given(Bytes),
    /// The body is complete, and this stands behind its data.
    Trailers(HeaderMap),
    /// The body is complete.
    Ended,
    /// The connection has ended, which is all that this body has for an end.
    Closed,
    /// It broke off.
    Broken(ReplyError),
    /// The client broke its own request off, which was still on its way.
    RequestBroken,
}

impl Source {
    /// The rest of a response whose socket nobody else needs. Its length is not known: it comes in chunks, or ends with the
    /// connection.
    #[must_use]
    pub fn socket(socket: Socket) -> Self {
        debug_assert!(matches!(
            socket.framing,
            Framing::Chunked | Framing::UntilClose
        ));
        Self(From::Socket(Box::new(FromSocket {
            stream: socket.stream,
            // An advanced `Bytes` still holds its whole allocation.
            early: Some(socket.early)
                .filter(|early| !early.is_empty())
                .unwrap_or_default(),
            chunks: (socket.framing == Framing::Chunked).then(chunked::Decoder::new),
            ended: None,
        })))
    }

    /// The rest of a response on a connection that it shares.
    #[must_use]
    pub fn shared(pieces: impl Pieces + 'static) -> Self {
        Self(From::Shared(Box::new(pieces)))
    }

    /// Looks for more, and lends it to `take`. After anything but data it is not to be asked again.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, take: impl FnMut(&[u8])) -> Poll<Read> {
        match &mut self.0 {
            From::Socket(socket) => socket.poll(cx, take),
            From::Shared(pieces) => Poll::Ready(match ready!(pieces.poll_piece(cx)) {
                None => Read::Ended,
                Some(Err(ReplyError::Request(_))) => Read::RequestBroken,
                Some(Err(broken)) => Read::Broken(broken),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => Read::Given(data),
                    Err(frame) => frame.into_trailers().map_or(Read::Lent, Read::Trailers),
                },
            }),
        }
    }
}

impl FromSocket {
    fn poll(&mut self, cx: &mut Context<'_>, mut take: impl FnMut(&[u8])) -> Poll<Read> {
        if let Some(ended) = self.ended.take() {
            return Poll::Ready(ended);
        }
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            self.lend(&early, &mut take);
            return Poll::Ready(Read::Lent);
        }
        scratch::with(|buffer| {
            if let Err(broken) = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer)) {
                return Poll::Ready(Read::Broken(ReplyError::Broken(broken)));
            }
            let data = buffer.filled();
            if data.is_empty() {
                // Chunks end with the last one: without it this is no end.
                return Poll::Ready(match self.chunks {
                    Some(_) => Read::Broken(ReplyError::Incomplete),
                    None => Read::Closed,
                });
            }
            self.lend(data, &mut take);
            Poll::Ready(Read::Lent)
        })
    }

    /// Lends what of `data` is the body's.
    fn lend(&mut self, data: &[u8], take: &mut impl FnMut(&[u8])) {
        let Some(chunks) = &mut self.chunks else {
            return take(data);
        };
        let mut at = 0;
        while at < data.len() {
            let step = match chunks.decode(&data[at..]) {
                Ok(step) => step,
                Err(error) => {
                    self.ended = Some(Read::Broken(ReplyError::Chunk(error)));
                    return;
                }
            };
            match step.piece {
                Piece::Framing => {}
                Piece::Data(range) => take(&data[at..][range]),
                Piece::End => {
                    let trailers = chunks.trailers();
                    self.ended = Some(trailers.map_or(Read::Ended, Read::Trailers));
                    return;
                }
            }
            at += step.consumed;
        }
    }
}

//! An event stream between two HTTP/1.1 connections: the backend's bytes reach the client as they come.
//!
//! Chunk framing passes through unchanged and is only followed to find the end; where the two sides frame
//! differently it is taken off or put on.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite};

use super::lifetime::{Expired, Lifetime};
use super::pump::Outflow;
use super::{AfterFall, Taken, cut_short};
use crate::http::chunked::{self, Piece};
use crate::lifecycle::scratch;
use crate::limits::StreamPermit;
use crate::observe::access::{End, StreamRecord};
use crate::tls::{ClientStream, ServerStream};
use crate::upstream::Lease;
use crate::upstream::http1::Framing;

/// How long a client may take to hear that its stream has ended.
const LAST_WORD: Duration = Duration::from_secs(1);

/// What an event stream needs besides its client.
pub struct Opening {
    /// The backend's socket.
    pub backend: ServerStream,
    /// What was read from it behind the head.
    pub early: Bytes,
    /// The head for the client.
    pub head: Bytes,
    /// How the body's framing changes on its way.
    pub recode: Recode,
    /// Its clocks.
    pub life: Lifetime,
    /// Its record, open.
    pub record: StreamRecord,
    /// Its place at the backend, held to its end.
    pub lease: Lease,
    /// Its place on the route, held to its end.
    pub permit: StreamPermit,
    /// What becomes of it when the backend fails its health check.
    pub after_fall: AfterFall,
}

/// From the backend's framing to the client's.
pub enum Recode {
    /// Chunks to chunks: not a byte changes.
    Chunks(chunked::Decoder),
    /// Chunks to a client that does not know them (HTTP/1.0).
    Unchunk(chunked::Decoder),
    /// A body that ends with its connection, to chunks.
    Chunk,
    /// A body that ends with its connection, to the same.
    Plain,
}

impl Recode {
    /// For a backend that frames by `framing` and a client that takes chunks or not. `None`: a body that is no stream,
    /// for its length is known.
    #[must_use]
    pub fn between(framing: Framing, takes_chunks: bool) -> Option<Self> {
        match (framing, takes_chunks) {
            (Framing::Chunked, true) => Some(Self::Chunks(chunked::Decoder::new())),
            (Framing::Chunked, false) => Some(Self::Unchunk(chunked::Decoder::new())),
            (Framing::UntilClose, true) => Some(Self::Chunk),
            (Framing::UntilClose, false) => Some(Self::Plain),
            (Framing::Empty | Framing::Length(_), _) => None,
        }
    }
}

/// Runs an event stream to its end.
pub async fn run(taken: Taken, opening: Opening) {
    let Taken {
        stream,
        early: _pipelined,
        guard,
    } = taken;
    let Opening {
        backend,
        early,
        head,
        recode,
        life,
        mut record,
        lease,
        permit: _held,
        after_fall,
    } = opening;
    let outflow = Outflow::new(head);
    let mut events = EventStream {
        client: stream,
        backend,
        early,
        recode,
        outflow,
        life,
        state: State::Open,
        moved: 0,
    };
    let end = tokio::select! {
        end = poll_fn(|cx| events.poll(cx)) => end,
        end = cut_short(&guard, lease.fell(), after_fall) => end,
    };
    if matches!(end, End::Drain | End::BackendUnhealthy) {
        // Whether the client still took it does not matter any more.
        let _ = tokio::time::timeout(LAST_WORD, poll_fn(|cx| events.poll_finish(cx))).await;
    }
    record.bytes_out = events.moved;
    record.close(end, events.life.silence());
}

struct EventStream {
    client: ClientStream,
    backend: ServerStream,
    early: Bytes,
    recode: Recode,
    outflow: Outflow,
    life: Lifetime,
    state: State,
    moved: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The backend has ended it in order; the client has not been told yet.
    Ending,
}

impl EventStream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let before = self.moved;
        let copied = self.poll_copy(cx);
        if self.moved != before {
            self.life.touch();
        }
        if let Poll::Ready(end) = copied {
            return Poll::Ready(end);
        }
        // What a client sends behind such a request has nobody to read it: it is thrown away until it ends.
        loop {
            match poll_discard(cx, &mut self.client) {
                Poll::Ready(Ok(1..)) => {}
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(End::Client),
                Poll::Pending => break,
            }
        }
        self.life.poll_expired(cx).map(|expired| match expired {
            Expired::Idle => End::Idle,
            Expired::Age => End::Age,
        })
    }

    fn poll_copy(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if ready!(self.outflow.poll_clear(cx, &mut self.client)).is_err() {
                return Poll::Ready(End::Client);
            }
            if self.state == State::Ending {
                let _told = ready!(Pin::new(&mut self.client).poll_shutdown(cx));
                return Poll::Ready(End::Backend);
            }
            if let Err(end) = ready!(self.poll_move(cx)) {
                return Poll::Ready(end);
            }
        }
    }

    fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            return Poll::Ready(self.pass(cx, early.chunk()));
        }
        scratch::with(|buffer| {
            if ready!(Pin::new(&mut self.backend).poll_read(cx, buffer)).is_err() {
                return Poll::Ready(Err(End::BackendFailed));
            }
            let data = buffer.filled();
            if data.is_empty() {
                return Poll::Ready(self.backend_ended(cx));
            }
            Poll::Ready(self.pass(cx, data))
        })
    }

    /// Writes `data` to the client, framed as it expects.
    fn pass(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Result<(), End> {
        self.moved += data.len() as u64;
        let written = match &mut self.recode {
            Recode::Plain => self.outflow.write(cx, &mut self.client, data),
            Recode::Chunk => {
                let mut framed = Vec::with_capacity(data.len() + 16);
                chunked::head(data.len(), &mut framed);
                framed.extend_from_slice(data);
                framed.extend_from_slice(chunked::TAIL);
                self.outflow.write(cx, &mut self.client, &framed)
            }
            Recode::Chunks(chunks) => {
                let whole = follow(chunks, data, |_data| {})?;
                if whole.ended {
                    self.state = State::Ending;
                }
                self.outflow
                    .write(cx, &mut self.client, &data[..whole.length])
            }
            Recode::Unchunk(chunks) => {
                let mut plain = Vec::with_capacity(data.len());
                let whole = follow(chunks, data, |piece| plain.extend_from_slice(piece))?;
                if whole.ended {
                    self.state = State::Ending;
                }
                self.outflow.write(cx, &mut self.client, &plain)
            }
        };
        written.map_err(|_broken| End::Client)
    }

    /// Ends the client's side: in order where the framing allows it, else as a body that broke off.
    fn poll_finish(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.outflow.poll_clear(cx, &mut self.client))?;
        if self.state == State::Open {
            self.state = State::Ending;
            let in_order = match &self.recode {
                Recode::Chunk => true,
                Recode::Chunks(chunks) => chunks.is_between_chunks(),
                Recode::Unchunk(_) | Recode::Plain => false,
            };
            if in_order {
                self.outflow.write(cx, &mut self.client, chunked::LAST)?;
                ready!(self.outflow.poll_clear(cx, &mut self.client))?;
            }
        }
        Pin::new(&mut self.client).poll_shutdown(cx)
    }

    fn backend_ended(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let last = match self.recode {
            Recode::Plain => &b""[..],
            Recode::Chunk => chunked::LAST,
            // The last chunk did not come: the client must not take this for an end.
            Recode::Chunks(_) | Recode::Unchunk(_) => return Err(End::BackendFailed),
        };
        self.state = State::Ending;
        self.outflow
            .write(cx, &mut self.client, last)
            .map_err(|_broken| End::Client)
    }
}

struct Followed {
    /// Bytes that belong to the body.
    length: usize,
    ended: bool,
}

fn follow(
    chunks: &mut chunked::Decoder,
    data: &[u8],
    mut piece: impl FnMut(&[u8]),
) -> Result<Followed, End> {
    let mut length = 0;
    while length < data.len() {
        let step = chunks
            .decode(&data[length..])
            .map_err(|_broken| End::BackendFailed)?;
        if let Piece::Data(range) = &step.piece {
            piece(&data[length..][range.clone()]);
        }
        length += step.consumed;
        if matches!(step.piece, Piece::End) {
            return Ok(Followed {
                length,
                ended: true,
            });
        }
    }
    Ok(Followed {
        length,
        ended: false,
    })
}

fn poll_discard(cx: &mut Context<'_>, client: &mut ClientStream) -> Poll<io::Result<usize>> {
    scratch::with(|buffer| {
        ready!(Pin::new(client).poll_read(cx, buffer))?;
        Poll::Ready(Ok(buffer.filled().len()))
    })
}

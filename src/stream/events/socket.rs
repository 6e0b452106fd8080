//! A stream to the socket of an HTTP/1.1 client, which left hyper with its request.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::io::{AsyncRead, AsyncWrite};

use super::flow::Flow;
use super::{Opening, Over, Step};
use crate::http::chunked;
use crate::lifecycle::scratch;
use crate::observe::access::End;
use crate::stream::Taken;
use crate::stream::pump::Outflow;
use crate::tls::ClientStream;

/// How a client is told where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By chunks (RFC 9112 §7.1).
    Chunked,
    /// By the connection's end: HTTP/1.0.
    UntilClose,
}

/// How long a client may take to hear that its stream has ended.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Data that a client does not acknowledge for so long ends its connection: what proxies usually allow between two writes.
const UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// Runs a stream to its end; `head` goes before it. What only the start needs is gone before the future is there: it lives as
/// long as its client, and there are as many as clients.
pub fn run(
    taken: Taken,
    head: Bytes,
    framing: Framing,
    opening: Opening,
) -> impl Future<Output = ()> {
    // What the client has sent behind its request has nobody to read it, and does not stay.
    let Taken { stream, guard, .. } = taken;
    stream.give_up_after(UNACKNOWLEDGED + opening.heartbeat.unwrap_or_default());
    let mut flow = Flow::new(opening);
    let mut client = Client {
        stream,
        outflow: Outflow::new(head),
        framing,
        has_end: false,
    };
    // What is captured is used where it lies: bound to a name within, it would have two places in the future.
    async move {
        let _held = &guard;
        let over = poll_fn(|cx| client.poll(cx, &mut flow)).await;
        flow.end_by(End::Client, Over::Broken);
        if let Some(over) = over {
            // Whether the client still took it does not matter any more.
            let farewell = tokio::time::timeout(LAST_WORD, client.farewell(over));
            // Boxed: a stream should not carry the room for its end all its life.
            let _ = Box::pin(farewell).await;
        }
    }
}

struct Client {
    stream: ClientStream,
    outflow: Outflow,
    framing: Framing,
    /// Whether the body's end was given.
    has_end: bool,
}

impl Client {
    /// Ready when the stream is over; `None`: the client has left it.
    fn poll(&mut self, cx: &mut Context<'_>, flow: &mut Flow) -> Poll<Option<Over>> {
        let over = self.poll_give(cx, flow);
        if over.is_ready() {
            return over;
        }
        // What a client sends behind such a request has nobody to read it: it is thrown away until it ends.
        self.poll_left(cx).map(|()| None)
    }

    fn poll_give(&mut self, cx: &mut Context<'_>, flow: &mut Flow) -> Poll<Option<Over>> {
        loop {
            match self.outflow.poll_clear(cx, &mut self.stream) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_broken)) => return Poll::Ready(None),
                Poll::Pending => {
                    return flow.poll_blocked(cx).map(|()| Some(Over::Broken));
                }
            }
            let given = scratch::with_frame(|frame| {
                frame.resize(chunked::HEAD_ROOM, 0);
                match ready!(flow.poll(cx, frame)) {
                    Step::Written => {}
                    Step::Bytes(data) => frame.extend_from_slice(&data),
                    Step::Trailers(fields) => {
                        return Poll::Ready(Ok(self.give_trailers(cx, &fields)));
                    }
                    Step::Over(over) => return Poll::Ready(Err(over)),
                }
                Poll::Ready(Ok(self.give(cx, frame)))
            });
            match ready!(given) {
                Ok(Ok(())) => {}
                Ok(Err(_broken)) => return Poll::Ready(None),
                Err(over) => return Poll::Ready(Some(over)),
            }
        }
    }

    /// Writes the data in `frame`, which has room for a chunk's head in front of it.
    fn give(&mut self, cx: &mut Context<'_>, frame: &mut Vec<u8>) -> io::Result<()> {
        let framed = match self.framing {
            Framing::Chunked => chunked::enclose(frame),
            Framing::UntilClose => &frame[chunked::HEAD_ROOM..],
        };
        self.outflow.write(cx, &mut self.stream, framed)
    }

    fn give_trailers(&mut self, cx: &mut Context<'_>, fields: &HeaderMap) -> io::Result<()> {
        self.has_end = true;
        if self.framing == Framing::UntilClose {
            return Ok(());
        }
        let mut section = Vec::new();
        chunked::trailer_section(fields, &mut section);
        self.outflow.write(cx, &mut self.stream, &section)
    }

    fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let read = scratch::with(|buffer| {
                ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
                Poll::Ready(io::Result::Ok(buffer.filled().len()))
            });
            if let Ok(1..) = ready!(read) {
                continue;
            }
            return Poll::Ready(());
        }
    }

    /// Ends the connection in order, or as a body that broke off, and reads on until the client has ended it too: a reset
    /// for what it still sends would take away what it has not read yet.
    async fn farewell(&mut self, over: Over) {
        let told = poll_fn(|cx| {
            ready!(self.outflow.poll_clear(cx, &mut self.stream))?;
            if over == Over::Whole && self.framing == Framing::Chunked && !self.has_end {
                self.has_end = true;
                self.outflow.write(cx, &mut self.stream, chunked::LAST)?;
                ready!(self.outflow.poll_clear(cx, &mut self.stream))?;
            }
            Pin::new(&mut self.stream).poll_shutdown(cx)
        });
        if told.await.is_ok() {
            poll_fn(|cx| self.poll_left(cx)).await;
        }
    }
}

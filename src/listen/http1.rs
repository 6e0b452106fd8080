//! An HTTP/1.1 connection.
//!
//! Its owner drives hyper until the connection ends or a long stream wants the socket ([`crate::stream::Slot`]); then it
//! takes the socket out of hyper and starts the stream as a task of its own, so that what hyper and this owner hold is
//! freed.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connection::{Connection, Facts, Held};
use super::idle::{Patience, Tired};
use super::last::{Last, Turn};
use super::watched::Watched;
use crate::config::model::Limits;
use crate::http::inbound::Fault;
use crate::http::problem::Problem;
use crate::lifecycle::tasks;
use crate::respond;
use crate::stream::{HandOver, Slot, Taken};
use crate::tls::ClientStream;
use crate::upstream::http1::write_response_head;

/// How many fields hyper takes when it is told nothing. Up to there its room for them is on the stack; a limit that it is
/// told, be it smaller, costs two allocations of some kilobytes for each request.
const FIELDS_OF_HYPER: usize = 100;

/// By how many bytes hyper's own limit is wider than ours.
const READ_AHEAD: usize = 16 * 1024;

/// What hyper may hold of what it reads ahead and of a response that the client does not take.
const BUFFER: usize = 64 * 1024;

/// How much a client may send on while it is told that its request is refused.
const LINGER: usize = 256 * 1024;

/// How long a last word may take.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How hyper's part of an HTTP/1.1 connection ends.
enum Http1End {
    /// It is over, in order or not.
    Over(hyper::Result<()>),
    /// A stream wants the socket.
    HandOver(HandOver),
    /// A request is refused, and those before it have been answered.
    Refused(Fault),
    /// Waited for long enough.
    Tired(Tired),
}

/// Serves a connection to its end, or until a stream has taken its socket.
pub(super) async fn serve(
    stream: ClientStream,
    connection: Connection,
    limits: &Limits,
    held: Held,
) {
    let (activity, client) = (
        connection.0.activity.clone(),
        connection.0.downstream.client,
    );
    let (slot, guard) = (
        connection.0.downstream.slot.clone().unwrap_or_default(),
        held.0.clone(),
    );
    let (facts, bounds) = (connection.0.clone(), connection.0.head);
    let io = TokioIo::new(Watched::new(stream, activity.clone(), bounds));
    let mut builder = http1::Builder::new();
    // What is beyond these does not come as far as hyper: they only have to be wide enough.
    if limits.header_count > FIELDS_OF_HYPER {
        builder.max_headers(limits.header_count);
    }
    builder
        .max_header_size(limits.header_size + READ_AHEAD)
        .max_buf_size((limits.header_size + READ_AHEAD).max(BUFFER))
        // `Patience` does this: hyper's one timer would also end connections that only wait for their next request.
        .header_read_timeout(None);
    let mut driver = builder.serve_connection(io, connection);
    let mut patience = Patience::new(activity.clone(), limits.keep_alive, limits.header_timeout);
    let mut last = Last::of(&guard, &activity);
    let end = loop {
        let step = poll_fn(|cx| poll_http1(cx, &mut driver, &slot, &mut patience));
        tokio::select! {
            end = step => break end,
            turn = last.next() => match turn {
                Turn::NoMoreRequests => Pin::new(&mut driver).graceful_shutdown(),
                Turn::NoMoreTime => return,
            },
        }
    };
    match end {
        Http1End::Over(Ok(())) => {}
        Http1End::Over(Err(error)) => {
            tracing::debug!(%client, cause = respond::chain(&error), "connection broke");
        }
        Http1End::HandOver(stream) => {
            let parts = driver.into_parts();
            let (guard, permit) = held;
            let (socket, behind) = parts.io.into_inner().into_parts();
            let taken = Taken {
                stream: socket,
                early: join(parts.read_buf, behind),
                guard,
            };
            let life = stream.run(taken);
            tasks::spawn(async move {
                let _permit = permit;
                life.await;
            });
        }
        Http1End::Tired(Tired::Silent) => {}
        Http1End::Tired(Tired::HalfHead) => {
            tracing::debug!(%client, "a request's head was not whole in time");
            let io = driver.into_parts().io.into_inner();
            Box::pin(end_with(&Problem::RequestTimeout, io, &facts)).await;
        }
        Http1End::Refused(fault) => {
            tracing::debug!(%client, cause = respond::chain(&fault), "request refused");
            let io = driver.into_parts().io.into_inner();
            Box::pin(end_with(&fault.problem(), io, &facts)).await;
        }
    }
}

type Http1Driver = http1::Connection<TokioIo<Watched>, Connection>;

fn poll_http1(
    cx: &mut Context<'_>,
    driver: &mut Http1Driver,
    slot: &Slot,
    patience: &mut Patience,
) -> Poll<Http1End> {
    if let Poll::Ready(over) = Pin::new(driver).poll(cx) {
        return Poll::Ready(Http1End::Over(over));
    }
    // The service has laid the stream down within the poll above. An earlier, pipelined response may still lie in
    // hyper's buffer: it goes first.
    if slot.is_due()
        && !patience.activity().is_behind()
        && let Some(stream) = slot.take()
    {
        return Poll::Ready(Http1End::HandOver(stream));
    }
    if let Some(fault) = patience.activity().refused()
        && !patience.activity().is_behind()
    {
        return Poll::Ready(Http1End::Refused(fault));
    }
    patience.poll(cx).map(Http1End::Tired)
}

/// What hyper has read behind a request, and what it was not given.
fn join(read: Bytes, behind: Bytes) -> Bytes {
    match (read.is_empty(), behind.is_empty()) {
        // An empty view of hyper's buffer would hold the whole of it, for as long as the stream lives.
        (true, true) => Bytes::new(),
        (false, true) => read,
        (true, false) => behind,
        (false, false) => [read, behind].concat().into(),
    }
}

/// Answers a request that hyper has not seen, and closes the connection. To be boxed: its room would be held by every
/// connection.
async fn end_with(problem: &Problem, io: Watched, facts: &Facts) {
    let mut response = facts.refuse(io.outline(), problem);
    let (mut stream, _unread) = io.into_parts();
    let now = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()));
    let now = now.expect("an HTTP date is visible ASCII");
    response.headers_mut().insert(header::DATE, now);
    let mut text = Vec::with_capacity(512);
    write_response_head(&mut text, response.status(), response.headers());
    text.extend_from_slice(response.body());
    let word = async {
        stream.write_all(&text).await?;
        stream.shutdown().await?;
        linger(&mut stream).await
    };
    // Whether it could still be told does not matter any more.
    let _ = tokio::time::timeout(LAST_WORD, word).await;
}

/// Takes what the client still sends, up to a limit: a socket that is closed over unread bytes is reset, and the reset may
/// overtake the answer (RFC 9112 §9.6).
async fn linger(stream: &mut ClientStream) -> std::io::Result<()> {
    let mut dropped = [0; 4096];
    let mut left = LINGER;
    while left > 0 {
        let read = stream.read(&mut dropped).await?;
        if read == 0 {
            break;
        }
        left = left.saturating_sub(read);
    }
    Ok(())
}

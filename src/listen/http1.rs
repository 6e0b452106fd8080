//! An HTTP/1.1 connection.
//!
//! Its owner drives hyper until the connection ends or a long stream wants the socket ([`crate::stream::Slot`]); then it
//! takes the socket out of hyper and starts the stream as a task of its own, so that what hyper and this owner hold is
//! freed.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use super::connection::{Connection, Held};
use super::idle::{Patience, Tired};
use super::watched::Watched;
use crate::config::model::Limits;
use crate::http::problem::Problem;
use crate::lifecycle::tasks;
use crate::respond;
use crate::stream::{HandOver, Slot, Taken};
use crate::tls::ClientStream;

/// How long a last word may take.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How hyper's part of an HTTP/1.1 connection ends.
enum Http1End {
    /// It is over, in order or not.
    Over(hyper::Result<()>),
    /// A stream wants the socket.
    HandOver(HandOver),
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
    let io = TokioIo::new(Watched::new(stream, activity.clone()));
    let mut builder = http1::Builder::new();
    // A header section of one field too many is answered with 431 by hyper itself.
    builder
        .max_headers(limits.header_count)
        .max_header_size(limits.header_size)
        // `Patience` does this: hyper's one timer would also end connections that only wait for their next request.
        .header_read_timeout(None);
    let mut driver = builder.serve_connection(io, connection);
    let mut patience = Patience::new(activity, limits.keep_alive, limits.header_timeout);
    let mut draining = false;
    let end = loop {
        let step = poll_fn(|cx| poll_http1(cx, &mut driver, &slot, &mut patience));
        tokio::select! {
            end = step => break end,
            _deadline = guard.draining(), if !draining => {
                draining = true;
                Pin::new(&mut driver).graceful_shutdown();
            }
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
            let taken = Taken {
                stream: parts.io.into_inner().stream,
                early: parts.read_buf,
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
            say_timed_out(driver.into_parts().io.into_inner().stream).await;
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
    patience.poll(cx).map(Http1End::Tired)
}

/// 408 (RFC 9110 §15.5.9) to a client that sent half a head.
async fn say_timed_out(mut stream: ClientStream) {
    let response = Problem::RequestTimeout.response(None);
    let (parts, body) = response.into_parts();
    let mut headers = parts.headers;
    headers.insert(
        http::header::CONNECTION,
        http::HeaderValue::from_static("close"),
    );
    headers.insert(http::header::CONTENT_LENGTH, body.len().into());
    let mut text = Vec::with_capacity(512);
    crate::upstream::http1::write_response_head(&mut text, parts.status, &headers);
    text.extend_from_slice(&body);
    let word = async {
        stream.write_all(&text).await?;
        stream.shutdown().await
    };
    // Whether it could still be told does not matter any more.
    let _ = tokio::time::timeout(LAST_WORD, word).await;
}

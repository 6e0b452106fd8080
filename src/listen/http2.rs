//! An HTTP/2 connection, and what a client may ask of it.

use std::future::poll_fn;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::connection::{Connection, Held};
use super::idle::Patience;
use super::watched::Watched;
use crate::config::model::Limits;
use crate::lifecycle::tasks;
use crate::respond;
use crate::tls::ClientStream;

/// HTTP/2 streams that a client may have open at once.
const MAX_STREAMS: u32 = 128;

/// Bytes that a client may send on one HTTP/2 stream ahead of its backend.
const STREAM_WINDOW: u32 = 128 * 1024;

/// The same for a connection. Wide, so that stalled streams do not hold up their siblings.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// Bytes of responses that wait within hyper on one HTTP/2 stream.
const SEND_BUFFER: usize = 64 * 1024;

/// How often a silent HTTP/2 client is pinged, and how long its answer may take.
const PING: Duration = Duration::from_secs(20);

/// Serves a connection to its end. hyper keeps the socket, streams included.
pub(super) async fn serve(
    stream: ClientStream,
    connection: Connection,
    limits: &Limits,
    held: Held,
) {
    let (guard, _permit) = held;
    let (activity, client) = (
        connection.0.activity.clone(),
        connection.0.downstream.client,
    );
    let io = TokioIo::new(Watched::new(stream, activity.clone()));
    let mut builder = http2::Builder::new(tasks::Local);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.header_size).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    let mut driver = std::pin::pin!(builder.serve_connection(io, connection));
    // HTTP/2 has no half heads of its own: whoever has no request yet is silent.
    let mut patience = Patience::new(activity, limits.keep_alive, limits.keep_alive);
    let mut ending = false;
    let over = loop {
        tokio::select! {
            over = driver.as_mut() => break over,
            _deadline = guard.draining(), if !ending => {}
            _tired = poll_fn(|cx| patience.poll(cx)), if !ending => {}
        }
        ending = true;
        // GOAWAY (RFC 9113 §6.8): what runs is finished. A client that does not go then is pinged, and cut by the drain.
        driver.as_mut().graceful_shutdown();
    };
    if let Err(error) = over {
        tracing::debug!(%client, cause = respond::chain(&error), "connection broke");
    }
}

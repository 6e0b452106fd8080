//! An HTTP/2 connection, and what a client may ask of it.

use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::{Instant, Sleep};

use super::connection::{Connection, Held};
use super::http2_io::{Calm, Http2Io};
use super::http2_streams::Streams;
use super::idle::{Patience, Tired};
use crate::config::model::Limits;
use crate::respond;
use crate::tls::ClientStream;

/// Bytes that a client may send on one HTTP/2 stream ahead of its backend.
const STREAM_WINDOW: u32 = 128 * 1024;

/// The same for a connection. Wide, so that stalled streams do not hold up their siblings.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// The same where streams become tunnels. h2 holds small frames that nobody has read against a connection, up to half of its
/// window, and then ends it: a window of this size bears several tunnels that stand still with thousands of tiny messages
/// each. What may lie there is bounded by the streams' own windows.
const CONNECTION_WINDOW_WITH_TUNNELS: u32 = 64 * 1024 * 1024;

/// Bytes of responses that wait within hyper on one HTTP/2 stream.
const SEND_BUFFER: usize = 64 * 1024;

/// The longest frame that a client may send: the least that the protocol allows (RFC 9113 §4.2).
const FRAME: u32 = 16 * 1024;

/// Bytes of the table that a client's header compression may fill (RFC 7541 §4.2).
const HEADER_TABLE: u32 = 4096;

/// By how many bytes h2's own limit for a head is wider than ours.
const SLACK: usize = 16 * 1024;

/// Streams that a client has reset before they were looked at; beyond, h2 ends the connection.
const PENDING_RESETS: usize = 20;

/// Streams that were reset for the client's own faults; beyond, h2 ends the connection.
const LOCAL_RESETS: usize = 256;

/// How long a client that is cut off may take to be told.
const LAST_WORD: Duration = Duration::from_secs(1);

/// How often a silent HTTP/2 client is pinged, and how long its answer may take.
const PING: Duration = Duration::from_secs(20);

/// Empty DATA frames, CONTINUATION frames, and acknowledgements that wait to be written are bounded within h2 itself,
/// and end the connection. What it lets one set is set here, so that an update changes nothing unseen.
fn builder(limits: &Limits, streams: Streams) -> http2::Builder<Streams> {
    // What is beyond our limit by less than this is answered by us, and says why.
    let header_list = u32::try_from(limits.header_size + SLACK).unwrap_or(u32::MAX);
    let streams_become_tunnels = streams.tunnels.is_some();
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2.streams)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_send_buf_size(SEND_BUFFER)
        .header_table_size(HEADER_TABLE)
        .max_header_list_size(header_list)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    if streams_become_tunnels {
        builder
            .initial_connection_window_size(CONNECTION_WINDOW_WITH_TUNNELS)
            .enable_connect_protocol();
    }
    builder
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// GOAWAY is out: what runs is finished.
    Ending,
    /// The client is cut off as soon as it has been told why.
    Cut,
}

enum Event {
    Drain,
    Tired(Tired),
    /// The client has had as many requests as a connection may have, or has cancelled too many.
    Enough,
    /// The end takes long.
    Late,
}

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
    let calm = Calm::default();
    let io = TokioIo::new(Http2Io::new(stream, activity.clone(), calm.clone()));
    let streams = Streams {
        latest: connection.0.latest.clone(),
        tunnels: connection.0.downstream.tunnels.clone(),
        patience: limits.keep_alive,
    };
    let mut driver = std::pin::pin!(builder(limits, streams).serve_connection(io, connection));
    let mut patience = Patience::new(activity.clone(), limits.keep_alive, limits.header_timeout);
    let mut late = std::pin::pin!(tokio::time::sleep(limits.keep_alive));
    let mut state = State::Open;
    let over = loop {
        let event = tokio::select! {
            over = driver.as_mut() => break over,
            () = activity.enough(), if state != State::Cut => Event::Enough,
            _deadline = guard.draining(), if state == State::Open => Event::Drain,
            event = waited(&mut patience, late.as_mut(), state) => event,
        };
        match event {
            // No preface came, or the client takes nothing: a last word would not reach it either.
            Event::Tired(Tired::HalfHead) => return,
            Event::Tired(Tired::Silent) | Event::Late if activity.is_behind() => return,
            Event::Late if state == State::Cut || activity.is_free() => return,
            Event::Enough if activity.cancellations() > limits.http2.resets => {
                tracing::debug!(%client, "the client cancels too many requests");
                calm.order();
                state = State::Cut;
            }
            Event::Tired(_) | Event::Enough | Event::Drain | Event::Late => state = State::Ending,
        }
        let end = match state {
            State::Cut => LAST_WORD,
            State::Open | State::Ending => limits.keep_alive,
        };
        late.as_mut().reset(Instant::now() + end);
        // GOAWAY (RFC 9113 §6.8): what runs is finished. A client that does not go then is pinged, and cut by the drain.
        driver.as_mut().graceful_shutdown();
    };
    if let Err(error) = over {
        tracing::debug!(%client, cause = respond::chain(&error), "connection broke");
    }
}

/// What time brings: first the end of patience, then of the time that the connection's end may take.
async fn waited(patience: &mut Patience, late: Pin<&mut Sleep>, state: State) -> Event {
    if state == State::Open {
        return Event::Tired(poll_fn(|cx| patience.poll(cx)).await);
    }
    late.await;
    Event::Late
}

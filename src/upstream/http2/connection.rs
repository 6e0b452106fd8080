//! One connection, shared by many requests.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::stop::Stoppable;
use super::upload::Upload;
use crate::config::model::KeepAlive;
use crate::lifecycle::tasks;
use crate::tls::ServerStream;

/// Bytes that a server may send on one stream ahead of its client.
const STREAM_WINDOW: u32 = 128 * 1024;

/// The same for a connection. Wide, so that stalled streams do not hold up their siblings.
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// Bytes of requests that wait within hyper on one stream.
const SEND_BUFFER: usize = 64 * 1024;

/// Bytes of a response's head at most.
const MAX_HEAD: u32 = 64 * 1024;

/// How often a silent server is pinged, and how long its answer may take.
const PING: Duration = Duration::from_secs(20);

/// Streams that are opened before the server has said how many it allows (RFC 9113 §6.5.2 recommends no less).
const FIRST_STREAMS: usize = 100;

/// A connection that many requests share.
#[derive(Clone)]
pub struct Connection {
    send: SendRequest<Upload>,
    state: Rc<State>,
}

struct State {
    streams: Cell<usize>,
    allowed: Cell<usize>,
    requests: Cell<u64>,
    born: Instant,
    used: Cell<Instant>,
}

/// A place for one request on a connection, taken up to the end of both bodies.
pub struct Reserved {
    pub(super) send: SendRequest<Upload>,
    /// Whether the connection had been used before: its server may be about to close it.
    pub(super) reused: bool,
    pub(super) place: Rc<Place>,
}

/// Frees its stream when it is dropped.
pub(super) struct Place(Rc<State>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get() - 1);
        self.0.used.set(Instant::now());
    }
}

impl Connection {
    /// Begins HTTP/2 on `stream`. The server's own preface is not waited for.
    ///
    /// # Errors
    /// The stream broke.
    ///
    /// # Cancel safety
    /// Dropping it closes the stream.
    pub async fn begin(stream: ServerStream) -> Result<Self, hyper::Error> {
        let (send, driver) = http2::Builder::new(Stoppable)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(FIRST_STREAMS)
            .max_send_buf_size(SEND_BUFFER)
            .max_header_list_size(MAX_HEAD)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .handshake(TokioIo::new(stream))
            .await?;
        let now = Instant::now();
        let state = Rc::new(State {
            streams: Cell::new(0),
            allowed: Cell::new(FIRST_STREAMS),
            requests: Cell::new(0),
            born: now,
            used: Cell::new(now),
        });
        let seen = state.clone();
        tasks::spawn(async move {
            let mut driver = pin!(driver);
            let end = poll_fn(|cx| {
                let end = driver.as_mut().poll(cx);
                if end.is_pending() {
                    seen.allowed.set(driver.current_max_send_streams());
                }
                match end {
                    Poll::Ready(end) => Poll::Ready(end),
                    Poll::Pending => Poll::Pending,
                }
            });
            if let Err(error) = end.await {
                // What was under way on it tells it too, to those whom it concerns.
                tracing::debug!(%error, "an HTTP/2 connection to a server broke");
            }
        });
        Ok(Self { send, state })
    }

    /// A place for one more request; `None` when the server allows no more streams at once.
    #[must_use]
    pub fn reserve(&self) -> Option<Reserved> {
        let state = &self.state;
        if state.streams.get() >= state.allowed.get() {
            return None;
        }
        state.streams.set(state.streams.get() + 1);
        let before = state.requests.replace(state.requests.get() + 1);
        Some(Reserved {
            send: self.send.clone(),
            reused: before > 0,
            place: Rc::new(Place(state.clone())),
        })
    }

    /// Whether it takes new requests: it has not ended, the server has not sent GOAWAY, and it is within `limits`.
    #[must_use]
    pub fn is_good(&self, limits: &KeepAlive) -> bool {
        let state = &self.state;
        let within =
            |limit: Option<Duration>| limit.is_none_or(|limit| state.born.elapsed() < limit);
        let more = limits
            .requests
            .is_none_or(|limit| state.requests.get() < limit.get());
        let in_use = state.streams.get() > 0 || state.used.get().elapsed() < limits.idle;
        !self.send.is_closed() && within(limits.max_age) && more && in_use
    }

    /// Whether no request is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state.streams.get() == 0
    }
}

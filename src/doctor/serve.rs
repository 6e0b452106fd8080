//! `doctor --serve`: an app to put behind a chain of proxies, which the doctor can look at with certainty.
//!
//! Every path is everything, by what is asked for: a WebSocket, an event stream, or a [`Tick`] alone. Each stream ticks
//! once a second, with the time of sending in it; with `silent` in the query, or as the path's last part, it says one tick
//! after a second and then nothing. It sends no field that tells proxies what to do: what the doctor sees is what a plain app gets.
//!
//! Invariants: connections are counted by a semaphore; a WebSocket lives in the task of its connection; whoever takes
//! nothing for [`WRITE_TIMEOUT`] is let go.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use futures_util::{SinkExt, StreamExt};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, SEC_WEBSOCKET_KEY};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tungstenite::Message;
use tungstenite::handshake::server::create_response_with_body;
use tungstenite::protocol::{Role, WebSocketConfig};

use crate::lifecycle::tasks;
use crate::sse::encode;
use crate::websocket::handshake::wants_upgrade;

use super::tick::Tick;

/// Connections at once; more wait in the socket's backlog.
const CONNECTIONS: usize = 256;
/// How long a request's head, and the pause before it, may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a peer may take no byte of a message.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a message that is echoed at most.
const LONGEST: usize = 64 << 10;
/// When the next tick is due.
const PERIOD: Duration = Duration::from_secs(1);
/// What clients are told to wait before they come back, in milliseconds.
const RETRY: u64 = 2_000;

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Whether a stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Ticking,
    Silent,
}

/// Listens on `address`, says where and how to use it, and serves until the process ends.
///
/// # Errors
/// The address cannot be listened on.
pub(super) async fn serve(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    println!(
        "An app for `streamgate doctor`: an event stream and a WebSocket, once a second, on every path.\n\
         Put it behind your proxies in your app's place, then: streamgate doctor https://your.site/\n\
         listening on http://{address}"
    );
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return Ok(());
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, or a connection that was reset in the backlog: both pass.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        drop(tasks::spawn(async move {
            connection(stream).await;
            drop(permit);
        }));
    }
}

async fn connection(stream: TcpStream) {
    // It only matters for the exactness of times.
    let _ = stream.set_nodelay(true);
    let upgraded: Rc<Cell<Option<(OnUpgrade, Manner)>>> = Rc::default();
    let kept = Rc::clone(&upgraded);
    let service = service_fn(move |mut request| {
        let (response, upgrade) = answer(&mut request);
        if upgrade.is_some() {
            kept.set(upgrade);
        }
        async move { Ok::<_, Infallible>(response) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if serving.await.is_err() {
        return;
    }
    let Some((upgrade, manner)) = upgraded.take() else {
        return;
    };
    if let Ok(upgraded) = upgrade.await {
        websocket(upgraded, manner).await;
    }
}

fn answer(request: &mut Request<Incoming>) -> (Response<Body>, Option<(OnUpgrade, Manner)>) {
    let manner = manner(request.uri());
    let headers = request.headers();
    if wants_upgrade(headers) {
        let upgrade = hyper::upgrade::on(&mut *request);
        return match create_response_with_body(&*request, || Empty::new().boxed_unsync()) {
            Ok(response) => (response, Some((upgrade, manner))),
            Err(_fault) => (tick(StatusCode::BAD_REQUEST), None),
        };
    }
    // A handshake without its `Upgrade`: somebody on the way took that.
    if headers.contains_key(SEC_WEBSOCKET_KEY) {
        return (tick(StatusCode::UPGRADE_REQUIRED), None);
    }
    if accepts_events(headers) {
        return (events(manner, last_id(headers)), None);
    }
    (tick(StatusCode::OK), None)
}

fn manner(uri: &Uri) -> Manner {
    let by_path = uri.path().rsplit('/').next() == Some("silent");
    let mut words = uri.query().unwrap_or_default().split('&');
    match by_path || words.any(|word| word == "silent") {
        true => Manner::Silent,
        false => Manner::Ticking,
    }
}

fn accepts_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).map(HeaderValue::as_bytes);
    accepted.is_some_and(|text| text.starts_with(b"text/event-stream"))
}

/// The number that a client has already seen.
fn last_id(headers: &HeaderMap) -> u64 {
    let name = HeaderName::from_static("last-event-id");
    let id = headers.get(name).and_then(|value| value.to_str().ok());
    id.and_then(|id| id.parse().ok()).unwrap_or(0)
}

fn tick(status: StatusCode) -> Response<Body> {
    let text = Tick::now(0).text();
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    *response.status_mut() = status;
    typed(response, "application/json", "no-store")
}

fn typed(
    mut response: Response<Body>,
    media_type: &'static str,
    cache: &'static str,
) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}

fn seconds(manner: Manner) -> Interval {
    let mut seconds = match manner {
        Manner::Ticking => interval(PERIOD),
        Manner::Silent => tokio::time::interval_at(tokio::time::Instant::now() + PERIOD, PERIOD),
    };
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    seconds
}

fn events(manner: Manner, seen: u64) -> Response<Body> {
    let start = (seconds(manner), seen);
    let events = unfold(start, move |(mut seconds, seen)| async move {
        let number = seen.saturating_add(1);
        if manner == Manner::Silent && number > 1 {
            std::future::pending::<()>().await;
        }
        seconds.tick().await;
        let mut event = Vec::new();
        if number == 1 {
            encode::retry(RETRY, &mut event);
        }
        encode::id(number.to_string().as_bytes(), &mut event);
        encode::data(Tick::now(number).text().as_bytes(), &mut event);
        encode::end(&mut event);
        Some((Ok(Frame::data(Bytes::from(event))), (seconds, number)))
    });
    let response = Response::new(StreamBody::new(events).boxed_unsync());
    typed(response, "text/event-stream", "no-cache")
}

async fn websocket(upgraded: Upgraded, manner: Manner) {
    let limits = WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * LONGEST)
        .max_message_size(Some(LONGEST))
        .max_frame_size(Some(LONGEST));
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(limits)).await;
    let mut seconds = seconds(manner);
    let mut number = 0;
    loop {
        let is_due = manner == Manner::Ticking || number == 0;
        let message = tokio::select! {
            _ = seconds.tick(), if is_due => None,
            // Pings are answered, and a Close is returned, by the library while it is polled.
            message = socket.next() => Some(message),
        };
        let message = match message {
            None => {
                number += 1;
                Message::text(Tick::now(number).text())
            }
            Some(Some(Ok(message @ (Message::Text(_) | Message::Binary(_))))) => message,
            Some(Some(Ok(_control))) => continue,
            Some(Some(Err(_)) | None) => return,
        };
        let sent = timeout(WRITE_TIMEOUT, socket.send(message)).await;
        if !matches!(sent, Ok(Ok(()))) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_asked_for_by_path_or_query() {
        for (uri, expected) in [
            ("/", Manner::Ticking),
            ("/silently", Manner::Ticking),
            ("/a?x=silent", Manner::Ticking),
            ("/a/silent", Manner::Silent),
            ("/a?x=1&silent", Manner::Silent),
        ] {
            assert_eq!(manner(&uri.parse().unwrap()), expected, "{uri}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn events_go_on_behind_the_number_that_was_seen() {
        let mut body = events(Manner::Ticking, 41).into_body();
        for number in [42, 43] {
            let frame = body.frame().await.expect("endless").expect("infallible");
            let event = frame.into_data().expect("an event is data");
            let start = format!("id: {number}\ndata: {{\"streamgate_doctor\":1,");
            assert!(event.starts_with(start.as_bytes()), "{event:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_says_one_thing() {
        let mut body = events(Manner::Silent, 0).into_body();
        assert!(body.frame().await.is_some());
        let more = timeout(Duration::from_hours(1), body.frame()).await;
        assert!(more.is_err());
    }
}

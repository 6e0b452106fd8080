//! The backend behind the demo: an app as somebody might have it already, on one clear-text port.
//!
//! `/` is a page, `/api/hello` JSON, `/clock` an event stream, `/ws/echo` and `/ws/market` are WebSockets, and
//! `/streamgate.js` is the client that the page uses, which may be copied to any other site (docs/browser-client.md). It knows
//! nothing else of streamgate: what makes the demo a demo is the configuration in front of it.
//!
//! Invariants: it lives on one thread, its connections are counted by a semaphore, and a WebSocket runs in the task of
//! the connection that it was upgraded from, so that permits and tasks are the same number.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream::unfold;
use futures_util::{SinkExt, StreamExt};
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tungstenite::Message;
use tungstenite::handshake::server::create_response_with_body;
use tungstenite::protocol::{Role, WebSocketConfig};

use super::market::Market;

/// Connections at once; more wait in the socket's backlog.
const CONNECTIONS: usize = 512;
/// How long a request's head, and the pause before it, may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a peer may take no byte of a message.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an echo may be silent.
const ECHO_IDLE: Duration = Duration::from_secs(3600);
/// The longest message that the echo takes, in bytes.
const ECHO_MESSAGE: usize = 1 << 20;
/// The longest message that the market takes, in bytes.
const MARKET_MESSAGE: usize = 16 << 10;

const PAGE: &str = include_str!("page.html");
const CLIENT: &str = include_str!("streamgate.js");
const CLIENT_TYPES: &str = include_str!("streamgate.d.ts");

type Body = UnsyncBoxBody<Bytes, Infallible>;
/// A WebSocket over a connection that hyper has let go of.
pub(super) type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Serves the demo's app on `listener` until the future is dropped.
///
/// # Errors
/// The socket cannot be registered with this runtime.
pub(super) async fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let market = Arc::new(Market::open());
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    let ticking = Arc::clone(&market);
    tasks.spawn(async move { ticking.run().await });
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return Ok(());
        };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, or a connection that was reset in the backlog: both pass.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        while tasks.try_join_next().is_some() {}
        let market = Arc::clone(&market);
        tasks.spawn(async move {
            serve_connection(stream, market).await;
            drop(permit);
        });
    }
}

/// What a connection becomes after a 101.
struct Tunnel {
    upgrade: OnUpgrade,
    protocol: Protocol,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Echo,
    Market,
}

async fn serve_connection(stream: TcpStream, market: Arc<Market>) {
    // It only matters for speed, and the demo is no benchmark.
    let _ = stream.set_nodelay(true);
    let tunnel: Mutex<Option<Tunnel>> = Mutex::new(None);
    let service = service_fn(|request| {
        let (response, upgraded) = answer(request);
        if upgraded.is_some() {
            *tunnel.lock().unwrap_or_else(PoisonError::into_inner) = upgraded;
        }
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    if connection.await.is_err() {
        return;
    }
    let tunnel = tunnel.into_inner().unwrap_or_else(PoisonError::into_inner);
    let Some(Tunnel { upgrade, protocol }) = tunnel else {
        return;
    };
    let Ok(upgraded) = upgrade.await else {
        return;
    };
    match protocol {
        Protocol::Echo => echo(websocket(upgraded, ECHO_MESSAGE).await).await,
        Protocol::Market => {
            market
                .serve(websocket(upgraded, MARKET_MESSAGE).await)
                .await;
        }
    }
}

async fn websocket(upgraded: Upgraded, longest: usize) -> Socket {
    let config = WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * longest)
        .max_message_size(Some(longest))
        .max_frame_size(Some(longest));
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await
}

async fn echo(mut socket: Socket) {
    while let Ok(Some(Ok(message))) = timeout(ECHO_IDLE, socket.next()).await {
        // Pings are answered, and a Close is returned, by the library while it is polled.
        if !matches!(message, Message::Text(_) | Message::Binary(_)) {
            continue;
        }
        if !matches!(
            timeout(WRITE_TIMEOUT, socket.send(message)).await,
            Ok(Ok(()))
        ) {
            return;
        }
    }
}

fn answer(mut request: Request<Incoming>) -> (Response<Body>, Option<Tunnel>) {
    let protocol = match request.uri().path() {
        "/ws/echo" => Protocol::Echo,
        "/ws/market" => Protocol::Market,
        path => {
            return (
                plain_answer(request.method(), path, request.headers()),
                None,
            );
        }
    };
    let upgrade = hyper::upgrade::on(&mut request);
    match create_response_with_body(&request, || Empty::new().boxed_unsync()) {
        Ok(response) => (response, Some(Tunnel { upgrade, protocol })),
        Err(_) => {
            let mut response = text(StatusCode::UPGRADE_REQUIRED, "this is a WebSocket\n");
            let headers = response.headers_mut();
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            (response, None)
        }
    }
}

fn plain_answer(method: &Method, path: &str, headers: &HeaderMap) -> Response<Body> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "GET, please\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/" => typed("text/html; charset=utf-8", PAGE),
        "/streamgate.js" => typed("text/javascript; charset=utf-8", CLIENT),
        "/streamgate.d.ts" => typed("text/plain; charset=utf-8", CLIENT_TYPES),
        "/api/hello" => typed("application/json", hello(headers)),
        "/clock" => clock(),
        _ => text(StatusCode::NOT_FOUND, "there is nothing here\n"),
    }
}

/// The fields by which a backend knows who asked; the reader of the demo sees what streamgate says.
fn hello(headers: &HeaderMap) -> String {
    const SHOWN: [&str; 7] = [
        "host",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "forwarded",
        "via",
        "x-request-id",
    ];
    let seen: serde_json::Map<String, serde_json::Value> = SHOWN
        .iter()
        .filter_map(|name| {
            let value = String::from_utf8_lossy(headers.get(*name)?.as_bytes()).into_owned();
            Some(((*name).to_owned(), value.into()))
        })
        .collect();
    let body = serde_json::json!({ "message": "hello from the backend", "received": seen });
    format!("{body:#}\n")
}

/// The date, once a second, as one would write it in a first event stream.
fn clock() -> Response<Body> {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let events = unfold(seconds, |mut seconds| async move {
        seconds.tick().await;
        let event = format!("data: {}\n\n", httpdate::fmt_http_date(SystemTime::now()));
        Some((Ok(Frame::data(Bytes::from(event))), seconds))
    });
    let mut response = Response::new(StreamBody::new(events).boxed_unsync());
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    response
}

fn typed(media_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    let mut response = typed("text/plain; charset=utf-8", body);
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_paths_and_methods_are_refused() {
        let headers = HeaderMap::new();
        for (method, path, status) in [
            (Method::GET, "/", 200),
            (Method::HEAD, "/api/hello", 200),
            (Method::GET, "/streamgate.js", 200),
            (Method::GET, "/streamgate.d.ts", 200),
            (Method::GET, "/nothing", 404),
            (Method::POST, "/api/hello", 405),
        ] {
            let response = plain_answer(&method, path, &headers);
            assert_eq!(response.status(), status, "{method} {path}");
        }
    }

    #[test]
    fn hello_tells_what_the_proxy_said_and_no_more() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        headers.insert("cookie", HeaderValue::from_static("session=1"));
        let body = hello(&headers);
        assert!(body.contains(r#""x-forwarded-proto": "https""#), "{body}");
        assert!(!body.contains("session"), "{body}");
    }

    #[tokio::test(start_paused = true)]
    async fn clock_sends_one_whole_event_a_second() {
        let mut body = clock().into_body();
        for _ in 0..3 {
            let frame = body.frame().await.expect("endless").expect("infallible");
            let event = frame.into_data().expect("an event is data");
            assert!(event.starts_with(b"data: ") && event.ends_with(b" GMT\n\n"));
        }
    }

    async fn open(path: &str) -> WebSocketStream<TcpStream> {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket");
        let address = listener.local_addr().expect("bound");
        let mut server = JoinSet::new();
        server.spawn(serve(listener));
        server.detach_all();
        let stream = TcpStream::connect(address).await.expect("listening");
        let url = format!("ws://{address}{path}");
        let (socket, _) = tokio_tungstenite::client_async(url, stream)
            .await
            .expect("a WebSocket");
        socket
    }

    #[tokio::test]
    async fn echo_returns_each_message_as_it_was() {
        let mut socket = open("/ws/echo").await;
        for message in [Message::text("hello"), Message::binary(vec![0; 100_000])] {
            socket.send(message.clone()).await.expect("sent");
            let echoed = socket.next().await.expect("open").expect("no error");
            assert_eq!(echoed, message);
        }
        socket.close(None).await.expect("closed");
        assert!(matches!(socket.next().await, Some(Ok(Message::Close(_)))));
    }

    #[tokio::test]
    async fn market_tells_prices_and_what_it_is_told() {
        let mut socket = open("/ws/market").await;
        socket.send(Message::text("hello")).await.expect("sent");
        let (mut price, mut notice) = (false, false);
        while !(price && notice) {
            let message = socket.next().await.expect("open").expect("no error");
            let text = message.into_text().expect("text");
            price |= text.contains(r#""type":"price""#);
            notice |= text.contains(r#""text":"hello""#);
        }
    }
}

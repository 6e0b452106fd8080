//! WebSockets: the handshake, the echo, and the feeds.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::{SinkExt, StreamExt};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use streamgate_compare::ws_config;

use crate::events::{Query, Ticker, next_of_common};
use crate::state::{Held, State};
use crate::{Body, status};

type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Answers a handshake, and gives its connection to `run`.
pub fn upgrade<F, Fut>(mut request: Request<Incoming>, run: F) -> Response<Body>
where
    F: FnOnce(Socket) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
        return status(StatusCode::BAD_REQUEST);
    };
    let accept = derive_accept_key(key.as_bytes());
    tokio::spawn(async move {
        if let Ok(io) = hyper::upgrade::on(&mut request).await {
            let io = TokioIo::new(io);
            let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(ws_config()));
            run(socket.await).await;
        }
    });
    let mut response = status(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(&accept).expect("base64 is a header's value");
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// Sends back what comes.
pub async fn echo(mut socket: Socket, state: Arc<State>) {
    let held = Held::new(state, |count| &count.ws_conns);
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() || message.is_binary() {
            held.0.count.ws_messages.fetch_add(1, Relaxed);
            if socket.send(message).await.is_err() {
                break;
            }
        }
    }
}

/// Sends the common feed, or with a `rate` that of an own ticker. It reads too, so that pings are answered and a Close
/// is seen.
pub async fn feed(mut socket: Socket, state: Arc<State>, query: Query) {
    let mut common = state.feed.subscribe();
    let mut own = query
        .number("rate")
        .map(|_rate| Ticker::new(&state, &query));
    let held = Held::new(state, |count| &count.feed_conns);
    loop {
        let next = async {
            match &mut own {
                Some(ticker) => Some(ticker.next().await.into()),
                None => next_of_common(&mut common, &held.0).await,
            }
        };
        let message = tokio::select! {
            message = next => message,
            read = socket.next() => match read {
                Some(Ok(_)) => continue,
                _ => break,
            },
        };
        let Some(message) = message else { break };
        if socket.send(Message::Text(message)).await.is_err() {
            break;
        }
    }
}

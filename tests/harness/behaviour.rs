//! What backends do, by name: the ordinary, and how they misbehave.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;

use super::{Exchange, Wire};

/// What is left of a connection after an answer: itself, if another request may follow.
type Kept = Option<Wire<TcpStream>>;

/// Answers with what was asked: the body it got, chunk for chunk, or `METHOD TARGET` where there was none.
pub async fn echo_http(mut exchange: Exchange) -> Kept {
    if exchange.wire.framing() == super::wire::Body::None {
        let line = format!(
            "{} {}",
            exchange.request.method(),
            exchange.request.target()
        );
        if exchange.request.method() == "HEAD" {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", line.len());
            exchange.wire.send(head).await;
        } else {
            exchange.answer("200 OK", &line).await;
        }
        return Some(exchange.wire);
    }
    exchange.answer_in_chunks("application/octet-stream").await;
    while let Some(piece) = exchange.wire.piece().await.ok()? {
        exchange.wire.send_chunk(piece).await;
    }
    exchange.wire.end_chunks().await;
    Some(exchange.wire)
}

/// Sends back each message of a WebSocket.
pub async fn echo_websocket(exchange: Exchange) -> Kept {
    let mut socket = exchange.into_feed().await.into_socket();
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() || message.is_binary() {
            socket.send(message).await.ok()?;
        }
    }
    None
}

/// Sends half of a response's head and then nothing, until the other side gives up.
pub async fn stalls_after_head(mut exchange: Exchange) -> Kept {
    exchange.wire.send("HTTP/1.1 200 OK\r\nContent-Le").await;
    exchange.wire.raw_until_close_unbounded().await;
    None
}

/// Promises a hundred bytes, sends seven and closes.
pub async fn closes_mid_body(mut exchange: Exchange) -> Kept {
    let part = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npartial";
    exchange.wire.send(part).await;
    None
}

/// Accepts a handshake, says `last words` and ends its direction; what the client still sends is sent to nobody, but
/// read to its end.
pub async fn half_closes(exchange: Exchange) -> Kept {
    let mut tunnel = exchange.into_tunnel().await;
    tunnel.send("last words").await;
    tunnel.half_close().await;
    tunnel.raw_until_close_unbounded().await;
    None
}

/// Writes the 101 and the tunnel's first frame in one go, then echoes bytes.
pub async fn answers_101_fast(mut exchange: Exchange) -> Kept {
    let mut both = exchange.switching_protocols("").into_bytes();
    both.extend_from_slice(b"\x81\x05early");
    exchange.wire.send(both).await;
    while let Some(bytes) = exchange.wire.some_raw().await {
        exchange.wire.send(bytes).await;
    }
    None
}

/// Answers a handshake with the accept value of another key.
pub async fn wrong_accept(mut exchange: Exchange) -> Kept {
    let answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                  Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n";
    exchange.wire.send(answer).await;
    exchange.wire.raw_until_close_unbounded().await;
    None
}

/// Refuses a handshake with 401, a field and a body.
pub async fn refuses_upgrade(mut exchange: Exchange) -> Kept {
    let answer = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"feed\"\r\n\
                  Content-Type: text/plain\r\nContent-Length: 14\r\n\r\nlog in, please";
    exchange.wire.send(answer).await;
    Some(exchange.wire)
}

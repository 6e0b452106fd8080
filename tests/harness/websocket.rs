//! A WebSocket client over TLS.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{WebSocketStream, client_async};
use tungstenite::Message;
use tungstenite::handshake::client::{Request, generate_key};

use super::{Gate, within};

/// An open socket.
pub type WebSocket = WebSocketStream<TlsStream<TcpStream>>;

/// A client with one open socket.
pub struct WebSocketClient {
    /// The socket itself.
    pub socket: WebSocket,
}

impl WebSocketClient {
    /// Opens a socket on this path, with fields added to the handshake.
    pub async fn open(gate: &Gate, path: &str, fields: &[(&str, &str)]) -> Self {
        let mut request = Request::builder()
            .uri(format!("wss://localhost{path}"))
            .header("Host", "localhost")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", generate_key());
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let stream = gate.tls_stream().await;
        let opened = within("the 101", client_async(request, stream)).await;
        let (socket, _) = opened.expect("the handshake succeeds");
        Self { socket }
    }

    /// Sends a message and expects the same back.
    pub async fn echoes(&mut self, message: Message) {
        self.send(message.clone()).await;
        let answer = self.next().await;
        // Not assert_eq: a megabyte helps nobody who reads the failure.
        assert!(answer == message, "another message came back");
    }

    /// Sends a message.
    pub async fn send(&mut self, message: Message) {
        let sent = within("the message to be taken", self.socket.send(message)).await;
        sent.expect("the socket is open");
    }

    /// The next message.
    pub async fn next(&mut self) -> Message {
        let message = within("a message", self.socket.next()).await;
        message
            .expect("the socket is open")
            .expect("the socket is sound")
    }
}

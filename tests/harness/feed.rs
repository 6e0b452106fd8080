//! A WebSocket feed behind the bridge, written by the test's hand.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tungstenite::Message;
use tungstenite::protocol::CloseFrame;

use super::backend::reset;
use super::{Head, within, within_time};

/// One open connection of a feed.
pub struct Feed {
    /// The handshake's head, as the backend saw it.
    pub request: Head,
    socket: WebSocketStream<TcpStream>,
}

impl Feed {
    pub(super) fn new(request: Head, socket: WebSocketStream<TcpStream>) -> Self {
        Self { request, socket }
    }

    /// The socket itself.
    pub fn into_socket(self) -> WebSocketStream<TcpStream> {
        self.socket
    }

    /// Sends one text message.
    pub async fn text(&mut self, text: &str) {
        self.send(Message::text(text)).await;
    }

    /// Sends one binary message.
    pub async fn binary(&mut self, bytes: &[u8]) {
        self.send(Message::binary(bytes.to_vec())).await;
    }

    /// Sends many text messages, and flushes once.
    pub async fn texts(&mut self, texts: impl IntoIterator<Item = String>) {
        let all = async {
            for text in texts {
                self.socket.feed(Message::text(text)).await?;
            }
            self.socket.flush().await
        };
        within("the messages to be taken", all).await.unwrap();
    }

    async fn send(&mut self, message: Message) {
        let sent = within("the message to be taken", self.socket.send(message)).await;
        sent.expect("the feed's connection is open");
    }

    /// Writes bytes of the test's own between two messages: frames that a library would not make.
    pub async fn raw(&mut self, bytes: &[u8]) {
        let stream = self.socket.get_mut();
        within("the bytes to be taken", stream.write_all(bytes))
            .await
            .unwrap();
    }

    /// The next text message from the other side.
    pub async fn next_text(&mut self) -> String {
        loop {
            match self.next("a text message at the feed").await {
                Some(Message::Text(text)) => return text.to_string(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("awaited a text message at the feed, came {other:?}"),
            }
        }
    }

    /// The next binary message from the other side.
    pub async fn next_binary(&mut self) -> Vec<u8> {
        loop {
            match self.next("a binary message at the feed").await {
                Some(Message::Binary(bytes)) => return bytes.to_vec(),
                Some(Message::Ping(_) | Message::Pong(_)) => {}
                other => panic!("awaited a binary message at the feed, came {other:?}"),
            }
        }
    }

    /// Waits for the other side's Close and returns its code; nothing for a Close without one, or none at all.
    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            match self.next("the feed's end").await {
                Some(Message::Close(frame)) => return frame.map(|frame| frame.code.into()),
                Some(_) => {}
                None => return None,
            }
        }
    }

    /// Waits for the connection's end within a limit that is the behaviour.
    pub async fn ends_within(&mut self, limit: Duration) {
        within_time(limit, "the feed's end", async {
            while let Some(Ok(_)) = self.socket.next().await {}
        })
        .await;
    }

    async fn next(&mut self, what: &str) -> Option<Message> {
        within(what, self.socket.next()).await?.ok()
    }

    /// Closes with a code, and waits for the answer.
    pub async fn close(mut self, code: u16) {
        let frame = CloseFrame {
            code: code.into(),
            reason: "".into(),
        };
        within("the Close to be taken", self.socket.close(Some(frame)))
            .await
            .unwrap();
        let _ = self.close_code().await;
    }

    /// Breaks the connection off with RST.
    pub fn cut(self) {
        reset(self.socket.into_inner());
    }
}

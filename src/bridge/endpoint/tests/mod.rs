//! The bridge as a whole, from a feed's socket to a subscriber's, without the rest of the proxy.

mod choice;
mod dialogue;
mod feed;
mod freeze;
mod poll;
mod publish;
mod session;
mod simple_model;
mod stream;
mod websocket;

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio_tungstenite::WebSocketStream;
use tungstenite::Message;

use super::*;
use crate::bridge::tests::config;
use crate::config::model;
use crate::http::chunked::{Decoder as Chunks, Piece};
use crate::lifecycle::{drain, tasks};
use crate::sse::encode::tests::{Decoded, Decoder};
use crate::stream::{Slot, Taken};
use crate::tls::ClientStream;

/// Runs a test as a worker runs its tasks, and not for longer than a test may take.
fn worker<F: Future<Output = ()>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let bounded = async { tokio::time::timeout(Duration::from_secs(20), test).await };
    LocalSet::new()
        .block_on(&runtime, bounded)
        .expect("the test is done in time");
}

/// A feed that the test plays.
struct Feed {
    listener: TcpListener,
    port: u16,
}

struct FeedLink(WebSocketStream<TcpStream>);

impl Feed {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        Self { listener, port }
    }

    async fn accept(&self) -> FeedLink {
        let (tcp, _) = self.listener.accept().await.unwrap();
        FeedLink(tokio_tungstenite::accept_async(tcp).await.unwrap())
    }
}

impl FeedLink {
    async fn send(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next message that is not a ping or a pong.
    async fn next(&mut self) -> Message {
        loop {
            let message = self.0.next().await.unwrap().unwrap();
            if !message.is_ping() && !message.is_pong() {
                return message;
            }
        }
    }
}

/// A bridge with a drain of its own.
struct Gate {
    bridge: Arc<Bridge>,
    trigger: drain::Trigger,
}

impl Gate {
    fn new(config: model::Bridge) -> Self {
        Self {
            bridge: Bridge::new(Arc::new(config)),
            trigger: drain::Trigger::new(),
        }
    }

    fn downstream(&self, slot: Option<Slot>) -> Downstream {
        Downstream {
            client: ClientAddr(([127, 0, 0, 1], 1).into()),
            local: ([127, 0, 0, 1], 80).into(),
            scheme: "http",
            handshake: None,
            slot,
            tunnels: None,
            guard: self.trigger.guard(),
        }
    }

    async fn ask<B>(&self, request: Request<B>, slot: Option<Slot>) -> Result<Answer, Problem>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let downstream = self.downstream(slot);
        let asked = Asked {
            downstream: &downstream,
            captures: &Captures::empty(),
            id: RequestId::random(),
            route: "/live".into(),
            fields: &Rendered::default(),
            losses: &Arc::new(Losses::outlived()),
            stream_limits: StreamLimits::default(),
            is_listed: false,
        };
        answer(&self.bridge, request, asked).await
    }

    async fn response(&self, request: Request<Full<Bytes>>) -> Result<Response<Body>, Problem> {
        match self.ask(request, None).await? {
            Answer::Response(response) => Ok(response),
            Answer::HandOver(_) | Answer::Tunnel(..) => panic!("no slot was given"),
        }
    }

    /// A subscriber over HTTP/1.1 that was at `last_id`.
    async fn subscribe(&self, last_id: &str) -> Client {
        let request = Request::get("/live").header("last-event-id", last_id);
        let request = request.body(Empty::new()).unwrap();
        self.subscribe_with(request).await
    }

    async fn subscribe_with(&self, request: Request<Empty<Bytes>>) -> Client {
        let Ok(Answer::HandOver(stream)) = self.ask(request, Some(Slot::default())).await else {
            panic!("a subscription wants the socket");
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tcp, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let taken = Taken {
            stream: ClientStream::Clear(accepted.unwrap().0),
            early: Bytes::new(),
            guard: self.trigger.guard(),
        };
        drop(tasks::spawn(stream.run(taken)));
        Client::new(tcp.unwrap()).await
    }

    /// A subscriber that has been told that the feed is up.
    async fn subscribe_up(&self, last_id: &str) -> Client {
        let mut client = self.subscribe(last_id).await;
        client.skip_to(r#"{"upstream":"up"}"#).await;
        client
    }
}

/// An EventSource.
struct Client {
    tcp: TcpStream,
    head: String,
    chunks: Option<Chunks>,
    raw: Vec<u8>,
    body: Vec<u8>,
    decoder: Decoder,
    events: std::collections::VecDeque<Decoded>,
    /// Whether the response came to its own end.
    is_complete: bool,
}

impl Client {
    async fn new(mut tcp: TcpStream) -> Self {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let chunks = head.contains("chunked").then(Chunks::new);
        Self {
            tcp,
            head,
            chunks,
            raw: Vec::new(),
            body: Vec::new(),
            decoder: Decoder::default(),
            events: std::collections::VecDeque::new(),
            is_complete: false,
        }
    }

    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Decoded> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            if self.tcp.read_buf(&mut self.raw).await.unwrap_or(0) == 0 {
                return None;
            }
            self.decode();
        }
    }

    async fn data(&mut self) -> String {
        self.next().await.unwrap().data
    }

    /// The next event with this data.
    async fn skip_to(&mut self, data: &str) -> Decoded {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.data == data {
                return event;
            }
        }
    }

    /// The next event with this name.
    async fn skip_to_name(&mut self, name: &str) -> Decoded {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if event.event == name {
                return event;
            }
        }
    }

    fn decode(&mut self) {
        match &mut self.chunks {
            None => self.body.append(&mut self.raw),
            Some(chunks) => loop {
                let step = chunks.decode(&self.raw).unwrap();
                match step.piece {
                    Piece::Data(range) => self.body.extend_from_slice(&self.raw[range]),
                    Piece::End => self.is_complete = true,
                    Piece::Framing => {}
                }
                self.raw.drain(..step.consumed);
                if self.raw.is_empty() || step.consumed == 0 || self.is_complete {
                    break;
                }
            },
        }
        let Some(end) = memchr::memmem::rfind(&self.body, b"\n\n") else {
            return;
        };
        let blocks: Vec<u8> = self.body.drain(..end + 2).collect();
        self.events
            .extend(self.decoder.decode(std::str::from_utf8(&blocks).unwrap()));
    }
}

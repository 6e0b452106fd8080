//! A backend on a socket of its own: played by the test's hand, or by one of the behaviours with a name.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tungstenite::handshake::derive_accept_key;
use tungstenite::protocol::Role;

use super::feed::Feed;
use super::{Head, Wire, within};

/// A request that has come in, with the connection it came on.
pub struct Exchange {
    /// The request's head. Its body is read from the wire.
    pub request: Head,
    /// The connection.
    pub wire: Wire<TcpStream>,
}

impl Exchange {
    /// Answers with a body of known length.
    pub async fn answer(&mut self, status: &str, body: &str) {
        let length = body.len();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n");
        self.wire.send(head + body).await;
    }

    /// Begins a chunked answer: the head alone.
    pub async fn answer_in_chunks(&mut self, content_type: &str) {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        self.wire.send(head).await;
    }

    /// The next request on the same connection.
    pub async fn next(mut self) -> Self {
        let request = self.wire.head().await;
        Self {
            request,
            wire: self.wire,
        }
    }

    /// What a server answers to this WebSocket handshake, as far as its blank line.
    pub fn switching_protocols(&self, more_fields: &str) -> String {
        let key = self.request.get("sec-websocket-key").expect("a handshake");
        let accept = derive_accept_key(key.as_bytes());
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n{more_fields}\r\n"
        )
    }

    /// Accepts the handshake and leaves the bytes of the tunnel to the test.
    pub async fn into_tunnel(mut self) -> Wire<TcpStream> {
        let answer = self.switching_protocols("");
        self.wire.send(answer).await;
        self.wire
    }

    /// Accepts the handshake and speaks WebSocket.
    pub async fn into_feed(self) -> Feed {
        self.into_feed_with("").await
    }

    /// The same with more fields in the answer: a subprotocol that was chosen.
    pub async fn into_feed_with(mut self, more_fields: &str) -> Feed {
        let answer = self.switching_protocols(more_fields);
        self.wire.send(answer).await;
        let (stream, read) = self.wire.into_parts();
        let socket =
            WebSocketStream::from_partially_read(stream, read.to_vec(), Role::Server, None);
        Feed::new(self.request, socket.await)
    }

    /// Resets the connection: RST, and nothing that was sent before need arrive.
    pub fn reset(self) {
        reset(self.wire.into_parts().0);
    }
}

/// Closes a connection with RST.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(stream);
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<Head>>,
}

/// A listening backend.
pub struct Backend {
    address: SocketAddr,
    seen: Arc<Seen>,
    by_hand: mpsc::Receiver<Exchange>,
    _tasks: JoinSet<()>,
}

impl Backend {
    /// Each connection's first request comes out of [`Backend::next`], and the test answers it.
    pub async fn by_hand() -> Self {
        let (send, by_hand) = mpsc::channel(4096);
        let play = move |exchange| {
            let send = send.clone();
            async move {
                let _ = send.send(exchange).await;
                None
            }
        };
        Self::listen(play, by_hand).await
    }

    /// Each request is answered by `behaviour`, which gives the connection back if another may follow on it.
    pub async fn that<F, Answer>(behaviour: F) -> Self
    where
        F: Fn(Exchange) -> Answer + Clone + Send + 'static,
        Answer: Future<Output = Option<Wire<TcpStream>>> + Send + 'static,
    {
        Self::listen(behaviour, mpsc::channel(1).1).await
    }

    async fn listen<F, Answer>(behaviour: F, by_hand: mpsc::Receiver<Exchange>) -> Self
    where
        F: Fn(Exchange) -> Answer + Clone + Send + 'static,
        Answer: Future<Output = Option<Wire<TcpStream>>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&seen), behaviour));
        Self {
            address,
            seen,
            by_hand,
            _tasks: tasks,
        }
    }

    /// Host and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `[upstream.NAME]` with this server.
    pub fn upstream(&self, name: &str) -> String {
        format!(
            "[upstream.{name}]\nservers = [\"http://{}\"]\n",
            self.address
        )
    }

    /// An upstream and a route for every request to it.
    pub fn for_everything(&self) -> String {
        let upstream = self.upstream("app");
        format!("{upstream}[[route]]\npath = \"/*\"\nupstream = \"app\"\n")
    }

    /// How many connections have been accepted.
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The requests that a behaviour has been given so far.
    pub fn requests(&self) -> Vec<Head> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// The next connection's first request.
    pub async fn next(&mut self) -> Exchange {
        let next = within("a request at the backend", self.by_hand.recv()).await;
        next.expect("the backend is played by hand")
    }

    /// The next request, which is a handshake, as a feed that the test writes.
    pub async fn feed(&mut self) -> Feed {
        self.next().await.into_feed().await
    }

    /// A request if there is one already.
    pub fn request_if_any(&mut self) -> Option<Exchange> {
        self.by_hand.try_recv().ok()
    }
}

async fn accept<F, Answer>(listener: TcpListener, seen: Arc<Seen>, behaviour: F)
where
    F: Fn(Exchange) -> Answer + Clone + Send + 'static,
    Answer: Future<Output = Option<Wire<TcpStream>>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        stream.set_nodelay(true).unwrap();
        seen.connections.fetch_add(1, Ordering::SeqCst);
        connections.spawn(serve(stream, Arc::clone(&seen), behaviour.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn serve<F, Answer>(stream: TcpStream, seen: Arc<Seen>, behaviour: F)
where
    F: Fn(Exchange) -> Answer + Send,
    Answer: Future<Output = Option<Wire<TcpStream>>> + Send,
{
    let mut wire = Wire::new(stream);
    while let Some(request) = wire.head_if_any("GET").await {
        seen.requests.lock().unwrap().push(request.clone());
        match behaviour(Exchange { request, wire }).await {
            Some(open) => wire = open,
            None => return,
        }
    }
}

//! A backend that speaks HTTP/2, stream by stream, in clear text or over TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{PATIENCE, within};

/// A listening backend, played by hand.
pub struct H2Backend {
    /// Where it listens.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    streams: mpsc::Receiver<H2Exchange>,
    goaway: watch::Sender<usize>,
    _tasks: JoinSet<()>,
}

/// A request that has come in.
pub struct H2Exchange {
    /// Its head, and its body under way.
    pub request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
}

impl H2Backend {
    /// In clear text, with prior knowledge.
    pub async fn clear() -> Self {
        Self::listen(None, 128).await
    }

    /// The same with so many streams on a connection at once.
    pub async fn with_streams(streams: u32) -> Self {
        Self::listen(None, streams).await
    }

    /// Over TLS.
    pub async fn tls(config: ServerConfig) -> Self {
        Self::listen(Some(TlsAcceptor::from(Arc::new(config))), 128).await
    }

    async fn listen(tls: Option<TlsAcceptor>, streams: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let (send, received) = mpsc::channel(1024);
        let (goaway, told) = watch::channel(0);
        let mut tasks = JoinSet::new();
        let count = connections.clone();
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            loop {
                let Ok((tcp, _)) = listener.accept().await else {
                    continue;
                };
                tcp.set_nodelay(true).unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let (tls, send, told) = (tls.clone(), send.clone(), told.clone());
                serving.spawn(async move {
                    match tls {
                        None => serve(tcp, streams, send, told).await,
                        Some(tls) => match tls.accept(tcp).await {
                            Ok(tls) => serve(tls, streams, send, told).await,
                            Err(_refused) => {}
                        },
                    }
                });
            }
        });
        Self {
            address,
            connections,
            streams: received,
            goaway,
            _tasks: tasks,
        }
    }

    /// The next request, whichever connection it came on.
    pub async fn next(&mut self) -> H2Exchange {
        let next = within("a stream at the backend", self.streams.recv()).await;
        next.expect("the backend listens")
    }

    /// How many connections have been accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Sends GOAWAY on every connection: what runs is finished.
    pub fn go_away(&self) {
        self.goaway.send_modify(|times| *times += 1);
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    streams: u32,
    send: mpsc::Sender<H2Exchange>,
    mut told: watch::Receiver<usize>,
) {
    told.mark_unchanged();
    let handshake = Builder::new()
        .max_concurrent_streams(streams)
        .handshake::<_, Bytes>(stream);
    let Ok(Ok(mut connection)) = tokio::time::timeout(PATIENCE, handshake).await else {
        return;
    };
    loop {
        let accepted = tokio::select! {
            accepted = connection.accept() => accepted,
            Ok(()) = told.changed() => {
                connection.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else {
            return;
        };
        let _ = send.send(H2Exchange { request, respond }).await;
    }
}

impl H2Exchange {
    /// A field of the request.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.request.headers().get(name)?.to_str().ok()
    }

    /// The next piece of the request's body; `None` at its end.
    pub async fn piece(&mut self) -> Option<Result<Bytes, h2::Error>> {
        loop {
            let next = self.request.body_mut().data();
            let piece = within("a piece of the request's body", next).await?;
            let Ok(data) = &piece else {
                return Some(piece);
            };
            let flow = self.request.body_mut().flow_control();
            let _ = flow.release_capacity(data.len());
            // An empty one only says that the body has ended.
            if !data.is_empty() {
                return Some(piece);
            }
        }
    }

    /// What follows the request's body.
    pub async fn trailers(&mut self) -> Option<HeaderMap> {
        let trailers = self.request.body_mut().trailers();
        within("the request's trailers", trailers).await.unwrap()
    }

    /// Begins an answer of this type; the body follows by hand.
    pub fn begin(&mut self, content_type: &str) -> SendStream<Bytes> {
        let response = Response::builder().header("content-type", content_type);
        self.respond
            .send_response(response.body(()).unwrap(), false)
            .expect("the stream is open")
    }

    /// Answers with a head that is all.
    pub fn answer_with_head(&mut self, response: Response<()>) {
        self.respond.send_response(response, true).unwrap();
    }

    /// Answers with a text.
    pub fn answer(&mut self, body: &str) {
        let mut stream = self.begin("text/plain");
        stream
            .send_data(Bytes::copy_from_slice(body.as_bytes()), true)
            .unwrap();
    }

    /// Resets the stream before anything was answered.
    pub fn reset(&mut self, reason: h2::Reason) {
        self.respond.send_reset(reason);
    }

    /// Waits for the client to reset the stream.
    pub async fn is_reset(&mut self) -> h2::Reason {
        let reset = std::future::poll_fn(|cx| self.respond.poll_reset(cx));
        within("the client's reset", reset).await.unwrap()
    }
}

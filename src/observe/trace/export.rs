//! Spans on their way to a collector: OTLP over HTTP, as Protocol Buffers (opentelemetry.io/docs/specs/otlp).
//!
//! Owns a thread, and a bounded queue before it; no worker ever waits for a collector. Invariants: each span is counted once, as
//! exported, dropped or failed; a collector that is away is told of in the log when it goes and when it is back, and not in
//! between; the thread ends when its queue is dropped and empty.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::span::Span;
use super::{DROPPED, EXPORTED, FAILED, protobuf};
use crate::config::model::Export;
use crate::net::Place;
use crate::tls::client::{Offer, ServerHandshakeError};

/// Spans that wait at most.
const QUEUE: usize = 4096;

/// Spans in one request at most.
const BATCH: usize = 512;

/// How long a batch waits for more.
const PAUSE: Duration = Duration::from_secs(1);

/// Bytes of an answer that are read at most.
const ANSWER: usize = 64 << 10;

/// How long is waited before each further try; there are no more.
const AGAIN: [Duration; 3] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// The exporter in force.
static EXPORTER: ArcSwapOption<Exporter> = ArcSwapOption::const_empty();

/// The ends of all threads that may still export: those of earlier exporters have what was told before a reload.
static THREADS: Mutex<Vec<oneshot::Receiver<()>>> = Mutex::new(Vec::new());

/// A thread that exports, as long as this is held and something waits.
struct Exporter {
    settings: Arc<Export>,
    queue: mpsc::Sender<Span>,
}

/// Why a collector has not taken a request.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    /// There is no connection.
    #[error("it cannot be reached")]
    Connect(#[source] io::Error),
    /// There is none of TLS.
    #[error(transparent)]
    Tls(#[from] ServerHandshakeError),
    /// The connection broke, or does not speak HTTP.
    #[error("no answer came")]
    Http(#[from] hyper::Error),
    /// It took longer than `timeout`.
    #[error("no answer came in time")]
    TimedOut,
    /// It answered otherwise.
    #[error("it answers with {0}")]
    Status(StatusCode),
}

impl ExportError {
    /// Whether the same request may be taken later (OTLP/HTTP, "Retryable Response Codes").
    fn is_passing(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Http(_) | Self::TimedOut => true,
            // Its connection broke; who speaks something else than TLS will do so again.
            Self::Tls(ServerHandshakeError::Failed(error)) => !matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            ),
            Self::Tls(_) => false,
            Self::Status(status) => matches!(status.as_u16(), 429 | 502 | 503 | 504),
        }
    }
}

/// Exports to where `wanted` says from now on; `None`: not at all.
pub(super) fn apply(wanted: Option<&Arc<Export>>) {
    let known = EXPORTER.load();
    if known.as_ref().map(|exporter| &exporter.settings) == wanted {
        return;
    }
    let fresh = wanted.and_then(|settings| match Exporter::start(settings.clone()) {
        Ok(exporter) => Some(Arc::new(exporter)),
        Err(error) => {
            tracing::error!(%error, "spans are not exported");
            None
        }
    });
    EXPORTER.store(fresh);
}

/// Puts a span into the queue.
pub(super) fn push(span: Span) {
    let exporter = EXPORTER.load();
    let queued = exporter
        .as_ref()
        .is_some_and(|exporter| exporter.queue.try_send(span).is_ok());
    if !queued {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns when all that waits is exported, or `limit` is over.
pub(super) async fn end(limit: Duration) {
    // With the queue the thread ends.
    drop(EXPORTER.swap(None));
    let threads = std::mem::take(&mut *threads());
    if timeout(limit, join_all(threads)).await.is_err() {
        tracing::warn!(?limit, "the last spans were not exported in time");
    }
}

fn threads() -> MutexGuard<'static, Vec<oneshot::Receiver<()>>> {
    THREADS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Exporter {
    fn start(settings: Arc<Export>) -> io::Result<Self> {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let collector = Collector {
            settings: settings.clone(),
            is_away: false,
        };
        std::thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(move || {
                runtime.block_on(collector.run(waiting));
                let _ = end.send(());
            })?;
        let mut threads = threads();
        threads.retain_mut(|thread| thread.try_recv() == Err(TryRecvError::Empty));
        threads.push(ended);
        Ok(Self { settings, queue })
    }
}

/// The collector, as its thread knows it.
struct Collector {
    settings: Arc<Export>,
    is_away: bool,
}

impl Collector {
    async fn run(mut self, mut waiting: mpsc::Receiver<Span>) {
        let mut batch = Vec::new();
        while fill(&mut waiting, &mut batch).await {
            let count = batch.len() as u64;
            let failed = self.export(&batch).await.min(count);
            FAILED.fetch_add(failed, Ordering::Relaxed);
            EXPORTED.fetch_add(count - failed, Ordering::Relaxed);
            batch.clear();
        }
    }

    /// Tries until it is taken, or must not be tried again. How many spans the collector has not taken.
    async fn export(&mut self, batch: &[Span]) -> u64 {
        let body = Bytes::from(protobuf::request(&self.settings.service_name, batch));
        let mut pauses = AGAIN.into_iter();
        loop {
            let limit = self.settings.timeout;
            let sent = timeout(limit, post(&self.settings, body.clone())).await;
            let error = match sent.unwrap_or(Err(ExportError::TimedOut)) {
                Ok(rejected) => {
                    self.is_back();
                    return rejected;
                }
                Err(error) => error,
            };
            let pause = pauses.next().filter(|_| error.is_passing());
            self.is_gone(&error);
            match pause {
                // Not all gates of a collector that comes back at once.
                Some(pause) => tokio::time::sleep(pause.mul_f64(0.5 + fastrand::f64())).await,
                None => return batch.len() as u64,
            }
        }
    }

    fn is_back(&mut self) {
        if std::mem::take(&mut self.is_away) {
            tracing::info!(collector = %self.settings.server, "spans are exported again");
        }
    }

    fn is_gone(&mut self, error: &ExportError) {
        if !std::mem::replace(&mut self.is_away, true) {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            tracing::warn!(collector = %self.settings.server, %error, cause, "spans are not exported");
        }
    }
}

/// Waits for a batch. False: there will be none.
async fn fill(waiting: &mut mpsc::Receiver<Span>, batch: &mut Vec<Span>) -> bool {
    if waiting.recv_many(batch, BATCH).await == 0 {
        return false;
    }
    let until = Instant::now() + PAUSE;
    while batch.len() < BATCH {
        let room = BATCH - batch.len();
        match timeout_at(until, waiting.recv_many(batch, room)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    true
}

/// Sends one request on a connection of its own: one in a second is none to be kept. How many spans are refused by the answer,
/// although it is one of success.
async fn post(settings: &Export, body: Bytes) -> Result<u64, ExportError> {
    let Place::Tcp(authority) = &settings.server.place else {
        return Err(ExportError::Connect(io::ErrorKind::Unsupported.into()));
    };
    let host = &*authority.host;
    let tcp = TcpStream::connect((host, authority.port))
        .await
        .map_err(ExportError::Connect)?;
    let (status, answer) = match &settings.tls {
        None => exchange(tcp, settings, body).await?,
        Some(tls) => {
            let (stream, _http1) = tls.connect(host, Offer::Http1, tcp).await?;
            exchange(stream, settings, body).await?
        }
    };
    match status.is_success() {
        true => Ok(protobuf::rejected(&answer)),
        false => Err(ExportError::Status(status)),
    }
}

/// The answer's status, and its body: empty if that broke off or is too long.
async fn exchange<S>(
    stream: S,
    settings: &Export,
    body: Bytes,
) -> Result<(StatusCode, Bytes), hyper::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = settings.path.clone();
    let headers = request.headers_mut();
    headers.clone_from(&settings.headers);
    if let Ok(host) = HeaderValue::try_from(settings.server.host_field()) {
        headers.insert(header::HOST, host);
    }
    let protobuf = HeaderValue::from_static("application/x-protobuf");
    headers.insert(header::CONTENT_TYPE, protobuf);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    // The connection's end is told by what waits for the answer.
    let driving = async {
        let _ = connection.await;
        std::future::pending::<std::convert::Infallible>().await
    };
    let answered = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER).collect().await;
        let body = body.map(|body| body.to_bytes());
        // It was taken, whatever became of what else was to be said of it.
        Ok((head.status, body.unwrap_or_default()))
    };
    tokio::select! {
        answer = answered => answer,
        never = driving => match never {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again() {
        let broken = |kind: io::ErrorKind| {
            ExportError::Tls(ServerHandshakeError::Failed(io::Error::from(kind)))
        };
        for (error, expected) in [
            (broken(io::ErrorKind::ConnectionReset), true),
            (broken(io::ErrorKind::UnexpectedEof), true),
            (broken(io::ErrorKind::InvalidData), false),
            (ExportError::TimedOut, true),
            (ExportError::Status(StatusCode::SERVICE_UNAVAILABLE), true),
            (ExportError::Status(StatusCode::BAD_REQUEST), false),
        ] {
            assert_eq!(error.is_passing(), expected, "{error:?}");
        }
    }
}

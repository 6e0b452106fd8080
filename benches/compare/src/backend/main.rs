//! The origin that every proxy stands in front of (plain HTTP/1.1).
//!
//! ```text
//! GET /small, /big     fixed bodies
//! GET /sse?…           an event stream with a ticker of its own
//! GET /ws              WebSocket echo
//! GET /feed?rate=…     a WebSocket with a ticker of its own
//! GET /feed            a WebSocket of the common feed, which POST /ctl/feed?rate=&size=&count= starts
//! GET /feed-sse        the common feed as event stream (for plain proxies)
//! GET /grip            the answer that makes pushpin hold the stream on its channel `feed`
//! GET /stats           counters, to check that a proxy really forwarded
//! POST /ctl/gate       lets the tickers begin that were asked for with gate=1
//! ```
//!
//! A ticker takes `rate` (events a second, which may be a fraction; 0: none), `size` (bytes), `count` (0: without end)
//! and `gate`.

mod events;
mod state;
mod websocket;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};

use events::Query;
use state::State;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value = "127.0.0.1:22001")]
    listen: SocketAddr,
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    streamgate_compare::raise_nofile(200_000);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(args.threads)
        .enable_all()
        .build()?
        .block_on(serve(args))
}

async fn serve(args: Args) -> anyhow::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&args.listen.into())?;
    socket.listen(4096)?;
    let listener = TcpListener::from_std(socket.into())?;
    let state = Arc::new(State::default());
    loop {
        match listener.accept().await {
            Ok((tcp, _peer)) => {
                state.count.accepted.fetch_add(1, Relaxed);
                tokio::spawn(connection(tcp, state.clone()));
            }
            Err(error) => {
                eprintln!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(tcp: TcpStream, state: Arc<State>) {
    let _ = tcp.set_nodelay(true);
    let service = service_fn(move |request| {
        let state = state.clone();
        async move { Ok::<_, Infallible>(route(request, state)) }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(tcp), service)
        .with_upgrades()
        .await;
}

fn route(request: Request<Incoming>, state: Arc<State>) -> Response<Body> {
    let query = Query::read(request.uri().query());
    let count = &state.count;
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/small") => {
            count.small.fetch_add(1, Relaxed);
            full(state.small.clone(), "text/plain")
        }
        (&Method::GET, "/big") => {
            count.big.fetch_add(1, Relaxed);
            full(state.big.clone(), "application/octet-stream")
        }
        (&Method::GET, "/sse") => event_stream(events::own(state, &query)),
        (&Method::GET, "/feed-sse") => event_stream(events::common(state)),
        (&Method::GET, "/ws") => {
            websocket::upgrade(request, move |socket| websocket::echo(socket, state))
        }
        (&Method::GET, "/feed") => {
            websocket::upgrade(request, move |socket| websocket::feed(socket, state, query))
        }
        (&Method::GET, "/grip") => grip(),
        (&Method::GET, "/stats") => full(state.stats().into(), "application/json"),
        (&Method::POST, "/ctl/gate") => {
            state.gate.send_modify(|opened| *opened += 1);
            full("{}".into(), "application/json")
        }
        (&Method::POST, "/ctl/feed") => {
            let first = events::start_common(state, &query);
            full(
                format!("{{\"first_seq\":{first}}}").into(),
                "application/json",
            )
        }
        _ => status(StatusCode::NOT_FOUND),
    }
}

fn full(body: Bytes, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Full::new(body).boxed_unsync());
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn status(status: StatusCode) -> Response<Body> {
    let mut response = full(Bytes::new(), "text/plain");
    *response.status_mut() = status;
    response
}

fn grip() -> Response<Body> {
    let mut response = full(": ok\n\n".into(), "text/event-stream");
    let headers = response.headers_mut();
    headers.insert("grip-hold", HeaderValue::from_static("stream"));
    headers.insert("grip-channel", HeaderValue::from_static("feed"));
    response
}

fn event_stream(events: impl Stream<Item = String> + Send + 'static) -> Response<Body> {
    let hello = stream::once(async { Bytes::from_static(b": ok\n\n") });
    let events = events.map(|data| Bytes::from(format!("data: {data}\n\n")));
    let frames = hello.chain(events).map(|part| Ok(Frame::data(part)));
    let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

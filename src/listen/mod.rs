//! From a listening socket to connections: accept, permit, spawn, back off.

mod connection;
mod http1;
mod http2;
mod http2_io;
mod http2_streams;
mod idle;
mod last;
pub mod proxy_protocol;
mod socket;
mod watched;

pub use socket::{BindError, Bound, Inherited};

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::config::model::ListenerProtocol;
use crate::lifecycle::{drain, tasks};
use crate::limits::Permits;
use crate::net::ClientAddr;
use crate::service::Service;

/// How long accepting pauses when the process has run out of something (EMFILE, ENFILE, ENOBUFS, ENOMEM).
const BACK_OFF: Duration = Duration::from_millis(100);

/// Unsent bytes in the kernel before a socket counts as full. What a slow client has not read stays with its backend
/// or in the bridge's log, and not in megabytes of socket buffers.
const NOT_SENT_LOW: u32 = 64 * 1024;

/// What every connection of a listener needs.
pub struct Listener {
    /// What is spoken.
    pub protocol: ListenerProtocol,
    /// Whether HTTP/2 clients may open WebSockets (RFC 8441).
    pub websocket_over_h2: bool,
    /// Whether trusted proxies begin each connection with a PROXY header.
    pub proxy_protocol: bool,
    /// The port that clients are sent to by a redirect.
    pub https_port: u16,
    /// Who answers.
    pub service: Rc<Service>,
    /// How many connections may live, in the whole process.
    pub permits: Permits,
    /// Cancelled when a reload removes the listener.
    pub removed: CancellationToken,
}

/// Accepts connections until the drain begins or the listener is removed. Nothing more is accepted until a connection has
/// its permit: all others stay in the kernel's queue. (A permit taken before a connection is there would be held by each
/// listener that waits for one, so that a few idle listeners could use up a small limit.)
pub async fn run(socket: TcpListener, listener: Rc<Listener>, guard: drain::Guard) {
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = over(&listener, &guard) => return,
        };
        let (tcp, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_the_connections_own(&error) => continue,
            Err(error) => {
                tracing::error!(%error, "accepting connections pauses");
                tokio::time::sleep(BACK_OFF).await;
                continue;
            }
        };
        let permit = tokio::select! {
            permit = listener.permits.acquire() => permit,
            () = over(&listener, &guard) => {
                // What was accepted is served, however long its permit takes; what was not may be somebody else's.
                drop(socket);
                let permit = listener.permits.acquire().await;
                return begin(tcp, address, listener, (guard, permit));
            }
        };
        begin(tcp, address, listener.clone(), (guard.clone(), permit));
    }
}

/// Returns when nothing more is to be accepted.
///
/// # Cancel safety
/// Nothing is lost when it is dropped and called again.
async fn over(listener: &Listener, guard: &drain::Guard) {
    tokio::select! {
        _deadline = guard.draining() => {}
        () = listener.removed.cancelled() => {}
    }
}

fn begin(tcp: TcpStream, address: SocketAddr, listener: Rc<Listener>, held: connection::Held) {
    prepare(&tcp);
    // An IPv4 client of a `[::]` socket is an IPv4 client.
    let client = ClientAddr(SocketAddr::new(address.ip().to_canonical(), address.port()));
    tasks::spawn(connection::serve(tcp, client, listener, held));
}

/// The client broke off before it was accepted: nothing is wrong here.
fn is_the_connections_own(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// None of these can fail on a connected socket but by its end, which the first read will tell.
fn prepare(tcp: &TcpStream) {
    let socket = socket2::SockRef::from(tcp);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_notsent_lowat(NOT_SENT_LOW);
    // A peer that vanished without a word is noticed within minutes, not hours.
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(15));
    let _ = socket.set_tcp_keepalive(&keepalive);
}

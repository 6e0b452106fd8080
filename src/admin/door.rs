//! The doors of the admin listener: who comes in, how many at the same time, and by which way.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{CONNECTIONS, State, serve};
use crate::lifecycle::tasks;

/// How long accepting pauses when the process has run out of something.
const BACK_OFF: Duration = Duration::from_millis(100);

/// By which way a request comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The Unix socket, from this process's own user or root.
    Owner,
    /// The Unix socket, from somebody else.
    Local,
    /// TCP on the loopback interface.
    Loopback,
    /// TCP from anywhere.
    Network,
}

/// What is accepted on.
pub(super) enum Door {
    Tcp(TcpListener),
    /// With the user whose process this is.
    Unix(UnixListener, u32),
}

/// Who has come in.
enum Visitor {
    Tcp(TcpStream, Way),
    Unix(UnixStream, Way),
}

impl Door {
    /// # Cancel safety
    /// No connection is lost when it is dropped.
    async fn next(&self) -> io::Result<Visitor> {
        match self {
            Self::Tcp(socket) => {
                let (tcp, _) = socket.accept().await?;
                let way = way_of(&tcp);
                Ok(Visitor::Tcp(tcp, way))
            }
            Self::Unix(socket, owner) => {
                let (unix, _) = socket.accept().await?;
                let may_change = |user: u32| user == *owner || user == 0;
                let way = match unix.peer_cred() {
                    Ok(peer) if may_change(peer.uid()) => Way::Owner,
                    Ok(_) | Err(_) => Way::Local,
                };
                Ok(Visitor::Unix(unix, way))
            }
        }
    }
}

pub(super) async fn accept(door: Door, state: Rc<State>, removed: CancellationToken) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            let permit = connections.clone().acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            door.next().await.map(|visitor| (visitor, permit))
        };
        let next = tokio::select! {
            next = next => next,
            () = removed.cancelled() => return,
        };
        match next {
            Ok((visitor, permit)) => {
                let state = state.clone();
                tasks::spawn(async move {
                    let _held = permit;
                    tokio::select! {
                        () = serve(visitor, &state) => {}
                        () = state.over.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting admin connections pauses");
                tokio::time::sleep(BACK_OFF).await;
            }
        }
    }
}

async fn serve(visitor: Visitor, state: &Rc<State>) {
    match visitor {
        Visitor::Tcp(tcp, way) => serve::connection(tcp, way, state).await,
        Visitor::Unix(unix, way) => serve::connection(unix, way, state).await,
    }
}

/// Both ends are asked: what comes to this machine's own address by another interface is not on loopback.
fn way_of(tcp: &TcpStream) -> Way {
    let is_loopback = |end: io::Result<std::net::SocketAddr>| {
        end.is_ok_and(|end| end.ip().to_canonical().is_loopback())
    };
    if is_loopback(tcp.local_addr()) && is_loopback(tcp.peer_addr()) {
        return Way::Loopback;
    }
    Way::Network
}

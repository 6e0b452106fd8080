//! The admin listener: what the operator's own tools ask, in clear text, on an address of its own.
//!
//! It runs on the process's own thread, beside reloads and health checks, so that no worker has anything to do with it, and
//! it goes on through a drain, to its very end. Owns its listening socket across reloads, like [`listen`](crate::listen).
//! Invariants: connections and what they may take of time are bounded; a request changes nothing.

mod health;
mod metrics;
mod serve;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::model;
use crate::lifecycle::handover::Socket;
use crate::lifecycle::tasks;
use crate::limits::Permits;
use crate::listen::{BindError, Bound, Inherited};
use crate::net::ListenAddr;
use crate::observe::log::DroppedLines;
use crate::observe::metrics::Metrics;
use crate::snapshot::Snapshot;

/// Connections at the same time. More wait in the kernel.
const CONNECTIONS: usize = 32;

/// How long accepting pauses when the process has run out of something.
const BACK_OFF: Duration = Duration::from_millis(100);

/// What the process shows.
pub struct Shown {
    /// The configuration in force.
    pub shared: Arc<ArcSwap<Snapshot>>,
    /// Connections of clients.
    pub permits: Permits,
    /// The log.
    pub dropped: DroppedLines,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// What every connection needs.
struct State {
    shown: Shown,
    draining: Cell<bool>,
    connections: Arc<Semaphore>,
    /// Cancelled when the process ends.
    over: CancellationToken,
}

/// The admin listener of the process, or none.
pub struct Admin {
    state: Rc<State>,
    listening: Option<Listening>,
}

struct Listening {
    address: ListenAddr,
    /// Ends the accepting, not what was accepted.
    removed: CancellationToken,
    /// Copies of what is accepted from, for the next process.
    to_hand_over: Vec<Socket>,
}

/// A listener that is bound, and accepts nothing yet.
pub struct Fresh(ListenAddr, Bound);

impl Admin {
    /// Without a listener.
    #[must_use]
    pub fn new(shown: Shown) -> Self {
        let state = State {
            shown,
            draining: Cell::new(false),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            over: CancellationToken::new(),
        };
        Self {
            state: Rc::new(state),
            listening: None,
        }
    }

    /// Binds what is `wanted`, unless it is there already.
    ///
    /// # Errors
    /// [`BindError`]; nothing has changed then.
    pub fn bind(
        &self,
        wanted: &model::Admin,
        inherited: &Inherited,
    ) -> Result<Option<Fresh>, BindError> {
        let missing = wanted
            .address
            .as_ref()
            .filter(|address| !self.listens_on(address));
        let bind = |address: &ListenAddr| {
            let bound = Bound::bind(address, 1, inherited)?;
            Ok(Fresh(address.clone(), bound))
        };
        missing.map(bind).transpose()
    }

    /// Ends what is not `wanted` any more, and begins what is `fresh`.
    pub fn replace(&mut self, wanted: &model::Admin, fresh: Option<Fresh>) {
        let gone = self
            .listening
            .take_if(|listening| Some(&listening.address) != wanted.address.as_ref());
        if let Some(gone) = gone {
            tracing::info!(address = %gone.address, "admin no longer listening");
            gone.removed.cancel();
        }
        if let Some(Fresh(address, bound)) = fresh {
            self.begin(address, bound);
        }
    }

    /// Takes the copies of its sockets that are for the next process.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn to_hand_over(&self) -> io::Result<Vec<Socket>> {
        let sockets = self.listening.iter();
        let sockets = sockets.flat_map(|listening| &listening.to_hand_over);
        sockets.map(Socket::try_clone).collect()
    }

    /// From now on it is told that the process drains.
    pub fn draining(&self) {
        self.state.draining.set(true);
    }

    /// Ends the listener and its connections.
    pub fn end(self) {
        self.state.over.cancel();
    }

    fn listens_on(&self, address: &ListenAddr) -> bool {
        let listening = self.listening.as_ref();
        listening.is_some_and(|listening| listening.address == *address)
    }

    fn begin(&mut self, address: ListenAddr, bound: Bound) {
        let local = bound.local;
        let to_hand_over = bound.to_hand_over(&address).unwrap_or_else(|error| {
            tracing::warn!(%error, "a restart will not hand the admin listener over");
            Vec::new()
        });
        let sockets = bound.sockets.into_iter().map(TcpListener::from_std);
        let removed = self.state.over.child_token();
        for socket in sockets {
            match socket {
                Ok(socket) => {
                    let accepting = accept(socket, self.state.clone(), removed.clone());
                    drop(tasks::spawn(accepting));
                }
                Err(error) => {
                    tracing::error!(%address, %error, "the admin listener's socket cannot be used");
                }
            }
        }
        tracing::info!(%address, %local, "admin listening");
        if !local.ip().to_canonical().is_loopback() {
            tracing::warn!(%local, "the admin listener can be reached from other machines");
        }
        self.listening = Some(Listening {
            address,
            removed,
            to_hand_over,
        });
    }
}

async fn accept(socket: TcpListener, state: Rc<State>, removed: CancellationToken) {
    loop {
        let next = async {
            let permit = state.connections.clone().acquire_owned().await;
            let permit = permit.expect("the semaphore is never closed");
            socket.accept().await.map(|(tcp, _client)| (tcp, permit))
        };
        let next = tokio::select! {
            next = next => next,
            () = removed.cancelled() => return,
        };
        match next {
            Ok((tcp, permit)) => {
                let state = state.clone();
                tasks::spawn(async move {
                    let _held = permit;
                    tokio::select! {
                        () = serve::connection(tcp, &state) => {}
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

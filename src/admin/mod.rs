//! The admin listener: what the operator's own tools ask, in clear text, on an address of its own.
//!
//! It runs on the process's own thread, beside reloads and health checks, so that no worker has anything to do with it, and
//! it goes on through a drain, to its very end. Owns its listening sockets across reloads, like [`listen`](crate::listen).
//! Invariants: connections and what they may take of time are bounded; who may see and change what is decided in one place
//! (`api/access`), and what is the workers' own is asked of them ([`errand`](crate::lifecycle::errand)).

mod answer;
mod api;
pub mod control;
mod dashboard;
mod door;
mod health;
mod metrics;
mod serve;
mod unix;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::model;
use crate::lifecycle::errand::Crew;
use crate::lifecycle::handover;
use crate::lifecycle::tasks;
use crate::limits::Permits;
use crate::listen::{BindError, Bound, Inherited};
use crate::net::ListenAddr;
use crate::observe::log::{DroppedLines, Verbosity};
use crate::observe::metrics::Metrics;
use crate::snapshot::Snapshot;
use api::live::History;
use api::log::Temporary;
use control::{Ask, Asks};
use door::{Door, accept};
use unix::Socket;

pub use unix::{Living, SocketError};

/// Connections at the same time on each of its sockets, so that nobody on one keeps others from the other. More wait in the kernel.
const CONNECTIONS: usize = 32;

/// What the process shows.
pub struct Shown {
    /// The configuration in force.
    pub shared: Arc<ArcSwap<Snapshot>>,
    /// Connections of clients.
    pub permits: Permits,
    /// The log.
    pub dropped: DroppedLines,
    /// What is logged.
    pub verbosity: Verbosity,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// What every connection needs.
struct State {
    shown: Shown,
    draining: Cell<bool>,
    wishes: mpsc::Sender<Ask>,
    /// How the last reload went, as JSON.
    last: RefCell<Option<Bytes>>,
    /// The workers, once they are there.
    crew: RefCell<Crew>,
    /// When the process began.
    began: (Instant, SystemTime),
    history: History,
    /// Lists of streams that are under way.
    lists: Semaphore,
    /// What ends a level of the log that was set for a time.
    level: RefCell<Option<Temporary>>,
    /// Cancelled when the process ends.
    over: CancellationToken,
}

/// The admin listener of the process, or none.
pub struct Admin {
    state: Rc<State>,
    tcp: Option<Listening>,
    unix: Option<UnixListening>,
    living: Living,
}

struct Listening {
    address: ListenAddr,
    /// Ends the accepting, not what was accepted.
    removed: CancellationToken,
    /// Copies of what is accepted from, for the next process.
    to_hand_over: Vec<handover::Socket>,
}

struct UnixListening {
    socket: Socket,
    removed: CancellationToken,
}

/// Listeners that are bound, and accept nothing yet.
#[derive(Default)]
pub struct Fresh {
    tcp: Option<(ListenAddr, Bound)>,
    unix: Option<Socket>,
}

/// Why the admin listener cannot be as it is wanted.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Its address.
    #[error(transparent)]
    Address(#[from] BindError),
    /// Its Unix socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
}

impl Admin {
    /// Without a listener; and where the wishes of the operator come out.
    ///
    /// # Panics
    /// Outside of a `LocalSet`, as [`tasks::spawn`].
    #[must_use]
    pub fn new(shown: Shown) -> (Self, Asks) {
        let (wishes, asks) = control::channel();
        let state = State {
            shown,
            draining: Cell::new(false),
            wishes,
            last: RefCell::new(None),
            crew: RefCell::default(),
            began: (Instant::now(), SystemTime::now()),
            history: History::default(),
            lists: Semaphore::new(api::LISTS),
            level: RefCell::new(None),
            over: CancellationToken::new(),
        };
        let state = Rc::new(state);
        drop(tasks::spawn(api::live::record(state.clone())));
        let admin = Self {
            state,
            tcp: None,
            unix: None,
            living: Living::Spare,
        };
        (admin, asks)
    }

    /// The same for a process that takes another's place: it takes the Unix socket of that one too.
    #[must_use]
    pub fn taking_over(self) -> Self {
        Self {
            living: Living::Replace,
            ..self
        }
    }

    /// Binds what is `wanted`, unless it is there already.
    ///
    /// # Errors
    /// [`AdminError`]; nothing has changed then.
    pub fn bind(&self, wanted: &model::Admin, inherited: &Inherited) -> Result<Fresh, AdminError> {
        let here = self.tcp.as_ref().map(|listening| &listening.address);
        let address = wanted.address.as_ref();
        let tcp = address
            .filter(|address| here != Some(address))
            .map(|address| {
                Bound::bind(address, 1, inherited).map(|bound| (address.clone(), bound))
            });
        let here = self.unix.as_ref().map(|listening| &listening.socket.path);
        let unix = wanted
            .socket
            .as_ref()
            .filter(|path| here != Some(path))
            .map(|path| Socket::bind(path, self.living));
        Ok(Fresh {
            tcp: tcp.transpose()?,
            unix: unix.transpose()?,
        })
    }

    /// Ends what is not `wanted` any more, and begins what is `fresh`.
    pub fn replace(&mut self, wanted: &model::Admin, fresh: Fresh) {
        let is_gone =
            |listening: &mut Listening| Some(&listening.address) != wanted.address.as_ref();
        if let Some(gone) = self.tcp.take_if(is_gone) {
            tracing::info!(address = %gone.address, "admin no longer listening");
            gone.removed.cancel();
        }
        let is_gone =
            |listening: &mut UnixListening| Some(&listening.socket.path) != wanted.socket.as_ref();
        if let Some(gone) = self.unix.take_if(is_gone) {
            tracing::info!(path = %gone.socket.path.display(), "admin socket removed");
            gone.removed.cancel();
        }
        if let Some((address, bound)) = fresh.tcp {
            self.begin(address, bound);
        }
        if let Some(socket) = fresh.unix {
            self.begin_unix(socket);
        }
        // From now on it is the process that runs.
        self.living = Living::Spare;
    }

    /// From now on these workers are asked for what is their own.
    pub fn reaches(&self, crew: Crew) {
        self.state.crew.replace(crew);
    }

    /// How the last reload went, as JSON.
    pub fn reloaded(&self, json: Bytes) {
        self.state.last.replace(Some(json));
        self.state.history.reloaded();
    }

    /// Takes the copies of its sockets that are for the next process.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn to_hand_over(&self) -> io::Result<Vec<handover::Socket>> {
        let sockets = self.tcp.iter();
        let sockets = sockets.flat_map(|listening| &listening.to_hand_over);
        sockets.map(handover::Socket::try_clone).collect()
    }

    /// Accepts no more over TCP: who comes now is for the process that follows, which accepts from the same socket. Were there two,
    /// it would be chance which of them answers.
    pub fn step_back(&mut self) {
        if let Some(listening) = self.tcp.take() {
            listening.removed.cancel();
        }
    }

    /// From now on it is told that the process drains.
    pub fn draining(&self) {
        self.state.draining.set(true);
    }

    /// Ends the listener and its connections.
    pub fn end(self) {
        self.state.over.cancel();
        drop(self.state.level.take());
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
                    let accepting = accept(Door::Tcp(socket), self.state.clone(), removed.clone());
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
        self.tcp = Some(Listening {
            address,
            removed,
            to_hand_over,
        });
    }

    fn begin_unix(&mut self, mut socket: Socket) {
        let removed = self.state.over.child_token();
        let named = socket.take_name();
        let listener = named
            .and_then(|()| socket.listener())
            .and_then(UnixListener::from_std);
        match listener {
            Ok(listener) => {
                let door = Door::Unix(listener, socket.owner);
                drop(tasks::spawn(accept(
                    door,
                    self.state.clone(),
                    removed.clone(),
                )));
                tracing::info!(path = %socket.path.display(), "admin socket");
            }
            Err(error) => tracing::error!(%error, "the admin socket cannot be used"),
        }
        self.unix = Some(UnixListening { socket, removed });
    }
}

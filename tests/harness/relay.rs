//! A wire that can be cut: TCP to and fro between a client and the program, or the program and its backend, until the
//! test ends all of it at once, or lets nothing pass any more.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A listening relay.
pub struct Relay {
    /// Where clients connect.
    pub address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    connections: Arc<Mutex<JoinSet<()>>>,
    frozen: watch::Sender<bool>,
    _accepting: JoinSet<()>,
}

impl Relay {
    /// Passes connections on to `target`.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = Arc::new(Mutex::new(target));
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let mut accepting = JoinSet::new();
        let (frozen, freezing) = watch::channel(false);
        accepting.spawn(accept(
            listener,
            Arc::clone(&target),
            (Arc::clone(&connections), freezing),
        ));
        Self {
            address,
            target,
            connections,
            frozen,
            _accepting: accepting,
        }
    }

    /// Passes new connections on to another place; those that pass now stay where they are.
    pub fn aim(&self, target: SocketAddr) {
        *self.target.lock().unwrap() = target;
    }

    /// Ends every connection that passes now; new ones are taken.
    pub fn cut(&self) {
        self.connections.lock().unwrap().abort_all();
    }

    /// Lets nothing pass any more, not even an end, and keeps every socket open: as when one side loses its power, and
    /// what is between the two does not tell.
    pub fn freeze(&self) {
        self.frozen.send_replace(true);
    }
}

async fn accept(
    listener: TcpListener,
    target: Arc<Mutex<SocketAddr>>,
    (connections, freezing): (Arc<Mutex<JoinSet<()>>>, watch::Receiver<bool>),
) {
    loop {
        let Ok((near, _)) = listener.accept().await else {
            continue;
        };
        let target = *target.lock().unwrap();
        let passing = pass(near, target, freezing.clone());
        connections.lock().unwrap().spawn(passing);
    }
}

async fn pass(mut near: TcpStream, target: SocketAddr, mut freezing: watch::Receiver<bool>) {
    let Ok(mut far) = TcpStream::connect(target).await else {
        return;
    };
    let ended = tokio::select! {
        // Either side's end is the end; how it came is not the relay's to tell.
        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => true,
        frozen = freezing.wait_for(|frozen| *frozen) => frozen.is_err(),
    };
    if !ended {
        std::future::pending::<()>().await;
    }
}

//! A wire that can be cut: TCP to and fro between a client and the program, until the test ends all of it at once.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A listening relay.
pub struct Relay {
    /// Where clients connect.
    pub address: SocketAddr,
    connections: Arc<Mutex<JoinSet<()>>>,
    _accepting: JoinSet<()>,
}

impl Relay {
    /// Passes connections on to `target`.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, target, Arc::clone(&connections)));
        Self {
            address,
            connections,
            _accepting: accepting,
        }
    }

    /// Ends every connection that passes now; new ones are taken.
    pub fn cut(&self) {
        self.connections.lock().unwrap().abort_all();
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, connections: Arc<Mutex<JoinSet<()>>>) {
    loop {
        let Ok((mut near, _)) = listener.accept().await else {
            continue;
        };
        connections.lock().unwrap().spawn(async move {
            if let Ok(mut far) = TcpStream::connect(target).await {
                // Either side's end is the end; how it came is not the relay's to tell.
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}

//! The sockets that the process listens on, across reloads.

use std::collections::HashMap;
use std::io;

use tokio_util::sync::CancellationToken;

use super::worker::{Command, Workers};
use crate::config::model::{Listener, ListenerProtocol};
use crate::lifecycle::handover::Socket;
use crate::listen::{BindError, Bound, Inherited};
use crate::net::ListenAddr;

/// The port that a redirect leads to when no TLS listener has one.
const HTTPS: u16 = 443;

/// Every listener in force.
pub(super) struct Listeners(HashMap<ListenAddr, Listening>);

struct Listening {
    protocol: ListenerProtocol,
    websocket_over_h2: bool,
    proxy_protocol: bool,
    bound: Bound,
    /// Ends the accepting, not what was accepted.
    removed: CancellationToken,
}

/// Listeners that a reload brings: bound already, and not told to anybody yet.
pub(super) struct Fresh(Vec<(ListenAddr, Listening)>);

impl Listeners {
    /// Binds all of `wanted`, or nothing.
    pub(super) fn bind(
        wanted: &[Listener],
        workers: usize,
        inherited: &Inherited,
    ) -> Result<Self, BindError> {
        let mut listeners = Self(HashMap::new());
        let fresh = listeners.bind_fresh(wanted, workers, inherited)?;
        listeners.0.extend(fresh.0);
        Ok(listeners)
    }

    /// Binds what of `wanted` is not listened on yet.
    pub(super) fn bind_fresh(
        &self,
        wanted: &[Listener],
        workers: usize,
        inherited: &Inherited,
    ) -> Result<Fresh, BindError> {
        let missing = wanted
            .iter()
            .filter(|listener| !self.0.contains_key(&listener.address));
        let bind = |listener: &Listener| {
            let bound = Bound::bind(&listener.address, workers, inherited)?;
            let listening = Listening {
                protocol: listener.protocol,
                websocket_over_h2: listener.websocket_over_h2,
                proxy_protocol: listener.proxy_protocol,
                bound,
                removed: CancellationToken::new(),
            };
            Ok((listener.address.clone(), listening))
        };
        missing.map(bind).collect::<Result<_, _>>().map(Fresh)
    }

    /// Tells the workers of every listener.
    pub(super) fn announce(&self, workers: &mut Workers) {
        let https_port = self.https_port();
        for (address, listening) in &self.0 {
            listening.announce(address, https_port, workers);
        }
    }

    /// Ends what is not in `wanted` any more, begins what is `fresh`, and changes what is spoken where that changed.
    pub(super) fn replace(&mut self, wanted: &[Listener], fresh: Fresh, workers: &mut Workers) {
        self.0.retain(|address, listening| {
            let kept = wanted.iter().any(|listener| listener.address == *address);
            if !kept {
                tracing::info!(%address, "no longer listening");
                listening.removed.cancel();
            }
            kept
        });
        let port_before = self.https_port();
        let fresh_addresses: Vec<_> = fresh.0.iter().map(|(address, _)| address.clone()).collect();
        self.0.extend(fresh.0);
        let https_port = self.https_port();
        for listener in wanted {
            let Some(listening) = self.0.get_mut(&listener.address) else {
                continue;
            };
            let is_fresh = fresh_addresses.contains(&listener.address);
            let same = listening.protocol == listener.protocol
                && listening.websocket_over_h2 == listener.websocket_over_h2
                && listening.proxy_protocol == listener.proxy_protocol;
            if !is_fresh && same && https_port == port_before {
                continue;
            }
            if !is_fresh {
                listening.removed.cancel();
                listening.removed = CancellationToken::new();
                listening.protocol = listener.protocol;
                listening.websocket_over_h2 = listener.websocket_over_h2;
                listening.proxy_protocol = listener.proxy_protocol;
            }
            listening.announce(&listener.address, https_port, workers);
        }
    }

    /// Copies of all sockets that were bound here, for the next process.
    pub(super) fn to_hand_over(&self) -> io::Result<Vec<Socket>> {
        let mut sockets = Vec::new();
        for (address, listening) in &self.0 {
            sockets.extend(listening.bound.to_hand_over(address)?);
        }
        Ok(sockets)
    }

    fn https_port(&self) -> u16 {
        let tls = self
            .0
            .values()
            .filter(|listening| listening.protocol == ListenerProtocol::Tls);
        let ports: Vec<u16> = tls.map(|listening| listening.bound.local.port()).collect();
        if ports.contains(&HTTPS) {
            HTTPS
        } else {
            ports.into_iter().min().unwrap_or(HTTPS)
        }
    }
}

impl Listening {
    fn announce(&self, address: &ListenAddr, https_port: u16, workers: &mut Workers) {
        let clones: io::Result<Vec<_>> = self
            .bound
            .sockets
            .iter()
            .map(std::net::TcpListener::try_clone)
            .collect();
        let sockets = match clones {
            Ok(sockets) => sockets,
            Err(error) => {
                tracing::error!(%address, %error, "the listening socket cannot be shared with the workers");
                return;
            }
        };
        let (protocol, proxy_protocol) = (self.protocol, self.proxy_protocol);
        let websocket_over_h2 = self.websocket_over_h2;
        workers.each(sockets, |socket| Command::Listen {
            socket,
            protocol,
            websocket_over_h2,
            proxy_protocol,
            https_port,
            removed: self.removed.clone(),
        });
        tracing::info!(%address, local = %self.bound.local, ?protocol, "listening");
    }
}

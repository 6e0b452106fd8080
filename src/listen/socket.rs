//! Listening sockets: bound by us, or inherited from systemd.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::net::ListenAddr;

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 4096;

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The system refuses.
    #[error("cannot listen on `{address}`")]
    Refused {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// There is no such socket.
    #[error(
        "no socket named `{name}` was handed over (FileDescriptorName= in the .socket unit); there are: {known}"
    )]
    NotInherited {
        /// The name that the configuration uses.
        name: String,
        /// The names that are there.
        known: String,
    },
    /// There is one, but it cannot be used.
    #[error("the socket named `{name}` cannot be used")]
    Unusable {
        /// Its name.
        name: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// One address, with a socket for each worker.
#[derive(Debug)]
pub struct Bound {
    /// Where it listens, the real port in it.
    pub local: SocketAddr,
    /// As many as there are workers.
    pub sockets: Vec<TcpListener>,
}

/// The sockets that the process was started with, by name (sd_listen_fds(3)).
#[derive(Debug, Default)]
pub struct Inherited(HashMap<String, TcpListener>);

impl Inherited {
    /// Takes over what systemd has handed to this process. To be called once, before anything opens a file.
    ///
    /// # Errors
    /// The environment speaks of sockets that are not there.
    #[expect(
        unsafe_code,
        reason = "a descriptor's number becomes its owner here and nowhere else"
    )]
    pub fn take() -> io::Result<Self> {
        use std::os::fd::{FromRawFd, OwnedFd};
        let mut sockets = HashMap::new();
        for (number, name) in sd_notify::listen_fds_with_names()? {
            // SAFETY: the service manager hands these descriptors to this process alone (LISTEN_PID was checked by
            // `listen_fds_with_names`), nobody else in it has taken them, and this runs once.
            let owned = unsafe { OwnedFd::from_raw_fd(number) };
            sockets.insert(name, TcpListener::from(owned));
        }
        Ok(Self(sockets))
    }
}

impl Bound {
    /// Listens on `address`, once for each of `workers`.
    ///
    /// # Errors
    /// [`BindError`]; nothing is bound then.
    pub fn bind(
        address: &ListenAddr,
        workers: usize,
        inherited: &Inherited,
    ) -> Result<Self, BindError> {
        match address {
            ListenAddr::Tcp(address) => {
                bind_each(*address, workers).map_err(|source| BindError::Refused {
                    address: *address,
                    source,
                })
            }
            ListenAddr::Systemd(name) => {
                let Some(socket) = inherited.0.get(name) else {
                    let mut known: Vec<_> =
                        inherited.0.keys().map(|name| format!("`{name}`")).collect();
                    known.sort();
                    let known = if known.is_empty() {
                        "none".to_owned()
                    } else {
                        known.join(", ")
                    };
                    return Err(BindError::NotInherited {
                        name: name.clone(),
                        known,
                    });
                };
                share(socket, workers).map_err(|source| BindError::Unusable {
                    name: name.clone(),
                    source,
                })
            }
        }
    }
}

/// A socket a worker (SO_REUSEPORT): the kernel spreads connections, and no two workers wait on one queue.
fn bind_each(address: SocketAddr, workers: usize) -> io::Result<Bound> {
    // SO_REUSEPORT would let us share the port with another process of the same user without a word. A socket
    // without it is refused where anybody listens already.
    drop(open(address, Sharing::Exclusive)?);
    let first = open(address, Sharing::WithSiblings)?;
    let local = first
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut sockets = vec![TcpListener::from(first)];
    for _sibling in 1..workers {
        sockets.push(open(local, Sharing::WithSiblings)?.into());
    }
    Ok(Bound { local, sockets })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Exclusive,
    WithSiblings,
}

fn open(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_port(sharing == Sharing::WithSiblings)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// An inherited socket is one queue, which all workers accept from.
fn share(socket: &TcpListener, workers: usize) -> io::Result<Bound> {
    socket.set_nonblocking(true)?;
    let local = socket.local_addr()?;
    let sockets = (0..workers)
        .map(|_worker| socket.try_clone())
        .collect::<io::Result<_>>()?;
    Ok(Bound { local, sockets })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_worker_has_a_socket_on_the_same_port() {
        let address = ListenAddr::Tcp("127.0.0.1:0".parse().unwrap());
        let bound = Bound::bind(&address, 3, &Inherited::default()).unwrap();
        assert_eq!(bound.sockets.len(), 3);
        assert!(
            bound
                .sockets
                .iter()
                .all(|socket| socket.local_addr().unwrap() == bound.local)
        );
    }

    #[test]
    fn an_address_in_use_is_refused_even_by_ourselves() {
        let address = ListenAddr::Tcp("127.0.0.1:0".parse().unwrap());
        let bound = Bound::bind(&address, 1, &Inherited::default()).unwrap();
        let again = Bound::bind(&ListenAddr::Tcp(bound.local), 1, &Inherited::default());
        assert!(matches!(again, Err(BindError::Refused { .. })));
    }

    #[test]
    fn a_name_that_was_not_handed_over_is_told() {
        let missing = Bound::bind(
            &ListenAddr::Systemd("https".into()),
            1,
            &Inherited::default(),
        );
        assert!(missing.unwrap_err().to_string().contains("`https`"));
    }
}

//! Listening sockets: bound by us, inherited from systemd, or handed over by the process that ran before.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::lifecycle::descriptors;
use crate::lifecycle::handover::Socket as HandedOver;
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

/// One address, with at least a socket for each worker.
#[derive(Debug)]
pub struct Bound {
    /// Where it listens, the real port in it.
    pub local: SocketAddr,
    /// As many as there are workers, or more: none of them may be left without somebody who accepts from it.
    pub sockets: Vec<TcpListener>,
}

/// The sockets that the process was started with.
#[derive(Debug, Default)]
pub struct Inherited {
    /// By the names that systemd gives them (sd_listen_fds(3)). They are kept: a reload may come back to them.
    named: HashMap<String, Vec<TcpListener>>,
    /// By the addresses that the process before bound them to. What is not bound when this one starts is closed then.
    bound: HashMap<SocketAddr, Vec<TcpListener>>,
}

impl Inherited {
    /// Takes over what systemd has handed to this process. To be called once, before anything opens a socket.
    ///
    /// # Errors
    /// The environment speaks of sockets that are not there.
    pub fn take() -> io::Result<Self> {
        let mut inherited = Self::default();
        for (number, name) in sd_notify::listen_fds_with_names()? {
            let socket = TcpListener::from(descriptors::adopt(number)?);
            inherited.named.entry(name).or_default().push(socket);
        }
        Ok(inherited)
    }

    /// Takes over what the process before this one has handed over.
    #[must_use]
    pub fn from_predecessor(sockets: Vec<HandedOver>) -> Self {
        let mut inherited = Self::default();
        for HandedOver { name, descriptor } in sockets {
            let socket = TcpListener::from(descriptor);
            if let Some(name) = name.strip_prefix(SYSTEMD) {
                let named = inherited.named.entry(name.to_owned());
                named.or_default().push(socket);
            } else if let Ok(address) = name.parse() {
                inherited.bound.entry(address).or_default().push(socket);
            } else {
                tracing::warn!(name, "a socket that was handed over is of no use here");
            }
        }
        inherited
    }

    /// All is bound that is to be: what was handed over and is not wanted any more is closed, so that no connection waits there.
    pub fn settle(&mut self) {
        self.bound.clear();
    }

    /// Copies of what systemd has handed to this process or one before it, for the next one.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn to_hand_over(&self) -> io::Result<Vec<HandedOver>> {
        let all = self.named.iter();
        let all = all.flat_map(|(name, sockets)| sockets.iter().map(move |one| (name, one)));
        all.map(|(name, socket)| hand_over(format!("{SYSTEMD}{name}"), socket))
            .collect()
    }
}

/// How an address begins that is the name of one of systemd's sockets.
const SYSTEMD: &str = "systemd:";

fn hand_over(name: String, socket: &TcpListener) -> io::Result<HandedOver> {
    Ok(HandedOver {
        name,
        descriptor: socket.try_clone()?.into(),
    })
}

impl Bound {
    /// Listens on `address`, once for each of `workers`, with the sockets that were inherited for it if there are any.
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
                let bound = match inherited.bound.get(address) {
                    Some(sockets) => take_up(sockets, workers),
                    None => bind_each(*address, workers),
                };
                bound.map_err(|source| BindError::Refused {
                    address: *address,
                    source,
                })
            }
            ListenAddr::Systemd(name) => {
                let Some(sockets) = inherited.named.get(name) else {
                    let mut known: Vec<_> = inherited
                        .named
                        .keys()
                        .map(|name| format!("`{name}`"))
                        .collect();
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
                share(sockets, workers).map_err(|source| BindError::Unusable {
                    name: name.clone(),
                    source,
                })
            }
        }
    }

    /// Copies of the sockets that were bound to `address`, for the next process; none of those that systemd has bound.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn to_hand_over(&self, address: &ListenAddr) -> io::Result<Vec<HandedOver>> {
        match address {
            ListenAddr::Systemd(_name) => Ok(Vec::new()),
            ListenAddr::Tcp(address) => {
                let sockets = self.sockets.iter();
                sockets
                    .map(|socket| hand_over(address.to_string(), socket))
                    .collect()
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

/// Sockets that the process before has bound, a queue each. Those of workers that there are not any more are served too.
fn take_up(handed_over: &[TcpListener], workers: usize) -> io::Result<Bound> {
    let mut sockets = handed_over
        .iter()
        .map(TcpListener::try_clone)
        .collect::<io::Result<Vec<_>>>()?;
    let local = sockets[0].local_addr()?;
    while sockets.len() < workers {
        sockets.push(open(local, Sharing::WithSiblings)?.into());
    }
    Ok(Bound { local, sockets })
}

/// A socket of systemd's is one queue, which all workers accept from. There may be several of one name.
fn share(inherited: &[TcpListener], workers: usize) -> io::Result<Bound> {
    let local = inherited[0].local_addr()?;
    let mut sockets = Vec::new();
    for socket in inherited {
        socket.set_nonblocking(true)?;
        for _worker in 0..workers {
            sockets.push(socket.try_clone()?);
        }
    }
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

    #[test]
    fn handed_over_sockets_are_taken_up_all_and_more_are_opened_for_more_workers() {
        let address = ListenAddr::Tcp("127.0.0.1:0".parse().unwrap());
        let before = Bound::bind(&address, 2, &Inherited::default()).unwrap();
        for (workers, sockets) in [(1, 2), (2, 2), (4, 4)] {
            let inherited = Inherited::from_predecessor(before.to_hand_over(&address).unwrap());
            let after = Bound::bind(&address, workers, &inherited).unwrap();
            assert_eq!((after.local, after.sockets.len()), (before.local, sockets));
        }
    }

    #[test]
    fn what_waits_in_the_queue_of_a_handed_over_socket_is_not_lost() {
        let address = ListenAddr::Tcp("127.0.0.1:0".parse().unwrap());
        let before = Bound::bind(&address, 1, &Inherited::default()).unwrap();
        let _client = std::net::TcpStream::connect(before.local).unwrap();
        let mut inherited = Inherited::from_predecessor(before.to_hand_over(&address).unwrap());
        drop(before);
        let after = Bound::bind(&address, 1, &inherited).unwrap();
        inherited.settle();
        after.sockets[0].set_nonblocking(false).unwrap();
        after.sockets[0].accept().unwrap();
    }

    #[test]
    fn what_systemd_has_bound_keeps_its_name_from_process_to_process() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = socket.local_addr().unwrap();
        let mut inherited = Inherited::default();
        inherited.named.insert("https".into(), vec![socket]);
        let name = ListenAddr::Systemd("https".into());
        for _process in 0..3 {
            inherited = Inherited::from_predecessor(inherited.to_hand_over().unwrap());
            inherited.settle();
            let bound = Bound::bind(&name, 2, &inherited).unwrap();
            assert_eq!((bound.local, bound.sockets.len()), (local, 2));
            assert!(bound.to_hand_over(&name).unwrap().is_empty());
        }
    }
}

//! Addresses that cannot be swapped for each other.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// Where a listener listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ListenAddr {
    /// `"[::]:443"`: bound by the process. `[::]` takes IPv4 too.
    Tcp(SocketAddr),
    /// `"systemd:NAME"`: inherited, by its `FileDescriptorName=`.
    Systemd(String),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// The address of a client: the other end of an accepted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub SocketAddr);

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Host and port of a server towards which a connection is opened (RFC 3986 §3.2, without user information).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Authority {
    /// A name or an address; an IPv6 address stands without brackets.
    pub host: Arc<str>,
    /// The port, given or the scheme's.
    pub port: u16,
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A server of an upstream: how it is spoken to, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerAddr {
    /// What is spoken there.
    pub scheme: Scheme,
    /// Where it is.
    pub place: Place,
}

/// What is spoken to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// `http://`: HTTP/1.1 in clear text.
    Http,
    /// `https://`: HTTP/2 or HTTP/1.1 over TLS, by ALPN (RFC 7301).
    Https,
    /// `h2c://`: HTTP/2 in clear text, with prior knowledge (RFC 9113 §3.3).
    H2c,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// A TCP port.
    Tcp(Authority),
    /// `unix:/path`: a socket in the file system.
    Unix(Arc<Path>),
}

impl From<Authority> for ServerAddr {
    /// A server that speaks HTTP/1.1 in clear text.
    fn from(authority: Authority) -> Self {
        Self {
            scheme: Scheme::Http,
            place: Place::Tcp(authority),
        }
    }
}

impl fmt::Display for ServerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(authority) => authority.fmt(f),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

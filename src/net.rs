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

/// The address of a client: the other end of an accepted connection, or who a believed proxy says it is; then the port may
/// be 0, which stands for none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub SocketAddr);

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.port() == 0 {
            return self.0.ip().fmt(f);
        }
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

impl ServerAddr {
    /// What a request's `Host` or `:authority` says when it is the server's own: host and port, without the port that
    /// the scheme has anyway. A socket in the file system has no name: it is `localhost`.
    #[must_use]
    pub fn host_field(&self) -> String {
        let Place::Tcp(authority) = &self.place else {
            return "localhost".to_owned();
        };
        let usual = match self.scheme {
            Scheme::Http | Scheme::H2c => 80,
            Scheme::Https => 443,
        };
        let text = authority.to_string();
        match text.strip_suffix(&format!(":{usual}")) {
            Some(host) => host.to_owned(),
            None => text,
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_s_own_host_is_without_its_scheme_s_port() {
        let tcp = |scheme, host: &str, port| ServerAddr {
            scheme,
            place: Place::Tcp(Authority {
                host: host.into(),
                port,
            }),
        };
        for (server, expected) in [
            (tcp(Scheme::Http, "app.internal", 3000), "app.internal:3000"),
            (tcp(Scheme::Http, "app.internal", 80), "app.internal"),
            (tcp(Scheme::Https, "app.internal", 443), "app.internal"),
            (tcp(Scheme::Https, "app.internal", 80), "app.internal:80"),
            (tcp(Scheme::H2c, "::1", 80), "[::1]"),
        ] {
            assert_eq!(server.host_field(), expected);
        }
        let unix = ServerAddr {
            scheme: Scheme::Http,
            place: Place::Unix(Path::new("/run/app.sock").into()),
        };
        assert_eq!(unix.host_field(), "localhost");
    }

    #[test]
    fn a_client_without_a_port_shows_none() {
        for (address, shown) in [
            ("192.0.2.1:5", "192.0.2.1:5"),
            ("192.0.2.1:0", "192.0.2.1"),
            ("[2001:db8::1]:0", "2001:db8::1"),
        ] {
            assert_eq!(ClientAddr(address.parse().unwrap()).to_string(), shown);
        }
    }
}

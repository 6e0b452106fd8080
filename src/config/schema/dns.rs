//! `[dns]`: how the names of servers are resolved.

use std::net::{IpAddr, SocketAddr};

use crate::config::schema::collection::List;
use crate::config::schema::scalar::{Refusal, Scalar};
use crate::config::schema::table::table;

table! {
    /// `[dns]`: how the names of servers and feeds are resolved.
    Dns, "`[dns]`", "a table, `[dns]`" {
        /// Addresses of name servers such as `["192.0.2.53", "127.0.0.1:5353"]`, asked over UDP and TCP; the port is 53
        /// unless given. Default: those of the system, `/etc/resolv.conf`. `/etc/hosts` goes first in any case.
        servers: List<NameServer>,
    }
}

/// The port of DNS (RFC 1035 §4.2).
const PORT: u16 = 53;

/// The address of a name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameServer(pub(crate) SocketAddr);

impl Scalar for NameServer {
    const EXPECTED: &'static str = "a name server's address such as \"192.0.2.53\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self(SocketAddr::new(address, PORT)));
        }
        text.parse()
            .map(Self)
            .map_err(|_| Refusal::malformed("it is neither ADDRESS nor ADDRESS:PORT"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_is_an_address() {
        for (text, shown) in [
            ("192.0.2.53", "192.0.2.53:53"),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("::1", "[::1]:53"),
            ("[::1]:5353", "[::1]:5353"),
        ] {
            assert_eq!(
                NameServer::parse(text).map(|server| server.0.to_string()),
                Ok(shown.into())
            );
        }
        for text in ["", "dns.example.org", "127.0.0.1:x", "localhost:53"] {
            assert!(NameServer::parse(text).is_err(), "{text}");
        }
    }
}

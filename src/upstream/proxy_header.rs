//! The PROXY header that tells a server of the client, by the HAProxy project's "The PROXY protocol", versions 1 and 2.

use std::net::{IpAddr, SocketAddr};

use proxy_header::{ProxiedAddress, ProxyHeader};

use crate::config::model::ProxyVersion;

/// The header for a client's connection from `client` to our `local` address.
#[must_use]
pub fn encode(version: ProxyVersion, client: SocketAddr, local: SocketAddr) -> Vec<u8> {
    let (client, local) = same_family(client, local);
    write(
        version,
        &ProxyHeader::with_address(ProxiedAddress::stream(client, local)),
    )
}

/// The header for a connection of our own, which is no client's: `LOCAL`, or `UNKNOWN` in version 1.
#[must_use]
pub fn of_our_own(version: ProxyVersion) -> Vec<u8> {
    write(version, &ProxyHeader::with_local())
}

fn write(version: ProxyVersion, header: &ProxyHeader<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(108);
    let encoded = match version {
        ProxyVersion::V1 => header.encode_v1(&mut bytes),
        ProxyVersion::V2 => header.encode_v2(&mut bytes),
    };
    encoded.expect("an address of one family always has a header, and none too");
    bytes
}

/// An IPv6 socket that takes IPv4 clients shows their addresses as IPv6 ones; the header should not.
fn same_family(client: SocketAddr, local: SocketAddr) -> (SocketAddr, SocketAddr) {
    let canonical =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (client, local) = (canonical(client), canonical(local));
    if client.is_ipv4() == local.is_ipv4() {
        return (client, local);
    }
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(four) => SocketAddr::new(four.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (mapped(client), mapped(local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_is_a_line() {
        let cases = [
            (
                "192.0.2.1:1000",
                "198.51.100.1:443",
                "TCP4 192.0.2.1 198.51.100.1 1000 443",
            ),
            (
                "[::ffff:192.0.2.1]:1",
                "[::ffff:198.51.100.1]:2",
                "TCP4 192.0.2.1 198.51.100.1 1 2",
            ),
            (
                "[2001:db8::1]:1",
                "[2001:db8::2]:2",
                "TCP6 2001:db8::1 2001:db8::2 1 2",
            ),
            (
                "192.0.2.1:1",
                "[2001:db8::2]:2",
                "TCP6 ::ffff:192.0.2.1 2001:db8::2 1 2",
            ),
        ];
        for (client, local, expected) in cases {
            let header = encode(
                ProxyVersion::V1,
                client.parse().unwrap(),
                local.parse().unwrap(),
            );
            assert_eq!(
                String::from_utf8(header).unwrap(),
                format!("PROXY {expected}\r\n")
            );
        }
    }

    #[test]
    fn version_2_is_read_again() {
        let (client, local) = (
            "192.0.2.1:1000".parse().unwrap(),
            "192.0.2.2:443".parse().unwrap(),
        );
        let header = encode(ProxyVersion::V2, client, local);
        let (read, length) = ProxyHeader::parse(&header, Default::default()).unwrap();
        assert_eq!(length, header.len());
        assert_eq!(
            read.proxied_address(),
            Some(&ProxiedAddress::stream(client, local))
        );
    }
}

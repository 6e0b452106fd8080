//! `[[listen]]`: where clients come in.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::schema::scalar::{Refusal, Scalar};
use crate::config::schema::table::table;
use crate::net::ListenAddr;

table! {
    /// `[[listen]]`: one address; at least one is needed.
    Listen, "`[[listen]]`", "a table, `[[listen]]`" {
        /// `"0.0.0.0:443"`, `"[::]:443"` (which takes IPv4 too), or `"systemd:NAME"` for a socket that systemd passes on
        /// under that `FileDescriptorName=`. Required.
        address: ListenAddr,
        /// Whether TLS is spoken; HTTP/2 or HTTP/1.1 is then chosen by ALPN. Default `false`: clear HTTP/1.1.
        tls: bool,
        /// Whether browsers may open WebSockets within their HTTP/2 connection (RFC 8441). Only with `tls`. Default `false`: they
        /// open an HTTP/1.1 connection for each, which always works.
        websocket_over_h2: bool,
        /// Answers every request with a redirect to the same URL on `https`. Not with `tls`. Default `false`.
        redirect_to_https: bool,
        /// Whether each connection from one of `trust.proxies` begins with a PROXY header (version 1 or 2), which names the
        /// client; without one it is closed. From anyone else none is read. Default `false`.
        proxy_protocol: bool,
    }
}

/// systemd allows so many bytes in a `FileDescriptorName=`.
const MAX_DESCRIPTOR_NAME: usize = 255;

impl Scalar for ListenAddr {
    const EXPECTED: &'static str = "an address such as \"0.0.0.0:443\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if let Some(name) = text.strip_prefix("systemd:") {
            let plain = |c: char| c.is_ascii_graphic() && c != ':';
            if name.is_empty() || name.len() > MAX_DESCRIPTOR_NAME || !name.chars().all(plain) {
                let why = "after `systemd:` comes the FileDescriptorName= of a socket unit";
                return Err(Refusal::malformed(why));
            }
            return Ok(Self::Systemd(name.to_owned()));
        }
        text.parse::<SocketAddr>()
            .map(Self::Tcp)
            .map_err(|_| refusal(text))
    }
}

fn refusal(text: &str) -> Refusal {
    let port = text.rsplit(':').next().unwrap_or(text);
    let is_port = port.parse::<u16>().is_ok();
    let host = text
        .strip_suffix(port)
        .unwrap_or_default()
        .trim_end_matches(':');
    if text.contains("://") {
        return Refusal::malformed("a listener has an address, not a URL")
            .with_hint("`tls = true` beside it makes it https");
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        return Refusal::malformed("the port is missing");
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Refusal::malformed("IPv6 needs brackets and a port")
            .with_hint("such as \"[::1]:443\"");
    }
    if is_port && (host.is_empty() || host == "*") {
        return Refusal::malformed("the address is missing").with_hint(format!(
            "\"[::]:{port}\" is every address, IPv4 too; \"127.0.0.1:{port}\" is this machine"
        ));
    }
    if is_port {
        return Refusal::malformed("names are not looked up here").with_hint(format!(
            "write an address: \"[::]:{port}\" is every one, \"127.0.0.1:{port}\" is this machine"
        ));
    }
    Refusal::malformed("it is not IP:PORT").with_hint("ports are 0 to 65535")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_inherited_sockets() {
        let tcp = |text: &str| Ok(ListenAddr::Tcp(text.parse().unwrap()));
        let table = [
            ("0.0.0.0:443", tcp("0.0.0.0:443")),
            ("[::]:443", tcp("[::]:443")),
            ("systemd:https", Ok(ListenAddr::Systemd("https".into()))),
        ];
        for (text, expected) in table {
            assert_eq!(ListenAddr::parse(text), expected, "{text}");
        }
        for text in [
            "",
            "443",
            ":443",
            "*:443",
            "::1:443",
            "localhost:443",
            "1.2.3.4",
            "1.2.3.4:99999",
            "systemd:",
        ] {
            assert!(ListenAddr::parse(text).is_err(), "{text}");
        }
    }
}

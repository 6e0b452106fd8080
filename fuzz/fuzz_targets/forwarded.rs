//! What proxies say of their clients: `Forwarded` (RFC 7239) and `X-Forwarded-*` of any text.
//!
//! The input's lines are fields, `NAME VALUE`, where NAME is one letter: f, x, p, h, n.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use streamgate::http::forwarded;
use streamgate::http::origin::{Kinds, Origin};

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1000);

fuzz_target!(|text: &str| {
    let mut headers = HeaderMap::new();
    for line in text.lines().take(32) {
        let (name, value) = line.split_once(' ').unwrap_or(("f", line));
        let _ = forwarded::elements(value);
        let _ = forwarded::address(value);
        let name = match name {
            "x" => "x-forwarded-for",
            "p" => "x-forwarded-proto",
            "h" => "x-forwarded-host",
            "n" => "x-forwarded-port",
            _ => "forwarded",
        };
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    let loopback = |address: IpAddr| address.is_loopback();
    for (x_forwarded, forwarded) in [(true, true), (true, false), (false, true)] {
        let kinds = Kinds {
            x_forwarded,
            forwarded,
        };
        let origin = Origin::of_connection(PEER, "https", 443).told_by(&headers, kinds, loopback);
        assert!(matches!(origin.proto, "http" | "https"));
        let stranger = Origin::of_connection(PEER, "https", 443).told_by(&headers, kinds, |_| false);
        assert_eq!(stranger.client.ip(), PEER.ip(), "a stranger is believed");
    }
});

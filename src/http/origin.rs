//! Who asked, from where and for what: as the connection says, or as a proxy in front says that is believed.
//!
//! Owns the walk over `X-Forwarded-*` and `Forwarded` (RFC 7239). Who is believed comes in as a function. Invariant: each
//! statement is taken only from somebody who is believed: the right-most one was written by the connection's other end,
//! each further one by the address that stands to its right.

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName};

use crate::http::forwarded::{self, Node};
use crate::http::host::RequestHost;
use crate::http::list::members;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");

/// The way of a request up to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who asked. The port is 0 where a proxy did not tell it.
    pub client: SocketAddr,
    /// `http` or `https`, as the client spoke.
    pub proto: &'static str,
    /// The authority that the client asked for, where a proxy told it.
    pub host: Option<Box<str>>,
    /// The port that the client came to.
    pub port: u16,
    /// The proxies between the client and us, the nearest first; empty when nobody was believed.
    pub proxies: Vec<IpAddr>,
    /// Whether the other end of the connection is believed.
    pub is_believed: bool,
}

/// Which fields are believed of those who are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds {
    /// `X-Forwarded-For`, `-Proto`, `-Host`, `-Port`.
    pub x_forwarded: bool,
    /// `Forwarded` (RFC 7239).
    pub forwarded: bool,
}

impl Default for Kinds {
    /// Both.
    fn default() -> Self {
        Self {
            x_forwarded: true,
            forwarded: true,
        }
    }
}

impl Origin {
    /// What the connection itself says: its other end, `http` or `https`, and the local port.
    #[must_use]
    pub fn of_connection(client: SocketAddr, proto: &'static str, port: u16) -> Self {
        Self {
            client,
            proto,
            host: None,
            port,
            proxies: Vec::new(),
            is_believed: false,
        }
    }

    /// Takes from a request's head what believed proxies say, as far as `believes` reaches. Where there is an
    /// `X-Forwarded-For`, `Forwarded` is not looked at: a proxy that sets one of them passes a client's other one on.
    #[must_use]
    pub fn told_by(
        mut self,
        headers: &HeaderMap,
        kinds: Kinds,
        believes: impl Fn(IpAddr) -> bool,
    ) -> Self {
        if !believes(self.client.ip()) {
            return self;
        }
        self.is_believed = true;
        let has = |name: &HeaderName| headers.contains_key(name);
        let uses_forwarded = kinds.forwarded
            && has(&header::FORWARDED)
            && !(kinds.x_forwarded && has(&X_FORWARDED_FOR));
        if uses_forwarded {
            self.follow_forwarded(headers, believes);
        } else if kinds.x_forwarded {
            self.follow_x_forwarded(headers, believes);
        }
        self
    }

    fn follow_x_forwarded(&mut self, headers: &HeaderMap, believes: impl Fn(IpAddr) -> bool) {
        let addresses: Vec<&[u8]> = members(headers, &X_FORWARDED_FOR).collect();
        let mut steps = 0;
        for member in addresses.iter().rev() {
            let address = std::str::from_utf8(member)
                .ok()
                .and_then(forwarded::address);
            let Some((ip, port)) = address else { break };
            steps += 1;
            self.step_to(ip, port);
            if !believes(ip) {
                break;
            }
        }
        // The others may be lists too, one member a hop. Never further to the left than the addresses were followed.
        let told = |name: &HeaderName| {
            let all: Vec<&[u8]> = members(headers, name).collect();
            let member = all.len().checked_sub(1)?.saturating_sub(steps.max(1) - 1);
            std::str::from_utf8(all[member]).ok()
        };
        let host = told(&X_FORWARDED_HOST);
        let port = told(&X_FORWARDED_PORT);
        self.take(told(&X_FORWARDED_PROTO), host, port);
    }

    fn follow_forwarded(&mut self, headers: &HeaderMap, believes: impl Fn(IpAddr) -> bool) {
        let (mut proto, mut host) = (None, None);
        let lines: Vec<_> = headers.get_all(header::FORWARDED).iter().collect();
        'walk: for line in lines.iter().rev() {
            let Ok(elements) = line
                .to_str()
                .map_err(|_| forwarded::Malformed)
                .and_then(forwarded::elements)
            else {
                break;
            };
            for element in elements.into_iter().rev() {
                (proto, host) = (element.proto.or(proto), element.host.or(host));
                let Some(Node::Address(ip, port)) = element.client else {
                    break 'walk;
                };
                self.step_to(ip, port);
                if !believes(ip) {
                    break 'walk;
                }
            }
        }
        self.take(proto.as_deref(), host.as_deref(), None);
    }

    /// Whoever was taken for the client is a proxy; this is its client.
    fn step_to(&mut self, ip: IpAddr, port: Option<u16>) {
        self.proxies.push(self.client.ip().to_canonical());
        self.client = SocketAddr::new(ip, port.unwrap_or(0));
    }

    /// Takes what is well-formed.
    fn take(&mut self, proto: Option<&str>, host: Option<&str>, port: Option<&str>) {
        let told_proto = match proto {
            Some(proto) if proto.eq_ignore_ascii_case("https") => Some("https"),
            Some(proto) if proto.eq_ignore_ascii_case("http") => Some("http"),
            _ => None,
        };
        let told_host = host.and_then(|host| RequestHost::parse(host).ok());
        let told_port = port
            .filter(|port| port.bytes().all(|b| b.is_ascii_digit()))
            .and_then(|port| port.parse().ok())
            .filter(|port| *port != 0);
        // Our own port says nothing of the port at a proxy that speaks another scheme than we do.
        let usual = told_proto.map(|proto| if proto == "https" { 443 } else { 80 });
        self.port = told_port
            .or_else(|| told_host.as_ref().and_then(RequestHost::port))
            .or(usual)
            .unwrap_or(self.port);
        self.proto = told_proto.unwrap_or(self.proto);
        self.host = told_host.map(|host| host.authority().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(fields: &[(&'static str, &str)]) -> Origin {
        told_as(fields, Kinds::default())
    }

    fn told_as(fields: &[(&'static str, &str)], kinds: Kinds) -> Origin {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        let origin = Origin::of_connection("10.0.0.1:999".parse().unwrap(), "http", 8080);
        origin.told_by(&headers, kinds, |ip| match ip {
            IpAddr::V4(ip) => ip.octets()[0] == 10,
            IpAddr::V6(ip) => ip.segments()[0] == 0xfd00,
        })
    }

    #[test]
    fn x_forwarded_for_is_walked_from_the_right_over_believed_proxies() {
        for (lines, client, proxies) in [
            (&[][..], "10.0.0.1:999", &[][..]),
            (&["192.0.2.1"], "192.0.2.1:0", &["10.0.0.1"]),
            (&["192.0.2.1:77"], "192.0.2.1:77", &["10.0.0.1"]),
            (&["6.6.6.6, 192.0.2.1"], "192.0.2.1:0", &["10.0.0.1"]),
            (
                &["6.6.6.6, 192.0.2.1, 10.0.0.2"],
                "192.0.2.1:0",
                &["10.0.0.1", "10.0.0.2"],
            ),
            (
                &["6.6.6.6", "192.0.2.1", "10.0.0.2"],
                "192.0.2.1:0",
                &["10.0.0.1", "10.0.0.2"],
            ),
            (
                &["10.0.0.3, 10.0.0.2"],
                "10.0.0.3:0",
                &["10.0.0.1", "10.0.0.2"],
            ),
            (
                &["2001:db8::1, fd00::2"],
                "[2001:db8::1]:0",
                &["10.0.0.1", "fd00::2"],
            ),
            (&["[2001:db8::1]:5"], "[2001:db8::1]:5", &["10.0.0.1"]),
            (&["::ffff:192.0.2.1"], "192.0.2.1:0", &["10.0.0.1"]),
            // Garbage ends the walk at the last one who was believed.
            (&["192.0.2.1, what?, 10.0.0.2"], "10.0.0.2:0", &["10.0.0.1"]),
            (&["192.0.2.1, unknown"], "10.0.0.1:999", &[]),
        ] {
            let fields: Vec<_> = lines
                .iter()
                .map(|line| ("x-forwarded-for", *line))
                .collect();
            let origin = told(&fields);
            assert_eq!(origin.client, client.parse().unwrap(), "{lines:?}");
            let expected: Vec<IpAddr> = proxies.iter().map(|ip| ip.parse().unwrap()).collect();
            assert_eq!(origin.proxies, expected, "{lines:?}");
        }
    }

    #[test]
    fn who_is_not_believed_tells_nothing() {
        let mut headers = HeaderMap::new();
        for name in ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"] {
            headers.append(name, "192.0.2.1".parse().unwrap());
        }
        headers.append("forwarded", "for=192.0.2.1;proto=https".parse().unwrap());
        let origin = Origin::of_connection("10.0.0.1:999".parse().unwrap(), "http", 8080);
        let found = origin
            .clone()
            .told_by(&headers, Kinds::default(), |_ip| false);
        assert_eq!(found, origin);
    }

    #[test]
    fn proto_host_and_port_are_taken_when_they_are_well_formed() {
        for (proto, host, port, expected) in [
            ("https", "", "", ("https", None, 443)),
            ("HTTPS", "a.org", "", ("https", Some("a.org"), 443)),
            (
                "https",
                "a.org:8443",
                "",
                ("https", Some("a.org:8443"), 8443),
            ),
            (
                "https",
                "a.org:8443",
                "444",
                ("https", Some("a.org:8443"), 444),
            ),
            ("http", "[::1]", "0", ("http", Some("[::1]"), 80)),
            ("wss", "a b", "+1", ("http", None, 8080)),
            ("", "a@b", "70000", ("http", None, 8080)),
            ("http, https", "", "", ("https", None, 443)),
        ] {
            let origin = told(&[
                ("x-forwarded-proto", proto),
                ("x-forwarded-host", host),
                ("x-forwarded-port", port),
            ]);
            assert_eq!(
                (origin.proto, origin.host.as_deref(), origin.port),
                expected,
                "{proto} {host} {port}"
            );
        }
    }

    #[test]
    fn lists_beside_the_addresses_are_followed_as_far_as_those() {
        for (addresses, protos, expected) in [
            ("192.0.2.1, 10.0.0.2", "https, http", "https"),
            ("192.0.2.1, 10.0.0.2", "https", "https"),
            ("192.0.2.1", "https, http", "http"),
            ("10.0.0.3, 10.0.0.2", "https, http, http", "http"),
        ] {
            let origin = told(&[
                ("x-forwarded-for", addresses),
                ("x-forwarded-proto", protos),
            ]);
            assert_eq!(origin.proto, expected, "{addresses} {protos}");
        }
    }

    #[test]
    fn forwarded_is_walked_in_the_same_way() {
        for (lines, client, proto, host) in [
            (
                &["for=192.0.2.1;proto=https;host=a.org"][..],
                "192.0.2.1:0",
                "https",
                Some("a.org"),
            ),
            (
                &[
                    "for=6.6.6.6;proto=https;host=evil, for=\"192.0.2.1:5\";host=a.org, for=10.0.0.2;host=in",
                ],
                "192.0.2.1:5",
                "http",
                Some("a.org"),
            ),
            (
                &["for=192.0.2.1", "for=\"[fd00::2]\";proto=https"],
                "192.0.2.1:0",
                "https",
                None,
            ),
            // Who hides its client still says what was asked for.
            (
                &["for=6.6.6.6, for=_hidden;proto=https"],
                "10.0.0.1:999",
                "https",
                None,
            ),
            (&["for=unknown"], "10.0.0.1:999", "http", None),
            (&["for=\"", "for=10.0.0.2"], "10.0.0.2:0", "http", None),
            (&["for=192.0.2.1;for=6.6.6.6"], "10.0.0.1:999", "http", None),
        ] {
            let fields: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
            let origin = told(&fields);
            assert_eq!(
                (origin.client, origin.proto, origin.host.as_deref()),
                (client.parse().unwrap(), proto, host),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn one_kind_alone_is_looked_at() {
        let fields = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "http"),
            ("forwarded", "for=198.51.100.7;proto=https"),
        ];
        let (both, x, rfc) = (
            Kinds::default(),
            Kinds {
                x_forwarded: true,
                forwarded: false,
            },
            Kinds {
                x_forwarded: false,
                forwarded: true,
            },
        );
        for (kinds, client, proto) in [
            (both, "192.0.2.1:0", "http"),
            (x, "192.0.2.1:0", "http"),
            (rfc, "198.51.100.7:0", "https"),
        ] {
            let origin = told_as(&fields, kinds);
            assert_eq!(
                (origin.client, origin.proto),
                (client.parse().unwrap(), proto)
            );
        }
        // Forwarded stands alone, so what came in X-Forwarded-Proto is a client's.
        let origin = told(&[
            ("forwarded", "for=192.0.2.1"),
            ("x-forwarded-proto", "https"),
        ]);
        assert_eq!(origin.proto, "http");
    }

    proptest::proptest! {
        #[test]
        fn a_client_s_own_words_never_matter(own in "[ -~]{0,30}") {
            let list = format!("{own}, 192.0.2.1");
            let origin = told(&[("x-forwarded-for", &list)]);
            proptest::prop_assert_eq!(origin.client.ip(), "192.0.2.1".parse::<IpAddr>().unwrap());
            let list = format!("{own}, for=192.0.2.1");
            let origin = told(&[("forwarded", &list)]);
            let told: Vec<IpAddr> = vec!["192.0.2.1".parse().unwrap(), "10.0.0.1".parse().unwrap()];
            proptest::prop_assert!(told.contains(&origin.client.ip()));
        }
    }
}

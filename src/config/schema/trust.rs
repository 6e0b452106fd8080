//! `[trust]`: who is believed.

use ipnet::IpNet;

use crate::config::schema::collection::List;
use crate::config::schema::scalar::{OneOf, Refusal, Scalar, Word};
use crate::config::schema::table::table;

table! {
    /// `[trust]`: who is believed what it says of its clients.
    Trust, "`[trust]`", "a table, `[trust]`" {
        /// Networks of the proxies in front, such as `["10.0.0.0/8", "2001:db8::1"]`: their `X-Forwarded-*`, `Forwarded` and
        /// PROXY header are believed. Default: nobody's.
        proxies: List<Network>,
        /// Which of their fields are believed: `"x-forwarded"` is `X-Forwarded-For`, `-Proto`, `-Host` and `-Port`, `"forwarded"` is
        /// `Forwarded` (RFC 7239), which counts only without `X-Forwarded-For`. Default: both. Name only what your proxies set
        /// themselves: what else they pass on is a client's.
        headers: List<OneOf<Kind>>,
    }
}

/// A kind of field that says who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    XForwarded,
    Forwarded,
}

impl Word for Kind {
    const EXPECTED: &'static str = "a kind of header field";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("x-forwarded", Self::XForwarded),
        ("forwarded", Self::Forwarded),
    ];
}

/// An address, or a network by its prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Network(pub(crate) IpNet);

impl Scalar for Network {
    const EXPECTED: &'static str = "a network such as \"10.0.0.0/8\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let net = match text.parse::<std::net::IpAddr>() {
            Ok(address) => IpNet::from(address),
            Err(_no_address) => text
                .parse::<IpNet>()
                .map_err(|_| Refusal::malformed("it is neither an address nor ADDRESS/PREFIX"))?,
        };
        let cut = net.trunc();
        if cut != net {
            let hint = format!("write \"{cut}\"");
            let refusal = Refusal::malformed("the address has bits beyond its prefix");
            return Err(refusal.with_hint(hint));
        }
        Ok(Self(net))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_and_single_addresses() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1/128"),
        ] {
            assert_eq!(
                Network::parse(text).map(|net| net.0.to_string()),
                Ok(shown.into())
            );
        }
        for text in ["", "10.0.0.1/8", "10.0.0.0/33", "localhost", "10.0.0"] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
    }
}

//! By whom something is counted.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

/// One client, one user, one value of a field: whoever has a count of their own. Always of the same size, whatever was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key([u64; 2]);

/// Two halves of a name that nobody outside can foresee: two texts do not share a key, even if somebody tries.
static HALVES: LazyLock<[RandomState; 2]> =
    LazyLock::new(|| [RandomState::new(), RandomState::new()]);

impl Key {
    /// A client: an IPv4 address, or a /64 of IPv6.
    #[must_use]
    pub fn of_client(client: IpAddr) -> Self {
        let bits = u128::from(match network(client) {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        });
        Self([(bits >> 64) as u64, bits as u64])
    }

    /// Whoever has this name, of users or of a field's values.
    #[must_use]
    pub fn of_name(name: &[u8]) -> Self {
        Self(HALVES.each_ref().map(|half| half.hash_one(name)))
    }
}

/// What counts as one client: an IPv4 address, or a /64 of IPv6, which is what one subscriber gets.
#[must_use]
pub fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => {
            let kept = u128::from(v6) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(kept))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network_of_64_bits() {
        let key = |client: &str| Key::of_client(client.parse().unwrap());
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            assert_eq!(key(one) == key(other), same, "{one} {other}");
        }
    }

    #[test]
    fn names_have_keys_of_their_own() {
        assert_eq!(Key::of_name(b"ann"), Key::of_name(b"ann"));
        assert_ne!(Key::of_name(b"ann"), Key::of_name(b"bob"));
    }
}

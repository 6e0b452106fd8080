//! How much of something may live at once, in the whole process, and how fast it may come.

mod permits;
mod streams;

pub use permits::{Permit, Permits};
pub use streams::{Counted, StreamPermit, Streams, StreamsFull};

use std::net::{IpAddr, Ipv6Addr};

/// What counts as one client: an IPv4 address, or a /64 of IPv6, which is what one subscriber gets.
pub(crate) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => {
            let kept = u128::from(v6) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(kept))
        }
        v4 => v4,
    }
}

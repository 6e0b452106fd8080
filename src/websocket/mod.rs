//! RFC 6455 without I/O: what both ends of a tunnel and the bridge's feeds have to agree on.
//!
//! - [`handshake`]: what makes a request and its 101 a handshake
//! - [`boundary`]: where frames begin and end
//! - [`frame`]: the frames that streamgate writes itself
//! - [`sieve`]: what of a feed's frames tungstenite gets to see
//! - [`close`]: close codes and what each means here
//! - [`deflate`]: `permessage-deflate` (RFC 7692), a message at a time
//! - [`inbound`]: a client's messages out of its frames

pub mod boundary;
pub mod close;
pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod inbound;
pub mod sieve;

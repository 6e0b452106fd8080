//! RFC 6455 without I/O: what both ends of a tunnel and the bridge's feeds have to agree on.
//!
//! - [`handshake`]: what makes a request and its 101 a handshake
//! - [`close`]: close codes and what each means here

pub mod close;
pub mod handshake;

//! The vocabulary of HTTP that forwarding needs: what a message means, never how it travels.
//!
//! No sockets, no clock, no configuration. In the order in which a request meets them:
//!
//! - [`inbound`]: where each request of a connection begins and ends, and which are refused
//! - [`framing`]: requests that two parsers could read in two ways
//! - [`host`]: for whom the request is
//! - [`hop_by_hop`], [`forwarded`]: what is taken from a head and put into it on the way
//! - [`body`]: what a response to a client carries
//! - [`chunked`], [`trailers`]: the chunked coding and what may stand behind a body
//! - [`problem`]: streamgate's own error responses

mod accept;
pub mod body;
pub mod chunked;
pub mod forwarded;
pub mod framing;
mod gateway_fault;
pub mod hop_by_hop;
pub mod host;
pub mod inbound;
pub(crate) mod list;
pub mod problem;
pub mod trailers;

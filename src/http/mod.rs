//! The vocabulary of HTTP that forwarding needs: what a message means, never how it travels.
//!
//! No sockets, no clock, no configuration. In the order in which a request meets them:
//!
//! - [`inbound`]: where each request of a connection begins and ends, and which are refused
//! - [`framing`]: requests that two parsers could read in two ways
//! - [`extended_connect`]: what asks for a WebSocket over HTTP/2
//! - [`host`]: for whom the request is
//! - [`forwarded`], [`origin`]: who asked, as far as who tells it is believed
//! - [`page_origin`]: which page a browser asks for
//! - [`hop_by_hop`], [`provenance`]: what is taken from a head and put into it on the way
//! - [`body`]: what a response to a client carries
//! - [`chunked`], [`trailers`]: the chunked coding and what may stand behind a body
//! - [`problem`], [`error_page`]: streamgate's own error responses

pub mod accept;
pub mod body;
pub mod chunked;
pub mod error_page;
pub mod extended_connect;
pub mod forwarded;
pub mod framing;
mod gateway_fault;
pub mod hop_by_hop;
pub mod host;
pub mod inbound;
pub(crate) mod list;
pub mod origin;
pub mod page_origin;
pub mod problem;
pub mod provenance;
pub mod trace_context;
pub mod trailers;

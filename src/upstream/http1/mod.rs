//! A small, strict HTTP/1.1 client (RFC 9112) without a task of its own.
//!
//! [`Exchange`] sends one request and reads the head of its response; [`Reply`] is what follows the head: either a
//! body for hyper, or, when it is a long stream, the bare socket with the bytes that were read too far.
//!
//! Strict means: a response that two parsers could read in two ways is an error, never a guess.

mod clock;
mod connection;
mod exchange;
mod head;
mod reply;
mod upload;

pub use connection::Connection;
pub use exchange::{Exchange, ExchangeError, Failed};
pub use head::{BadHead, Framing, ResponseHead, write_request_head, write_response_head};
pub use reply::{Reply, ReplyError, Socket};
pub use upload::SendBody;

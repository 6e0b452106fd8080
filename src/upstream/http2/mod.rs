//! HTTP/2 to a server (RFC 9113), by hyper: one connection for many requests.
//!
//! [`Connection`] is shared; a request has to [reserve](Connection::reserve) a stream on it first, and holds it until
//! both its own body and the response's have ended. [`exchange`] sends the request and reads the head of its response;
//! [`Reply`] is what follows. Whoever drops one of the two resets the stream: the server sees that its client has left.

mod connection;
mod exchange;
mod reply;
mod stop;
mod upload;

pub use connection::{Connection, Reserved};
pub use exchange::{Failed, exchange, request};
pub use reply::Reply;
pub use upload::Upload;

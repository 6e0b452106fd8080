//! TLS towards clients.

mod stream;

pub use stream::{ClientStream, TlsStream};

//! TLS: the handshake with a client, the certificates, and the streams that come of it, on both sides.

pub mod accept;
pub mod certificates;
pub mod client;
pub mod client_auth;
mod der;
pub mod described;
mod http2_stream;
pub mod peer;
pub mod sni;
mod stream;
pub mod unbuffered;
mod validity;

pub use http2_stream::{Halves, Http2Stream};
pub use stream::{ClientStream, ServerStream, TlsStream};

/// Makes aws-lc-rs the process's only provider of cryptography. To be called before anything speaks TLS.
pub fn use_one_provider() {
    // It fails only when one was chosen before: then that was this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

//! TLS towards clients: the handshake, the certificates, the stream that comes of it.

pub mod accept;
pub mod certificates;
mod stream;

pub use stream::{ClientStream, TlsStream};

/// Makes aws-lc-rs the process's only provider of cryptography. To be called before anything speaks TLS.
pub fn use_one_provider() {
    // It fails only when one was chosen before: then that was this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

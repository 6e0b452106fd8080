//! Whose certificates clients have to show, or may.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::CertificateDer;

/// `client_auth`, where it is not off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientAuth {
    /// What becomes of a client without a certificate. One that shows a bad certificate is refused in any case.
    pub demand: Demand,
    /// Who must have signed it.
    pub roots: Vec<CertificateDer<'static>>,
}

/// Whether a client has to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// It may.
    Optional,
    /// Without one there is no connection.
    Required,
}

/// Why clients cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum ClientAuthError {
    /// One of the certificates cannot be trusted as an authority.
    #[error("holds a certificate that cannot be a root")]
    BadRoot(#[source] rustls::Error),
    /// rustls refuses the combination.
    #[error("cannot be used to verify clients")]
    Refused(#[source] rustls::server::VerifierBuilderError),
}

impl ClientAuth {
    /// What verifies clients.
    ///
    /// # Errors
    /// [`ClientAuthError`]
    pub fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, ClientAuthError> {
        let mut roots = RootCertStore::empty();
        for root in &self.roots {
            roots.add(root.clone()).map_err(ClientAuthError::BadRoot)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        let builder = match self.demand {
            Demand::Optional => builder.allow_unauthenticated(),
            Demand::Required => builder,
        };
        builder.build().map_err(ClientAuthError::Refused)
    }
}

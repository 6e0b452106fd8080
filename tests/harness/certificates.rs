//! A certificate authority of this run's own, its leaves, and clients that trust it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::server::{WantsServerCert, WebPkiClientVerifier};
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, ServerConfig, SupportedProtocolVersion,
    WantsVerifier,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// The names every test's gate answers to, unless it says otherwise.
const NAMES: &[&str] = &["localhost", "127.0.0.1", "gate.test"];

/// A certificate with its key, as PEM.
pub struct Leaf {
    /// The chain.
    pub certificate: String,
    /// The private key.
    pub key: String,
    /// The certificate itself, to be recognized by.
    pub der: CertificateDer<'static>,
}

impl Leaf {
    /// Writes both files and returns where: `NAME.pem` and `NAME.key`.
    pub fn write(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let certificate = directory.join(format!("{name}.pem"));
        let key = directory.join(format!("{name}.key"));
        std::fs::write(&certificate, &self.certificate).unwrap();
        std::fs::write(&key, &self.key).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        (certificate, key)
    }
}

/// A new certificate for these names.
pub fn leaf(names: &[&str]) -> Leaf {
    let names = names.iter().map(|name| (*name).to_owned());
    let mut parameters = CertificateParams::new(names.collect::<Vec<_>>()).unwrap();
    // Strict verifiers (Python's since 3.13) want it.
    parameters.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.signed_by(&key, authority()).unwrap();
    Leaf {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        der: certificate.der().clone(),
    }
}

/// The certificate that [`super::Gate`] uses by itself.
pub fn default_leaf() -> Leaf {
    leaf(NAMES)
}

fn authority() -> &'static CertifiedIssuer<'static, KeyPair> {
    static AUTHORITY: OnceLock<CertifiedIssuer<'static, KeyPair>> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut parameters = CertificateParams::new(Vec::new()).unwrap();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "streamgate's tests");
        parameters.distinguished_name = name;
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
    })
}

/// Writes the authority's certificate for clients that read it from a file.
pub fn authority_file(directory: &Path) -> PathBuf {
    let path = directory.join("authority.pem");
    std::fs::write(&path, authority().as_ref().pem()).unwrap();
    path
}

/// A client that trusts the authority and offers these protocols by ALPN, in these versions of TLS.
pub fn client_config(
    protocols: &[&str],
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority().as_ref().der().clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    config.resumption = Resumption::in_memory_sessions(16);
    config
}

/// A server with a certificate for these names that takes these protocols by ALPN.
pub fn server_config(names: &[&str], protocols: &[&str]) -> ServerConfig {
    let builder = server_builder().with_no_client_auth();
    with_leaf(builder, names, protocols)
}

/// The same for clients that show a certificate of the authority's.
pub fn server_config_for_known_clients(names: &[&str]) -> ServerConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority().as_ref().der().clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = server_builder().with_client_cert_verifier(verifier.build().unwrap());
    with_leaf(builder, names, &[])
}

fn server_builder() -> ConfigBuilder<ServerConfig, WantsVerifier> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
}

fn with_leaf(
    builder: ConfigBuilder<ServerConfig, WantsServerCert>,
    names: &[&str],
    protocols: &[&str],
) -> ServerConfig {
    let leaf = leaf(names);
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let mut config = builder.with_single_cert(vec![leaf.der], key).unwrap();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    config
}

/// A client as above that trusts nobody, so that it breaks the handshake off.
pub fn untrusting_client_config() -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

/// A client of HTTP/1.1 that shows this certificate to a server that asks for one.
pub fn client_config_showing(leaf: &Leaf) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(authority().as_ref().der().clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![leaf.der.clone()], key)
        .unwrap()
}

/// A certificate that nobody has signed but itself.
pub fn stranger(name: &str) -> Leaf {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    Leaf {
        certificate: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
        der: made.cert.der().clone(),
    }
}

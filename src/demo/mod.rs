//! `streamgate demo`: everything that streamgate does, on one machine, with nothing else installed.
//!
//! This module makes what a user would bring along: an app (`backend`, with a feed in `market` and a page), a
//! certificate, and a configuration. Whoever calls [`start`] runs the server with it, as with any configuration; there
//! is no way of a request that only the demo takes.
//!
//! Invariants: everything listens on loopback only; the authority's key is gone once the certificate is signed, so that
//! nobody can be made to trust another name by it; nothing is written to disk.

mod backend;
mod market;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

/// The configuration, as it lies in the repository for reading.
const CONFIG: &str = include_str!("../../conf/demo.toml");
/// Where `conf/demo.toml` has the port of streamgate.
const PORT: &str = "${DEMO_PORT:-8443}";
/// Where `conf/demo.toml` has the address of the app.
const APP: &str = "${DEMO_APP:-127.0.0.1:3000}";
/// Where it has the admin listener.
const ADMIN: &str = "address = \"127.0.0.1:${DEMO_ADMIN:-9180}\"";
/// The port of the admin listener, unless another program has it.
const ADMIN_PORT: u16 = 9180;
/// Random bytes of the token for the dashboard.
const TOKEN: usize = 16;
/// The table that stands for the certificate which the demo makes.
const CERTIFICATE: &str = "[[tls.certificate]]";

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Some systems refuse certificates that live longer than 825 days; a demo needs a month at most.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// What the demo needs from the server: a configuration to run and a certificate to present.
#[derive(Debug)]
pub struct Demo {
    /// TOML, complete but for its certificate, which is in `chain` and `key`.
    pub config_text: String,
    /// The certificate for `localhost`, `127.0.0.1` and `::1`, then its authority.
    pub chain: Vec<CertificateDer<'static>>,
    /// The certificate's key (ECDSA P-256).
    pub key: PrivateKeyDer<'static>,
    /// What to open and what to try, for people.
    pub banner: String,
}

/// Why there is no demo.
#[derive(Debug, Error)]
pub enum DemoError {
    /// No loopback port, or no thread.
    #[error("the demo's backend does not start")]
    Backend(#[source] io::Error),
    /// The certificate could not be made.
    #[error("the demo's certificate cannot be made")]
    Certificate(#[source] rcgen::Error),
    /// The system gives no random numbers.
    #[error("the demo's token cannot be made: the system gives no random numbers")]
    Token,
}

/// Starts the demo's backend on a thread of its own, which lives as long as the process, and returns what is needed to
/// run streamgate before it on `https://localhost:<port>`.
///
/// # Errors
/// No loopback port or thread is to be had, or the certificate cannot be made.
pub fn start(port: u16) -> Result<Demo, DemoError> {
    let (chain, key) = certificate().map_err(DemoError::Certificate)?;
    let app = start_backend().map_err(DemoError::Backend)?;
    let dashboard = Dashboard {
        port: dashboard_port().map_err(DemoError::Backend)?,
        token: token()?,
    };
    Ok(Demo {
        config_text: config_text(port, app, &dashboard),
        chain,
        key,
        banner: banner(port, &dashboard),
    })
}

/// Where the dashboard is, and what it asks for.
struct Dashboard {
    port: u16,
    token: String,
}

/// The usual port, or any that is free.
fn dashboard_port() -> io::Result<u16> {
    let usual = TcpListener::bind((Ipv4Addr::LOCALHOST, ADMIN_PORT));
    let free = usual.or_else(|_taken| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
    Ok(free.local_addr()?.port())
}

/// A token for this run, in digits.
fn token() -> Result<String, DemoError> {
    let mut bytes = [0; TOKEN];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_unspecified| DemoError::Token)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn start_backend() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("demo-backend".into())
        .spawn(move || {
            if let Err(error) = runtime.block_on(backend::serve(listener)) {
                tracing::error!(%error, "demo backend stopped");
            }
        })?;
    Ok(address)
}

/// `conf/demo.toml` with this run's ports and token, and without the certificate's files.
///
/// All values are digits and dots, which mean nothing to TOML inside a string.
fn config_text(port: u16, app: SocketAddr, dashboard: &Dashboard) -> String {
    let Dashboard { port: admin, token } = dashboard;
    let admin = format!("address = \"127.0.0.1:{admin}\"\ntoken = \"{token}\"");
    CONFIG
        .split("\n\n")
        .filter(|paragraph| !paragraph.contains(CERTIFICATE))
        .collect::<Vec<_>>()
        .join("\n\n")
        .replace(PORT, &port.to_string())
        .replace(APP, &app.to_string())
        .replace(ADMIN, &admin)
}

/// A certificate for this machine's own names, signed by an authority that exists for this one signature.
fn certificate() -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), rcgen::Error> {
    let now = SystemTime::now();
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    authority.not_before = (now - DAY).into();
    authority.not_after = (now + LIFETIME).into();
    authority
        .distinguished_name
        .push(DnType::CommonName, "streamgate demo authority");
    let authority_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let authority_certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);

    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let mut leaf = CertificateParams::new(names)?;
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.not_before = (now - DAY).into();
    leaf.not_after = (now + LIFETIME).into();
    leaf.distinguished_name
        .push(DnType::CommonName, "localhost");
    let leaf_key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let leaf_certificate = leaf.signed_by(&leaf_key, &issuer)?;

    let chain = vec![
        leaf_certificate.der().clone(),
        authority_certificate.der().clone(),
    ];
    let key = PrivatePkcs8KeyDer::from(leaf_key.serialize_der());
    Ok((chain, key.into()))
}

fn banner(port: u16, dashboard: &Dashboard) -> String {
    let Dashboard { port: admin, token } = dashboard;
    format!(
        "\
streamgate demo

  Open   https://localhost:{port}/
         The certificate was made a moment ago: your browser asks you to accept it once.

  Watch  http://localhost:{admin}/#token={token}
         The dashboard: traffic, live streams, bridges, reloads. Close a stream there, and see its page come back.

  Try    curl -Nk https://localhost:{port}/live/market           the WebSocket feed, as server-sent events
         curl -k  https://localhost:{port}/live/market -H 'content-type: application/json' \\
                  -d '{{\"from\":\"curl\",\"text\":\"hello\"}}'            a message back into the feed
         curl -Nk https://localhost:{port}/clock                 an event stream, passed through as it comes
         curl -k --http2   https://localhost:{port}/api/hello    HTTP/2 outside, HTTP/1.1 to the app
         curl -k --http1.1 https://localhost:{port}/api/hello    what the app is told of you

  Read   conf/demo.toml has the configuration that makes this.
  Stop   Ctrl-C
"
    )
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs;
    use rustls::sign::CertifiedKey;
    use rustls_pki_types::{ServerName, UnixTime};

    use super::*;

    fn dashboard() -> Dashboard {
        Dashboard {
            port: 40124,
            token: token().expect("random numbers"),
        }
    }

    #[test]
    fn config_text_has_this_runs_ports_and_no_files() {
        let app = SocketAddr::from((Ipv4Addr::LOCALHOST, 40123));
        let dashboard = dashboard();
        let text = config_text(9443, app, &dashboard);
        for part in [
            "9443",
            "127.0.0.1:40123",
            "127.0.0.1:40124",
            &dashboard.token,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(
            !text.contains("${") && !text.contains(CERTIFICATE),
            "{text}"
        );
        toml::from_str::<toml::Table>(&text).expect("it is TOML");
    }

    #[test]
    fn configuration_for_reading_names_what_is_replaced() {
        for literal in [PORT, APP, ADMIN, CERTIFICATE] {
            assert!(CONFIG.contains(literal), "{literal}");
        }
    }

    #[test]
    fn certificate_fits_its_key_and_every_name_of_this_machine() {
        let (chain, key) = certificate().expect("made");
        let provider = aws_lc_rs::default_provider();
        CertifiedKey::from_der(chain.clone(), key, &provider).expect("the key fits");
        let anchor = webpki::anchor_from_trusted_cert(&chain[1]).expect("an authority");
        let leaf = webpki::EndEntityCert::try_from(&chain[0]).expect("a certificate");
        leaf.verify_for_usage(
            provider.signature_verification_algorithms.all,
            &[anchor],
            &[],
            UnixTime::now(),
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )
        .expect("signed by its authority, and valid today");
        for name in ["localhost", "127.0.0.1", "::1"] {
            let name = ServerName::try_from(name).expect("a name");
            leaf.verify_is_valid_for_subject_name(&name).expect("named");
        }
    }

    #[test]
    fn banner_names_the_ports_it_was_given() {
        let dashboard = dashboard();
        let banner = banner(9443, &dashboard);
        assert!(banner.contains("https://localhost:9443/live/market"));
        assert!(!banner.contains("8443") && !banner.contains("9180"));
        let page = format!("http://localhost:40124/#token={}\n", dashboard.token);
        assert!(banner.contains(&page), "{banner}");
    }

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (first, second) = (token().expect("made"), token().expect("made"));
        assert!(first.len() == 2 * TOKEN && first != second);
    }
}

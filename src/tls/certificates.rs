//! Certificates with their keys: loading them, and seeing that they fit.
//!
//! Nothing here watches a file: a reload loads again and builds a new [`ResolveBySni`](super::sni::ResolveBySni). A certificate that is loaded
//! is usable: its end-entity certificate was parsed, and its key signs for it.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use webpki::EndEntityCert;
use zeroize::Zeroizing;

use super::der;
use super::validity::{not_after, not_before};

/// The longest PEM file that is read, in bytes: a chain has a few kilobytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Seconds before its end in which a certificate should have been renewed.
const SOON: i64 = 14 * 24 * 3600;

/// A certificate chain with its key, loaded and seen to fit.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Where it came from, for messages; for a certificate made in memory, a description.
    pub origin: String,
    /// DNS names of the end-entity certificate (subjectAltName), lower case; `*.example.org` stays as it is.
    pub names: Vec<String>,
    /// The chain and the signing key.
    pub key: Arc<CertifiedKey>,
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        // The key fits the certificate, so an equal certificate means an equal key.
        self.origin == other.origin
            && self.key.cert == other.key.cert
            && self.key.ocsp == other.key.ocsp
    }
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// One of the two files cannot be read.
    #[error("cannot be read")]
    Unreadable {
        /// Which of the two.
        part: Part,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// One of the two files is far too long for what it should hold.
    #[error("is longer than 4MiB, which no PEM file is")]
    TooLong {
        /// Which of the two.
        part: Part,
    },
    /// One of the two files has a broken PEM section (RFC 7468).
    #[error("is broken PEM")]
    BrokenPem {
        /// Which of the two.
        part: Part,
    },
    /// The file of the chain holds no `CERTIFICATE` section.
    #[error("holds no certificate")]
    NoCertificate {
        /// Whether it holds a private key instead: the two files are probably swapped.
        holds_key: bool,
    },
    /// The file of the key holds no private key section.
    #[error("holds no private key")]
    NoKey {
        /// Whether it holds a certificate instead: the two files are probably swapped.
        holds_certificate: bool,
    },
    /// The key is protected by a passphrase.
    #[error("is an encrypted private key")]
    EncryptedKey,
    /// The end-entity certificate is not one that can be used (RFC 5280).
    #[error("holds a certificate that cannot be parsed")]
    BadCertificate(#[source] webpki::Error),
    /// The key's algorithm or encoding is not supported.
    #[error("holds a private key that cannot be used")]
    BadKey(#[source] rustls::Error),
    /// The key signs for another certificate.
    #[error("does not fit the certificate")]
    KeyMismatch,
}

/// One of the two parts of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The chain, `cert`.
    Chain,
    /// The private key, `key`.
    Key,
}

impl CertificateError {
    /// Which of the two parts is to blame.
    pub fn part(&self) -> Part {
        match self {
            Self::Unreadable { part, .. } | Self::TooLong { part } | Self::BrokenPem { part } => {
                *part
            }
            Self::NoCertificate { .. } | Self::BadCertificate(_) => Part::Chain,
            Self::NoKey { .. } | Self::EncryptedKey | Self::BadKey(_) | Self::KeyMismatch => {
                Part::Key
            }
        }
    }
}

impl Certificate {
    /// Takes a chain (end-entity certificate first) and its key from memory. `origin` is for messages.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] if the chain is empty, the end-entity certificate or the key cannot be used, or they do
    /// not fit.
    pub fn from_der(
        origin: impl Into<String>,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, CertificateError> {
        let first = chain
            .first()
            .ok_or(CertificateError::NoCertificate { holds_key: false })?;
        let end_entity =
            EndEntityCert::try_from(first).map_err(CertificateError::BadCertificate)?;
        let names = end_entity
            .valid_dns_names()
            .map(str::to_ascii_lowercase)
            .collect();
        let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => CertificateError::KeyMismatch,
            other => CertificateError::BadKey(other),
        })?;
        Ok(Self {
            origin: origin.into(),
            names,
            key: Arc::new(key),
        })
    }

    /// The seconds that it is still valid from `now` (seconds since 1970) on, if that is less than two weeks; less than 0: it has expired.
    #[must_use]
    pub fn runs_out(&self, now: i64) -> Option<i64> {
        let left = self.expiry()?.saturating_sub(now);
        (left < SOON).then_some(left)
    }

    /// The same with what its authority says of it, which clients then need not ask for themselves (RFC 6066 §8). `None`: `response` is not
    /// a successful answer (RFC 6960 §4.2.1).
    #[must_use]
    pub fn stapled(self, response: Vec<u8>) -> Option<Self> {
        let (answer, _) = der::expect(der::SEQUENCE, &response)?;
        let (status, _) = der::expect(der::ENUMERATED, answer)?;
        if status != [0] {
            return None;
        }
        let mut key = CertifiedKey::clone(&self.key);
        key.ocsp = Some(response);
        Some(Self {
            key: Arc::new(key),
            ..self
        })
    }

    /// From when on the end-entity certificate is good, in seconds since 1970; `None` where it does not say.
    #[must_use]
    pub fn begin(&self) -> Option<i64> {
        self.key.cert.first().and_then(|first| not_before(first))
    }

    /// When the end-entity certificate expires, in seconds since 1970; `None` where it does not say.
    #[must_use]
    pub fn expiry(&self) -> Option<i64> {
        self.key.cert.first().and_then(|first| not_after(first))
    }
}

/// Loads a PEM chain and its PEM key, see [`load_chain`] and [`load_key`].
///
/// # Errors
///
/// [`CertificateError`], which says by [`CertificateError::part`] which of the two files is to blame.
pub fn load(cert: &Path, key: &Path) -> Result<Certificate, CertificateError> {
    Certificate::from_der(
        cert.display().to_string(),
        load_chain(cert)?,
        load_key(key)?,
    )
}

/// Reads an answer of an authority, as DER.
///
/// # Errors
/// [`CertificateError`]
pub fn load_response(path: &Path) -> Result<Vec<u8>, CertificateError> {
    read(path, Part::Chain)
}

/// Loads a PEM chain, the end-entity certificate first.
///
/// # Errors
///
/// [`CertificateError`] if the file cannot be read or holds no certificate.
pub fn load_chain(cert: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let text = read(cert, Part::Chain)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| CertificateError::BrokenPem { part: Part::Chain })?;
    if chain.is_empty() {
        let holds_key = PrivateKeyDer::from_pem_slice(&text).is_ok();
        return Err(CertificateError::NoCertificate { holds_key });
    }
    Ok(chain)
}

/// Loads a PEM key (PKCS #8, PKCS #1 or SEC 1), without a passphrase.
///
/// # Errors
///
/// [`CertificateError`] if the file cannot be read or holds no private key.
pub fn load_key(key: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    // What was read is wiped; the key itself is wiped by who holds it.
    private_key(&Zeroizing::new(read(key, Part::Key)?))
}

fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, CertificateError> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) if holds(text, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") => {
            Err(CertificateError::EncryptedKey)
        }
        Err(pem::Error::NoItemsFound) => Err(CertificateError::NoKey {
            holds_certificate: CertificateDer::from_pem_slice(text).is_ok(),
        }),
        // The cause is dropped on purpose: it may quote a line of the key.
        Err(_) if holds(text, b"Proc-Type: 4,ENCRYPTED") => Err(CertificateError::EncryptedKey),
        Err(_) => Err(CertificateError::BrokenPem { part: Part::Key }),
    }
}

fn holds(text: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(text, needle).is_some()
}

fn read(path: &Path, part: Part) -> Result<Vec<u8>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable { part, source };
    let mut text = Vec::new();
    File::open(path)
        .map_err(unreadable)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(CertificateError::TooLong { part });
    }
    Ok(text)
}

fn provider() -> Arc<CryptoProvider> {
    match CryptoProvider::get_default() {
        Some(installed) => Arc::clone(installed),
        None => Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::tls) fn certificate(names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        Certificate::from_der("test", vec![made.cert.der().clone()], key).unwrap()
    }

    #[test]
    fn the_last_two_weeks_are_told() {
        let one = certificate(&["a.test"]);
        let end = one.expiry().unwrap();
        assert_eq!(one.runs_out(end - SOON), None);
        assert_eq!(one.runs_out(end - SOON + 1), Some(SOON - 1));
        assert_eq!(one.runs_out(end + 5), Some(-5));
    }

    #[test]
    fn only_a_successful_answer_is_stapled() {
        let one = certificate(&["a.test"]);
        let good = b"\x30\x03\x0a\x01\x00".to_vec();
        let stapled = one.clone().stapled(good.clone()).unwrap();
        assert_eq!(stapled.key.ocsp.as_ref(), Some(&good));
        assert_ne!(stapled, one);
        for bad in [
            &b""[..],
            b"\x30\x03\x0a\x01\x06",
            b"-----BEGIN",
            b"\x30\x00",
        ] {
            assert!(one.clone().stapled(bad.to_vec()).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let [one, other] =
            [(); 2].map(|()| rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap());
        let key = PrivateKeyDer::try_from(other.signing_key.serialize_der()).unwrap();
        let error = Certificate::from_der("test", vec![one.cert.der().clone()], key).unwrap_err();
        assert!(matches!(error, CertificateError::KeyMismatch), "{error:?}");
        assert_eq!(error.part(), Part::Key);
    }

    #[test]
    fn certificates_compare_by_content() {
        let one = certificate(&["a.test"]);
        assert_eq!(one, one.clone());
        assert_ne!(one, certificate(&["a.test"]));
    }

    #[test]
    fn a_key_file_says_what_is_wrong_with_it() {
        let made = rcgen::generate_simple_self_signed(["a.test".to_owned()]).unwrap();
        assert!(private_key(made.signing_key.serialize_pem().as_bytes()).is_ok());
        let swapped = private_key(made.cert.pem().as_bytes());
        assert!(matches!(
            swapped,
            Err(CertificateError::NoKey {
                holds_certificate: true
            })
        ));
        let encrypted =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        assert!(matches!(
            private_key(encrypted.as_bytes()),
            Err(CertificateError::EncryptedKey)
        ));
        assert!(matches!(
            private_key(b"nothing"),
            Err(CertificateError::NoKey {
                holds_certificate: false
            })
        ));
    }
}

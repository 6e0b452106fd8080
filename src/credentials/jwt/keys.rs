//! The keys that tokens are signed with, and which algorithms each of them may be used with.
//!
//! Invariants: an algorithm follows from the key and never from a token; a public key is never taken for the secret of an
//! HMAC, which is how tokens used to be forged; a set of public keys (RFC 7517) holds no secret.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;

/// The most keys that are taken from one set.
pub const MAX_KEYS: usize = 64;

/// The shortest secret, in bytes: as long as the hash (RFC 7518 §3.2).
pub const MIN_SECRET: usize = 32;

const RSA: [Algorithm; 6] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

/// P-256 (RFC 5480 §2.1.1.1), as it stands in a key: tag, length, object identifier.
const P256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
/// P-384.
const P384: &[u8] = &[6, 5, 0x2b, 0x81, 4, 0, 0x22];

/// Why something holds no keys.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyError {
    /// RFC 7518 §3.2.
    #[error("the secret is shorter than 32 bytes")]
    ShortSecret,
    /// It says `PRIVATE KEY`.
    #[error("holds a private key: the public one is enough, and all that should be here")]
    Private,
    /// It is no public key in PEM.
    #[error("is not a public key as PEM")]
    NotPem,
    /// An algorithm that is not known here.
    #[error("holds a key that is none of RSA, P-256, P-384 and Ed25519")]
    UnknownKey,
    /// It is not `{"keys": […]}`.
    #[error("is not a set of keys (JWKS)")]
    NotJwks,
    /// There is none that tokens could be checked with.
    #[error("holds no public key for signatures")]
    Empty,
    /// More than [`MAX_KEYS`].
    #[error("holds more than {MAX_KEYS} keys")]
    TooMany,
}

/// One key.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) key: DecodingKey,
}

/// Keys that may have signed a token. Two are equal if they were made of the same bytes.
#[derive(Clone)]
pub struct KeySet {
    pub(super) keys: Vec<Key>,
    source: [u8; 32],
}

impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// A secret may be among them.
impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySet({})", self.keys.len())
    }
}

impl KeySet {
    /// A secret for HMAC. The longer it is, the more algorithms it may be used with (RFC 7518 §3.2).
    ///
    /// # Errors
    /// [`KeyError::ShortSecret`].
    pub fn of_secret(secret: &[u8]) -> Result<Self, KeyError> {
        let fits = [
            (32, Algorithm::HS256),
            (48, Algorithm::HS384),
            (64, Algorithm::HS512),
        ];
        let fitting = fits.into_iter().filter(|(least, _)| secret.len() >= *least);
        let algorithms: Vec<_> = fitting.map(|(_, algorithm)| algorithm).collect();
        if algorithms.is_empty() {
            return Err(KeyError::ShortSecret);
        }
        let key = DecodingKey::from_secret(secret);
        Ok(Self::of(secret, vec![keyed(None, algorithms, key)]))
    }

    /// A public key as PEM (`-----BEGIN PUBLIC KEY-----`).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn of_pem(pem: &[u8]) -> Result<Self, KeyError> {
        if memchr::memmem::find(pem, b"PRIVATE KEY-----").is_some() {
            return Err(KeyError::Private);
        }
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_none| KeyError::NotPem)?;
        let has = |oid: &[u8]| memchr::memmem::find(&der, oid).is_some();
        // The kind of the key is tried, as there is but one that fits.
        let (algorithms, key) = if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
            (RSA.to_vec(), key)
        } else if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            match (has(P256), has(P384)) {
                (true, false) => (vec![Algorithm::ES256], key),
                (false, true) => (vec![Algorithm::ES384], key),
                _ => return Err(KeyError::UnknownKey),
            }
        } else if let Ok(key) = DecodingKey::from_ed_pem(pem) {
            (vec![Algorithm::EdDSA], key)
        } else {
            return Err(KeyError::UnknownKey);
        };
        Ok(Self::of(pem, vec![keyed(None, algorithms, key)]))
    }

    /// A set of public keys (RFC 7517 §5). Keys that are not for signatures, or not known here, are passed over, and so are
    /// secrets, which nobody would publish on purpose.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn of_jwks(json: &[u8]) -> Result<Self, KeyError> {
        let set: serde_json::Value =
            serde_json::from_slice(json).map_err(|_error| KeyError::NotJwks)?;
        let listed = set.get("keys").and_then(|keys| keys.as_array());
        let listed = listed.ok_or(KeyError::NotJwks)?;
        if listed.len() > MAX_KEYS {
            return Err(KeyError::TooMany);
        }
        let jwks = listed
            .iter()
            .filter_map(|key| serde_json::from_value::<Jwk>(key.clone()).ok());
        let keys: Vec<Key> = jwks.filter_map(|jwk| of_jwk(&jwk)).collect();
        if keys.is_empty() {
            return Err(KeyError::Empty);
        }
        Ok(Self::of(json, keys))
    }

    /// All algorithms that one of the keys may be used with.
    #[must_use]
    pub fn algorithms(&self) -> Vec<Algorithm> {
        let mut all = Vec::new();
        for algorithm in self.keys.iter().flat_map(|key| &key.algorithms) {
            if !all.contains(algorithm) {
                all.push(*algorithm);
            }
        }
        all
    }

    /// All algorithms that a public key may be used with.
    #[must_use]
    pub fn public_algorithms() -> Vec<Algorithm> {
        let others = [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
        RSA.into_iter().chain(others).collect()
    }

    fn of(source: &[u8], keys: Vec<Key>) -> Self {
        let hash = digest(&SHA256, source);
        let source = hash.as_ref().try_into();
        Self {
            keys,
            source: source.expect("SHA-256 has 32 bytes"),
        }
    }
}

fn keyed(id: Option<String>, algorithms: Vec<Algorithm>, key: DecodingKey) -> Key {
    Key {
        id,
        algorithms,
        key,
    }
}

fn of_jwk(jwk: &Jwk) -> Option<Key> {
    let common = &jwk.common;
    let for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let verifies = common
        .key_operations
        .as_ref()
        .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !for_signatures || !verifies {
        return None;
    }
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => RSA.to_vec(),
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![Algorithm::ES256],
            EllipticCurve::P384 => vec![Algorithm::ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            vec![Algorithm::EdDSA]
        }
        _ => return None,
    };
    if let Some(only) = &common.key_algorithm {
        algorithms.retain(|algorithm| named(*algorithm) == Some(*only));
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    (!algorithms.is_empty()).then(|| keyed(common.key_id.clone(), algorithms, key))
}

/// The same algorithm in the words of RFC 7517 §4.4.
fn named(algorithm: Algorithm) -> Option<KeyAlgorithm> {
    Some(match algorithm {
        Algorithm::RS256 => KeyAlgorithm::RS256,
        Algorithm::RS384 => KeyAlgorithm::RS384,
        Algorithm::RS512 => KeyAlgorithm::RS512,
        Algorithm::PS256 => KeyAlgorithm::PS256,
        Algorithm::PS384 => KeyAlgorithm::PS384,
        Algorithm::PS512 => KeyAlgorithm::PS512,
        Algorithm::ES256 => KeyAlgorithm::ES256,
        Algorithm::ES384 => KeyAlgorithm::ES384,
        Algorithm::EdDSA => KeyAlgorithm::EdDSA,
        _ => return None,
    })
}

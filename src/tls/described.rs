//! What a server's certificate says of itself, for people: its names, who signed it, until when it is valid.
//!
//! No judgement: whether it is trusted is the handshake's affair. Invariant: the texts are visible ASCII and spaces only,
//! whatever stands in the certificate, and there are at most [`MOST_NAMES`] names.

use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::der::from_issuer;
use super::peer::distinguished_name;
use super::validity::not_after;

/// Names that are told at most.
pub const MOST_NAMES: usize = 16;

/// A certificate in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its DNS names (RFC 5280 §4.2.1.6), at most [`MOST_NAMES`].
    pub names: Vec<String>,
    /// Who signed it, as RFC 4514 writes a name; empty where that cannot be read.
    pub issuer: String,
    /// The end of its validity in seconds since 1970, if that can be read.
    pub not_after: Option<i64>,
}

impl Described {
    /// Reads one, trusted or not.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let issuer = from_issuer(certificate).and_then(distinguished_name);
        Self {
            names: names(certificate),
            issuer: issuer.unwrap_or_default(),
            not_after: not_after(certificate),
        }
    }
}

fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = EndEntityCert::try_from(certificate) else {
        return Vec::new();
    };
    let is_plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_graphic());
    let names = certificate.valid_dns_names().filter(is_plain);
    names.take(MOST_NAMES).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_issuer_and_end_are_told() {
        let mut params = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2024, 2, 29);
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = rcgen::DnType::CommonName;
        params.distinguished_name.push(name, "Some Authority");
        let key = rcgen::KeyPair::generate().unwrap();
        let found = Described::of(params.self_signed(&key).unwrap().der());
        assert_eq!(found.names, ["a.test"]);
        assert_eq!(found.issuer, "CN=Some Authority");
        assert_eq!(found.not_after, Some(1_709_164_800));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Described::of(&CertificateDer::from(bytes));
        }
    }
}

//! Who a client is by its certificate, as backends are told: `X-Client-Cert-*`.
//!
//! Owns reading the subject and the names out of a certificate that rustls has verified, and writing them as lines of a head.
//! Invariant: a line holds visible ASCII and spaces only, whatever an authority has signed, and is never longer than `LONGEST`.

use std::fmt::Write;

use http::HeaderMap;
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::der::{OBJECT_IDENTIFIER, SEQUENCE, SET, behind_issuer, element, expect};
use crate::http::provenance::Lines;

/// Bytes of one value.
const LONGEST: usize = 4096;

/// The kinds of an attribute that have a name of their own (RFC 4514 §3, RFC 2985 §5.2.1, RFC 4519 §2.31).
const KINDS: [(&[u8], &str); 11] = [
    (b"\x55\x04\x03", "CN"),
    (b"\x55\x04\x07", "L"),
    (b"\x55\x04\x08", "ST"),
    (b"\x55\x04\x0a", "O"),
    (b"\x55\x04\x0b", "OU"),
    (b"\x55\x04\x06", "C"),
    (b"\x55\x04\x09", "STREET"),
    (b"\x55\x04\x05", "serialNumber"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x19", "DC"),
    (b"\x09\x92\x26\x89\x93\xf2\x2c\x64\x01\x01", "UID"),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", "emailAddress"),
];

/// Kinds of text that are ASCII or UTF-8: UTF8String, PrintableString, IA5String.
const TEXTS: [u8; 3] = [0x0c, 0x13, 0x16];

/// A client's certificate.
#[derive(Debug)]
pub struct ClientCertificate(Lines);

impl ClientCertificate {
    /// Reads one that has been verified.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut lines = Lines::default();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
        lines.push("x-client-cert-fingerprint", &hexadecimal(digest.as_ref()));
        if let Some(subject) = subject(certificate).filter(|subject| !subject.is_empty()) {
            lines.push("x-client-cert-subject", &subject);
        }
        let names = names(certificate);
        if !names.is_empty() {
            lines.push("x-client-cert-san", &names);
        }
        Self(lines)
    }

    /// The lines for a backend.
    #[must_use]
    pub fn lines(&self) -> &Lines {
        &self.0
    }

    /// The same as entries of a head.
    pub fn tell(&self, headers: &mut HeaderMap) {
        self.0.clone().move_into(headers);
    }
}

/// The subject as RFC 4514 writes it: the most special part first.
fn subject(certificate: &[u8]) -> Option<String> {
    let (_validity, rest) = expect(SEQUENCE, behind_issuer(certificate)?)?;
    distinguished_name(rest)
}

/// The name that `bytes` begin with, as RFC 4514 writes it.
pub(super) fn distinguished_name(bytes: &[u8]) -> Option<String> {
    let (mut parts, _) = expect(SEQUENCE, bytes)?;
    let mut written = Vec::new();
    while !parts.is_empty() {
        let (mut attributes, rest) = expect(SET, parts)?;
        parts = rest;
        let mut together = Vec::new();
        while !attributes.is_empty() {
            let (attribute, rest) = expect(SEQUENCE, attributes)?;
            attributes = rest;
            let (kind, value) = expect(OBJECT_IDENTIFIER, attribute)?;
            together.push(written_out(kind, value)?);
        }
        written.push(together.join("+"));
    }
    written.reverse();
    let mut text = written.join(",");
    // ASCII: any place is the border of a character.
    text.truncate(LONGEST);
    Some(text)
}

/// `CN=name`. What is no text, or of a kind without a name, is shown as its bytes (RFC 4514 §2.4).
fn written_out(kind: &[u8], value: &[u8]) -> Option<String> {
    let known = KINDS.iter().find(|(bytes, _name)| *bytes == kind);
    let (tag, content, _) = element(value)?;
    Some(match known {
        Some((_, name)) if TEXTS.contains(&tag) => format!("{name}={}", escaped(content)),
        Some((_, name)) => format!("{name}=#{}", hexadecimal(value)),
        None => format!("{}=#{}", dotted(kind), hexadecimal(value)),
    })
}

/// RFC 4514 §2.4; what is not visible ASCII is escaped, too.
fn escaped(text: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => {
                out.extend(['\\', char::from(*byte)])
            }
            b'#' if at == 0 => out.push_str("\\#"),
            b' ' if at == 0 || at == last => out.push_str("\\ "),
            b' '..=b'~' => out.push(char::from(*byte)),
            _ => {
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
    out
}

/// An object identifier in figures (X.690 §8.19).
fn dotted(kind: &[u8]) -> String {
    let mut out = String::new();
    let mut number: u64 = 0;
    for byte in kind {
        number = number << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        let _ = match out.is_empty() {
            true => {
                let first = (number / 40).min(2);
                write!(out, "{first}.{}", number - 40 * first)
            }
            false => write!(out, ".{number}"),
        };
        number = 0;
    }
    out
}

/// DNS names and URIs that are well formed, as many as fit.
fn names(certificate: &CertificateDer<'_>) -> String {
    let mut out = String::new();
    let Ok(certificate) = EndEntityCert::try_from(certificate) else {
        return out;
    };
    let dns = certificate.valid_dns_names().map(|name| ("DNS", name));
    let uris = certificate.valid_uri_names().map(|name| ("URI", name));
    for (kind, name) in dns.chain(uris) {
        // A comma is how they are told apart.
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b',';
        if !name.bytes().all(is_plain) || out.len() + name.len() + 6 > LONGEST {
            continue;
        }
        if !out.is_empty() {
            out.push_str(", ");
        }
        let _ = write!(out, "{kind}:{name}");
    }
    out
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, KeyPair, SanType};

    use super::*;

    fn certificate(names: &[(DnType, DnValue)], sans: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for (kind, value) in names {
            params.distinguished_name.push(kind.clone(), value.clone());
        }
        params.subject_alt_names = sans;
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn told(certificate: &CertificateDer<'_>, name: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        ClientCertificate::of(certificate).tell(&mut headers);
        let value = headers.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_subject_is_written_with_its_name_first_and_cannot_break_out_of_its_line() {
        let text = |text: &str| DnValue::Utf8String(text.to_owned());
        let odd = DnType::CustomDnType(vec![1, 2, 840, 5]);
        let subject = certificate(
            &[
                (DnType::CountryName, text("DE")),
                (DnType::OrganizationName, text("Müller, Söhne + \"Co\"")),
                (odd, text("x")),
                (DnType::CommonName, text(" #ann\r\nX-Admin: 1")),
            ],
            Vec::new(),
        );
        assert_eq!(
            told(&subject, "x-client-cert-subject").unwrap(),
            r#"CN=\ #ann\0D\0AX-Admin: 1,1.2.840.5=#0c0178,O=M\C3\BCller\, S\C3\B6hne \+ \"Co\",C=DE"#
        );
        assert_eq!(told(&subject, "x-client-cert-san"), None);
        assert_eq!(told(&subject, "x-admin"), None);
    }

    #[test]
    fn names_and_the_fingerprint_are_told() {
        let sans = vec![
            SanType::DnsName("ann.example".try_into().unwrap()),
            SanType::URI("spiffe://example/ann".try_into().unwrap()),
        ];
        let one = certificate(&[], sans);
        assert_eq!(
            told(&one, "x-client-cert-san").unwrap(),
            "DNS:ann.example, URI:spiffe://example/ann"
        );
        let fingerprint = told(&one, "x-client-cert-fingerprint").unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &one);
        assert_eq!(
            (fingerprint.len(), &*fingerprint),
            (64, &*hexadecimal(digest.as_ref()))
        );
        assert_eq!(told(&one, "x-client-cert-subject"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = ClientCertificate::of(&CertificateDer::from(bytes));
        }
    }
}

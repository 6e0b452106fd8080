//! DER (X.690 §8), as far as certificates need it: elements, one after the other, and none of them copied.

/// Tags.
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(super) const ENUMERATED: u8 = 0x0a;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
const VERSION: u8 = 0xa0;

/// What follows a certificate's issuer: its validity, its subject, its key and more (RFC 5280 §4.1).
pub(super) fn behind_issuer(certificate: &[u8]) -> Option<&[u8]> {
    let (_issuer, rest) = expect(SEQUENCE, from_issuer(certificate)?)?;
    Some(rest)
}

/// A certificate's issuer and what follows it.
pub(super) fn from_issuer(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (mut fields, _) = expect(SEQUENCE, certificate)?;
    if let Some((_version, rest)) = expect(VERSION, fields) {
        fields = rest;
    }
    // The serial number, the signature's algorithm.
    for tag in [INTEGER, SEQUENCE] {
        (_, fields) = expect(tag, fields)?;
    }
    Some(fields)
}

/// The content of an element with this tag, and what follows it.
pub(super) fn expect(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = element(bytes)?;
    (found == tag).then_some((content, rest))
}

/// Tag and content of the first element, and what follows it.
pub(super) fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, length], rest) = bytes.split_first_chunk()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(length), rest),
        // So many bytes of length follow; more than three would be a certificate of more than 16 MiB.
        0x81..=0x83 => {
            let (length, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let whole = length
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (whole, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

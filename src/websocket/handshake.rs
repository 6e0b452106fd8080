//! What makes a request, and the answer to it, a WebSocket handshake (RFC 6455 §4).
//!
//! Owns the checks on both sides of a tunnel: that of the client, which comes over HTTP/1.1 or HTTP/2 (RFC 8441), and of the
//! server's answer, which is always HTTP/1.1. Invariant: a request that passed has no body, so the
//! bytes behind its head are the tunnel's, whoever reads them; a 101 that passed was made for this very request.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Version};
use thiserror::Error;

use crate::http::list::members;

/// A key of 16 bytes in base64.
const KEY_LENGTH: usize = 24;

/// Clients exist whose last digit has bits set that mean nothing; no server minds.
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// A handshake's `Sec-WebSocket-Key`: 16 bytes, still in base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; KEY_LENGTH]);

/// Why a request is no handshake, or a response does not agree to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandshakeFault {
    /// Not GET.
    #[error("a WebSocket handshake has the method GET")]
    Method,
    /// Not HTTP/1.1.
    #[error("a WebSocket handshake by Upgrade needs HTTP/1.1")]
    HttpVersion,
    /// `Upgrade` is not exactly `websocket`, or `Connection` does not name it.
    #[error("Upgrade and Connection do not ask for WebSocket")]
    Upgrade,
    /// Another version than 13, or none: the answer is 426 (RFC 6455 §4.4).
    #[error("Sec-WebSocket-Version is not 13")]
    Version,
    /// Not exactly one key of 16 bytes.
    #[error("Sec-WebSocket-Key is not one key of 16 bytes in base64")]
    Key,
    /// The request has a body, and what follows its head could be read in two ways.
    #[error("a WebSocket handshake has no content")]
    Content,
    /// The response is not 101.
    #[error("the response's status is not 101")]
    Status,
    /// The response does not upgrade to WebSocket.
    #[error("the response's Upgrade and Connection are not for WebSocket")]
    ResponseUpgrade,
    /// The response was made for another key.
    #[error("the response's Sec-WebSocket-Accept does not fit the key")]
    Accept,
    /// The response chose a subprotocol that was not offered, or several.
    #[error("the response's Sec-WebSocket-Protocol was not offered")]
    Subprotocol,
    /// The response chose an extension that was not offered.
    #[error("the response's Sec-WebSocket-Extensions were not offered")]
    Extension,
}

impl Key {
    /// A new key for a handshake of our own. It keeps caches and cross-protocol requests out, and is no secret
    /// (RFC 6455 §10.3).
    #[must_use]
    pub fn generate() -> Self {
        let bytes = fastrand::u128(..).to_ne_bytes();
        let mut key = [0; KEY_LENGTH];
        KEY_BASE64
            .encode_slice(bytes, &mut key)
            .expect("16 bytes are 24 digits in base64, padding included");
        Self(key)
    }

    /// The key in base64, as in the field.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn parse(value: &HeaderValue) -> Option<Self> {
        let key: [u8; KEY_LENGTH] = value.as_bytes().try_into().ok()?;
        // The estimate for 24 digits is 18 bytes, of which a key takes 16.
        let mut bytes = [0; 18];
        let length = KEY_BASE64.decode_slice(key, &mut bytes).ok()?;
        (length == 16).then_some(Self(key))
    }
}

/// Whether a request asks to become a WebSocket, well-formed or not: `Connection` names `upgrade`, and `Upgrade`
/// names `websocket`.
#[must_use]
pub fn wants_upgrade(headers: &HeaderMap) -> bool {
    names(headers, &header::CONNECTION, "upgrade") && names(headers, &header::UPGRADE, "websocket")
}

/// Checks a request (RFC 6455 §4.2.1). Its host is checked elsewhere, for every request.
///
/// # Errors
/// [`HandshakeFault::Version`] is to be answered with 426, all else with 400.
pub fn check_request(
    method: &Method,
    version: Version,
    headers: &HeaderMap,
) -> Result<Key, HandshakeFault> {
    if *method != Method::GET {
        return Err(HandshakeFault::Method);
    }
    if version != Version::HTTP_11 {
        return Err(HandshakeFault::HttpVersion);
    }
    if !wants_upgrade(headers) || members(headers, &header::UPGRADE).count() != 1 {
        return Err(HandshakeFault::Upgrade);
    }
    check_version(headers)?;
    let key = single(headers, &header::SEC_WEBSOCKET_KEY).and_then(Key::parse);
    let key = key.ok_or(HandshakeFault::Key)?;
    check_content(headers)?;
    Ok(key)
}

/// Checks an extended CONNECT (RFC 8441 §5), of which method and `:protocol` are known. What HTTP/1.1 says by `Upgrade`,
/// `Connection` and the key has no meaning here: the key is not even looked at.
///
/// # Errors
/// [`HandshakeFault::Version`] is to be answered with 426, all else with 400.
pub fn check_extended_connect(headers: &HeaderMap) -> Result<(), HandshakeFault> {
    check_version(headers)?;
    check_content(headers)
}

fn check_version(headers: &HeaderMap) -> Result<(), HandshakeFault> {
    match single(headers, &header::SEC_WEBSOCKET_VERSION) {
        Some(version) if version == "13" => Ok(()),
        _ => Err(HandshakeFault::Version),
    }
}

fn check_content(headers: &HeaderMap) -> Result<(), HandshakeFault> {
    let length = headers.get(header::CONTENT_LENGTH);
    if headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
    {
        return Err(HandshakeFault::Content);
    }
    Ok(())
}

/// The value of `Sec-WebSocket-Accept` for a key in base64 (RFC 6455 §4.2.2).
#[must_use]
pub fn accept_key(key: &[u8]) -> String {
    tungstenite::handshake::derive_accept_key(key)
}

/// Checks a backend's agreement to a handshake with this key (RFC 6455 §4.1). What it chose from the offer is
/// checked by [`check_choice`].
///
/// # Errors
/// The first thing in which the response is not the 101 for this request.
pub fn check_response(
    status: StatusCode,
    headers: &HeaderMap,
    key: &Key,
) -> Result<(), HandshakeFault> {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(HandshakeFault::Status);
    }
    if !wants_upgrade(headers) || members(headers, &header::UPGRADE).count() != 1 {
        return Err(HandshakeFault::ResponseUpgrade);
    }
    let expected = accept_key(key.as_bytes());
    match single(headers, &header::SEC_WEBSOCKET_ACCEPT) {
        Some(found) if *found == *expected => Ok(()),
        _ => Err(HandshakeFault::Accept),
    }
}

/// Checks that a 101 chose a subprotocol and extensions from those that the request offered (RFC 6455 §4.1). Both
/// ends would otherwise fail the connection, but one of them only after the other has begun to speak.
///
/// # Errors
/// What was chosen and not offered.
pub fn check_choice(request: &HeaderMap, response: &HeaderMap) -> Result<(), HandshakeFault> {
    let mut chosen = response.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    if let Some(protocol) = chosen.next() {
        // Subprotocols are compared with their case (RFC 6455 §4.1).
        let mut offered = members(request, &header::SEC_WEBSOCKET_PROTOCOL);
        if chosen.next().is_some() || !offered.any(|offer| offer == protocol.as_bytes()) {
            return Err(HandshakeFault::Subprotocol);
        }
    }
    let name = |extension| {
        <[u8]>::split(extension, |byte| *byte == b';')
            .next()
            .map(<[u8]>::trim_ascii)
    };
    let offered = |chosen: &[u8]| {
        let same = |offer: &[u8]| offer.eq_ignore_ascii_case(chosen);
        members(request, &header::SEC_WEBSOCKET_EXTENSIONS)
            .filter_map(name)
            .any(same)
    };
    if !members(response, &header::SEC_WEBSOCKET_EXTENSIONS)
        .filter_map(name)
        .all(offered)
    {
        return Err(HandshakeFault::Extension);
    }
    Ok(())
}

fn names(headers: &HeaderMap, field: &HeaderName, token: &str) -> bool {
    members(headers, field).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}

fn single<'h>(headers: &'h HeaderMap, field: &HeaderName) -> Option<&'h HeaderValue> {
    let mut lines = headers.get_all(field).iter();
    lines.next().filter(|_| lines.next().is_none())
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, Method, StatusCode, Version};

    use super::{
        HandshakeFault, Key, accept_key, check_choice, check_request, check_response, wants_upgrade,
    };

    const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
    const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

    /// A handshake's fields, with some replaced: each name in `changes` loses its lines and gets those given.
    fn head(usual: &[(&'static str, &str)], changes: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in usual
            .iter()
            .filter(|(name, _)| !changes.iter().any(|c| c.0 == *name))
        {
            headers.append(*name, value.parse().unwrap());
        }
        for (name, value) in changes.iter().filter(|(_, value)| *value != "absent") {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn request(changes: &[(&'static str, &str)]) -> HeaderMap {
        let usual = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", KEY),
        ];
        head(&usual, changes)
    }

    fn response(changes: &[(&'static str, &str)]) -> HeaderMap {
        let usual = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-accept", ACCEPT),
        ];
        head(&usual, changes)
    }

    #[test]
    fn accept_is_that_of_the_rfc() {
        assert_eq!(accept_key(KEY.as_bytes()), ACCEPT);
    }

    #[test]
    fn requests_are_checked_as_rfc_6455_demands() {
        use HandshakeFault as F;
        let key = "sec-websocket-key";
        for (changes, expected) in [
            (&[][..], Ok(())),
            (
                &[
                    ("connection", "keep-alive, UPGRADE"),
                    ("upgrade", "WebSocket"),
                ],
                Ok(()),
            ),
            (
                &[("connection", "keep-alive"), ("connection", "upgrade")],
                Ok(()),
            ),
            (&[("content-length", "0")], Ok(())),
            (&[(key, "dGhlIHNhbXBsZSBub25jZR==")], Ok(())),
            (&[("connection", "close")], Err(F::Upgrade)),
            (&[("connection", "absent")], Err(F::Upgrade)),
            (&[("upgrade", "absent")], Err(F::Upgrade)),
            (&[("upgrade", "websocket2")], Err(F::Upgrade)),
            (&[("upgrade", "websocket, h2c")], Err(F::Upgrade)),
            (&[("sec-websocket-version", "8")], Err(F::Version)),
            (&[("sec-websocket-version", "8, 13")], Err(F::Version)),
            (&[("sec-websocket-version", "absent")], Err(F::Version)),
            (&[(key, "absent")], Err(F::Key)),
            (&[(key, KEY), (key, KEY)], Err(F::Key)),
            (&[(key, "dG9vIHNob3J0")], Err(F::Key)),
            (&[(key, "dGhlIHNhbXBsZSBub25jZWEh")], Err(F::Key)),
            (&[(key, "dGhlIHNhbXBsZSBub25jZQ!!")], Err(F::Key)),
            (&[("content-length", "5")], Err(F::Content)),
            (&[("transfer-encoding", "chunked")], Err(F::Content)),
        ] {
            let found = check_request(&Method::GET, Version::HTTP_11, &request(changes));
            assert_eq!(found.map(|_| ()), expected, "{changes:?}");
        }
        let post = check_request(&Method::POST, Version::HTTP_11, &request(&[]));
        assert_eq!(post, Err(F::Method));
        let old = check_request(&Method::GET, Version::HTTP_10, &request(&[]));
        assert_eq!(old, Err(F::HttpVersion));
    }

    #[test]
    fn upgrade_is_wanted_only_if_both_fields_say_so() {
        assert!(wants_upgrade(&request(&[("sec-websocket-key", "absent")])));
        assert!(!wants_upgrade(&request(&[("connection", "keep-alive")])));
        assert!(!wants_upgrade(&request(&[("upgrade", "h2c")])));
    }

    #[test]
    fn responses_are_checked_against_the_key() {
        use HandshakeFault as F;
        let key = check_request(&Method::GET, Version::HTTP_11, &request(&[])).unwrap();
        for (changes, expected) in [
            (&[][..], Ok(())),
            (&[("connection", "absent")], Err(F::ResponseUpgrade)),
            (&[("upgrade", "h2c")], Err(F::ResponseUpgrade)),
            (&[("sec-websocket-accept", "absent")], Err(F::Accept)),
            (&[("sec-websocket-accept", KEY)], Err(F::Accept)),
        ] {
            let found = check_response(StatusCode::SWITCHING_PROTOCOLS, &response(changes), &key);
            assert_eq!(found, expected, "{changes:?}");
        }
        assert_eq!(
            check_response(StatusCode::OK, &response(&[]), &key),
            Err(F::Status)
        );
    }

    #[test]
    fn only_what_was_offered_may_be_chosen() {
        use HandshakeFault::{Extension, Subprotocol};
        let (protocol, extension) = ("sec-websocket-protocol", "sec-websocket-extensions");
        let offer = request(&[
            (protocol, "v1, v2"),
            (protocol, "v3"),
            (
                extension,
                "permessage-deflate; client_max_window_bits, x-other",
            ),
        ]);
        for (choice, expected) in [
            (&[][..], Ok(())),
            (&[(protocol, "v3")], Ok(())),
            (&[(protocol, "V3")], Err(Subprotocol)),
            (&[(protocol, "v1, v2")], Err(Subprotocol)),
            (&[(protocol, "v1"), (protocol, "v2")], Err(Subprotocol)),
            (
                &[(extension, "permessage-deflate; server_no_context_takeover")],
                Ok(()),
            ),
            (&[(extension, "permessage-deflate, x-evil")], Err(Extension)),
        ] {
            assert_eq!(
                check_choice(&offer, &response(choice)),
                expected,
                "{choice:?}"
            );
        }
        assert_eq!(
            check_choice(&request(&[]), &response(&[(protocol, "v1")])),
            Err(Subprotocol)
        );
    }

    #[test]
    fn generated_keys_are_valid_and_differ() {
        let (first, second) = (Key::generate(), Key::generate());
        assert_ne!(first, second);
        let text = std::str::from_utf8(first.as_bytes()).unwrap();
        let found = check_request(
            &Method::GET,
            Version::HTTP_11,
            &request(&[("sec-websocket-key", text)]),
        );
        assert_eq!(found, Ok(first));
    }
}

//! A WebSocket client's handshake on a bridge's path (RFC 6455 §4.2, RFC 8441 §5): checked, and agreed to.
//!
//! Owns what is chosen from the client's offer: the subprotocol, which says in which form events come, and compression.

use http::header::{self, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode, Version};

use crate::bridge::log::Form;
use crate::bridge::post::Address;
use crate::http::body::Body;
use crate::http::extended_connect;
use crate::http::list::members;
use crate::http::problem::Problem;
use crate::stream::{Answer, HandOver};
use crate::upstream::http1::write_response_head;
use crate::websocket::boundary::Extensions;
use crate::websocket::deflate;
use crate::websocket::handshake::{self, HandshakeFault, Key};

use super::task::{self, Dialect};
use super::{Asked, Plan};

/// Events as JSON objects, with those of streamgate's own among them.
const JSON: &str = "streamgate.v1.json";
/// The feed's messages and nothing else: also what a client gets that offers no subprotocol that is known here.
const RAW: &str = "streamgate.v1.raw";

/// What a handshake comes to.
pub(super) struct Agreement {
    /// The form of events.
    pub(super) form: Form,
    /// What is said to the client.
    headers: HeaderMap,
    extensions: Extensions,
    version: Version,
}

/// Whether the request is a WebSocket handshake, well-formed or not.
pub(super) fn is_asked_for<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    extended_connect::is_one(request.extensions())
        || handshake::wants_upgrade(headers)
        || headers.contains_key(header::SEC_WEBSOCKET_KEY)
}

/// Checks a handshake, and chooses from what it offers.
///
/// # Errors
/// 426 for another version of the protocol, 400 for what is no handshake.
pub(super) fn agree<B>(request: &Request<B>) -> Result<Agreement, Problem> {
    let offered = request.headers();
    let mut headers = HeaderMap::new();
    if extended_connect::is_one(request.extensions()) {
        handshake::check_extended_connect(offered).map_err(explain)?;
    } else {
        let key = handshake::check_request(request.method(), request.version(), offered)
            .map_err(explain)?;
        upgrade_fields(&key, &mut headers);
    }
    let known = [JSON, RAW];
    let protocol = members(offered, &header::SEC_WEBSOCKET_PROTOCOL)
        .find_map(|offer| known.into_iter().find(|known| known.as_bytes() == offer));
    if let Some(protocol) = protocol {
        let value = HeaderValue::from_static(protocol);
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    let compression = deflate::negotiate(offered);
    if let Some(agreement) = compression {
        let value = HeaderValue::from_static(agreement);
        headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, value);
    }
    let is_json = protocol == Some(JSON);
    let (form, extensions) = match (is_json, compression.is_some()) {
        (true, true) => (Form::WsJsonDeflated, Extensions::Negotiated),
        (true, false) => (Form::WsJson, Extensions::None),
        (false, true) => (Form::WsRawDeflated, Extensions::Negotiated),
        (false, false) => (Form::WsRaw, Extensions::None),
    };
    Ok(Agreement {
        form,
        headers,
        extensions,
        version: request.version(),
    })
}

fn upgrade_fields(key: &Key, headers: &mut HeaderMap) {
    let accept = handshake::accept_key(key.as_bytes());
    let accept = HeaderValue::try_from(accept).expect("base64 is a field's value");
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
}

fn explain(fault: HandshakeFault) -> Problem {
    match fault {
        HandshakeFault::Version => Problem::UpgradeRequired,
        _ => Problem::BadRequest("The WebSocket handshake is not a valid one."),
    }
}

impl Agreement {
    /// The answer to the handshake, and the subscription that then runs on its stream.
    pub(super) fn answer(self, mut plan: Plan, asked: &Asked<'_>) -> Answer {
        let mut headers = self.headers;
        let id = asked.id.as_str();
        let id = HeaderValue::from_str(id).expect("hexadecimal digits are a field's value");
        headers.insert("x-request-id", id);
        plan.form = self.form;
        let mut greeting = Vec::new();
        if self.version < Version::HTTP_2 {
            asked.fields.apply(&mut headers);
            write_response_head(&mut greeting, StatusCode::SWITCHING_PROTOCOLS, &headers);
        }
        plan.dialect = Dialect::WebSocket {
            greeting,
            extensions: self.extensions,
            address: Address::of(plan.bridge.config(), asked.captures),
        };
        let stream = HandOver::new(move |taken| task::run(plan, taken));
        if self.version < Version::HTTP_2 {
            return Answer::HandOver(stream);
        }
        // hyper writes the head of the 200, and the caller applies the route's rules to it (RFC 8441 §5).
        let mut response = Response::new(Body::empty());
        *response.headers_mut() = headers;
        Answer::Tunnel(response, stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(fields: &[(&'static str, &str)]) -> Result<Agreement, Problem> {
        let mut request = Request::get("/live")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        if !fields
            .iter()
            .any(|(name, _)| *name == "sec-websocket-version")
        {
            request = request.header("sec-websocket-version", "13");
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        agree(&request.body(()).unwrap())
    }

    #[test]
    fn the_first_known_subprotocol_and_compression_are_chosen() {
        let protocol = "sec-websocket-protocol";
        let extensions = "sec-websocket-extensions";
        for (fields, form, chosen) in [
            (&[][..], Form::WsRaw, None),
            (&[(protocol, "other")], Form::WsRaw, None),
            (&[(protocol, RAW)], Form::WsRaw, Some(RAW)),
            (
                &[(protocol, "other, streamgate.v1.json, streamgate.v1.raw")],
                Form::WsJson,
                Some(JSON),
            ),
            (
                &[
                    (protocol, JSON),
                    (extensions, "permessage-deflate; client_max_window_bits"),
                ],
                Form::WsJsonDeflated,
                Some(JSON),
            ),
            (
                &[(extensions, "permessage-deflate")],
                Form::WsRawDeflated,
                None,
            ),
        ] {
            let agreement = agreed(fields).unwrap();
            assert_eq!(agreement.form, form);
            let told = agreement.headers.get(protocol);
            assert_eq!(told.map(|value| value.to_str().unwrap()), chosen);
            assert_eq!(
                agreement.headers.contains_key(extensions),
                agreement.extensions == Extensions::Negotiated
            );
            let accept = &agreement.headers["sec-websocket-accept"];
            assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        }
    }

    #[test]
    fn what_is_no_handshake_is_refused() {
        for (field, status) in [
            (("sec-websocket-version", "12"), 426),
            (("sec-websocket-key", "again"), 400),
            (("content-length", "5"), 400),
        ] {
            let problem = agreed(&[field]).err().unwrap();
            assert_eq!(problem.status().as_u16(), status, "{field:?}");
        }
    }
}

//! `headers` of a route: what changes in the fields of requests and responses.

use http::{HeaderName, header};
use toml::Spanned;
use toml::de::DeValue;

use crate::config::schema::collection::List;
use crate::config::schema::decode::{Decode, Located, Reader};
use crate::config::schema::feed::{Secret, decode_fields};
use crate::config::schema::form::Form;
use crate::config::schema::scalar::{Refusal, Scalar};
use crate::config::schema::table::table;

table! {
    /// `headers = { … }` of a route.
    RouteHeaders, "`headers` of a `[[route]]`", "a table, `headers = { request = { … }, response = { … } }`" {
        /// In requests to the upstream, after `X-Forwarded-*` and the like have been set.
        request: FieldRules,
        /// In all responses on this route: the upstream's, an event stream's or a WebSocket's, and streamgate's own errors.
        response: FieldRules,
    }
}

table! {
    /// `request = { … }` or `response = { … }` of `headers`: first `remove`, then `set`, then `add`.
    FieldRules, "`headers` of a `[[route]]`", "a table, `{ set = { … }, add = { … }, remove = [] }`" {
        /// `{ X-Env = "prod" }`, in the place of all fields of the same name. `{names}` of the path are put in, and `{client_ip}`,
        /// `{host}`, `{path}`, `{proto}`, `{query}`, `{request_id}`. A value may also be a secret, `{ file = "token.txt" }` or
        /// `{ credential = "name" }`.
        set: Fields,
        /// The same, behind those of the same name.
        add: Fields,
        /// `["X-Debug"]`: all fields of these names.
        remove: List<FieldName>,
    }
}

/// Fields with their values, by name.
#[derive(Debug)]
pub(crate) struct Fields(pub(crate) Vec<(HeaderName, Located<Secret>)>);

impl Decode for Fields {
    const EXPECTED: &'static str = "a table of header fields";

    fn form() -> Form {
        Form::Map {
            names: ".",
            values: Box::new(Secret::form()),
        }
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        decode_fields(value, reader, field_name).map(Self)
    }
}

/// The name of a field that a rule may touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldName(pub(crate) HeaderName);

impl Scalar for FieldName {
    const EXPECTED: &'static str = "a field that a rule may touch such as \"X-Debug\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        field_name(text).map(Self).map_err(Refusal::malformed)
    }
}

fn field_name(name: &str) -> Result<HeaderName, &'static str> {
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "that is no field name")?;
    if header == header::HOST {
        return Err("`preserve_host` says what it is");
    }
    if header.as_str().starts_with("sec-websocket-") {
        return Err("it belongs to the handshake (RFC 6455 §4.1)");
    }
    let framing = [
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::TRAILER,
    ];
    if framing.contains(&header) {
        return Err("it says how the body is read (RFC 9112 §6)");
    }
    let of_connection = [
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
        header::EXPECT,
        header::PROXY_AUTHENTICATE,
        header::PROXY_AUTHORIZATION,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        HeaderName::from_static("http2-settings"),
    ];
    if of_connection.contains(&header) {
        return Err("it belongs to a single connection (RFC 9110 §7.6.1)");
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_the_connection_and_of_the_framing_are_left_alone() {
        for name in [
            "X-Any",
            "authorization",
            "X-Forwarded-For",
            "Server",
            "Set-Cookie",
        ] {
            assert!(FieldName::parse(name).is_ok(), "{name}");
        }
        for name in [
            "Host",
            "Connection",
            "te",
            "Upgrade",
            "Transfer-Encoding",
            "Content-Length",
            "Trailer",
            "Sec-WebSocket-Accept",
            "Keep-Alive",
            "a b",
            "",
        ] {
            assert!(FieldName::parse(name).is_err(), "{name}");
        }
    }
}

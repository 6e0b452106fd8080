//! `source` and `connect` of a bridge: where a feed is and how it is opened.

use http::{HeaderName, header};
use toml::Spanned;
use toml::de::DeValue;

use crate::config::model::FeedKind;
use crate::config::schema::collection::List;
use crate::config::schema::decode::{Decode, Field, Key, Located, Reader, mismatch};
use crate::config::schema::form::Form;
use crate::config::schema::opening::{ForwardedField, Greeting, Subprotocol};
use crate::config::schema::scalar::{Refusal, Scalar, Text};
use crate::config::schema::table::{Table, decode_table, table};
use crate::config::schema::url::{self, Url};
use crate::net::{Place, Scheme, ServerAddr};
use crate::route::{Template, template};

table! {
    /// `connect = { … }`: how a connection to the feed is opened.
    Connect, "`connect` of a `[bridge.NAME]`", "a table, `connect = { … }`" {
        /// Fields for the handshake: `{ Authorization = "Bearer ${TOKEN}" }`. A value may also be a secret, `{ file = "token.txt" }`
        /// or `{ credential = "name" }`.
        headers: Headers,
        /// WebSocket subprotocols that are offered, the preferred one first.
        subprotocols: List<Subprotocol>,
        /// Texts that are sent once a WebSocket feed is open, in this order; `{name}` of the route's path and `{query.name}` of
        /// the client's query are put in as part of a JSON string. One may also be a table, which waits for an answer.
        send: List<Greeting>,
        /// Whether a WebSocket feed may compress its messages (`permessage-deflate`, RFC 7692). Default `true`.
        compression: bool,
        /// Fields of the client's request that the feed gets too: `["cookie"]`. With `mode = "shared"`, or a `share_key`, each is part of
        /// `share_key`, `"{header.cookie}"`: clients that differ in it then have connections of their own.
        forward: List<ForwardedField>,
    }
}

table! {
    /// A secret that is kept elsewhere: exactly one of the two.
    SecretSource, "a secret", "a secret, `{ file = \"…\" }` or `{ credential = \"…\" }`" {
        /// A file that holds it; a path relative to this file.
        file: Text,
        /// The name of a credential that systemd passes on (`LoadCredential=`).
        credential: Text,
    }
}

/// `ws://host:port/path?query`, with `{names}` in path and query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FeedUrl {
    pub(crate) kind: FeedKind,
    pub(crate) server: ServerAddr,
    pub(crate) path: Template,
}

const SCHEMES: [url::Scheme; 4] = [("ws", 80), ("wss", 443), ("http", 80), ("https", 443)];

impl Scalar for FeedUrl {
    const EXPECTED: &'static str = "a feed's URL such as \"ws://127.0.0.1:9000/feed\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let (scheme, server, path) = parse_with_names(text, &SCHEMES)?;
        let kind = match scheme {
            "ws" | "wss" => FeedKind::WebSocket,
            _ => FeedKind::EventSource,
        };
        Ok(Self { kind, server, path })
    }
}

/// `https://host:port/path?query`, with `{names}` in path and query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PostUrl {
    pub(crate) server: ServerAddr,
    pub(crate) path: Template,
}

impl Scalar for PostUrl {
    const EXPECTED: &'static str = "a URL such as \"http://127.0.0.1:9000/rooms/{room}\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let (_, server, path) = parse_with_names(text, &[("http", 80), ("https", 443)])?;
        Ok(Self { server, path })
    }
}

/// The scheme, the server, and the target of a URL of one of `schemes`.
fn parse_with_names(
    text: &str,
    schemes: &[url::Scheme],
) -> Result<(&'static str, ServerAddr, Template), Refusal> {
    let authority_has_names = text.split_once("://").is_some_and(|(_, after)| {
        after
            .split(['/', '?'])
            .next()
            .is_some_and(|authority| authority.contains(['{', '}']))
    });
    if authority_has_names {
        // A client would choose the host that this process connects to.
        return Err(Refusal::malformed(
            "`{names}` can stand in path and query only",
        ));
    }
    let Url {
        scheme,
        authority,
        rest,
    } = url::parse(text, schemes)?;
    check_target(rest)?;
    let target = if rest.starts_with('/') {
        rest.to_owned()
    } else {
        format!("/{rest}")
    };
    let path = Template::parse(&target).map_err(|error| Refusal::malformed(error.to_string()))?;
    let server = ServerAddr {
        scheme: match scheme {
            "wss" | "https" => Scheme::Https,
            _ => Scheme::Http,
        },
        place: Place::Tcp(authority),
    };
    Ok((scheme, server, path))
}

/// Path and query as they can be sent (RFC 3986 §3.3, §3.4), but for the names.
fn check_target(target: &str) -> Result<(), Refusal> {
    if target.contains('#') {
        return Err(Refusal::malformed(
            "a fragment is not allowed (RFC 6455 §3)",
        ));
    }
    if [template::QUERY, template::HEADER]
        .iter()
        .any(|part| target.contains(&format!("{{{part}")))
    {
        // A token of the query would stand in the logs of the server it is sent to.
        let refusal = Refusal::malformed(
            "only names of the route's path can stand in it, no `{query.…}` and no `{header.…}`",
        );
        return Err(refusal.with_hint(
            "`{query.name}` can stand in `connect.send`; `connect.forward` passes fields on",
        ));
    }
    check_characters(target)
}

/// The same for any path and query with names: characters and percent-encoding.
pub(crate) fn check_characters(target: &str) -> Result<(), Refusal> {
    let literal = without_names(target);
    if literal.contains(['{', '}']) {
        return Err(Refusal::malformed("a brace does not enclose a name"));
    }
    let allowed = |b: u8| b.is_ascii_graphic() && !b"\"<>\\^`|".contains(&b);
    if !literal.bytes().all(allowed) {
        return Err(Refusal::malformed("a character must be percent-encoded"));
    }
    let mut escapes = literal.split('%').skip(1).map(str::as_bytes);
    let complete =
        |escape: &[u8]| escape.len() >= 2 && escape[..2].iter().all(u8::is_ascii_hexdigit);
    if !escapes.all(complete) {
        return Err(Refusal::malformed("`%` needs two hex digits"));
    }
    Ok(())
}

/// The text without its `{names}`.
fn without_names(text: &str) -> String {
    let mut literal = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let after = &rest[open + 1..];
        let name = after
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(after.len());
        let named = name > 0
            && !after.starts_with(|c: char| c.is_ascii_digit())
            && after[name..].starts_with('}');
        let taken = if named { open } else { open + 1 };
        literal.push_str(&rest[..taken]);
        rest = if named { &after[name + 1..] } else { after };
    }
    literal.push_str(rest);
    literal
}

impl Scalar for Template {
    const EXPECTED: &'static str = "a text with `{names}`";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Self::parse(text).map_err(|error| Refusal::malformed(error.to_string()))
    }
}

/// A value that may be kept elsewhere.
#[derive(Debug)]
pub(crate) enum Secret {
    /// In the text itself, perhaps by a variable.
    Inline(Text),
    /// In a file.
    File(Located<Text>),
    /// Passed on by systemd.
    Credential(Located<Text>),
}

impl Decode for Secret {
    const EXPECTED: &'static str =
        "a string, or a secret, `{ file = \"…\" }` or `{ credential = \"…\" }`";

    fn form() -> Form {
        Form::Either(vec![Form::Secret(Text::EXPECTED), SecretSource::form()])
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(_) => Text::decode(value, reader).map(Self::Inline),
            DeValue::Table(_) => Self::from_table(decode_table(value, reader)?, reader),
            _ => {
                mismatch(value, Self::EXPECTED, reader);
                None
            }
        }
    }
}

impl Secret {
    fn from_table(table: SecretSource, reader: &mut Reader<'_>) -> Option<Self> {
        if table.has_unknown_key() {
            return None;
        }
        let place = table.place();
        match (table.file, table.credential) {
            (Field::Given { value, .. }, Field::Absent) => Some(Self::File(value)),
            (Field::Absent, Field::Given { value, .. }) => Some(Self::Credential(value)),
            (Field::Broken, _) | (_, Field::Broken) => None,
            (Field::Absent, Field::Absent) | (Field::Given { .. }, Field::Given { .. }) => {
                let message = "a secret has exactly one of `file` and `credential`";
                reader.diagnostics.error(place, message);
                None
            }
        }
    }
}

/// Fields of a handshake, by their names.
#[derive(Debug)]
pub(crate) struct Headers(pub(crate) Vec<(HeaderName, Located<Secret>)>);

impl Decode for Headers {
    const EXPECTED: &'static str = "a table of header fields";
    const KEYS: &'static [Key] = &[];

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

/// Reads a table of fields whose names `field_name` allows.
pub(crate) fn decode_fields(
    value: &Spanned<DeValue<'_>>,
    reader: &mut Reader<'_>,
    field_name: fn(&str) -> Result<HeaderName, &'static str>,
) -> Option<Vec<(HeaderName, Located<Secret>)>> {
    let DeValue::Table(fields) = value.get_ref() else {
        mismatch(value, Headers::EXPECTED, reader);
        return None;
    };
    let mut headers: Vec<(HeaderName, Located<Secret>)> = Vec::new();
    for (name, value) in fields {
        let place = reader.place(name.span());
        let header = match field_name(name.get_ref()) {
            Err(why) => {
                reader
                    .diagnostics
                    .error(place, format!("`{}` cannot be set: {why}", name.get_ref()));
                continue;
            }
            Ok(header) => header,
        };
        if headers.iter().any(|(earlier, _)| *earlier == header) {
            // Field names do not depend on case (RFC 9110 §5.1), TOML's keys do.
            reader
                .diagnostics
                .error(place, format!("`{}` is set twice", name.get_ref()));
            continue;
        }
        if let Some(secret) = Secret::decode(value, reader) {
            headers.push((
                header,
                Located {
                    value: secret,
                    place: reader.place(value.span()),
                },
            ));
        }
    }
    Some(headers)
}

/// The name of a field that may be added to a handshake.
pub(crate) fn field_name(name: &str) -> Result<HeaderName, &'static str> {
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "that is no field name")?;
    if header.as_str().starts_with("sec-websocket-") {
        return Err("the handshake sets it (RFC 6455 §4.1); see `subprotocols`");
    }
    if header == header::HOST {
        return Err("it is taken from `source`");
    }
    let of_connection = [
        header::CONNECTION,
        header::UPGRADE,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
        header::EXPECT,
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
    fn names_stand_in_path_and_query_only() {
        for text in [
            "ws://feed",
            "ws://feed:9000/ws/{room}",
            "ws://feed?room={room}&x=%20",
            "ws://feed/a/{b}/{c}",
            "wss://feed/",
            "http://feed/",
            "https://feed/events?room={room}",
        ] {
            assert!(FeedUrl::parse(text).is_ok(), "{text}");
        }
        let wrong = [
            "ws://{room}/",
            "ws://feed-{x}:80/",
            "h2c://feed/",
            "ws://feed/#x",
            "ws://feed/{",
            "ws://feed/{}",
            "ws://feed/{1}",
            "ws://feed/{a b}",
            "ws://feed/é",
            "ws://feed/a b",
            "ws://feed/%2",
            "ws://feed/}",
        ];
        for text in wrong {
            assert!(FeedUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_field_of_the_connection_cannot_be_set() {
        for name in ["Authorization", "cookie", "X-Any"] {
            assert!(field_name(name).is_ok(), "{name}");
        }
        for name in [
            "Host",
            "connection",
            "Upgrade",
            "Sec-WebSocket-Key",
            "Content-Length",
            "a b",
            "",
        ] {
            assert!(field_name(name).is_err(), "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "ws://a/[{}a-b%\\PC]*") {
            let _ = FeedUrl::parse(&text);
        }
    }
}

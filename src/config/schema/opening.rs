//! What is said to a feed besides its handshake: `connect.send`, `connect.forward`, `keepalive`, `resume`.

use http::HeaderName;
use toml::Spanned;
use toml::de::DeValue;

use crate::config::model;
use crate::config::schema::decode::{Decode, Field, Key, Located, Reader, mismatch};
use crate::config::schema::feed;
use crate::config::schema::form::Form;
use crate::config::schema::mapping::Pointer;
use crate::config::schema::scalar::{Hidden, Refusal, Scalar, Text};
use crate::config::schema::table::{Table, decode_table, table};
use crate::config::units::{HOUR, MINUTE, Period, SECOND};
use crate::route::Template;

table! {
    /// One of `connect.send` that waits for an answer.
    GreetingTable, "an element of `connect.send`", "a table, `{ text = …, expect = … }`" {
        /// What is sent. Required.
        text: Hidden<RequestText>,
        /// The next one is sent, and the feed counts as open, once a JSON message came that has a part there: `"/ok"`. That
        /// message is not passed on. Default: nothing is waited for.
        expect: Pointer,
        /// What that part must be: the text of a string, else as it is written in JSON. Default: anything.
        value: Text,
        /// How long that may take; then the feed is connected to anew. Default `"5s"`.
        timeout: Period<100, { 5 * MINUTE }>,
    }
}

table! {
    /// `keepalive = { … }`: for WebSocket feeds that want to hear something of their own.
    Keepalive, "`keepalive` of a `[bridge.NAME]`", "a table, `keepalive = { … }`" {
        /// How often. Default `"20s"`.
        every: Period<100, HOUR>,
        /// What is sent. Required.
        text: Hidden<Text>,
        /// A message of the feed that is its answer, and is not passed on. Default: none is.
        drop: Text,
    }
}

table! {
    /// `resume = { … }`: how a feed goes on where it was. A source of server-sent events does by its own ids.
    Resume, "`resume` of a `[bridge.NAME]`", "a table, `resume = { … }`" {
        /// Where a JSON message of a WebSocket feed says how it is called: `"/seq"`. Required with `send`.
        pointer: Pointer,
        /// What is sent after a reconnect, behind `connect.send`; `{last}` is what the newest message said, as JSON. Required
        /// with `pointer`.
        send: Hidden<RequestText>,
        /// Whether one source of the list goes on where another was: all of them number their events alike. Default `false`: what
        /// one has said means nothing to another, and clients are told of a gap.
        across_sources: bool,
    }
}

/// A text with names of the route's path and of the client's request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RequestText(pub(crate) Template);

impl Scalar for RequestText {
    const EXPECTED: &'static str = "a text with `{names}`";

    fn parse(text: &str) -> Result<Self, Refusal> {
        Template::parse_of_request(text)
            .map(Self)
            .map_err(|error| Refusal::malformed(error.to_string()))
    }
}

/// The name of a subprotocol: a token (RFC 6455 §4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subprotocol(pub(crate) String);

impl Scalar for Subprotocol {
    const EXPECTED: &'static str = "a subprotocol's name";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if text.is_empty() || !text.bytes().all(token) {
            return Err(Refusal::malformed(
                "it must be a token, without spaces and separators",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A field of the client's request that may be passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForwardedField(pub(crate) HeaderName);

impl Scalar for ForwardedField {
    const EXPECTED: &'static str = "the name of a field such as \"cookie\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        feed::field_name(text).map(Self).map_err(Refusal::malformed)
    }
}

/// One of `connect.send`: a text, or a table with one.
#[derive(Debug)]
pub(crate) struct Greeting(pub(crate) model::Greeting);

impl Decode for Greeting {
    const EXPECTED: &'static str = <RequestText as Scalar>::EXPECTED;
    const KEYS: &'static [Key] = GreetingTable::KEYS;

    fn form() -> Form {
        let text = <Hidden<RequestText>>::form();
        Form::Either(vec![text, GreetingTable::form()])
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(_) => {
                let text = RequestText::decode(value, reader)?.0;
                Some(Self(model::Greeting { text, expect: None }))
            }
            DeValue::Table(_) => Self::from_table(decode_table(value, reader)?, reader),
            _ => {
                mismatch(value, <Self as Decode>::EXPECTED, reader);
                None
            }
        }
    }
}

impl Greeting {
    fn from_table(table: GreetingTable, reader: &mut Reader<'_>) -> Option<Self> {
        let place = table.place();
        let unknown = table.has_unknown_key();
        let alone = table.value.key().or(table.timeout.key());
        if let Some(key) = alone.filter(|_| table.expect.is_absent()) {
            let message = "`value` and `timeout` are for an answer, and none is expected";
            let finding = reader.diagnostics.error(key, message);
            finding.hint("`expect = \"/ok\"` waits for a message that has such a part");
            return None;
        }
        let value = table.value.value().map(|text| text.value.clone());
        let timeout = table
            .timeout
            .map_or(std::time::Duration::from_millis(5 * SECOND), |time| time.0);
        let expect = table.expect.value().map(|pointer| model::Expected {
            pointer: pointer.0.clone(),
            value,
            timeout,
        });
        match table.text {
            Field::Given {
                value: Located { value, .. },
                ..
            } => Some(Self(model::Greeting {
                text: value.0.0,
                expect,
            })),
            Field::Absent if !unknown => {
                let message = "an element of `connect.send` has no `text`";
                reader.diagnostics.error(place, message);
                None
            }
            Field::Absent | Field::Broken => None,
        }
    }
}

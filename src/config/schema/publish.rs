//! `publish` and `close_map` of a `[bridge.NAME]`: the way back to the feed, and what its closes mean.

use toml::Spanned;
use toml::de::DeValue;

use crate::config::model::Verdict;
use crate::config::schema::decode::{Decode, Key, Reader, mismatch};
use crate::config::schema::feed::PostUrl;
use crate::config::schema::form::Form;
use crate::config::schema::scalar::{Refusal, Scalar};
use crate::config::schema::table::table;
use crate::config::units::{MIB, MINUTE, Period, RateLimit, Size};

table! {
    /// `publish = { … }`: the way back.
    Publish, "`publish` of a `[bridge.NAME]`", "a table, `publish = { … }`" {
        /// Whether `POST` on the route's path sends a message to the feed. Default `false`, in session mode `true`
        /// where messages have a way to the feed.
        enabled: bool,
        /// Where messages for a source of server-sent events go, each by a `POST` of its own: `http://` or `https://` (by the
        /// bridge's `tls`), with names of the route's path in path and query. `connect.headers` and `connect.forward` are sent
        /// with it. Required where messages can be sent and a `source` is `http://` or `https://`, and for no others.
        url: PostUrl,
        /// The longest message; 413 beyond. Default `"64KiB"`, up to `"16MiB"`.
        max_size: Size<1, { 16 * MIB }>,
        /// Messages a second from one client, that is one session, or in shared mode one address (IPv6 by /64); 429 beyond.
        /// Those of one second may come at once. It counts for a WebSocket's messages, too, of which one more is refused with
        /// `streamgate.error`, or, without a subprotocol, Close 1008. Default `"0"`: no limit.
        rate: RateLimit<1_000_000>,
        /// How the feed's answer to a message is found, which then is the answer to the `POST`. Default: there is none.
        reply: Reply,
    }
}

table! {
    /// `reply = { … }` of `publish`.
    Reply, "`reply` of a bridge's `publish`", "a table, `reply = { match = \"/id\" }`" {
        /// JSON pointer (RFC 6901): the answer is the feed's next message that has the same value there as the one sent.
        /// The stream has it, too. Required.
        r#match: Pointer,
        /// How long the answer may take; 504 then. Default `"5s"`, from `"10ms"` to `"5m"`.
        timeout: Period<10, { 5 * MINUTE }>,
    }
}

/// A JSON pointer (RFC 6901 §3) to a part of a document, not to the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pointer(pub(crate) String);

impl Scalar for Pointer {
    const EXPECTED: &'static str = "a JSON pointer such as \"/id\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if !text.starts_with('/') {
            return Err(Refusal::malformed("it begins with `/`"));
        }
        let mut escapes = text.split('~').skip(1);
        if !escapes.all(|escape| escape.starts_with(['0', '1'])) {
            return Err(Refusal::malformed("a `~` is written `~0`, a `/` `~1`"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Close codes (RFC 6455 §7.4), each with what follows from it.
#[derive(Debug)]
pub(crate) struct CloseMap(pub(crate) Vec<(u16, Verdict)>);

impl Decode for CloseMap {
    const EXPECTED: &'static str = "a table of close codes, `{ 4401 = 401 }`";
    const KEYS: &'static [Key] = &[];

    fn form() -> Form {
        Form::Map {
            names: "^[1-4][0-9]{3}$",
            values: Box::new(Form::Integer { min: 204, max: 410 }),
        }
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        let DeValue::Table(codes) = value.get_ref() else {
            mismatch(value, Self::EXPECTED, reader);
            return None;
        };
        let mut map = Vec::new();
        for (code, status) in codes {
            let number = code.get_ref().parse().ok();
            let Some(number) = number.filter(|code| (1000..=4999).contains(code)) else {
                let message = format!("`{}` is not a close code: 1000 to 4999", code.get_ref());
                let place = reader.place(code.span());
                reader.diagnostics.error(place, message);
                continue;
            };
            let span = status.span();
            let status = status.get_ref().as_integer();
            let status =
                status.and_then(|status| u16::from_str_radix(status.as_str(), status.radix()).ok());
            let verdict = status.and_then(Verdict::of_status);
            let Some(verdict) = verdict else {
                let message = format!("close code `{number}` has no status that it can mean");
                let place = reader.place(span);
                let finding = reader.diagnostics.error(place, message);
                finding.hint("allowed here: 204, 401, 403, 404, 410");
                continue;
            };
            map.push((number, verdict));
        }
        Some(Self(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_leads_into_a_document() {
        for text in ["/", "/id", "/a/0/b", "/a~1b~0c", "/é"] {
            assert!(Pointer::parse(text).is_ok(), "{text}");
        }
        for text in ["", "id", "#/id", "/a~", "/a~2"] {
            assert!(Pointer::parse(text).is_err(), "{text}");
        }
    }
}

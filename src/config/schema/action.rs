//! `redirect` and `respond` of a route, and `rewrite`: what is answered or asked, with `{names}` in it.

use http::HeaderValue;
use toml::Spanned;
use toml::de::DeValue;

use crate::config::schema::decode::{Decode, Field, Key, Located, Reader, mismatch};
use crate::config::schema::feed::check_characters;
use crate::config::schema::form::Form;
use crate::config::schema::scalar::{Integer, Refusal, Scalar, Text};
use crate::config::schema::table::{Table, decode_table, table};
use crate::route::Template;
use crate::route::plain_path::{self, EncodedSlashes};

table! {
    /// `redirect`, when it is more than an address.
    RedirectTable, "`redirect` of a `[[route]]`", "a table, `redirect = { to = … }`" {
        /// The new address: `"https://new.example.org/{rest}"`, or a path on the same host. `{names}` of the path, and `{host}`,
        /// `{path}`, `{query}`, `{proto}`. The request's query is kept unless there is one here. Required.
        to: Address,
        /// `301`, `302`, `303`, `307` or `308` (the default, which keeps method and body).
        status: Integer<301, 308>,
    }
}

table! {
    /// `respond`, when it is more than a status.
    RespondTable, "`respond` of a `[[route]]`", "a table, `respond = { status = … }`" {
        /// The status. Default `200`, from 200 to 599.
        status: Integer<200, 599>,
        /// The body. Default: none.
        body: Text,
        /// What the body is. Default: by the end of the file's name, else `"text/plain; charset=utf-8"`.
        content_type: FieldText,
        /// A file that holds the body, up to 1 MiB; it is read when the configuration is.
        file: Text,
    }
}

/// `redirect`: an address, or a table with one.
#[derive(Debug)]
pub(crate) struct Redirect {
    pub(crate) to: Located<Address>,
    pub(crate) status: Option<Located<u64>>,
}

impl Decode for Redirect {
    const EXPECTED: &'static str = "an address such as \"https://new.example.org/{rest}\"";
    const KEYS: &'static [Key] = RedirectTable::KEYS;

    fn form() -> Form {
        Form::Either(vec![<Address as Decode>::form(), RedirectTable::form()])
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(_) => {
                let place = reader.place(value.span());
                Address::decode(value, reader).map(|value| Self {
                    to: Located { value, place },
                    status: None,
                })
            }
            DeValue::Table(_) => {
                let table: RedirectTable = decode_table(value, reader)?;
                let (place, unknown) = (table.place(), table.has_unknown_key());
                let status = table.status.located().map(|status| Located {
                    value: status.value.0,
                    place: status.place,
                });
                match table.to {
                    Field::Given { value: to, .. } => Some(Self { to, status }),
                    Field::Absent if !unknown => {
                        reader.diagnostics.error(place, "`redirect` has no `to`");
                        None
                    }
                    Field::Absent | Field::Broken => None,
                }
            }
            _ => {
                mismatch(value, <Self as Decode>::EXPECTED, reader);
                None
            }
        }
    }
}

/// `respond`: a status, or a table.
#[derive(Debug)]
pub(crate) enum Respond {
    Status(u64),
    Table(Box<RespondTable>),
}

impl Decode for Respond {
    const EXPECTED: &'static str = "a status, or a table, `respond = { status = … }`";
    const KEYS: &'static [Key] = RespondTable::KEYS;

    fn form() -> Form {
        Form::Either(vec![Integer::<200, 599>::form(), RespondTable::form()])
    }

    fn decode(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        match value.get_ref() {
            DeValue::Integer(_) => {
                Integer::<200, 599>::decode(value, reader).map(|status| Self::Status(status.0))
            }
            DeValue::Table(_) => decode_table(value, reader).map(Box::new).map(Self::Table),
            _ => {
                mismatch(value, Self::EXPECTED, reader);
                None
            }
        }
    }
}

/// Where a redirect leads: a whole address or a path.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Address {
    pub(crate) template: Template,
    /// Whether it begins with the path.
    pub(crate) is_local: bool,
    pub(crate) has_query: bool,
}

impl Scalar for Address {
    const EXPECTED: &'static str = "an address such as \"https://new.example.org/{rest}\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let is_local = text.starts_with('/');
        if text.starts_with("//") || text.starts_with("/\\") {
            return Err(Refusal::malformed("`//` begins another site's address")
                .with_hint("write the scheme before it"));
        }
        if !is_local {
            check_authority(text)?;
        }
        if text.contains('#') {
            return Err(Refusal::malformed("a fragment is not possible"));
        }
        let target = text.split_once("://").map_or(text, |(_, after)| after);
        check_characters(target)?;
        let template =
            Template::parse(text).map_err(|error| Refusal::malformed(error.to_string()))?;
        Ok(Self {
            template,
            is_local,
            has_query: text.contains('?'),
        })
    }
}

/// The site is fixed, or the one that was asked for: else a client could choose where others are led.
fn check_authority(text: &str) -> Result<(), Refusal> {
    let after = ["https://", "http://", "{proto}://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let Some(after) = after else {
        return Err(Refusal::malformed(
            "an address begins with `https://`, `http://` or `/`",
        ));
    };
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    let end = after.find("{path}").map_or(end, |path| path.min(end));
    let authority = after[..end].replace("{host}", "host");
    if authority.contains(['{', '}']) {
        return Err(Refusal::malformed(
            "of all names only `{host}` can stand where the site does",
        ));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    if authority.is_empty() || !authority.bytes().all(allowed) {
        return Err(Refusal::malformed("there is no host in it"));
    }
    Ok(())
}

/// `rewrite`: the path that the server gets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewPath(pub(crate) Template);

impl Scalar for NewPath {
    const EXPECTED: &'static str = "a path such as \"/v2/{rest}\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if !text.starts_with('/') {
            return Err(Refusal::malformed("a path begins with `/`")
                .with_hint(format!("write \"/{text}\"")));
        }
        if text.contains(['?', '#']) {
            return Err(Refusal::malformed(
                "the query stays as it is and cannot be written here",
            ));
        }
        check_characters(text)?;
        let template =
            Template::parse(text).map_err(|error| Refusal::malformed(error.to_string()))?;
        // No value is a dot segment, so none comes of it, unless the text brings the dots.
        for value in ["", "x"] {
            let sample = template.render_with(|_name, text| text.push_str(value));
            plain_path::check(&sample, EncodedSlashes::Reject)
                .map_err(|error| Refusal::malformed(error.to_string()))?;
        }
        Ok(Self(template))
    }
}

/// A text that a header field can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldText(pub(crate) HeaderValue);

impl Scalar for FieldText {
    const EXPECTED: &'static str = "a type such as \"text/plain; charset=utf-8\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        let essence = text.split(';').next().unwrap_or_default().trim();
        if essence.split_once('/').is_none() {
            return Err(Refusal::malformed("a type is written TYPE/SUBTYPE"));
        }
        let value = HeaderValue::from_str(text)
            .map_err(|_| Refusal::malformed("a character cannot stand in a header field"))?;
        Ok(Self(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_to_a_site_that_is_fixed() {
        for text in [
            "/new",
            "/new/{rest}?a={name}",
            "https://new.org",
            "https://new.org:8443/{rest}",
            "http://[::1]/",
            "https://{host}/x",
            "https://www.{host}{path}",
            "{proto}://new.org/{a}",
            "https://new.org?{query}",
        ] {
            assert!(Address::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "new",
            "//new.org/",
            "/\\new.org",
            "ftp://a/",
            "https://{room}/",
            "https://{room}.org/",
            "https://new.org{rest}",
            "https:///x",
            "https://user@new.org/",
            "https://new.org/#x",
            "/a b",
            "/{a-b}",
            "/%2",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_new_path_brings_no_dots_of_its_own() {
        for text in ["/", "/v2/{rest}", "/a/{b}.json", "/{a}{b}", "/x..y/"] {
            assert!(NewPath::parse(text).is_ok(), "{text}");
        }
        for text in [
            "v2/{rest}",
            "/a?b",
            "/a#b",
            "/../{rest}",
            "/..{rest}",
            "/.{rest}",
            "/%2{a}",
            "/%{a}",
            "/a%2fb",
            "/é",
        ] {
            assert!(NewPath::parse(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(text in "[/a{}.:%?#\\PC]{0,20}") {
            let _ = (Address::parse(&text), NewPath::parse(&text), FieldText::parse(&text));
        }
    }
}

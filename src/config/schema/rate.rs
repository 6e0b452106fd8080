//! `rate` and `by` of a route's `limits`: how fast requests may come, and who is one sender.

use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderName;

use crate::config::model::Sender;
use crate::config::schema::form::Form;
use crate::config::schema::scalar::{Refusal, Scalar};
use crate::http::provenance;

/// `"0"` for no limit, else so many in a window: `"20/s"`, `"100/m"`, `"1000/h"`, up to `MAX` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frequency<const MAX: u32>(pub(crate) Option<(NonZeroU32, Duration)>);

const WINDOWS: [(&str, u64); 3] = [("/s", 1), ("/m", 60), ("/h", 3600)];
const FORM: &str =
    "it must be a whole number a second, a minute or an hour: \"N/s\", \"N/m\", \"N/h\"";

impl<const MAX: u32> Scalar for Frequency<MAX> {
    const EXPECTED: &'static str = "a rate such as \"20/s\"";

    fn form() -> Form {
        Form::Rate {
            max: MAX,
            windows: &["/s", "/m", "/h"],
        }
    }

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text == "0" {
            return Ok(Self(None));
        }
        let parts = WINDOWS.iter().find_map(|(unit, seconds)| {
            let number = text.strip_suffix(unit)?;
            Some((number, Duration::from_secs(*seconds)))
        });
        let (number, window) = parts.ok_or_else(|| Refusal::malformed(FORM))?;
        if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Refusal::malformed(FORM));
        }
        match number.parse() {
            Ok(found) if found <= MAX => {
                Ok(Self(NonZeroU32::new(found).map(|count| (count, window))))
            }
            _ => Err(Refusal::bounds(format!("0 (none) to {MAX}"))),
        }
    }
}

impl Scalar for Sender {
    const EXPECTED: &'static str = "who is one sender, \"client\", \"user\" or \"header:NAME\"";

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text == "client" {
            return Ok(Self::Client);
        }
        if text == "user" {
            return Ok(Self::User);
        }
        let Some(name) = text.strip_prefix("header:") else {
            return Err(Refusal::unknown(
                "\"client\" is an address, \"user\" who was let in, \"header:X-Api-Key\" what a field says",
            ));
        };
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_invalid| Refusal::malformed("after `header:` comes a field's name"))?;
        // Each request could have another value.
        if provenance::is_claim(name.as_str()) {
            return Err(Refusal::malformed(
                "clients write there what they like; `trust.proxies` says whom to believe, and \"client\" is who they say asked",
            ));
        }
        Ok(Self::Header(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_window() {
        type Rate = Frequency<1000>;
        let rate = |count, seconds| {
            let window = Duration::from_secs(seconds);
            Ok(Frequency(
                NonZeroU32::new(count).map(|count| (count, window)),
            ))
        };
        for (text, expected) in [
            ("0", Ok(Frequency(None))),
            ("0/s", Ok(Frequency(None))),
            ("20/s", rate(20, 1)),
            ("5/m", rate(5, 60)),
            ("1000/h", rate(1000, 3600)),
            ("1001/h", Err(Refusal::bounds("0 (none) to 1000"))),
        ] {
            assert_eq!(Rate::parse(text), expected, "{text}");
        }
        for text in [
            "", "20", "/s", "20/d", "-1/s", "1.5/s", "+5/s", "5 /s", "5/s ",
        ] {
            assert_eq!(Rate::parse(text), Err(Refusal::malformed(FORM)), "{text}");
        }
    }

    #[test]
    fn a_sender_is_an_address_a_user_or_a_field() {
        let field = HeaderName::from_static("x-api-key");
        assert_eq!(Sender::parse("client"), Ok(Sender::Client));
        assert_eq!(Sender::parse("user"), Ok(Sender::User));
        assert_eq!(Sender::parse("header:X-Api-Key"), Ok(Sender::Header(field)));
        for text in [
            "",
            "ip",
            "header",
            "header:",
            "header:a b",
            "Client",
            "header:X-Forwarded-For",
        ] {
            assert!(Sender::parse(text).is_err(), "{text}");
        }
    }
}

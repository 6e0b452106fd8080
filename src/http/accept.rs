//! In which of three forms an error is told, by the request's `Accept` (RFC 9110 §12.5.1).
//!
//! Invariant: never a refusal; who accepts none of the forms gets plain text.

use http::HeaderValue;

/// The form of an error response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Plain text.
    Text,
    /// `application/problem+json` (RFC 9457), also for those who ask for `application/json`.
    Json,
    /// A page.
    Html,
}

/// How well a form is accepted. Fields compare in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    /// The weight in thousandths.
    weight: u16,
    /// 0 for `*/*`, 1 for `text/*`, 2 for a type.
    precision: u8,
    taste: u8,
}

/// The form with the greatest weight. Among equals: what is named before what a wildcard covers; of the named ones
/// JSON, for programs that also list `text/plain` as a last resort; under a wildcard plain text.
pub(super) fn form(accept: Option<&HeaderValue>) -> Form {
    form_of(&[Form::Text, Form::Json, Form::Html], accept).unwrap_or(Form::Text)
}

/// The same among some of the forms, of which a wildcard takes the first. `None`: there is no `Accept`, or it takes none.
pub(super) fn form_of(forms: &[Form], accept: Option<&HeaderValue>) -> Option<Form> {
    let accept = accept.and_then(|value| value.to_str().ok())?;
    let mut best: Option<(Rank, Form)> = None;
    for form in forms {
        let Some(rank) = rank(*form, accept) else {
            continue;
        };
        if best.is_none_or(|(known, _)| known < rank) {
            best = Some((rank, *form));
        }
    }
    best.map(|(_, form)| form)
}

impl Form {
    /// The form of a file by the end of its name: `html` or `htm`, `json`, `txt`.
    #[must_use]
    pub fn of_extension(extension: &str) -> Option<Self> {
        match extension {
            "html" | "htm" => Some(Self::Html),
            "json" => Some(Self::Json),
            "txt" => Some(Self::Text),
            _ => None,
        }
    }

    /// Its `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Json => "application/problem+json",
            Self::Html => "text/html; charset=utf-8",
        })
    }
}

/// `None`: not accepted. The most precise range decides, not the heaviest (RFC 9110 §12.5.1).
fn rank(form: Form, accept: &str) -> Option<Rank> {
    let (types, named): (&[&str], u8) = match form {
        Form::Text => (&["text/plain"], 0),
        Form::Json => (&["application/problem+json", "application/json"], 2),
        Form::Html => (&["text/html"], 1),
    };
    let (family, _) = types[0].split_once('/')?;
    let mut best: Option<Rank> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next()?;
        let precision = match name.strip_suffix("/*") {
            Some("*") => 0,
            Some(of) if of.eq_ignore_ascii_case(family) => 1,
            None if types.iter().any(|known| known.eq_ignore_ascii_case(name)) => 2,
            _ => continue,
        };
        // Of what a wildcard covers the first one is taken.
        let taste = if precision == 2 { named } else { 0 };
        let found = Rank {
            weight: parts.find_map(weight).unwrap_or(1000),
            precision,
            taste,
        };
        if best.is_none_or(|best| (best.precision, best.weight) < (found.precision, found.weight)) {
            best = Some(found);
        }
    }
    best.filter(|rank| rank.weight > 0)
}

/// The thousandths of `q=0.8`; `None` for another parameter. What is no weight counts as none at all, which is 1.
fn weight(parameter: &str) -> Option<u16> {
    let value = parameter
        .strip_prefix("q=")
        .or_else(|| parameter.strip_prefix("Q="))?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    match whole {
        "0" => format!("{fraction:0<3}").parse().ok(),
        "1" => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::{Form, form};

    #[test]
    fn form_follows_the_weights() {
        for (accept, expected) in [
            ("", Form::Text),
            ("*/*", Form::Text),
            ("text/*", Form::Text),
            ("text/plain", Form::Text),
            ("text/event-stream", Form::Text),
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                Form::Html,
            ),
            ("application/json", Form::Json),
            ("Application/Problem+JSON", Form::Json),
            ("application/*", Form::Json),
            ("application/json, text/plain, */*", Form::Json),
            ("text/plain;q=0.9, application/json;q=0.8", Form::Text),
            ("text/plain;q=0.25, text/html;q=0.3", Form::Html),
            ("*/*, text/plain;q=0", Form::Json),
            (
                "text/html;level=1;q=0.4, application/json;q=0.5",
                Form::Json,
            ),
            ("text/html;q=zzz", Form::Html),
            ("text/html;q=0", Form::Text),
            (",,;;q=,/", Form::Text),
        ] {
            assert_eq!(
                form(Some(&accept.parse::<HeaderValue>().unwrap())),
                expected,
                "{accept}"
            );
        }
        assert_eq!(form(None), Form::Text);
        assert_eq!(
            form(Some(&HeaderValue::from_bytes(b"text/html\xff").unwrap())),
            Form::Text
        );
    }
}

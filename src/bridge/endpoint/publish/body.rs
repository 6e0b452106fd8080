//! What a request's body is: one message, or a message a line.

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use serde::de::IgnoredAny;

use crate::bridge::channel::Outgoing;
use crate::http::problem::Problem;

/// What a message's `Content-Type` makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
    /// One message a line.
    JsonLines,
    Binary,
}

pub(super) fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    match kind.to_ascii_lowercase().as_str() {
        "text/plain" => Ok(Form::Text),
        "application/json" => Ok(Form::Json),
        "application/x-ndjson" => Ok(Form::JsonLines),
        "application/octet-stream" => Ok(Form::Binary),
        _ => Err(Problem::UnsupportedMediaType(
            "text/plain, application/json, application/x-ndjson or application/octet-stream is wanted",
        )),
    }
}

pub(super) async fn read<B>(mut body: B, limit: usize) -> Result<Bytes, Problem>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let too_large = || Problem::ContentTooLarge {
        limit: limit as u64,
    };
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large());
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken| Problem::BadRequest("the body ended early"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if whole.len() + data.len() > limit {
            return Err(too_large());
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

pub(super) fn messages(form: Form, body: Bytes) -> Result<Vec<Outgoing>, Problem> {
    if body.is_empty() {
        return Err(Problem::BadRequest("the body is empty"));
    }
    if form == Form::Binary {
        return Ok(vec![Outgoing::Binary(body)]);
    }
    let Ok(text) = std::str::from_utf8(&body) else {
        return Err(Problem::BadRequest("the body is not UTF-8"));
    };
    let lines: Vec<&str> = match form {
        Form::JsonLines => text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect(),
        _ => vec![text],
    };
    if lines.is_empty() {
        return Err(Problem::BadRequest("the body has no message"));
    }
    let is_json = |line: &&str| serde_json::from_str::<IgnoredAny>(line).is_ok();
    if form != Form::Text && !lines.iter().all(is_json) {
        return Err(Problem::BadRequest("the body is not JSON"));
    }
    let message = match form {
        Form::Text | Form::Binary => Outgoing::Text,
        Form::Json | Form::JsonLines => Outgoing::Json,
    };
    Ok(lines
        .into_iter()
        .map(|line| message(line.to_owned()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Outgoing {
        Outgoing::Text(text.into())
    }

    fn json(text: &str) -> Outgoing {
        Outgoing::Json(text.into())
    }

    #[test]
    fn a_body_becomes_messages_by_its_type() {
        type Row = (Form, &'static [u8], Option<Vec<Outgoing>>);
        let table: [Row; 11] = [
            (Form::Text, b"a\nb", Some(vec![text("a\nb")])),
            (Form::Text, b"\xff", None),
            (Form::Text, b"", None),
            (Form::Json, b"{\"a\":1}", Some(vec![json("{\"a\":1}")])),
            (Form::Json, b"{\"a\":", None),
            (Form::Json, b"1 2", None),
            (
                Form::JsonLines,
                b"1\r\n\n2\n",
                Some(vec![json("1"), json("2")]),
            ),
            (Form::JsonLines, b"1\nx\n", None),
            (Form::JsonLines, b"\n \n", None),
            (
                Form::Binary,
                b"\xff",
                Some(vec![Outgoing::Binary(Bytes::from_static(b"\xff"))]),
            ),
            (Form::Binary, b"", None),
        ];
        for (form, body, expected) in table {
            let found = messages(form, Bytes::from_static(body)).ok();
            assert_eq!(found, expected, "{form:?} {body:?}");
        }
    }

    #[test]
    fn types_have_a_form_or_are_refused() {
        let table = [
            (Some("text/plain; charset=utf-8"), Some(Form::Text)),
            (Some("Application/JSON"), Some(Form::Json)),
            (Some("application/x-ndjson"), Some(Form::JsonLines)),
            (Some("application/octet-stream"), Some(Form::Binary)),
            (Some("application/x-www-form-urlencoded"), None),
            (None, None),
        ];
        for (kind, expected) in table {
            let mut headers = HeaderMap::new();
            kind.map(|kind| headers.insert("content-type", kind.parse().unwrap()));
            assert_eq!(form(&headers).ok(), expected, "{kind:?}");
        }
    }
}

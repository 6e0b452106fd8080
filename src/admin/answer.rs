//! Answers of the admin listener: text, JSON, and refusals (RFC 9457).

use std::borrow::Cow;
use std::convert::Infallible;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{Either, Full, StreamBody};
use serde::Serialize;
use serde_json::json;

/// Pieces that come as time goes by.
pub(super) type Pieces = Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, Infallible>>>>;

/// What an answer says: all at once, or as time goes by.
pub(super) type Body = Either<Full<Bytes>, StreamBody<Pieces>>;

/// An answer.
pub(super) type Answer = Response<Body>;

/// An answer, or why there is none.
pub(super) type Answered = Result<Answer, Refusal>;

const TEXT: &str = "text/plain; charset=utf-8";

pub(super) const JSON: &str = "application/json";

/// Why something is not done, for whoever asked.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    detail: Cow<'static, str>,
    field: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// With a sentence that says what is wrong, and what to do.
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            detail: detail.into(),
            field: None,
        }
    }

    /// 400.
    pub(super) fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// The same with one more field in its head.
    pub(super) fn with(self, name: HeaderName, value: HeaderValue) -> Self {
        Self {
            field: Some((name, value)),
            ..self
        }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let Refusal {
            status,
            detail,
            field,
        } = refusal;
        let title = status.canonical_reason().unwrap_or_default();
        let problem = json!({"title": title, "status": status.as_u16(), "detail": detail});
        let text = format!("{problem}\n");
        let mut answer = body(status, "application/problem+json", text.into());
        answer.headers_mut().extend(field);
        answer
    }
}

/// A few words.
pub(super) fn text(status: StatusCode, words: &'static str) -> Answer {
    body(status, TEXT, Bytes::from_static(words.as_bytes()))
}

/// 200 with this as JSON.
pub(super) fn json(value: &impl Serialize) -> Answer {
    json_with(StatusCode::OK, value)
}

/// A status with this as JSON.
pub(super) fn json_with(status: StatusCode, value: &impl Serialize) -> Answer {
    let mut text = serde_json::to_vec(value).expect("names, texts and numbers are JSON");
    text.push(b'\n');
    body(status, JSON, text.into())
}

/// A body of this type.
pub(super) fn body(status: StatusCode, content_type: &'static str, bytes: Bytes) -> Answer {
    with_type(status, content_type, Either::Left(Full::new(bytes)))
}

/// A body that comes as time goes by.
pub(super) fn pieces(content_type: &'static str, pieces: Pieces) -> Answer {
    let body = Either::Right(StreamBody::new(pieces));
    with_type(StatusCode::OK, content_type, body)
}

fn with_type(status: StatusCode, content_type: &'static str, body: Body) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

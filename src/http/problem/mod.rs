//! streamgate's own error responses.
//!
//! Owns their statuses, fields and words; which problem an error is, `service` decides. Invariants: every response
//! names its cause in `Proxy-Status` (RFC 9209) and is never cached; none tells a name, an address or a limit of
//! the inside, except the limit that a client must know to do better.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};

use crate::http::accept::{Form, form};
use crate::http::error_page::ErrorPages;

pub use crate::http::gateway_fault::GatewayFault;

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
/// Both by draft-ietf-httpapi-ratelimit-headers-11, which has one item for a policy and one for what is left of it.
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// How many requests one sender may make in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Requests.
    pub requests: u32,
    /// The time, in seconds.
    pub seconds: u64,
}

/// Why a request is answered by streamgate itself, with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// 400: what is wrong, in a sentence.
    BadRequest(&'static str),
    /// 401: who asks is not known, or no longer.
    Unauthorized,
    /// 401 with this challenge, of a route that asks who it is (RFC 9110 §11.6.1).
    Challenged(HeaderValue),
    /// 403: why not.
    Forbidden(&'static str),
    /// 404: no route.
    NotFound,
    /// 405: what the path's routes do take.
    MethodNotAllowed(Vec<Method>),
    /// 408: the request did not come in time.
    RequestTimeout,
    /// 410: what is gone, in a sentence.
    Gone(&'static str),
    /// 413
    ContentTooLarge {
        /// Bytes that are allowed.
        limit: u64,
    },
    /// 415: what is taken instead, in a sentence.
    UnsupportedMediaType(&'static str),
    /// 421: the connection was not made for this host (RFC 9110 §15.5.20).
    Misdirected,
    /// 426: a WebSocket handshake of a version other than 13 (RFC 6455 §4.4).
    UpgradeRequired,
    /// 429
    TooManyRequests {
        /// When to try again.
        retry_after: Duration,
    },
    /// 429: faster than the rate that one sender may have.
    TooFast {
        /// When the next request will be taken.
        retry_after: Duration,
        /// What may be done in which time.
        quota: Quota,
    },
    /// 431: the head has too many bytes or fields.
    HeaderTooLarge,
    /// 500: a fault of streamgate.
    Internal,
    /// 501: an extended CONNECT for another protocol than WebSocket (RFC 9220 §3).
    NotImplemented,
    /// 502 or 504: a fault on the way to the backend, or of the backend.
    Gateway(GatewayFault),
    /// 503: not now.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
        /// Why, in a sentence.
        reason: &'static str,
    },
}

impl Problem {
    /// The response's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized | Self::Challenged(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Gone(_) => StatusCode::GONE,
            Self::ContentTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::TooManyRequests { .. } | Self::TooFast { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Gateway(fault) => fault.status(),
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// How it is called in logs and metrics: one word.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::BadRequest(_) => "bad_request",
            Self::Unauthorized | Self::Challenged(_) => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::Gone(_) => "gone",
            Self::ContentTooLarge { .. } => "content_too_large",
            Self::UnsupportedMediaType(_) => "unsupported_media_type",
            Self::Misdirected => "misdirected",
            Self::UpgradeRequired => "upgrade_required",
            Self::TooManyRequests { .. } => "too_many_requests",
            Self::TooFast { .. } => "rate_limited",
            Self::HeaderTooLarge => "header_too_large",
            Self::Internal => "internal",
            Self::NotImplemented => "not_implemented",
            Self::Gateway(fault) => fault.error_type(),
            Self::Unavailable { .. } => "unavailable",
        }
    }

    /// The value of `Proxy-Status`: this proxy and the error type (RFC 9209 §2.3).
    #[must_use]
    pub fn proxy_status(&self) -> HeaderValue {
        let text = format!("streamgate; error={}", self.error_type());
        HeaderValue::try_from(text).expect("error types are words of lower-case letters and `_`")
    }

    /// The whole response, in the form that `accept` asks for: plain text, `application/problem+json` (RFC 9457) or
    /// a small HTML page. Its length is the body's; `HEAD` is the server's business.
    #[must_use]
    pub fn response(&self, accept: Option<&HeaderValue>) -> Response<Bytes> {
        let form = form(accept);
        let body = match form {
            Form::Text => self.text(),
            Form::Json => self.json(),
            Form::Html => self.html(),
        };
        self.around(form, Bytes::from(body))
    }

    /// The same with the operator's own page in place of the body, where `pages` has one.
    #[must_use]
    pub fn response_from(
        &self,
        pages: &ErrorPages,
        accept: Option<&HeaderValue>,
    ) -> Response<Bytes> {
        match pages.find(self.status(), accept) {
            Some(page) => self.around(page.form, page.body.clone()),
            None => self.response(accept),
        }
    }

    /// The response with this body.
    fn around(&self, form: Form, body: Bytes) -> Response<Bytes> {
        let mut response = Response::new(body);
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, form.content_type());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(
            header::X_CONTENT_TYPE_OPTIONS,
            HeaderValue::from_static("nosniff"),
        );
        headers.insert(PROXY_STATUS, self.proxy_status());
        self.add_fields(headers);
        response
    }

    /// The fields that a status demands.
    fn add_fields(&self, headers: &mut HeaderMap) {
        match self {
            Self::MethodNotAllowed(methods) => {
                let names: Vec<&str> = methods.iter().map(Method::as_str).collect();
                let allow = HeaderValue::try_from(names.join(", "));
                headers.insert(
                    header::ALLOW,
                    allow.expect("methods are tokens, and so field values"),
                );
            }
            Self::Unauthorized => {
                // RFC 9110 §11.6.1: at least one challenge.
                let challenge = HeaderValue::from_static("Bearer");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Self::Challenged(challenge) => {
                headers.insert(header::WWW_AUTHENTICATE, challenge.clone());
            }
            Self::UpgradeRequired => {
                let version = HeaderValue::from_static("13");
                headers.insert(header::SEC_WEBSOCKET_VERSION, version);
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            }
            Self::TooManyRequests { retry_after } | Self::Unavailable { retry_after, .. } => {
                headers.insert(
                    header::RETRY_AFTER,
                    HeaderValue::from(seconds(*retry_after)),
                );
            }
            Self::TooFast { retry_after, quota } => {
                let wait = seconds(*retry_after);
                headers.insert(header::RETRY_AFTER, HeaderValue::from(wait));
                let Quota { requests, seconds } = quota;
                for (name, value) in [
                    (
                        RATE_LIMIT_POLICY,
                        format!("\"requests\";q={requests};w={seconds}"),
                    ),
                    (RATE_LIMIT, format!("\"requests\";r=0;t={wait}")),
                ] {
                    let value = HeaderValue::try_from(value);
                    headers.insert(name, value.expect("words and numbers are a field's value"));
                }
            }
            _ => {}
        }
    }

    fn error_type(&self) -> &'static str {
        match self {
            Self::NotFound => "destination_not_found",
            Self::Unauthorized
            | Self::Challenged(_)
            | Self::Forbidden(_)
            | Self::TooManyRequests { .. }
            | Self::TooFast { .. } => "http_request_denied",
            Self::BadRequest(_)
            | Self::MethodNotAllowed(_)
            | Self::RequestTimeout
            | Self::Gone(_)
            | Self::ContentTooLarge { .. }
            | Self::UnsupportedMediaType(_)
            | Self::Misdirected
            | Self::UpgradeRequired
            | Self::NotImplemented
            | Self::HeaderTooLarge => "http_request_error",
            Self::Internal => "proxy_internal_error",
            Self::Gateway(fault) => fault.error_type(),
            Self::Unavailable { .. } => "destination_unavailable",
        }
    }

    fn detail(&self) -> String {
        let sentence = match self {
            Self::ContentTooLarge { limit } => {
                return format!("The request's content is larger than {limit} bytes.");
            }
            Self::BadRequest(sentence)
            | Self::Forbidden(sentence)
            | Self::Gone(sentence)
            | Self::UnsupportedMediaType(sentence)
            | Self::Unavailable {
                reason: sentence, ..
            } => sentence,
            Self::Unauthorized | Self::Challenged(_) => "It is not known who asks.",
            Self::NotFound => "There is nothing at this address.",
            Self::MethodNotAllowed(_) => "This address does not take the request's method.",
            Self::RequestTimeout => "The request did not arrive in time.",
            Self::Misdirected => "This connection is not for the requested host.",
            Self::UpgradeRequired => "WebSocket version 13 is needed here.",
            Self::TooManyRequests { .. } | Self::TooFast { .. } => {
                "There were too many requests; try again later."
            }
            Self::HeaderTooLarge => "The request's header is too large.",
            Self::NotImplemented => "Only WebSocket is spoken within an HTTP/2 stream.",
            Self::Internal => "The server met a fault of its own.",
            Self::Gateway(fault) => fault.detail(),
        };
        sentence.to_owned()
    }

    fn title(&self) -> &'static str {
        self.status().canonical_reason().unwrap_or("Error")
    }

    fn text(&self) -> String {
        format!(
            "{} {}\n{}\n",
            self.status().as_u16(),
            self.title(),
            self.detail()
        )
    }

    fn json(&self) -> String {
        serde_json::json!({
            "type": "about:blank",
            "title": self.title(),
            "status": self.status().as_u16(),
            "detail": self.detail(),
        })
        .to_string()
    }

    fn html(&self) -> String {
        let (status, title) = (self.status().as_u16(), self.title());
        let detail = self.detail().replace('&', "&amp;").replace('<', "&lt;");
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <title>{status} {title}</title>\n\
             <h1>{status} {title}</h1>\n<p>{detail}</p>\n</html>\n"
        )
    }
}

/// Whole seconds, rounded up: who is told 0 comes back at once.
fn seconds(wait: Duration) -> u64 {
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    u64::try_from(seconds).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;

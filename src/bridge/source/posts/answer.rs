//! What a server's answer to a message means to the message's client.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};

use crate::bridge::post::{Answered, Delivered, Unsent};
use crate::upstream::http1::ResponseHead;

/// A longer wait is not told.
const LONGEST_WAIT: u64 = 3600;

/// Whether a body is not as it is, but compressed, whatever by.
pub(in crate::bridge::source) fn is_encoded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// What the client is told of the answer.
pub(super) fn judge(head: &ResponseHead, body: Bytes) -> Result<Delivered, Unsent> {
    let answered = |status| Answered {
        status,
        content_type: head.headers.get(header::CONTENT_TYPE).cloned(),
        body,
        retry_after: retry_after(&head.headers),
    };
    match head.status {
        status if status.is_success() => Ok(match answered(StatusCode::OK) {
            silent if silent.body.is_empty() => Delivered::Taken,
            answered => Delivered::Answered(answered),
        }),
        status if means_the_client(status) => Err(Unsent::Refused(answered(status))),
        status if status.is_server_error() => Err(Unsent::Unavailable {
            retry_after: retry_after(&head.headers),
        }),
        // A redirect, or a fault in how it was asked.
        _ => Err(Unsent::BadAnswer),
    }
}

/// Whether a refusal is about the client or its message, and not about how streamgate asks.
fn means_the_client(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        400 | 401 | 403 | 404 | 409 | 410 | 413 | 415 | 422 | 429
    )
}

/// RFC 9110 §10.2.3, where it is in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let seconds: u64 = value.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(LONGEST_WAIT)))
}

#[cfg(test)]
mod tests {
    use crate::upstream::http1::Framing;

    use super::*;

    fn answer(status: u16, fields: &[(&'static str, &str)]) -> ResponseHead {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        ResponseHead {
            status: StatusCode::from_u16(status).unwrap(),
            version: http::Version::HTTP_11,
            headers,
            framing: Framing::Empty,
        }
    }

    #[test]
    fn each_status_has_its_meaning() {
        let judged =
            |status, body: &'static [u8]| judge(&answer(status, &[]), Bytes::from_static(body));
        for status in [200, 201, 202, 204] {
            assert_eq!(judged(status, b""), Ok(Delivered::Taken), "{status}");
        }
        assert!(matches!(
            judged(202, b"{}"),
            Ok(Delivered::Answered(Answered {
                status: StatusCode::OK,
                ..
            }))
        ));
        for status in [400, 401, 403, 404, 409, 410, 413, 415, 422, 429] {
            let Err(Unsent::Refused(refused)) = judged(status, b"why") else {
                panic!("{status} means the client");
            };
            assert_eq!(refused.status.as_u16(), status);
        }
        for status in [500, 502, 503, 599] {
            let down = Err(Unsent::Unavailable { retry_after: None });
            assert_eq!(judged(status, b""), down, "{status}");
        }
        for status in [101, 301, 307, 405, 407, 411, 417, 421, 426, 431] {
            assert_eq!(judged(status, b""), Err(Unsent::BadAnswer), "{status}");
        }
    }

    #[test]
    fn a_wait_is_told_in_seconds_and_bounded() {
        for (text, expected) in [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("99999999", Some(LONGEST_WAIT)),
            ("-1", None),
            ("Wed, 21 Oct 2015 07:28:00 GMT", None),
        ] {
            let head = answer(503, &[("retry-after", text)]);
            let found = retry_after(&head.headers);
            assert_eq!(found, expected.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn a_compressed_answer_is_not_given_on() {
        for (coding, expected) in [("gzip", true), ("Identity", false), ("", true)] {
            let head = answer(200, &[("content-encoding", coding)]);
            assert_eq!(is_encoded(&head.headers), expected, "{coding}");
        }
        assert!(!is_encoded(&HeaderMap::new()));
    }
}

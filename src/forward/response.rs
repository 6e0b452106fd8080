//! The response as the client gets it.

use http::Response;
use http::header::{Entry, HeaderMap, HeaderName, HeaderValue};

use super::Asked;
use super::reply_body::{Home, ReplyBody, ServerReply};
use crate::http::body::Body;
use crate::http::hop_by_hop;
use crate::http::provenance;
use crate::observe::access::RequestRecord;
use crate::stream::{Answer, Lifetime};
use crate::upstream::Lease;
use crate::upstream::http1::ResponseHead;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers with a body that ends.
pub(super) fn answer(
    mut head: ResponseHead,
    reply: ServerReply,
    home: (Home, Lease),
    asked: &Asked<'_>,
    mut record: Option<RequestRecord>,
) -> Answer {
    if let Some(record) = &mut record {
        record.answered(head.status);
    }
    // A server that wants no proxy to hold its response back is making it as it goes.
    let silence = if is_unbuffered(&head.headers) {
        asked.timeouts.stream_idle
    } else {
        asked.timeouts.idle
    };
    hop_by_hop::strip(&mut head.headers);
    complete(&mut head, asked);
    let life = Lifetime::new(silence, None);
    let body = ReplyBody::new(reply, life, home, record);
    let mut response = Response::new(Body::stream(body));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Answer::Response(response)
}

fn is_unbuffered(headers: &HeaderMap) -> bool {
    headers
        .get("x-accel-buffering")
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"no"))
}

/// Puts into a response's head what every client is told, and what the route says. For streams and switched protocols too.
pub(super) fn complete(head: &mut ResponseHead, asked: &Asked<'_>) {
    provenance::via(&mut head.headers, head.version);
    if let Entry::Vacant(vacant) = head.headers.entry(X_REQUEST_ID)
        && let Ok(id) = HeaderValue::from_str(asked.id.as_str())
    {
        vacant.insert(id);
    }
    asked.response_fields.apply(&mut head.headers);
}

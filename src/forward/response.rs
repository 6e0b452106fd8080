//! The response as the client gets it.

use bytes::Bytes;
use http::Response;
use http::header::{Entry, HeaderMap, HeaderName, HeaderValue};

use super::Asked;
use super::reply_body::{Home, ReplyBody, ServerReply};
use crate::http::body::Body;
use crate::http::hop_by_hop;
use crate::http::provenance;
use crate::observe::access::{End, RequestRecord};
use crate::stream::{Answer, Lifetime};
use crate::upstream::Lease;
use crate::upstream::http1::ResponseHead;

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers with a body that ends.
pub(super) fn answer(
    mut head: ResponseHead,
    mut reply: ServerReply,
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
    let body = match reply.take_whole() {
        Some(bytes) => whole(bytes, reply, &home.0, record),
        None => {
            let life = Lifetime::new(silence, None);
            Body::stream(ReplyBody::new(reply, life, home, record))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Answer::Response(response)
}

/// A body that has come with its head, as most answers of an API do: nothing of the server's is held until the client has it.
fn whole(bytes: Bytes, reply: ServerReply, home: &Home, record: Option<RequestRecord>) -> Body {
    home.settle(&mut Some(reply));
    if let Some(mut record) = record {
        record.bytes_out = bytes.len() as u64;
        record.ended(End::Backend);
    }
    Body::from(bytes)
}

fn is_unbuffered(headers: &HeaderMap) -> bool {
    headers
        .get(X_ACCEL_BUFFERING)
        .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"no"))
}

/// Puts into a response's head what every client is told, and what the route says. For streams and switched protocols too.
pub(super) fn complete(head: &mut ResponseHead, asked: &Asked<'_>) {
    provenance::via(&mut head.headers, head.version);
    if let Entry::Vacant(vacant) = head.headers.entry(X_REQUEST_ID)
        && let Ok(mut id) = HeaderValue::from_str(asked.id.as_str())
    {
        // It never comes again: in HPACK's table (RFC 7541 §2.3.2) it would push out what does.
        id.set_sensitive(true);
        vacant.insert(id);
    }
    asked.response_fields.apply(&mut head.headers);
}

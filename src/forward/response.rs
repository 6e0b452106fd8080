//! The response as the client gets it.

use std::time::SystemTime;

use http::header::{self, Entry, HeaderMap, HeaderName, HeaderValue};
use http::{Response, Version};
use hyper::body::Incoming;

use super::reply_body::{Home, Record, ReplyBody};
use super::request_body::RequestBody;
use super::{Asked, ForwardError, head_bytes};
use crate::http::body::Body;
use crate::http::hop_by_hop;
use crate::http::provenance;
use crate::limits::StreamPermit;
use crate::observe::access::{Kind, RequestRecord, StreamRecord};
use crate::stream::event_stream::{self, Recode};
use crate::stream::{AfterFall, Answer, HandOver, Lifetime, takes_chunks};
use crate::upstream::http1::{Framing, ResponseHead, Socket};
use crate::upstream::{Lease, Reply};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers with what the server says: by hand-over when it is a long stream that can leave hyper, else by a body.
pub(super) fn answer(
    mut head: ResponseHead,
    reply: Reply<RequestBody<Incoming>>,
    home: Home,
    (asked, permit): (&Asked<'_>, Option<StreamPermit>),
    record: &mut Option<RequestRecord>,
) -> Result<Answer, ForwardError> {
    let ending = Ending::of(&head);
    if let Some(record) = record {
        record.answered(head.status);
    }
    hop_by_hop::strip(&mut head.headers);
    if ending == Ending::EventStream {
        keep_unbuffered(&mut head.headers);
    }
    complete(&mut head, asked);
    if ending == Ending::Body {
        let life = Lifetime::new(asked.timeouts.idle, None);
        let reply = ReplyBody::new(reply, life, home, Record::of(record.take()));
        return Ok(body(head, reply));
    }
    let permit = permit.map_or_else(|| asked.stream_permit(), Ok)?;
    record
        .take()
        .into_iter()
        .for_each(RequestRecord::superseded);
    let (client, timeouts) = (asked.downstream.client, asked.timeouts);
    let life = Lifetime::new(timeouts.stream_idle, timeouts.stream_max);
    let record = StreamRecord::open(
        asked.id.clone(),
        Kind::EventStream,
        asked.route.clone(),
        client,
        home.server(),
        asked.version,
    );
    let recode = Recode::between(head.framing, takes_chunks(asked.version));
    let can_leave = asked.downstream.slot.is_some() && reply.has_socket();
    let reply = match (recode.filter(|_recode| can_leave), reply) {
        (Some(recode), reply) => match reply.into_socket() {
            Ok(socket) => {
                let held = (home.into_lease(), permit, asked.after_fall);
                return Ok(hand_over(head, (socket, held), recode, life, record));
            }
            Err(reply) => reply,
        },
        (None, reply) => reply,
    };
    let stream = ReplyBody::new(reply, life, home, Record::Stream(record));
    let guard = asked.downstream.guard.clone();
    let stream = stream.ended_by(guard, asked.after_fall, permit);
    Ok(body(head, stream))
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

fn body(head: ResponseHead, body: ReplyBody) -> Answer {
    let mut response = Response::new(Body::stream(body));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Answer::Response(response)
}

fn hand_over(
    mut head: ResponseHead,
    (socket, (lease, permit, after_fall)): (Socket, (Lease, StreamPermit, AfterFall)),
    recode: Recode,
    life: Lifetime,
    record: StreamRecord,
) -> Answer {
    // The connection ends with its stream: hyper, which knew what comes after, has left it.
    head.headers
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    if matches!(recode, Recode::Chunks(_) | Recode::Chunk) {
        head.headers.insert(
            header::TRANSFER_ENCODING,
            HeaderValue::from_static("chunked"),
        );
    }
    if !head.headers.contains_key(header::DATE) {
        let now = httpdate::fmt_http_date(SystemTime::now());
        head.headers.insert(
            header::DATE,
            HeaderValue::try_from(now).expect("an HTTP date is visible ASCII"),
        );
    }
    let opening = event_stream::Opening {
        backend: socket.stream,
        early: socket.early,
        head: head_bytes(head.status, &head.headers, b""),
        recode,
        life,
        record,
        lease,
        permit,
        after_fall,
    };
    Answer::HandOver(HandOver::new(|taken| event_stream::run(taken, opening)))
}

/// Whether a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// A body like any other.
    Body,
    /// Server-sent events.
    EventStream,
    /// Another type that is made to go on for ever.
    Endless,
}

impl Ending {
    fn of(head: &ResponseHead) -> Self {
        if matches!(head.framing, Framing::Empty | Framing::Length(_))
            || head.version < Version::HTTP_10
        {
            return Self::Body;
        }
        let Some(value) = head
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
        else {
            return Self::Body;
        };
        let essence = value
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        match &*essence {
            "text/event-stream" => Self::EventStream,
            "application/x-ndjson" | "application/json-seq" | "multipart/x-mixed-replace" => {
                Self::Endless
            }
            grpc if grpc.starts_with("application/grpc") => Self::Endless,
            _ => Self::Body,
        }
    }
}

/// Tells whoever stands between us and the client to pass each event on as it comes.
fn keep_unbuffered(headers: &mut HeaderMap) {
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    let says = |word: &str| {
        let values = headers
            .get_all(header::CACHE_CONTROL)
            .iter()
            .filter_map(|value| value.to_str().ok());
        values
            .flat_map(|value| value.split(','))
            .any(|token| token.trim().eq_ignore_ascii_case(word))
    };
    if !says("no-cache") && !says("no-transform") {
        headers.append(
            header::CACHE_CONTROL,
            HeaderValue::from_static("no-cache, no-transform"),
        );
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    fn head(content_type: &str, framing: Framing) -> ResponseHead {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        ResponseHead {
            status: StatusCode::OK,
            version: Version::HTTP_11,
            headers,
            framing,
        }
    }

    #[test]
    fn a_stream_is_known_by_its_parsed_type() {
        let cases = [
            ("text/event-stream", Ending::EventStream),
            ("Text/Event-Stream ; charset=utf-8", Ending::EventStream),
            ("text/event-streams", Ending::Body),
            ("application/x-ndjson", Ending::Endless),
            ("application/grpc+proto", Ending::Endless),
            ("text/html", Ending::Body),
        ];
        for (content_type, expected) in cases {
            assert_eq!(
                Ending::of(&head(content_type, Framing::Chunked)),
                expected,
                "{content_type}"
            );
        }
        assert_eq!(
            Ending::of(&head("text/event-stream", Framing::Length(3))),
            Ending::Body
        );
    }

    #[test]
    fn cache_control_gains_what_it_lacks() {
        let cases: [(&[&'static str], &[&str]); 4] = [
            (&[], &["no-cache, no-transform"]),
            (&["private"], &["private", "no-cache, no-transform"]),
            (&["No-Cache"], &["No-Cache"]),
            (&["private, no-transform"], &["private, no-transform"]),
        ];
        for (before, after) in cases {
            let mut headers = HeaderMap::new();
            for value in before {
                headers.append(header::CACHE_CONTROL, HeaderValue::from_static(value));
            }
            keep_unbuffered(&mut headers);
            let values: Vec<_> = headers.get_all(header::CACHE_CONTROL).iter().collect();
            assert_eq!(values, after);
        }
    }
}

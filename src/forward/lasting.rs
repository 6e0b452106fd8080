//! A response that is made to go on: its head, and how it leaves.

use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode, Version};
use http_body::Frame;

use super::again::Again;
use super::reply_body::{Home, ServerReply};
use super::request::Outbound;
use super::response::complete;
use super::{Asked, head_bytes};
use crate::http::body::Body;
use crate::http::hop_by_hop;
use crate::limits::StreamPermit;
use crate::observe::access::{self, RequestRecord, StreamRecord};
use crate::stream::events::{self, Content, EventBody, Opening, Pieces, Resumption, Source};
use crate::stream::{Answer, HandOver, Lifetime, takes_chunks};
use crate::upstream::Lease;
use crate::upstream::http1::{Framing, ReplyError, ResponseHead};

/// Why a response is made to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Server-sent events.
    EventStream,
    /// Another type that has no end by its nature.
    Endless,
}

/// What a server answered.
pub(super) struct Stream {
    pub(super) kind: Kind,
    pub(super) head: ResponseHead,
    pub(super) reply: ServerReply,
    pub(super) home: Home,
    pub(super) lease: Lease,
    pub(super) permit: StreamPermit,
}

impl Kind {
    /// By the type of the content. `None`: a body like any other, or one whose end is known.
    pub(super) fn of(head: &ResponseHead) -> Option<Self> {
        if matches!(head.framing, Framing::Empty | Framing::Length(_))
            || head.version < Version::HTTP_10
        {
            return None;
        }
        let content_type = head.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        match &*essence.to_ascii_lowercase() {
            "text/event-stream" => Some(Self::EventStream),
            "application/x-ndjson" | "application/json-seq" | "multipart/x-mixed-replace" => {
                Some(Self::Endless)
            }
            grpc if grpc.starts_with("application/grpc") => Some(Self::Endless),
            _ => None,
        }
    }

    /// What can be seen of it: compressed events are like anything else.
    pub(super) fn content(self, head: &ResponseHead) -> Content {
        let mut codings = head.headers.get_all(header::CONTENT_ENCODING).iter();
        let is_plain = codings.all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
        match self {
            Self::EventStream if is_plain => Content::Events,
            Self::EventStream | Self::Endless => Content::Opaque,
        }
    }
}

impl Stream {
    /// Whether its client would ask for it again in the same way.
    pub(super) fn may_resume(&self, outbound: &Outbound) -> bool {
        outbound.is_bare()
            && outbound.method == Method::GET
            && self.head.status == StatusCode::OK
            && self.kind.content(&self.head) == Content::Events
    }
}

/// Answers with a stream: by hand-over to a client of HTTP/1.1, else by a body. `again` is how it is asked for when it breaks,
/// and for how long.
pub(super) fn answer(
    stream: Stream,
    again: Option<(Again, Duration)>,
    asked: &Asked<'_>,
    record: Option<RequestRecord>,
) -> Answer {
    let content = stream.kind.content(&stream.head);
    let Stream {
        kind,
        mut head,
        reply,
        home,
        lease,
        permit,
    } = stream;
    if let Some(mut record) = record {
        record.answered(head.status);
        record.superseded();
    }
    hop_by_hop::strip(&mut head.headers);
    if kind == Kind::EventStream {
        keep_unbuffered(&mut head.headers);
    }
    complete(&mut head, asked);
    let record = StreamRecord::open(
        asked.id.clone(),
        access::Kind::EventStream,
        asked.route.clone(),
        (asked.downstream.client, asked.losses.user()),
        lease.addr(),
        asked.version,
    );
    // What still reads the request cannot leave hyper, which has it.
    let leaves = asked.downstream.slot.is_some() && reply.is_sent();
    let wants_socket = leaves || again.is_some();
    let opening = Opening {
        source: if wants_socket {
            source(reply, home)
        } else {
            Source::shared(Kept {
                reply: Some(reply),
                home,
            })
        },
        content,
        heartbeat: asked.event_streams.heartbeat,
        resume: again.map(|(again, limit)| {
            let last_id = again.last_id();
            (Resumption::new(again, limit), last_id)
        }),
        life: Lifetime::new(asked.timeouts.stream_idle, asked.timeouts.stream_max),
        record,
        lease,
        permit,
        losses: asked.losses.clone(),
        guard: asked.downstream.guard.clone(),
    };
    if leaves {
        return hand_over(head, takes_chunks(asked.version), opening);
    }
    let mut response = Response::new(Body::stream(EventBody::new(opening)));
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Answer::Response(response)
}

/// The bytes of `reply`, from its bare socket if it has one.
pub(super) fn source(reply: ServerReply, home: Home) -> Source {
    if !reply.has_socket() {
        let reply = Some(reply);
        return Source::shared(Kept { reply, home });
    }
    match reply.into_socket() {
        Ok(socket) => Source::socket(socket),
        Err(reply) => {
            let reply = Some(reply);
            Source::shared(Kept { reply, home })
        }
    }
}

/// A body whose connection is kept for another request when it has ended in order.
struct Kept {
    reply: Option<ServerReply>,
    home: Home,
}

impl Pieces for Kept {
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        let Some(reply) = &mut self.reply else {
            return Poll::Ready(None);
        };
        let piece = reply.poll_piece(cx);
        if piece.is_ready() {
            self.home.settle(&mut self.reply);
        }
        piece
    }
}

fn hand_over(mut head: ResponseHead, takes_chunks: bool, opening: Opening) -> Answer {
    // The connection ends with its stream: hyper, which knew what comes after, has left it.
    head.headers
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    let framing = if takes_chunks {
        events::Framing::Chunked
    } else {
        events::Framing::UntilClose
    };
    if takes_chunks {
        let chunked = HeaderValue::from_static("chunked");
        head.headers.insert(header::TRANSFER_ENCODING, chunked);
    }
    if !head.headers.contains_key(header::DATE) {
        let now = httpdate::fmt_http_date(SystemTime::now());
        let now = HeaderValue::try_from(now).expect("an HTTP date is visible ASCII");
        head.headers.insert(header::DATE, now);
    }
    let head = head_bytes(head.status, &head.headers, b"");
    Answer::HandOver(HandOver::new(move |taken| {
        events::run(taken, head, framing, opening)
    }))
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
            ("text/event-stream", Some(Kind::EventStream)),
            ("Text/Event-Stream ; charset=utf-8", Some(Kind::EventStream)),
            ("text/event-streams", None),
            ("application/x-ndjson", Some(Kind::Endless)),
            ("application/grpc+proto", Some(Kind::Endless)),
            ("text/html", None),
        ];
        for (content_type, expected) in cases {
            let kind = Kind::of(&head(content_type, Framing::Chunked));
            assert_eq!(kind, expected, "{content_type}");
        }
        let finite = head("text/event-stream", Framing::Length(3));
        assert_eq!(Kind::of(&finite), None);
    }

    #[test]
    fn compressed_events_are_left_alone() {
        let mut head = head("text/event-stream", Framing::Chunked);
        assert_eq!(Kind::EventStream.content(&head), Content::Events);
        let coding = |text| HeaderValue::from_static(text);
        head.headers
            .insert(header::CONTENT_ENCODING, coding("identity"));
        assert_eq!(Kind::EventStream.content(&head), Content::Events);
        head.headers
            .append(header::CONTENT_ENCODING, coding("gzip"));
        assert_eq!(Kind::EventStream.content(&head), Content::Opaque);
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

//! What a subscriber is told around the events: the head, how it begins, how it ends.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::bridge::channel::Channel;
use crate::bridge::counts::{GapReason, Word};
use crate::bridge::cursor::{Cursor, EventId, Gap, Opening, resolve};
use crate::bridge::log::{Form, Kind, form};
use crate::bridge::map::{self, Upstream};
use crate::config::model;
use crate::http::chunked;
use crate::observe::access::RequestId;
use crate::respond::fields::Rendered;
use crate::sse::encode;
use crate::upstream::http1::write_response_head;

/// The fields that every event stream of a bridge has.
pub(super) const FIELDS: [(&str, &str); 3] = [
    ("content-type", "text/event-stream"),
    ("cache-control", "no-store, no-transform"),
    ("x-accel-buffering", "no"),
];

/// A heartbeat: a comment, which clients skip, or `streamgate.ping` for pages that watch for it. `id` moves a client's
/// cursor past events that it was not given.
pub(super) fn heartbeat(config: &model::Bridge, form: Form, id: Option<EventId>) -> Bytes {
    let mut out = Vec::new();
    if let Some(id) = id {
        id.write(&mut out);
    }
    match config.heartbeat {
        Some(every) if config.heartbeat_event => map::ping(every, &mut out),
        _ if id.is_none() && form == Form::SseChunked => {
            return Bytes::from_static(b"3\r\n:\n\n\r\n");
        }
        _ if id.is_none() => return Bytes::from_static(b":\n\n"),
        _ => encode::end(&mut out),
    }
    frame(form, out)
}

/// Whether a client with a WebSocket is told heartbeats by events: where it knows events at all.
pub(super) fn has_ping_event(config: &model::Bridge, form: Form) -> bool {
    config.heartbeat_event && matches!(form, Form::WsJson | Form::WsJsonDeflated)
}

/// The head of an HTTP/1.1 response that ends with its connection (RFC 9112 §6.3, §9.6), changed as `rules` say.
pub(super) fn head(id: &RequestId, form: Form, rules: &Rendered, out: &mut Vec<u8>) {
    if !rules.is_empty() {
        return head_by_rules(id, form, rules, out);
    }
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    each_field(id, form, |name, value| {
        for part in [name, ": ", value, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    });
    out.extend_from_slice(b"\r\n");
}

fn head_by_rules(id: &RequestId, form: Form, rules: &Rendered, out: &mut Vec<u8>) {
    let mut headers = HeaderMap::new();
    each_field(id, form, |name, value| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(name, value);
        }
    });
    rules.apply(&mut headers);
    write_response_head(out, StatusCode::OK, &headers);
}

fn each_field(id: &RequestId, form: Form, mut field: impl FnMut(&'static str, &str)) {
    field("date", &httpdate::fmt_http_date(SystemTime::now()));
    FIELDS.iter().for_each(|(name, value)| field(name, value));
    field("connection", "close");
    field("x-request-id", id.as_str());
    if form == Form::SseChunked {
        field("transfer-encoding", "chunked");
    }
}

/// How a subscription begins.
pub(super) struct Prelude {
    /// The first write: a `retry:` of this client's own and a comment. Some virus scanners hold the first message
    /// until a second one comes. It does not end its block: there are clients that take a block of nothing but
    /// `retry:` for an empty event.
    pub(super) first: Bytes,
    /// The second: `streamgate.open`, and what is to be told besides.
    pub(super) second: Bytes,
    /// The first event that is to follow.
    pub(super) next: u64,
    /// Whether it begins with what is newest for each key.
    pub(super) is_snapshot: bool,
    /// What the client knows of the feed then.
    pub(super) told: Upstream,
    /// Why it has missed something, if it has.
    pub(super) gap: Option<&'static str>,
}

/// Resolves `cursor` as the log is now, and writes the prelude. The caller must have enlisted for what comes after.
pub(super) fn prelude(
    channel: &Arc<Channel>,
    config: &model::Bridge,
    cursor: Cursor,
    form: Form,
) -> Prelude {
    let told = channel.upstream();
    let view = channel.log().view();
    let opening = resolve(cursor, channel.epoch(), &view, config.start, config.on_gap);
    let mut first = Vec::new();
    encode::retry(random(config.retry.base, config.retry.spread), &mut first);
    encode::comment(" streamgate", &mut first);
    let mut second = Vec::new();
    tell_opening(channel, config, &opening, &mut second);
    if told != Upstream::Up {
        map::status(told, &mut second);
    }
    Prelude {
        first: frame(form, first),
        second: frame(form, second),
        next: opening.next,
        is_snapshot: opening.is_snapshot,
        told,
        gap: opening.gap.map(|gap| GapReason::from(gap).label()),
    }
}

/// The gap comes before `streamgate.open`: both carry the new cursor, and a stream that was torn between them must not
/// have moved the client's cursor past a gap that it has not seen.
fn tell_opening(channel: &Channel, config: &model::Bridge, opening: &Opening, out: &mut Vec<u8>) {
    let id = channel.id(opening.next - 1);
    channel.counts().replayed.add_many(opening.replay);
    if let Some(gap) = opening.gap {
        channel.counts().gaps.add(gap.into());
        map::gap(gap, id, out);
    }
    if config.open_event {
        map::open(channel, opening, id, out);
        return;
    }
    id.write(out);
    encode::end(out);
}

/// A gap of this client's own, with the place just before the next event.
pub(super) fn gap(channel: &Channel, (gap, before): (Gap, u64), form: Form) -> Bytes {
    channel.counts().gaps.add(gap.into());
    let mut out = Vec::new();
    map::gap(gap, channel.id(before), &mut out);
    frame(form, out)
}

/// `streamgate.status` about the feed.
pub(super) fn status(upstream: Upstream, form: Form) -> Bytes {
    let mut out = Vec::new();
    map::status(upstream, &mut out);
    frame(form, out)
}

/// Milliseconds between `base` and `base + spread`.
pub(super) fn random(base: Duration, spread: Duration) -> u64 {
    (base + spread.mul_f64(fastrand::f64())).as_millis() as u64
}

/// Blocks of our own in the form of a client's events. They are few and short: never compressed. What is no event, such
/// as `retry:`, has no form for a WebSocket, and nothing of ours has a raw one.
pub(super) fn frame(form: Form, plain: Vec<u8>) -> Bytes {
    match form {
        Form::SsePlain => return plain.into(),
        Form::SseChunked => {}
        Form::WsJson | Form::WsJsonDeflated => return json_frames(&plain),
        Form::Json | Form::WsRaw | Form::WsRawDeflated => return Bytes::new(),
    }
    let mut framed = Vec::with_capacity(plain.len() + 12);
    chunked::head(plain.len(), &mut framed);
    framed.extend_from_slice(&plain);
    framed.extend_from_slice(chunked::TAIL);
    framed.into()
}

/// Each block as one message. A block has no empty line within, so the first one ends it.
fn json_frames(blocks: &[u8]) -> Bytes {
    let (mut rest, mut out) = (blocks, Vec::new());
    while let Some(end) = memchr::memmem::find(rest, b"\n\n") {
        let (block, after) = rest.split_at(end + 2);
        out.extend_from_slice(&form::encode(Form::WsJson, Kind::Marker, block, None));
        rest = after;
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::log::tests::{fill, writer};
    use crate::bridge::tests::config;
    use crate::sse::encode::tests::{Decoder, decode};

    fn channel(events: usize) -> Arc<Channel> {
        let mut writer = writer(10);
        fill(&mut writer, events);
        let (channel, _publishes) = Channel::of(writer.log());
        Arc::new(channel)
    }

    fn text(bytes: &Bytes) -> &str {
        std::str::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_new_client_is_told_when_to_return_where_it_stands_and_how_the_feed_is() {
        let channel = channel(20);
        let prelude = prelude(&channel, &config(&[]), Cursor::Absent, Form::SsePlain);
        let mut decoder = Decoder::default();
        assert!(decoder.decode(text(&prelude.first)).is_empty());
        assert!((2_000..=5_000).contains(&decoder.retry.unwrap()));
        let told = decode(&prelude.second);
        assert_eq!(told[0].event, "streamgate.open");
        assert_eq!(told[0].id, channel.id(20).to_string());
        let data = r#"{"channel":"prices","resumed":false,"replay":0,"session":null}"#;
        assert_eq!(told[0].data, data);
        assert_eq!(told[1].event, "streamgate.status");
        assert_eq!(told[1].data, r#"{"upstream":"connecting"}"#);
        assert_eq!((prelude.next, told.len()), (21, 2));
    }

    #[test]
    fn a_gap_is_told_before_the_cursor_moves_past_it() {
        let channel = channel(20);
        channel.set_upstream(Upstream::Up);
        let cursor = Cursor::Behind(channel.id(3));
        let mut config = config(&[]);
        let opened = prelude(&channel, &config, cursor, Form::SsePlain);
        let told = decode(&opened.second);
        assert_eq!(told[0].event, "streamgate.gap");
        assert_eq!(told[0].data, r#"{"reason":"evicted","missed":7}"#);
        assert_eq!(told[0].id, channel.id(10).to_string());
        assert_eq!(
            (told[1].event.as_str(), opened.next),
            ("streamgate.open", 11)
        );
        config.open_event = false;
        let opened = prelude(&channel, &config, Cursor::Latest, Form::SsePlain);
        assert_eq!(text(&opened.second), format!("id: {}\n\n", channel.id(20)));
    }

    #[test]
    fn a_head_names_its_framing() {
        let (mut chunked, mut plain) = (Vec::new(), Vec::new());
        let id = RequestId::random();
        head(&id, Form::SseChunked, &Rendered::default(), &mut chunked);
        head(&id, Form::SsePlain, &Rendered::default(), &mut plain);
        let chunked = String::from_utf8(chunked).unwrap();
        assert!(chunked.starts_with("HTTP/1.1 200 OK\r\ndate: "));
        assert!(chunked.ends_with("\r\ntransfer-encoding: chunked\r\n\r\n"));
        assert!(
            !String::from_utf8(plain)
                .unwrap()
                .contains("transfer-encoding")
        );
    }
}

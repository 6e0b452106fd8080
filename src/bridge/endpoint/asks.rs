//! What a request asks for: in which form, and from where on.

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;

use crate::bridge::cursor::Cursor;
use crate::bridge::session::SessionId;
use crate::http::problem::Problem;

/// In which form a client takes events that is no WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Accepted {
    /// `text/event-stream`: also for whoever takes anything.
    EventStream,
    /// `application/json`: a long poll.
    Json,
}

/// What the client accepts (RFC 9110 §12.5.1). Who names event streams gets one, whatever it accepts besides. Of
/// qualities only zero counts, which says that it is not accepted.
///
/// # Errors
/// Neither is among it.
pub(super) fn accepted(headers: &HeaderMap) -> Result<Accepted, Problem> {
    let ranges: Vec<&str> = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|range| !range.trim().is_empty())
        .collect();
    let has = |range: &str| {
        let mut found = ranges.iter().filter(|range| !is_ruled_out(range));
        found.any(|found| {
            let found = found.split(';').next().unwrap_or_default().trim();
            found.eq_ignore_ascii_case(range)
        })
    };
    if ranges.is_empty() || has("text/event-stream") {
        return Ok(Accepted::EventStream);
    }
    if has("application/json") {
        return Ok(Accepted::Json);
    }
    if has("text/*") || has("*/*") {
        return Ok(Accepted::EventStream);
    }
    if has("application/*") {
        return Ok(Accepted::Json);
    }
    Err(Problem::BadRequest(
        "this path answers with `text/event-stream`, or `application/json` to a long poll",
    ))
}

/// Whether a range has the quality zero (RFC 9110 §12.4.2).
fn is_ruled_out(range: &str) -> bool {
    let mut parameters = range.split(';').skip(1);
    parameters.any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        let value: Option<f32> = value.trim().parse().ok();
        name.trim().eq_ignore_ascii_case("q") && value == Some(0.0)
    })
}

/// What the client says it has: the header, which a browser sets on a reconnect, before the query, which is stale then.
pub(super) fn cursor(headers: &HeaderMap, query: Option<&str>) -> Cursor {
    if let Some(value) = headers
        .get("last-event-id")
        .filter(|value| !value.is_empty())
    {
        return value.to_str().map_or(Cursor::Unreadable, Cursor::parse);
    }
    first_of(
        &["lastEventId", "last_event_id", "evs_last_event_id"],
        query,
    )
}

/// The session that the client names. What is no name of one names none.
pub(super) fn session(headers: &HeaderMap, query: Option<&str>) -> Option<SessionId> {
    if let Some(named) = headers.get("streamgate-session") {
        return SessionId::parse(named.to_str().ok()?);
    }
    let mut pairs = query.unwrap_or_default().split('&');
    SessionId::parse(pairs.find_map(|pair| pair.strip_prefix("session="))?)
}

/// The cursor of a long poll: `after` of the query, which each poll has anew, before what is there for streams.
pub(super) fn poll_cursor(headers: &HeaderMap, query: Option<&str>) -> Cursor {
    match first_of(&["after"], query) {
        Cursor::Absent => cursor(headers, query),
        after => after,
    }
}

/// The cursor in the first of these parameters that is there.
fn first_of(names: &[&str], query: Option<&str>) -> Cursor {
    let pairs = query.unwrap_or_default().split('&');
    let pairs: Vec<_> = pairs.filter_map(|pair| pair.split_once('=')).collect();
    let value = names
        .iter()
        .find_map(|name| pairs.iter().find(|(key, _)| key == name));
    let Some((_, value)) = value else {
        return Cursor::Absent;
    };
    percent_decode_str(value)
        .decode_utf8()
        .map_or(Cursor::Unreadable, |text| Cursor::parse(&text))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::bridge::cursor::EventId;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn event_streams_come_first_and_json_is_a_poll() {
        use Accepted::{EventStream, Json};
        for (accept, expected) in [
            (&[][..], Some(EventStream)),
            (&["text/event-stream"], Some(EventStream)),
            (&["*/*"], Some(EventStream)),
            (&["text/*;q=0.5"], Some(EventStream)),
            (&["application/json"], Some(Json)),
            (&["application/json, text/plain, */*"], Some(Json)),
            (&["Application/JSON;q=0.1"], Some(Json)),
            (
                &["application/json", "text/event-stream"],
                Some(EventStream),
            ),
            (&["application/*"], Some(Json)),
            (&["text/event-stream;q=0, application/json"], Some(Json)),
            (&["*/*; Q=0.000"], None),
            (&[" , "], Some(EventStream)),
            (&["text/html"], None),
            (&["image/png, application/xml"], None),
        ] {
            let found = accepted(&headers("accept", accept)).ok();
            assert_eq!(found, expected, "{accept:?}");
        }
    }

    #[test]
    fn a_poll_s_own_cursor_comes_before_that_of_streams() {
        let id = |text: &str| Cursor::Behind(EventId::parse(text).unwrap());
        let last = headers("last-event-id", &["0123456789-1"]);
        let query = Some("wait=1&after=0123456789-2");
        assert_eq!(poll_cursor(&last, query), id("0123456789-2"));
        assert_eq!(cursor(&last, query), id("0123456789-1"));
        assert_eq!(poll_cursor(&last, Some("after=")), id("0123456789-1"));
        let none = HeaderMap::new();
        assert_eq!(poll_cursor(&none, Some("wait=1")), Cursor::Absent);
        for forged in [
            "%ff",
            "x",
            "0123456789-00",
            "0123456789--1",
            &"9".repeat(9_000),
        ] {
            let query = format!("after={forged}");
            assert_eq!(poll_cursor(&none, Some(&query)), Cursor::Unreadable);
        }
    }

    #[test]
    fn a_cursor_comes_from_the_header_before_the_query() {
        let id = "0123456789-7";
        let parsed = Cursor::parse(id);
        let table = [
            (None, None, Cursor::Absent),
            (Some(""), Some("lastEventId=latest"), Cursor::Latest),
            (Some(id), Some("lastEventId=latest"), parsed),
            (None, Some("a=b&last_event_id=0123456789%2D7"), parsed),
            (None, Some("evs_last_event_id=earliest"), Cursor::Earliest),
            (
                None,
                Some("evs_last_event_id=latest&lastEventId=earliest"),
                Cursor::Earliest,
            ),
            (None, Some("lastEventId=%ff"), Cursor::Unreadable),
            (Some("\u{e9}"), None, Cursor::Unreadable),
        ];
        for (header, query, expected) in table {
            let mut headers = HeaderMap::new();
            header.map(|id| {
                headers.insert(
                    "last-event-id",
                    HeaderValue::from_bytes(id.as_bytes()).unwrap(),
                )
            });
            assert_eq!(cursor(&headers, query), expected, "{header:?} {query:?}");
        }
    }
}

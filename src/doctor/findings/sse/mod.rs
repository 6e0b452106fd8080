//! An event stream, judged.

mod ending;

use std::time::Duration;

use http::{Version, header};
use serde_json::json;

use crate::doctor::advice::Topic;
use crate::doctor::arrivals::Pace;
use crate::doctor::ask::{AskError, Head};
use crate::doctor::sse::{End, Resumed, Seen};
use crate::doctor::target::Wanted;
use crate::respond::chain;

use super::{Area, Case, Finding, NOTICEABLE, Stream, Verdict, late, middle, seconds, shown};

/// A head that came so late had to wait for the served app's first event, a second after it.
const LATE_HEAD: Duration = Duration::from_millis(700);

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let Some(stream) = &case.measured.stream else {
        return Vec::new();
    };
    let usual = &stream.usual;
    let head = match (&usual.head, &usual.end) {
        (Some(head), _) if usual.is_stream() => head,
        (Some(head), _) => return vec![no_stream(case, head)],
        (None, End::Unanswered(error)) => return vec![unanswered(case, error, usual.lasted)],
        (None, _) => return Vec::new(),
    };
    let mut all = vec![answered(head, usual)];
    all.extend(framing(case, head));
    let delivered = delivery(case, stream);
    let is_held = delivered.verdict == Verdict::Problem;
    all.push(delivered);
    all.extend(compression(head, is_held));
    // Where all is held back, the head is too.
    if !is_held {
        all.extend(late_head(case, stream));
    }
    all.extend(ending::cut(case, stream));
    all.extend(ending::heartbeat(case, usual));
    all.extend(cache(head));
    all.extend(resume(stream));
    all.extend(cors(case, head));
    all
}

fn finding(name: &'static str, verdict: Verdict, says: impl Into<String>) -> Finding {
    Finding::new(Area::Sse, name, verdict, says)
}

fn missing(case: &Case<'_>) -> Verdict {
    let socket = case.measured.socket.as_ref();
    let is_other_there = socket.is_some_and(|socket| socket.usual.is_open());
    case.missing(Wanted::Sse, is_other_there)
}

fn no_stream(case: &Case<'_>, head: &Head) -> Finding {
    let media_type = head.text("content-type").unwrap_or("no type");
    let status = head.status.as_u16();
    let verdict = missing(case);
    let says = match head.text(header::LOCATION) {
        Some(location) if head.status.is_redirection() => {
            // What stands behind it may be a token.
            let location = location.split(['?', '#']).next().unwrap_or_default();
            format!("the answer is {status}, to {location}: give that URL")
        }
        _ => format!("no event stream here: the answer is {status} with {media_type}"),
    };
    let found = finding("answer", verdict, says).with(status);
    match status {
        502..=504 => found.advised(Topic::Gateway, &case.hops),
        _ => found,
    }
}

fn unanswered(case: &Case<'_>, error: &AskError, waited: Duration) -> Finding {
    let verdict = missing(case);
    let AskError::Late(_) = error else {
        return finding("answer", verdict, chain(error));
    };
    let waited = shown(waited);
    let says = match case.is_certain() {
        true => format!(
            "nothing came within {waited}, not even a head, although the app sends an event each second: they are held back"
        ),
        false => format!(
            "no head came within {waited}: either the app does not answer, or something holds it back until there is more"
        ),
    };
    let found = finding("answer", verdict, says);
    match verdict {
        Verdict::Problem => found.advised(Topic::Buffering, &case.hops),
        _ => found,
    }
}

fn answered(head: &Head, seen: &Seen) -> Finding {
    let version = match head.version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    let first = seen.heard.arrivals.first();
    let more = first
        .map(|first| format!("; the first bytes {} later", shown(first)))
        .unwrap_or_default();
    let says = format!(
        "{} with text/event-stream after {}, over {version}{more}",
        head.status.as_u16(),
        shown(head.after)
    );
    let figure = json!({
        "head_seconds": seconds(head.after),
        "first_bytes_seconds": first.map(seconds),
    });
    finding("answer", Verdict::Ok, says).with(figure)
}

fn framing(case: &Case<'_>, head: &Head) -> Option<Finding> {
    if let Some(length) = head.text(header::CONTENT_LENGTH) {
        let says = format!(
            "it has Content-Length: {length}: somebody has collected all of it before sending it"
        );
        let found = finding("framing", Verdict::Problem, says);
        return Some(found.advised(Topic::Buffering, &case.hops));
    }
    if head.version == Version::HTTP_10 {
        let says = "it comes over HTTP/1.0: whether it has ended or was torn cannot be told";
        let found = finding("framing", Verdict::Warning, says);
        return Some(found.advised(Topic::Buffering, &case.hops));
    }
    None
}

/// Whether events come when they are sent.
fn delivery(case: &Case<'_>, stream: &Stream) -> Finding {
    // What cannot be read says nothing of events; the uncompressed one does.
    let usual = &stream.usual;
    let seen = match &stream.plain {
        Some(plain) if !usual.heard.is_readable && plain.is_stream() => plain,
        _ => usual,
    };
    let found = match case.is_certain() {
        true => exact(case, seen),
        false => likely(seen),
    };
    if found.verdict < Verdict::Warning {
        return found;
    }
    let plain_is_prompt = stream.plain.as_ref().is_some_and(|plain| {
        let judged = match case.is_certain() {
            true => exact(case, plain),
            false => likely(plain),
        };
        judged.verdict == Verdict::Ok
    });
    match plain_is_prompt {
        true => {
            let says = format!("{}; uncompressed they come at once", found.says);
            Finding { says, ..found }.advised(Topic::Compression, &case.hops)
        }
        false => found.advised(Topic::Buffering, &case.hops),
    }
}

/// By the times of sending, which the served app puts into its events.
fn exact(case: &Case<'_>, seen: &Seen) -> Finding {
    let (delays, listened) = (&seen.heard.delays, shown(seen.lasted));
    if delays.is_empty() {
        let says = format!(
            "the head came, and nothing more within {listened}, although the app sends an event each second: they are held back"
        );
        return finding("delivery", Verdict::Problem, says).with(json!({ "events": 0 }));
    }
    let (late, longest) = late(delays, case.late());
    let count = delays.len();
    let figure = json!({ "events": count, "late": late, "longest_seconds": seconds(longest) });
    // One that is late by itself is the network's doing.
    if late >= 2 || late == count {
        let says = format!(
            "{late} of {count} events came late, by up to {}: they are held back",
            shown(longest)
        );
        return finding("delivery", Verdict::Problem, says).with(figure);
    }
    let usual = middle(delays);
    if usual > NOTICEABLE + case.trip() {
        let says = format!(
            "events come {} after their sending, each of them: something waits for more before it sends",
            shown(usual)
        );
        return finding("delivery", Verdict::Warning, says).with(figure);
    }
    let says = format!(
        "each of {count} events came within {} of its sending",
        shown(longest)
    );
    finding("delivery", Verdict::Ok, says).with(figure)
}

/// By the pattern of what came.
fn likely(seen: &Seen) -> Finding {
    let (heard, listened) = (&seen.heard, shown(seen.lasted));
    let figure = json!({ "events": heard.events, "arrivals": heard.arrivals.count() });
    let name = "delivery";
    match heard.arrivals.pace(seen.lasted) {
        Pace::Held { bytes, events } => finding(
            name,
            Verdict::Problem,
            format!(
                "events come {events} at a time, cut off within one after some {bytes} bytes: a buffer on the way holds them back until it is full"
            ),
        ),
        Pace::Clumps { events, pause } => finding(
            name,
            Verdict::Warning,
            format!(
                "events come {events} at a time, with pauses of {}: either the app sends them so, or something collects them",
                shown(pause)
            ),
        ),
        Pace::Silent => finding(
            name,
            Verdict::Warning,
            format!(
                "the head came, and nothing more within {listened}: either the app is silent, or something holds events back; \
                 a heartbeat of at most 15 s in the app would tell"
            ),
        ),
        Pace::Few => finding(
            name,
            Verdict::Note,
            format!(
                "{} events in {listened}: too few to say whether anything holds them back",
                heard.events
            ),
        ),
        Pace::Prompt => finding(
            name,
            Verdict::Ok,
            format!("{} events in {listened}, each by itself", heard.events),
        ),
    }
    .with(figure)
}

fn compression(head: &Head, is_held: bool) -> Option<Finding> {
    let coding = head.text(header::CONTENT_ENCODING)?;
    if is_held {
        return None;
    }
    let says = format!("it is compressed ({coding}), and not held back by that");
    Some(finding("compression", Verdict::Note, says).with(coding))
}

/// Only the served app is known to send its head at once.
fn late_head(case: &Case<'_>, stream: &Stream) -> Option<Finding> {
    let silent = stream.silent.as_ref()?;
    let name = "head";
    let Some(head) = &silent.head else {
        let says = format!(
            "the head of a stream that says little did not come within {}",
            shown(silent.lasted)
        );
        let found = finding(name, Verdict::Problem, says);
        return Some(found.advised(Topic::LateHead, &case.hops));
    };
    if !silent.is_stream() {
        let status = head.status.as_u16();
        let says = format!(
            "a stream that says little got {status} after {}",
            shown(head.after)
        );
        let found = finding(name, Verdict::Problem, says).with(status);
        return Some(found.advised(Topic::SilentStream, &case.hops));
    }
    if head.after < LATE_HEAD + case.trip() {
        return None;
    }
    let says = format!(
        "the head came after {}, with the first event: until then a browser does not know that it is connected",
        shown(head.after)
    );
    let found = finding(name, Verdict::Warning, says).with(seconds(head.after));
    Some(found.advised(Topic::LateHead, &case.hops))
}

fn cache(head: &Head) -> Option<Finding> {
    let value = head
        .text(header::CACHE_CONTROL)
        .unwrap_or_default()
        .to_ascii_lowercase();
    let is_kept_out = ["no-cache", "no-store", "private"]
        .iter()
        .any(|word| value.contains(word));
    if is_kept_out {
        return None;
    }
    let says =
        "no `Cache-Control: no-cache`: a cache on the way may keep the stream, or wait for its end";
    Some(finding("cache", Verdict::Warning, says))
}

fn resume(stream: &Stream) -> Option<Finding> {
    let heard = &stream.usual.heard;
    let retry = heard
        .retry
        .map(|retry| format!("; clients come back after {}", shown(retry)))
        .unwrap_or_default();
    let name = "resume";
    let found = match stream.resumed {
        Some(Resumed::Exactly) => finding(
            name,
            Verdict::Ok,
            format!("a client that comes back with `Last-Event-ID` goes on behind it{retry}"),
        ),
        Some(Resumed::Elsewhere) => finding(
            name,
            Verdict::Warning,
            format!(
                "a client that comes back with `Last-Event-ID` does not get the event that follows{retry}"
            ),
        ),
        Some(Resumed::Silence) => finding(
            name,
            Verdict::Note,
            "a client that came back with `Last-Event-ID` was told nothing within 5 s",
        ),
        Some(Resumed::Refused) => finding(
            name,
            Verdict::Warning,
            "a client that came back with `Last-Event-ID` got no event stream",
        ),
        None if heard.events == 0 || !heard.ids.is_empty() => return None,
        None => finding(
            name,
            Verdict::Note,
            format!("events have no ids: what is sent while a client is away is lost to it{retry}"),
        ),
    };
    Some(found)
}

/// Only where the user named an origin: a browser sends none to its own.
fn cors(case: &Case<'_>, head: &Head) -> Option<Finding> {
    let origin = case.measured.target.fields.get(header::ORIGIN)?;
    let allowed = head.fields.get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    let is_allowed = allowed.is_some_and(|allowed| allowed == origin || allowed == "*");
    Some(match is_allowed {
        true => finding("cors", Verdict::Ok, "pages of that `Origin` may read it"),
        false => finding(
            "cors",
            Verdict::Problem,
            "pages of that `Origin` may not read it: `Access-Control-Allow-Origin` does not name it",
        ),
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;
    use crate::doctor::findings::tests::nothing_measured;

    #[test]
    fn where_a_redirect_leads_is_shown_without_its_query() {
        let measured = nothing_measured(&[]);
        let case = Case {
            measured: &measured,
            hops: Vec::new(),
        };
        let mut fields = HeaderMap::new();
        fields.insert("location", "/login?back=hidden#hidden".parse().unwrap());
        let head = Head {
            status: StatusCode::FOUND,
            version: Version::HTTP_11,
            fields,
            after: Duration::ZERO,
        };
        let says = no_stream(&case, &head).says;
        assert!(says.contains("to /login:"), "{says}");
    }
}

//! A WebSocket, judged.

use std::time::Duration;

use http::header;
use serde_json::json;

use crate::doctor::advice::Topic;
use crate::doctor::ask::{AskError, Head};
use crate::doctor::target::Wanted;
use crate::doctor::websocket::{End, Seen};
use crate::respond::chain;

use super::{
    Area, Case, Finding, SAFE_SILENCE, SILENCE, Socket, Verdict, is_round, late, longer, seconds,
    shown,
};

/// How long a pong may be waited for before it is missed.
const PONG: Duration = Duration::from_secs(2);

pub(super) fn judge(case: &Case<'_>) -> Vec<Finding> {
    let Some(socket) = &case.measured.socket else {
        return Vec::new();
    };
    let usual = &socket.usual;
    let head = match (&usual.head, &usual.end) {
        (_, End::Unanswered(error)) => return vec![unanswered(case, error)],
        (Some(head), End::Refused) => return vec![refused(case, head, usual)],
        (Some(head), _) => head,
        (None, _) => return Vec::new(),
    };
    let mut all = vec![opened(head, usual)];
    all.extend(delivery(case, usual));
    all.extend(ping(usual));
    all.extend(heartbeat(case, usual));
    all.extend(cut(case, socket));
    all.extend(close(usual));
    all
}

fn finding(name: &'static str, verdict: Verdict, says: impl Into<String>) -> Finding {
    Finding::new(Area::WebSocket, name, verdict, says)
}

fn missing(case: &Case<'_>) -> Verdict {
    let stream = case.measured.stream.as_ref();
    let is_other_there = stream.is_some_and(|stream| stream.usual.is_stream());
    case.missing(Wanted::WebSocket, is_other_there)
}

fn unanswered(case: &Case<'_>, error: &AskError) -> Finding {
    let says = format!("the handshake was not answered: {}", chain(error));
    finding("handshake", missing(case), says)
}

fn refused(case: &Case<'_>, head: &Head, seen: &Seen) -> Finding {
    let status = head.status.as_u16();
    let verdict = missing(case);
    if status == 101 {
        let fault = seen.fault.as_deref().unwrap_or_default();
        let says = format!("the answer is 101, but no WebSocket's: {fault}");
        return finding("handshake", Verdict::Problem, says).with(status);
    }
    if case.is_certain() && matches!(status, 200 | 400 | 426) {
        let says = format!(
            "the answer is {status}: somebody on the way has taken `Upgrade` from the request"
        );
        let found = finding("handshake", Verdict::Problem, says).with(status);
        return found.advised(Topic::Upgrade, &case.hops);
    }
    let why = match status {
        200..=299 => {
            "an ordinary answer: there is no WebSocket here, or somebody has taken `Upgrade` from the request"
        }
        300..=399 => "a redirect, which browsers do not follow: give the URL that it leads to",
        401 | 407 => {
            "it wants to know who asks: give `--header 'Cookie: …'` or `--header 'Authorization: …'`"
        }
        403 => "it refuses: perhaps this `Origin`, of which the app or a proxy has a list",
        404 => "there is nothing at this path, or somebody has taken `Upgrade` from the request",
        400 | 405 | 426 => {
            "no WebSocket is wanted here, or somebody has taken `Upgrade` from the request"
        }
        429 => "too many connections or requests",
        502..=504 => "the proxy gets no answer from what is behind it",
        _ => "it refuses",
    };
    let found = finding(
        "handshake",
        verdict,
        format!("the answer is {status}: {why}"),
    )
    .with(status);
    match (verdict, status) {
        (Verdict::Note, _) => found,
        (_, 502..=504) => found.advised(Topic::Gateway, &case.hops),
        (_, 200..=299 | 400 | 404 | 405 | 426) => found.advised(Topic::Upgrade, &case.hops),
        _ => found,
    }
}

fn opened(head: &Head, seen: &Seen) -> Finding {
    let figure = json!({
        "seconds": seconds(head.after),
        "extensions": head.text(header::SEC_WEBSOCKET_EXTENSIONS),
        "subprotocol": head.text(header::SEC_WEBSOCKET_PROTOCOL),
    });
    if let Some(fault) = &seen.fault {
        let says = format!("the answer is 101, but not to what was asked: {fault}");
        return finding("handshake", Verdict::Problem, says).with(figure);
    }
    let compressed = match head.text(header::SEC_WEBSOCKET_EXTENSIONS) {
        Some(extensions) if extensions.contains("permessage-deflate") => "compressed messages",
        _ => "no compression",
    };
    let subprotocol = head
        .text(header::SEC_WEBSOCKET_PROTOCOL)
        .map(|chosen| format!(", subprotocol {chosen}"))
        .unwrap_or_default();
    let says = format!("101 after {}, {compressed}{subprotocol}", shown(head.after));
    finding("handshake", Verdict::Ok, says).with(figure)
}

/// Only the served app's messages tell when they were sent.
fn delivery(case: &Case<'_>, seen: &Seen) -> Option<Finding> {
    if !case.is_certain() {
        return None;
    }
    let delays = &seen.heard.delays;
    let (late, longest) = late(delays, case.late());
    let count = delays.len();
    let figure = json!({ "messages": count, "late": late, "longest_seconds": seconds(longest) });
    let (verdict, says) = match count {
        0 => (
            Verdict::Problem,
            "no message came, although the app sends one each second".to_owned(),
        ),
        _ if late >= 2 || late == count => (
            Verdict::Problem,
            format!(
                "{late} of {count} messages came late, by up to {}",
                shown(longest)
            ),
        ),
        _ => (
            Verdict::Ok,
            format!(
                "each of {count} messages came within {} of its sending",
                shown(longest)
            ),
        ),
    };
    let found = finding("delivery", verdict, says).with(figure);
    Some(match verdict {
        Verdict::Problem => found.advised(Topic::Buffering, &case.hops),
        _ => found,
    })
}

fn ping(seen: &Seen) -> Option<Finding> {
    match seen.heard.pong {
        Some(took) => {
            let says = format!("a ping was answered in {}", shown(took));
            Some(finding("ping", Verdict::Ok, says).with(seconds(took)))
        }
        None if seen.lasted < PONG => None,
        None => {
            let says = format!("a ping was not answered within {}", shown(seen.lasted));
            Some(finding("ping", Verdict::Warning, says))
        }
    }
}

/// The served app has none, and is not judged.
fn heartbeat(case: &Case<'_>, seen: &Seen) -> Option<Finding> {
    if case.is_certain() || seen.was_ended() {
        return None;
    }
    let longest = seen.heard.longest_silence.max(seen.last_silence());
    let pings = seen.heard.pings;
    if longest > SAFE_SILENCE {
        let says = format!(
            "silent for {}, with {pings} pings from the other side: many proxies cut a connection that is silent for 60 s",
            shown(longest)
        );
        let found = finding("heartbeat", Verdict::Warning, says).with(seconds(longest));
        return Some(found.advised(Topic::SilentSocket, &case.hops));
    }
    if pings == 0 && seen.heard.messages == 0 {
        return None;
    }
    let says = format!(
        "never silent for longer than {} ({pings} pings)",
        shown(longest)
    );
    Some(finding("heartbeat", Verdict::Ok, says).with(seconds(longest)))
}

/// Whether it was ended, and by what: first what ends the one that is not silent, for that ends any.
fn cut(case: &Case<'_>, socket: &Socket) -> Vec<Finding> {
    let usual = &socket.usual;
    let silent = socket.silent.as_ref().filter(|silent| silent.is_open());
    let Some(silent) = silent.filter(|silent| silent.was_ended()) else {
        return vec![cut_alone(case, silent, usual)];
    };
    if !usual.was_ended() || usual.last_silence() >= SILENCE {
        return vec![cut_off(case, silent)];
    }
    let whole = cut_off(case, usual);
    // One that ended no earlier has met the same limit.
    match silent.lasted + SILENCE < usual.lasted {
        true => vec![whole, cut_off(case, silent)],
        false => vec![whole],
    }
}

/// The same where no silent one was ended.
fn cut_alone(case: &Case<'_>, silent: Option<&Seen>, usual: &Seen) -> Finding {
    if usual.was_ended() {
        return cut_off(case, usual);
    }
    let seen = silent.unwrap_or(usual);
    let silence = seen.last_silence().max(seen.heard.longest_silence);
    if silence < SILENCE {
        let says = format!("open to the end, {}", shown(seen.lasted));
        return finding("end", Verdict::Ok, says).with(seconds(seen.lasted));
    }
    let says = format!(
        "not cut in {} of silence{}",
        shown(silence),
        longer(silence)
    );
    finding("end", Verdict::Ok, says).with(seconds(silence))
}

fn cut_off(case: &Case<'_>, seen: &Seen) -> Finding {
    let silence = seen.last_silence();
    let (code, how) = match &seen.end {
        End::Closed(Some(code), reason) if reason.is_empty() => (*code, format!("Close {code}")),
        End::Closed(Some(code), reason) => (*code, format!("Close {code}, `{reason}`")),
        End::Closed(None, _) => (1005, "a Close without a code".to_owned()),
        End::Torn(why) => (1006, format!("1006 for a browser: {why}")),
        End::Refused | End::Unanswered(_) | End::Ours(_) => (1006, String::new()),
    };
    let figure = json!({
        "silence_seconds": seconds(silence),
        "open_seconds": seconds(seen.lasted),
        "code": code,
    });
    let after = shown(seen.lasted);
    // Proxies have no codes of their own: from 3000 on they are the app's (RFC 6455 §7.4.2).
    let is_the_apps = match code {
        _ if case.is_certain() => false,
        3000.. => true,
        1000 | 1005 => silence < SILENCE,
        _ => false,
    };
    if is_the_apps {
        let says = format!("the other side closed it after {after} ({how})");
        return finding("end", Verdict::Note, says).with(figure);
    }
    if silence >= SILENCE {
        // A Close in order after some silence may be the app's, which waited for somebody to speak.
        let may_be_the_apps = matches!(code, 1000 | 1005);
        let verdict = match may_be_the_apps && !is_round(silence) && !case.is_certain() {
            true => Verdict::Warning,
            false => Verdict::Problem,
        };
        let says = format!("cut after {} of silence ({how})", shown(silence));
        let found = finding("end", verdict, says).with(figure);
        return found.advised(Topic::SilentSocket, &case.hops);
    }
    let says = format!("it was ended after {after}, although it was not silent ({how})");
    let found = finding("end", Verdict::Problem, says).with(figure);
    found.advised(Topic::WholeTime, &case.hops)
}

fn close(seen: &Seen) -> Option<Finding> {
    let End::Ours(answer) = &seen.end else {
        return None;
    };
    Some(match answer {
        Some((Some(1000), took)) => {
            let says = format!("our Close 1000 was answered with 1000 in {}", shown(*took));
            finding("close", Verdict::Ok, says).with(1000)
        }
        Some((code, _)) => {
            let code = code.unwrap_or(1005);
            let says = format!("our Close 1000 was answered with {code}");
            finding("close", Verdict::Note, says).with(code)
        }
        None => finding(
            "close",
            Verdict::Warning,
            "our Close 1000 was not answered: browsers tell the page 1006",
        )
        .with(1006),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::findings::tests::nothing_measured;
    use crate::doctor::websocket::Heard;

    fn seen(end: End, seconds: u64, is_silent: bool) -> Seen {
        let lasted = Duration::from_secs(seconds);
        Seen {
            head: None,
            fault: None,
            heard: Heard::until(if is_silent { Duration::ZERO } else { lasted }),
            end,
            lasted,
        }
    }

    fn found(usual: Seen, silent: Option<Seen>) -> Vec<(Verdict, String)> {
        let measured = nothing_measured(&[]);
        let case = Case {
            measured: &measured,
            hops: Vec::new(),
        };
        let found = cut(&case, &Socket { usual, silent }).into_iter();
        found.map(|found| (found.verdict, found.says)).collect()
    }

    #[test]
    fn an_end_after_silence_is_judged_by_its_code() {
        let closed = |code| End::Closed(code, String::new());
        for (end, seconds, expected) in [
            (closed(Some(4401)), 5, Verdict::Note),
            (closed(Some(1000)), 7, Verdict::Warning),
            (closed(None), 7, Verdict::Warning),
            (closed(Some(1000)), 60, Verdict::Problem),
            (closed(Some(1001)), 7, Verdict::Problem),
            (End::Torn("reset".to_owned()), 7, Verdict::Problem),
            (closed(Some(1000)), 1, Verdict::Note),
        ] {
            let words = format!("{end:?} {seconds}");
            let found = found(seen(end, seconds, true), None);
            assert_eq!(found[0].0, expected, "{words}");
        }
    }

    #[test]
    fn a_limit_of_the_whole_time_is_none_of_silence() {
        let torn = || End::Torn("reset".to_owned());
        let is_of_silence = |usual, silent| -> Vec<bool> {
            let found = found(usual, Some(silent)).into_iter();
            found.map(|(_, says)| says.contains("of silence")).collect()
        };
        let usual = || seen(torn(), 15, false);
        let both = is_of_silence(usual(), seen(torn(), 15, true));
        assert_eq!(both, [false]);
        let earlier = is_of_silence(usual(), seen(torn(), 5, true));
        assert_eq!(earlier, [false, true]);
        let alone = is_of_silence(seen(End::Ours(None), 20, false), seen(torn(), 15, true));
        assert_eq!(alone, [true]);
    }
}

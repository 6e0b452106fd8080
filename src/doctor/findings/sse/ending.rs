//! How an event stream ended, and what it does about silence, judged.

use std::time::Duration;

use crate::doctor::advice::Topic;
use crate::doctor::findings::{
    Case, Finding, SAFE_SILENCE, SILENCE, Stream, Verdict, is_round, longer, seconds, shown,
};
use crate::doctor::sse::{End, Seen};

use super::finding;

/// When the served app says the one thing that it says on a silent stream.
const ONLY_EVENT: Duration = Duration::from_secs(1);

/// Whether the stream was ended, and by what.
pub(super) fn cut(case: &Case<'_>, stream: &Stream) -> Finding {
    let usual = &stream.usual;
    if let Some(silent) = stream.silent.as_ref().filter(|silent| silent.was_ended()) {
        return cut_in_silence(case, silent, Verdict::Problem, known_silence(silent));
    }
    if usual.was_ended() {
        let is_torn = matches!(usual.end, End::Torn(_));
        let silence = usual.last_silence();
        if silence >= SILENCE {
            let is_likely = is_torn || is_round(silence) || case.is_certain();
            let verdict = if is_likely {
                Verdict::Problem
            } else {
                Verdict::Warning
            };
            return cut_in_silence(case, usual, verdict, silence);
        }
        return ended(case, usual, is_torn);
    }
    let seen = stream.silent.as_ref().unwrap_or(usual);
    let silence = seen
        .last_silence()
        .max(seen.heard.arrivals.longest_silence());
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

/// How long the served app had been silent: from its only event on, whenever that came.
fn known_silence(silent: &Seen) -> Duration {
    let head = silent
        .head
        .as_ref()
        .map_or(Duration::ZERO, |head| head.after);
    (head + silent.lasted).saturating_sub(ONLY_EVENT)
}

fn cut_in_silence(case: &Case<'_>, seen: &Seen, verdict: Verdict, silence: Duration) -> Finding {
    let how = match &seen.end {
        End::Torn(why) => format!("torn: {why}"),
        _ => "in order".to_owned(),
    };
    let says = format!("cut after {} of silence ({how})", shown(silence));
    let found = finding("end", verdict, says).with(seconds(silence));
    found.advised(Topic::SilentStream, &case.hops)
}

fn ended(case: &Case<'_>, seen: &Seen, is_torn: bool) -> Finding {
    let after = shown(seen.lasted);
    let events = seen.heard.events;
    let (verdict, says) = match (is_torn, case.is_certain()) {
        (false, false) => (
            Verdict::Note,
            format!(
                "it ended in order after {after} and {events} events: the app's doing, or a limit of the whole time"
            ),
        ),
        (false, true) => (
            Verdict::Problem,
            format!(
                "it was ended after {after}, although the app goes on: a limit of the whole time"
            ),
        ),
        (true, _) => (
            Verdict::Problem,
            format!("it broke off after {after}, although it was not silent"),
        ),
    };
    let found = finding("end", verdict, says).with(seconds(seen.lasted));
    match verdict {
        Verdict::Problem => found.advised(Topic::WholeTime, &case.hops),
        _ => found,
    }
}

/// The served app has none, and is not judged.
pub(super) fn heartbeat(case: &Case<'_>, seen: &Seen) -> Option<Finding> {
    if case.is_certain() || seen.was_ended() {
        return None;
    }
    let arrivals = &seen.heard.arrivals;
    let longest = arrivals.longest_silence().max(seen.last_silence());
    let name = "heartbeat";
    if longest > SAFE_SILENCE {
        let says = format!(
            "silent for {}: many proxies cut a stream that is silent for 60 s",
            shown(longest)
        );
        let found = finding(name, Verdict::Warning, says).with(seconds(longest));
        return Some(found.advised(Topic::SilentStream, &case.hops));
    }
    if arrivals.count() < 2 {
        return None;
    }
    let comments = match seen.heard.comments {
        0 => String::new(),
        count => format!(" ({count} comments)"),
    };
    let says = format!("never silent for longer than {}{comments}", shown(longest));
    Some(finding(name, Verdict::Ok, says).with(seconds(longest)))
}

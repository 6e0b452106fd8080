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

/// Whether the stream was ended, and by what: first what ends the one that is not silent, for that ends any.
pub(super) fn cut(case: &Case<'_>, stream: &Stream) -> Vec<Finding> {
    let usual = &stream.usual;
    let silent = stream.silent.as_ref().filter(|silent| silent.is_stream());
    let Some(silent) = silent.filter(|silent| silent.was_ended()) else {
        return vec![cut_alone(case, silent, usual)];
    };
    let in_silence = || cut_in_silence(case, silent, Verdict::Problem, known_silence(silent));
    if !usual.was_ended() || usual.last_silence() >= SILENCE {
        return vec![in_silence()];
    }
    let whole = ended(case, usual, matches!(usual.end, End::Torn(_)));
    // One that ended no earlier has met the same limit.
    match silent.lasted + SILENCE < usual.lasted {
        true => vec![whole, in_silence()],
        false => vec![whole],
    }
}

/// The same where no silent one was ended.
fn cut_alone(case: &Case<'_>, silent: Option<&Seen>, usual: &Seen) -> Finding {
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
    let seen = silent.unwrap_or(usual);
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

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode, Version};

    use super::*;
    use crate::doctor::arrivals::Arrival;
    use crate::doctor::ask::Head;
    use crate::doctor::findings::tests::nothing_measured;
    use crate::doctor::heard::Heard;

    /// An unknown app's stream, with an event each second, that ended so long after the last.
    fn verdict(end: End, silence: Duration) -> (Verdict, Option<&'static str>) {
        let mut heard = Heard::new(None, None);
        for second in 0..5 {
            heard.arrivals.push(Arrival {
                at: Duration::from_secs(second),
                bytes: 10,
                events: 1,
                is_whole: true,
            });
        }
        let usual = Seen {
            head: None,
            heard,
            end,
            lasted: Duration::from_secs(4) + silence,
        };
        let stream = Stream {
            usual,
            plain: None,
            silent: None,
            resumed: None,
        };
        let measured = nothing_measured(&[]);
        let case = Case {
            measured: &measured,
            hops: Vec::new(),
        };
        let found = cut(&case, &stream).remove(0);
        (
            found.verdict,
            found.advice.first().map(|advice| advice.words),
        )
    }

    /// A stream that ended after so many seconds, and said something each second or nothing.
    fn seen(status: u16, seconds: u64, is_silent: bool) -> Seen {
        let mut heard = Heard::new(None, None);
        for second in 0..=seconds {
            if !is_silent {
                heard.arrivals.push(Arrival {
                    at: Duration::from_secs(second),
                    bytes: 10,
                    events: 1,
                    is_whole: true,
                });
            }
        }
        let mut fields = HeaderMap::new();
        fields.insert("content-type", "text/event-stream".parse().unwrap());
        Seen {
            head: Some(Head {
                status: StatusCode::from_u16(status).unwrap(),
                version: Version::HTTP_11,
                fields,
                after: Duration::ZERO,
            }),
            heard,
            end: End::InOrder,
            lasted: Duration::from_secs(seconds),
        }
    }

    #[test]
    fn a_limit_of_the_whole_time_is_none_of_silence() {
        let measured = nothing_measured(&[]);
        let case = Case {
            measured: &measured,
            hops: Vec::new(),
        };
        let found = |usual, silent| -> Vec<bool> {
            let stream = Stream {
                usual,
                plain: None,
                silent: Some(silent),
                resumed: None,
            };
            let found = cut(&case, &stream).into_iter();
            found
                .map(|found| found.says.contains("of silence"))
                .collect()
        };
        let goes_on = Seen {
            end: End::Ours,
            ..seen(200, 30, false)
        };
        assert_eq!(found(seen(200, 15, false), seen(200, 15, true)), [false]);
        assert_eq!(found(goes_on, seen(200, 15, true)), [true]);
        let both = found(seen(200, 15, false), seen(200, 5, true));
        assert_eq!(both, [false, true]);
        // One that was refused has endured no silence, and none has cut it.
        let refused = Seen {
            end: End::NoStream,
            ..seen(429, 0, true)
        };
        let open = || Seen {
            end: End::Ours,
            ..seen(200, 20, true)
        };
        assert_eq!(found(open(), refused), [true]);
        assert_eq!(found(open(), open()), [true]);
    }

    #[test]
    fn an_end_is_judged_by_the_silence_before_it_and_by_its_manner() {
        let torn = || End::Torn("reset".to_owned());
        for (end, seconds, expected) in [
            (torn(), 60.0, Verdict::Problem),
            (torn(), 2.0, Verdict::Problem),
            (torn(), 0.1, Verdict::Problem),
            (End::InOrder, 60.1, Verdict::Problem),
            (End::InOrder, 2.3, Verdict::Warning),
            (End::InOrder, 0.1, Verdict::Note),
            (End::Ours, 60.0, Verdict::Ok),
            (End::Ours, 0.5, Verdict::Ok),
        ] {
            let words = format!("{end:?} {seconds}");
            let (found, advice) = verdict(end, Duration::from_secs_f64(seconds));
            assert_eq!(found, expected, "{words}");
            let is_advised = matches!(expected, Verdict::Problem | Verdict::Warning);
            assert_eq!(advice.is_some(), is_advised, "{words}");
        }
    }
}

//! What was seen, judged: each finding with a verdict, the figure, and what to do about it.
//!
//! Pure: from what was measured to words. Invariant: what nobody can know is not called a problem. A source of which
//! nothing is known may be silent, or send in batches, for reasons of its own; with `doctor --serve` behind the chain the
//! same figures are certain, and are judged as such.

mod connection;
mod sse;
mod websocket;

use std::time::Duration;

use serde_json::Value;

use super::advice::{Advice, Topic, advice};
use super::chain::{Hop, recognise};
use super::connect::Way;
use super::probe::Probe;
use super::sse::{Resumed, Seen as SeenStream};
use super::target::{Target, Wanted};
use super::websocket::Seen as SeenSocket;

/// What is later than this, and the way there and back, was held up.
const LATE: Duration = Duration::from_millis(500);

/// What is later than this, usually, is held up by something that waits for more.
const NOTICEABLE: Duration = Duration::from_millis(100);

/// A silence before an end that makes it one by silence.
const SILENCE: Duration = Duration::from_millis(1500);

/// The shortest of the usual idle limits of proxies.
const USUAL_LIMIT: Duration = Duration::from_secs(60);

/// A silence that is safe everywhere.
const SAFE_SILENCE: Duration = Duration::from_secs(30);

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Measured {
    /// What was looked at.
    pub(super) target: Target,
    /// The way there.
    pub(super) way: Way,
    /// The first request; `None`: nothing may be asked there.
    pub(super) probe: Option<Probe>,
    /// The event stream, if one was tried.
    pub(super) stream: Option<Stream>,
    /// The WebSocket, if one was tried.
    pub(super) socket: Option<Socket>,
}

/// What was measured of an event stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// As a browser would have it.
    pub(super) usual: SeenStream,
    /// The same uncompressed, where the first was compressed.
    pub(super) plain: Option<SeenStream>,
    /// One on which the served app says nothing.
    pub(super) silent: Option<SeenStream>,
    /// What came of coming back.
    pub(super) resumed: Option<Resumed>,
}

/// What was measured of a WebSocket.
#[derive(Debug)]
pub(super) struct Socket {
    /// As a browser would have it.
    pub(super) usual: SeenSocket,
    /// One on which the served app says nothing.
    pub(super) silent: Option<SeenSocket>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// A fact, or what cannot be told.
    Note,
    /// It will hurt somebody some day.
    Warning,
    /// Streams do not work as they should.
    Problem,
}

impl Verdict {
    /// As it is printed.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    Connection,
    Sse,
    WebSocket,
}

impl Area {
    /// All, in the order of a report.
    pub(super) const ALL: [Self; 3] = [Self::Connection, Self::Sse, Self::WebSocket];

    /// The headline, and the word for machines.
    pub(super) const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Connection => ("Connection", "connection"),
            Self::Sse => ("Event stream", "sse"),
            Self::WebSocket => ("WebSocket", "websocket"),
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Finding {
    /// What it is about.
    pub(super) area: Area,
    /// Its name within the area, for machines. It stays the same.
    pub(super) name: &'static str,
    /// How bad it is.
    pub(super) verdict: Verdict,
    /// What was found, for people. It may hold what a server sent.
    pub(super) says: String,
    /// The figure: seconds, a count or a word; null where there is none.
    pub(super) figure: Value,
    /// What to do.
    pub(super) advice: Vec<Advice>,
}

impl Finding {
    fn new(area: Area, name: &'static str, verdict: Verdict, says: impl Into<String>) -> Self {
        Self {
            area,
            name,
            verdict,
            says: says.into(),
            figure: Value::Null,
            advice: Vec::new(),
        }
    }

    fn with(mut self, figure: impl Into<Value>) -> Self {
        self.figure = figure.into();
        self
    }

    fn advised(mut self, topic: Topic, hops: &[Hop]) -> Self {
        self.advice = advice(topic, hops);
        self
    }
}

/// What all judgements look at.
struct Case<'m> {
    measured: &'m Measured,
    hops: Vec<Hop>,
}

impl Case<'_> {
    /// Whether the app is `doctor --serve`, of which it is known what it sends.
    fn is_certain(&self) -> bool {
        self.measured
            .probe
            .as_ref()
            .is_some_and(|probe| probe.clock.is_some())
    }

    /// The way there and back, where it is known.
    fn trip(&self) -> Duration {
        let clock = self.measured.probe.as_ref().and_then(|probe| probe.clock);
        clock.map_or(Duration::ZERO, |clock| clock.trip)
    }

    /// From when on a tick is late.
    fn late(&self) -> Duration {
        LATE + self.trip()
    }

    /// How bad it is that there is no `this`, where the other one may do.
    fn missing(&self, wanted: Wanted, is_other_there: bool) -> Verdict {
        let is_expected = self.measured.target.wanted != Wanted::Either
            && self.measured.target.wanted == wanted
            || self.measured.target.wanted == Wanted::Both;
        match is_expected || self.is_certain() || !is_other_there {
            true => Verdict::Problem,
            false => Verdict::Note,
        }
    }
}

/// Judges everything, in the order of a report.
pub(super) fn judge(measured: &Measured) -> (Vec<Finding>, Vec<Hop>) {
    let hops = hops(measured);
    let case = Case { measured, hops };
    let mut all = connection::judge(&case);
    all.extend(sse::judge(&case));
    all.extend(websocket::judge(&case));
    (all, case.hops)
}

fn hops(measured: &Measured) -> Vec<Hop> {
    let probed = measured
        .probe
        .iter()
        .filter_map(|probe| probe.head.as_ref());
    let streams = measured
        .stream
        .iter()
        .filter_map(|stream| stream.usual.head.as_ref());
    let sockets = measured
        .socket
        .iter()
        .filter_map(|socket| socket.usual.head.as_ref());
    let heads = probed
        .chain(streams)
        .chain(sockets)
        .map(|head| &head.fields);
    let tls = measured.way.tls.as_ref();
    let issuer = tls.and_then(|tls| Some(tls.certificate.as_ref()?.issuer.as_str()));
    recognise(heads, issuer)
}

/// `12 ms`, `3.0 s`
fn shown(time: Duration) -> String {
    match time.as_millis() {
        short @ 0..1000 => format!("{short} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// Seconds, with milliseconds, for machines.
fn seconds(time: Duration) -> Value {
    let milliseconds = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    (f64::from(milliseconds) / 1000.0).into()
}

/// Whether a silence is about as long as limits are configured: five seconds, or a multiple of it.
fn is_round(silence: Duration) -> bool {
    let off = silence.as_millis() % 5000;
    silence >= Duration::from_secs(4) && (off <= 400 || off >= 4600)
}

/// How many of these delays are late, and the longest.
fn late(delays: &[Duration], limit: Duration) -> (usize, Duration) {
    let late = delays.iter().filter(|delay| **delay > limit).count();
    (late, delays.iter().max().copied().unwrap_or_default())
}

/// The middle one of the delays.
fn middle(delays: &[Duration]) -> Duration {
    let mut sorted = delays.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// What is said where it was not listened long enough to see the usual limits.
fn longer(listened: Duration) -> &'static str {
    match listened < USUAL_LIMIT {
        true => " (the usual limit is 60 s: `--for 90s` sees it)",
        false => "",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    /// An app of which nothing is known, before anything was asked.
    pub(super) fn nothing_measured(flags: &[&str]) -> Measured {
        let words = ["streamgate", "doctor", "http://127.0.0.1/"];
        let words = words.into_iter().chain(flags.iter().copied());
        let target = match Cli::try_parse_from(words).unwrap().command {
            Command::Doctor(typed) => Target::of(&typed).unwrap(),
            other => panic!("{other:?}"),
        };
        let address = "127.0.0.1:80".parse().unwrap();
        let way = Way {
            addresses: vec![address],
            address,
            lookup: None,
            tcp: Duration::ZERO,
            tls: None,
        };
        Measured {
            target,
            way,
            probe: Some(Probe::default()),
            stream: None,
            socket: None,
        }
    }

    #[test]
    fn what_is_missing_is_a_problem_only_where_it_is_wanted() {
        for (flags, is_other_there, expected) in [
            (&[][..], true, Verdict::Note),
            (&[], false, Verdict::Problem),
            (&["--both"], true, Verdict::Problem),
            (&["--sse"], true, Verdict::Problem),
        ] {
            let measured = nothing_measured(flags);
            let hops = Vec::new();
            let case = Case {
                measured: &measured,
                hops,
            };
            let found = case.missing(Wanted::Sse, is_other_there);
            assert_eq!(found, expected, "{flags:?}");
        }
    }

    #[test]
    fn round_silences_are_those_of_limits() {
        for (milliseconds, expected) in [
            (60_000, true),
            (60_200, true),
            (59_700, true),
            (5_010, true),
            (1_000, false),
            (12_300, false),
            (0, false),
        ] {
            let silence = Duration::from_millis(milliseconds);
            assert_eq!(is_round(silence), expected, "{milliseconds}");
        }
    }

    #[test]
    fn times_are_shown_with_their_unit() {
        assert_eq!(shown(Duration::from_millis(12)), "12 ms");
        assert_eq!(shown(Duration::from_millis(3040)), "3.0 s");
        assert_eq!(seconds(Duration::from_millis(3040)), 3.04);
    }
}

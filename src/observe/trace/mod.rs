//! Traces: which place in one a request has, and what is told of it when it has ended.
//!
//! With `[trace]` streamgate is a span of its own between who asks and the server that answers: the server's `traceparent` names
//! it. A request that is sampled, where spans are exported, is told of by one [`Span`] when it has ended, and so is a stream,
//! with events for what happened in its life. Nothing here waits: spans go into a bounded queue, and are dropped and counted
//! when it is full.
//!
//! Who may decide: a proxy that is believed decides whether its trace is sampled. What anybody else says of it counts for
//! nothing but the trace's id, for a client must not have each of its requests recorded, nor hide them.

#[cfg(feature = "otlp")]
mod export;
#[cfg(feature = "otlp")]
mod protobuf;
pub(super) mod span;

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, Method, StatusCode};

use crate::config::model;
use crate::http::trace_context::{self, SpanId, TraceId, TraceParent};

pub use span::{Attribute, Event, Events, Span, Value};

/// A request's place in a trace.
#[derive(Debug)]
pub struct Trace {
    here: TraceParent,
    parent: Option<SpanId>,
    keeps_state: bool,
    /// `None`: no span is told.
    told: Option<Told>,
}

/// What a span will say that is known of a request when it comes. Only where one will be told.
#[derive(Debug)]
pub struct Outline {
    /// The method.
    pub method: Method,
    /// The path, without the query: tokens travel there.
    pub path: String,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The host and port that it is for; empty where that could not be read.
    pub host: String,
}

/// What a span begins with.
#[derive(Debug)]
struct Told {
    outline: Outline,
    /// Nanoseconds since 1970.
    begun: u64,
    /// The status of the response; 0 while there is none.
    status: AtomicU16,
}

impl Trace {
    /// The place of a request with these fields. `is_believed`: a proxy that is believed has sent it. `outline` is asked where a
    /// span will be told.
    #[must_use]
    pub fn begin(
        rules: &model::Trace,
        headers: &HeaderMap,
        is_believed: bool,
        outline: impl FnOnce() -> Outline,
    ) -> Self {
        let parent = TraceParent::of(headers);
        let is_sampled = match parent {
            Some(parent) if is_believed => parent.is_sampled(),
            _ => fastrand::f64() < rules.sample,
        };
        let here = match parent {
            Some(parent) => parent.child(is_sampled),
            None => TraceParent::begin(is_sampled),
        };
        let is_told = is_sampled && rules.export.is_some();
        Self {
            here,
            parent: parent.map(|parent| parent.span),
            // It belongs to the parent: without one it says nothing (§3.3.1).
            keeps_state: parent.is_some() && trace_context::has_sound_state(headers),
            told: is_told.then(|| Told {
                outline: outline(),
                begun: now(),
                status: AtomicU16::new(0),
            }),
        }
    }

    /// What the server is told: its parent is this place.
    #[must_use]
    pub fn here(&self) -> TraceParent {
        self.here
    }

    /// The trace.
    #[must_use]
    pub fn id(&self) -> TraceId {
        self.here.trace
    }

    /// Whether the request's `tracestate` is passed on.
    #[must_use]
    pub fn keeps_state(&self) -> bool {
        self.keeps_state
    }

    /// Whether a span will be told of it.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.told.is_some()
    }

    /// How long ago the request came.
    #[must_use]
    pub fn age(&self) -> Duration {
        let begun = self.told.as_ref().map_or(u64::MAX, |told| told.begun);
        Duration::from_nanos(now().saturating_sub(begun))
    }

    /// Its response has this status.
    pub fn answered(&self, status: StatusCode) {
        if let Some(told) = &self.told {
            told.status.store(status.as_u16(), Ordering::Relaxed);
        }
    }
}

static EXPORTED: AtomicU64 = AtomicU64::new(0);
static DROPPED: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);

/// How many spans there were, by what became of them: the collector has them, too many waited, the collector did not take them.
#[must_use]
pub fn outcomes() -> [(&'static str, u64); 3] {
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    [
        ("exported", count(&EXPORTED)),
        ("dropped", count(&DROPPED)),
        ("failed", count(&FAILED)),
    ]
}

/// From now on spans go where `rules` say. Those that wait still go where they were to go.
pub fn apply(rules: Option<&model::Trace>) {
    #[cfg(feature = "otlp")]
    export::apply(rules.and_then(|rules| rules.export.as_ref()));
    #[cfg(not(feature = "otlp"))]
    let _ = rules;
}

/// The process ends: what waits is exported, if that does not take longer than `limit`.
///
/// # Cancel safety
/// What waits then is lost.
pub async fn end(limit: Duration) {
    #[cfg(feature = "otlp")]
    export::end(limit).await;
    #[cfg(not(feature = "otlp"))]
    let _ = limit;
}

/// Tells of a span that has ended.
pub(super) fn finish(span: Span) {
    #[cfg(feature = "otlp")]
    export::push(span);
    #[cfg(not(feature = "otlp"))]
    drop(span);
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEIRS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";

    fn begin(sample: f64, parent: Option<&str>, is_believed: bool) -> Trace {
        let mut headers = HeaderMap::new();
        headers.insert("tracestate", "a=1".parse().unwrap());
        if let Some(parent) = parent {
            headers.insert("traceparent", parent.parse().unwrap());
        }
        let rules = model::Trace {
            sample,
            export: None,
        };
        Trace::begin(&rules, &headers, is_believed, || unreachable!())
    }

    #[test]
    fn who_is_believed_decides_and_for_all_others_the_share() {
        let (yes, no) = (format!("{THEIRS}-01"), format!("{THEIRS}-00"));
        for (share, parent, is_believed, expected) in [
            (0.0, None, false, false),
            (1.0, None, true, true),
            (0.0, Some(&yes), true, true),
            (1.0, Some(&no), true, false),
            (0.0, Some(&yes), false, false),
            (1.0, Some(&no), false, true),
        ] {
            let trace = begin(share, parent.map(String::as_str), is_believed);
            let found = trace.here().is_sampled();
            assert_eq!(found, expected, "{share} {parent:?} {is_believed}");
        }
    }

    #[test]
    fn a_trace_goes_on_and_what_is_no_trace_begins_one() {
        let theirs = begin(1.0, Some(&format!("{THEIRS}-01")), false);
        assert_eq!(theirs.id().to_string(), THEIRS[3..35]);
        assert_eq!(theirs.parent.unwrap().to_string(), THEIRS[36..]);
        assert_ne!(theirs.here().span.to_string(), THEIRS[36..]);
        assert!(theirs.keeps_state());
        for none in [None, Some("00-nonsense-01")] {
            let ours = begin(1.0, none, false);
            assert_ne!(ours.id(), theirs.id());
            assert_eq!(ours.parent, None);
            assert!(!ours.keeps_state(), "it belonged to another");
        }
    }
}

//! The bytes a subscriber is behind, put together once for all who are behind alike.
//!
//! A single event is never copied: it is the log's own bytes. Several are joined once per range, form and filter, and
//! kept for the next subscriber that starts at the same event; most do. What is kept is bounded by [`ENTRIES`] times
//! [`LIMIT`]. Events that a filter holds back, or that have no such form, are passed over.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::bridge::log::{Event, Filter, Form, Newest, View};

/// Bytes of one write, as far as it has more than one event: two TLS records.
const LIMIT: usize = 32 * 1024;
/// Ranges that are kept.
const ENTRIES: usize = 16;
/// Events that one piece looks at, so that what a filter holds back does not hold up a worker.
const REACH: u64 = 4_096;

/// What is to be written next.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// The bytes, whole events; none, when all up to the step's end was passed over.
    pub(super) bytes: &'a [u8],
    owner: &'a Bytes,
    /// Where they lead.
    pub(super) step: Step,
}

impl Piece<'_> {
    /// What is left after `written` bytes, without a copy.
    pub(super) fn rest(&self, written: usize) -> Bytes {
        self.owner.slice_ref(&self.bytes[written..])
    }
}

/// How far a piece leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// The event after the piece.
    pub(super) next: u64,
    /// Events in it.
    pub(super) events: u64,
    /// When the first of them came; when there is none, the first that was passed over.
    pub(super) came: Instant,
    /// Whether the last event before `next` is not among the bytes: the client's cursor is behind.
    pub(super) passed_over: bool,
    /// Of the newest events: whether there are no more, and the log goes on at `next`.
    pub(super) is_last: bool,
    /// Of the newest events: whether some were forgotten that were to come; then the piece has no bytes, and `next` is
    /// behind them.
    pub(super) has_forgotten: bool,
}

/// Why a subscriber gets only what is newest for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sparse {
    /// It begins so. Gaps of the past do not concern it.
    Snapshot,
    /// It was too slow.
    Conflated,
}

#[derive(Debug)]
struct Range {
    from: u64,
    sparse: Option<Sparse>,
    form: Form,
    filter: Option<Arc<Filter>>,
    step: Step,
    bytes: Bytes,
}

/// Joined ranges of one log. What a range holds never changes, only the log's head goes on.
#[derive(Debug, Default)]
pub(super) struct Ranges(Vec<Range>);

impl Ranges {
    /// What a subscriber that wants event `from` gets next; `None` when that event is not in the log.
    pub(super) fn piece<'a>(
        &'a mut self,
        view: &'a View,
        from: u64,
        form: Form,
        filter: Option<&Arc<Filter>>,
    ) -> Option<Piece<'a>> {
        let first = view.event(from)?;
        let bytes = shown(first, form, filter);
        let is_alone = view
            .event(from + 1)
            .is_none_or(|second| !bytes.is_empty() && bytes.len() + second.framed().len() > LIMIT);
        if is_alone {
            let mut joined = Joined::new(first.at());
            joined.pass(from, bytes);
            return Some(Piece {
                bytes,
                owner: first.owner(form),
                step: joined.step(from + 1),
            });
        }
        let found = self.find((from, None), form, filter);
        let index = found.unwrap_or_else(|| {
            let (bytes, step) = join(view, from, form, filter);
            self.keep(Range {
                from,
                sparse: None,
                form,
                filter: filter.cloned(),
                step,
                bytes: bytes.into(),
            })
        });
        Some(self.at(index))
    }

    /// The same of what is newest for each key. What was joined stays right when a key changes: its newer event comes
    /// behind.
    pub(super) fn newest(
        &mut self,
        newest: &Newest,
        (from, sparse): (u64, Sparse),
        form: Form,
        filter: Option<&Arc<Filter>>,
    ) -> Piece<'_> {
        let found = self.find((from, Some(sparse)), form, filter);
        let index = found.unwrap_or_else(|| {
            let (bytes, step) = join_newest(newest, (from, sparse), form, filter);
            self.keep(Range {
                from,
                sparse: Some(sparse),
                form,
                filter: filter.cloned(),
                step,
                bytes: bytes.into(),
            })
        });
        self.at(index)
    }

    /// Forgets all ranges.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn find(
        &self,
        (from, sparse): (u64, Option<Sparse>),
        form: Form,
        filter: Option<&Arc<Filter>>,
    ) -> Option<usize> {
        let found = |range: &Range| {
            (range.from, range.sparse, range.form) == (from, sparse, form)
                && range.filter.as_ref() == filter
        };
        self.0.iter().rposition(found)
    }

    fn at(&self, index: usize) -> Piece<'_> {
        let range = &self.0[index];
        Piece {
            bytes: &range.bytes,
            owner: &range.bytes,
            step: range.step,
        }
    }

    fn keep(&mut self, range: Range) -> usize {
        if self.0.len() == ENTRIES {
            self.0.remove(0);
        }
        self.0.push(range);
        self.0.len() - 1
    }
}

/// What is noted while events are joined.
struct Joined {
    events: u64,
    came: Instant,
    /// The number after the last event that is shown.
    shown: u64,
}

impl Joined {
    fn new(came: Instant) -> Self {
        Self {
            events: 0,
            came,
            shown: 0,
        }
    }

    fn pass(&mut self, seq: u64, shown: &[u8]) {
        if !shown.is_empty() {
            self.events += 1;
            self.shown = seq + 1;
        }
    }

    fn step(&self, next: u64) -> Step {
        Step {
            next,
            events: self.events,
            came: self.came,
            passed_over: self.shown != next,
            is_last: false,
            has_forgotten: false,
        }
    }
}

fn join(view: &View, from: u64, form: Form, filter: Option<&Arc<Filter>>) -> (Vec<u8>, Step) {
    let mut bytes = Vec::with_capacity(LIMIT.min(view.bytes_behind(from) as usize));
    let came = view.event(from).map_or_else(Instant::now, Event::at);
    let (mut joined, mut next) = (Joined::new(came), from);
    while next < from + REACH
        && let Some(event) = view.event(next)
    {
        let shown = shown(event, form, filter);
        // A first event that is larger than the limit comes alone; else nothing would ever come.
        if !bytes.is_empty() && bytes.len() + shown.len() > LIMIT {
            break;
        }
        if !shown.is_empty() && joined.events == 0 {
            joined.came = event.at();
        }
        joined.pass(next, shown);
        bytes.extend_from_slice(shown);
        next += 1;
    }
    let step = joined.step(next);
    (bytes, step)
}

fn join_newest(
    newest: &Newest,
    (from, sparse): (u64, Sparse),
    form: Form,
    filter: Option<&Arc<Filter>>,
) -> (Vec<u8>, Step) {
    let cut = newest.cut(from, LIMIT);
    let came = cut.events.first().map(|(_, event)| event.at());
    let (mut joined, mut bytes) = (Joined::new(came.unwrap_or_else(Instant::now)), Vec::new());
    if cut.forgotten >= from {
        let step = Step {
            has_forgotten: true,
            ..joined.step(cut.forgotten + 1)
        };
        return (bytes, step);
    }
    let is_told = |event: &Event| sparse == Sparse::Conflated || event.kind().is_message();
    for (seq, event) in cut.events.iter().filter(|(_, event)| is_told(event)) {
        let shown = shown(event, form, filter);
        joined.pass(*seq, shown);
        bytes.extend_from_slice(shown);
    }
    let step = Step {
        is_last: cut.is_last,
        ..joined.step(cut.next)
    };
    (bytes, step)
}

/// The event's bytes for a client; none, when it does not get the event.
fn shown<'a>(event: &'a Event, form: Form, filter: Option<&Arc<Filter>>) -> &'a [u8] {
    if filter.is_some_and(|filter| !filter.lets_pass(event)) {
        return &[];
    }
    event.form(form)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::log::tests::{fill, writer};
    use crate::bridge::log::{Kind, Note};

    #[test]
    fn one_event_is_the_logs_own_bytes() {
        let mut writer = writer(10);
        fill(&mut writer, 1);
        let view = writer.log().view();
        let mut ranges = Ranges::default();
        let piece = ranges.piece(&view, 1, Form::SseChunked, None).unwrap();
        let own = view.event(1).unwrap().framed();
        assert_eq!(piece.bytes.as_ptr(), own.as_ptr());
        assert_eq!(piece.rest(3), own.slice(3..));
        let plain = ranges.piece(&view, 1, Form::SsePlain, None).unwrap();
        assert_eq!(plain.rest(0), "data: 1\n\n");
        assert!(ranges.piece(&view, 2, Form::SseChunked, None).is_none());
        assert!(ranges.0.is_empty());
    }

    #[test]
    fn several_events_are_joined_once() {
        let mut writer = writer(100);
        fill(&mut writer, 10);
        let view = writer.log().view();
        let mut ranges = Ranges::default();
        let first = ranges
            .piece(&view, 4, Form::SsePlain, None)
            .unwrap()
            .rest(0);
        let expected: String = (4..11).map(|seq| format!("data: {seq}\n\n")).collect();
        assert_eq!(first, expected);
        let again = ranges.piece(&view, 4, Form::SsePlain, None).unwrap();
        assert_eq!(
            (again.bytes.as_ptr(), again.step.next),
            (first.as_ptr(), 11)
        );
        ranges.piece(&view, 4, Form::SseChunked, None).unwrap();
        assert_eq!(ranges.0.len(), 2);
    }

    #[test]
    fn a_long_way_is_gone_in_bounded_pieces_without_a_hole() {
        let mut writer = writer(20_000);
        fill(&mut writer, 10_000);
        let view = writer.log().view();
        let (mut ranges, mut next, mut all) = (Ranges::default(), 1, Vec::new());
        while let Some(piece) = ranges.piece(&view, next, Form::SsePlain, None) {
            assert!(piece.bytes.len() <= LIMIT && piece.step.next > next);
            all.extend_from_slice(piece.bytes);
            next = piece.step.next;
            assert!(ranges.0.len() <= ENTRIES);
        }
        let expected: String = (1..10_001).map(|seq| format!("data: {seq}\n\n")).collect();
        assert!(all == expected.as_bytes());
    }

    fn tagged(writer: &mut crate::bridge::log::Writer, kind: Kind, tag: &str) {
        let note = Note {
            tag: Some(tag.into()),
            ..Note::of(kind)
        };
        writer.append(Instant::now(), note, |_seq, out| {
            out.extend_from_slice(format!("data: {tag}\n\n").as_bytes());
        });
    }

    #[test]
    fn a_filter_passes_over_what_is_not_wanted_and_never_a_gap() {
        let mut writer = writer(100);
        for tag in ["a", "b", "a", "c", "b"] {
            tagged(&mut writer, Kind::Message, tag);
        }
        tagged(&mut writer, Kind::Gap, "x");
        tagged(&mut writer, Kind::Message, "b");
        let view = writer.log().view();
        let table: &[(&[&str], &str, bool)] = &[
            (&["a"], "data: a\n\ndata: a\n\ndata: x\n\n", true),
            (
                &["b", "c"],
                "data: b\n\ndata: c\n\ndata: b\n\ndata: x\n\ndata: b\n\n",
                false,
            ),
            (&[], "data: x\n\n", true),
        ];
        let mut ranges = Ranges::default();
        for (values, expected, passed_over) in table {
            let filter = Arc::new(Filter::new(values.iter().copied()));
            let piece = ranges
                .piece(&view, 1, Form::SsePlain, Some(&filter))
                .unwrap();
            assert_eq!(std::str::from_utf8(piece.bytes).unwrap(), *expected);
            assert_eq!((piece.step.next, piece.step.passed_over), (8, *passed_over));
        }
        // The same values in another order are the same view.
        let again = Arc::new(Filter::new(["c", "b", "c"]));
        ranges
            .piece(&view, 1, Form::SsePlain, Some(&again))
            .unwrap();
        assert_eq!(ranges.0.len(), 3);
        let last = Arc::new(Filter::new(["a"]));
        let piece = ranges.piece(&view, 7, Form::SsePlain, Some(&last)).unwrap();
        assert_eq!(
            (piece.bytes.len(), piece.step.events, piece.step.next),
            (0, 0, 8)
        );
        assert!(piece.step.passed_over);
    }

    #[test]
    fn each_form_is_made_once_for_all_clients() {
        let mut writer = writer(10);
        fill(&mut writer, 2);
        let view = writer.log().view();
        let mut ranges = Ranges::default();
        let joined = ranges.piece(&view, 1, Form::WsRaw, None).unwrap().rest(0);
        assert_eq!(joined, &b"\x81\x011\x81\x012"[..]);
        let once = ranges.piece(&view, 2, Form::WsRaw, None).unwrap().rest(0);
        let twice = Ranges::default()
            .piece(&view, 2, Form::WsRaw, None)
            .unwrap()
            .rest(0);
        assert_eq!(once.as_ptr(), twice.as_ptr());
    }
}

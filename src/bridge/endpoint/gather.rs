//! The bytes a subscriber is behind, put together once for all who are behind alike.
//!
//! A single event is never copied: it is the log's own bytes. Several are joined once per range, form and filter, and
//! kept for the next subscriber that starts at the same event; most do. What is kept is bounded by [`ENTRIES`] times
//! [`LIMIT`]. Events that a filter holds back, or that have no such form, are passed over.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::bridge::log::{Event, Filter, Form, View};

/// Bytes of one write, as far as it has more than one event: two TLS records.
const LIMIT: usize = 32 * 1024;
/// Ranges that are kept.
const ENTRIES: usize = 16;
/// Events that one piece looks at, so that what a filter holds back does not hold up a worker.
const REACH: u64 = 4_096;

/// What is to be written next.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// The bytes, whole events; none, when all up to `next` was passed over.
    pub(super) bytes: &'a [u8],
    owner: &'a Bytes,
    /// When the first of them came.
    pub(super) came: Instant,
    /// The event after them.
    pub(super) next: u64,
    /// Whether the last event before `next` is not among the bytes: the client's cursor is behind.
    pub(super) passed_over: bool,
}

impl Piece<'_> {
    /// What is left after `written` bytes, without a copy.
    pub(super) fn rest(&self, written: usize) -> Bytes {
        self.owner.slice_ref(&self.bytes[written..])
    }
}

#[derive(Debug)]
struct Range {
    from: u64,
    next: u64,
    passed_over: bool,
    form: Form,
    filter: Option<Arc<Filter>>,
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
            return Some(Piece {
                bytes,
                owner: first.owner(form),
                came: first.at(),
                next: from + 1,
                passed_over: bytes.is_empty(),
            });
        }
        let found = |range: &Range| {
            range.from == from && range.form == form && range.filter.as_ref() == filter
        };
        let index = match self.0.iter().rposition(found) {
            Some(index) => index,
            None => self.join(view, from, form, filter),
        };
        let range = &self.0[index];
        Some(Piece {
            bytes: &range.bytes,
            owner: &range.bytes,
            came: first.at(),
            next: range.next,
            passed_over: range.passed_over,
        })
    }

    /// Forgets all ranges.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn join(&mut self, view: &View, from: u64, form: Form, filter: Option<&Arc<Filter>>) -> usize {
        let mut bytes = Vec::with_capacity(LIMIT.min(view.bytes_behind(from) as usize));
        let (mut next, mut passed_over) = (from, false);
        while next < from + REACH
            && let Some(event) = view.event(next)
        {
            let shown = shown(event, form, filter);
            // A first event that is larger than the limit comes alone; else nothing would ever come.
            if !bytes.is_empty() && bytes.len() + shown.len() > LIMIT {
                break;
            }
            bytes.extend_from_slice(shown);
            passed_over = shown.is_empty();
            next += 1;
        }
        if self.0.len() == ENTRIES {
            self.0.remove(0);
        }
        self.0.push(Range {
            from,
            next,
            passed_over,
            form,
            filter: filter.cloned(),
            bytes: bytes.into(),
        });
        self.0.len() - 1
    }
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
        assert_eq!((again.bytes.as_ptr(), again.next), (first.as_ptr(), 11));
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
            assert!(piece.bytes.len() <= LIMIT && piece.next > next);
            all.extend_from_slice(piece.bytes);
            next = piece.next;
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
            assert_eq!((piece.next, piece.passed_over), (8, *passed_over));
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
            (piece.bytes.len(), piece.next, piece.passed_over),
            (0, 8, true)
        );
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

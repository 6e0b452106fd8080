//! The bytes a subscriber is behind, put together once for all who are behind alike.
//!
//! A single event is never copied: it is the log's own bytes. Several are joined once per range and kept for the next
//! subscriber that starts at the same event; most do. What is kept is bounded by [`ENTRIES`] times [`LIMIT`].

use bytes::Bytes;
use http::Version;
use tokio::time::Instant;

use crate::bridge::log::{Event, View};

/// Bytes of one write, as far as it has more than one event: two TLS records.
const LIMIT: usize = 32 * 1024;
/// Ranges that are kept.
const ENTRIES: usize = 16;

/// How a response's body is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// HTTP/1.1 chunks, one an event (RFC 9112 §7.1).
    Chunked,
    /// None: HTTP/2 has its own, HTTP/1.0 ends with the connection.
    Plain,
}

impl Framing {
    /// What a client of this version understands on a socket of its own (RFC 9112 §7.1).
    pub(super) fn for_client(version: Version) -> Self {
        if version > Version::HTTP_10 {
            Self::Chunked
        } else {
            Self::Plain
        }
    }

    fn of(self, event: &Event) -> &[u8] {
        match self {
            Self::Chunked => event.framed(),
            Self::Plain => event.plain(),
        }
    }
}

/// What is to be written next.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// The bytes, whole events.
    pub(super) bytes: &'a [u8],
    owner: &'a Bytes,
    /// When the first of them came.
    pub(super) came: Instant,
    /// The event after them.
    pub(super) next: u64,
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
    framing: Framing,
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
        framing: Framing,
    ) -> Option<Piece<'a>> {
        let first = view.event(from)?;
        let is_alone = view
            .event(from + 1)
            .is_none_or(|second| first.framed().len() + second.framed().len() > LIMIT);
        if is_alone {
            return Some(Piece {
                bytes: framing.of(first),
                owner: first.framed(),
                came: first.at(),
                next: from + 1,
            });
        }
        let found = |range: &Range| range.from == from && range.framing == framing;
        let index = match self.0.iter().rposition(found) {
            Some(index) => index,
            None => self.join(view, from, framing),
        };
        let range = &self.0[index];
        Some(Piece {
            bytes: &range.bytes,
            owner: &range.bytes,
            came: first.at(),
            next: range.next,
        })
    }

    /// Forgets all ranges.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn join(&mut self, view: &View, from: u64, framing: Framing) -> usize {
        let mut bytes = Vec::with_capacity(LIMIT.min(view.bytes_behind(from) as usize));
        let mut next = from;
        while let Some(event) = view.event(next)
            && bytes.len() + event.framed().len() <= LIMIT
        {
            bytes.extend_from_slice(framing.of(event));
            next += 1;
        }
        if self.0.len() == ENTRIES {
            self.0.remove(0);
        }
        self.0.push(Range {
            from,
            next,
            framing,
            bytes: bytes.into(),
        });
        self.0.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::log::tests::{fill, writer};

    #[test]
    fn one_event_is_the_logs_own_bytes() {
        let mut writer = writer(10);
        fill(&mut writer, 1);
        let view = writer.log().view();
        let mut ranges = Ranges::default();
        let piece = ranges.piece(&view, 1, Framing::Chunked).unwrap();
        let own = view.event(1).unwrap().framed();
        assert_eq!(piece.bytes.as_ptr(), own.as_ptr());
        assert_eq!(piece.rest(3), own.slice(3..));
        let plain = ranges.piece(&view, 1, Framing::Plain).unwrap();
        assert_eq!(plain.rest(0), "data: 1\n\n");
        assert!(ranges.piece(&view, 2, Framing::Chunked).is_none());
        assert!(ranges.0.is_empty());
    }

    #[test]
    fn several_events_are_joined_once() {
        let mut writer = writer(100);
        fill(&mut writer, 10);
        let view = writer.log().view();
        let mut ranges = Ranges::default();
        let first = ranges.piece(&view, 4, Framing::Plain).unwrap().rest(0);
        let expected: String = (4..11).map(|seq| format!("data: {seq}\n\n")).collect();
        assert_eq!(first, expected);
        let again = ranges.piece(&view, 4, Framing::Plain).unwrap();
        assert_eq!((again.bytes.as_ptr(), again.next), (first.as_ptr(), 11));
        ranges.piece(&view, 4, Framing::Chunked).unwrap();
        assert_eq!(ranges.0.len(), 2);
    }

    #[test]
    fn a_long_way_is_gone_in_bounded_pieces_without_a_hole() {
        let mut writer = writer(20_000);
        fill(&mut writer, 10_000);
        let view = writer.log().view();
        let (mut ranges, mut next, mut all) = (Ranges::default(), 1, Vec::new());
        while let Some(piece) = ranges.piece(&view, next, Framing::Plain) {
            assert!(piece.bytes.len() <= LIMIT && piece.next > next);
            all.extend_from_slice(piece.bytes);
            next = piece.next;
            assert!(ranges.0.len() <= ENTRIES);
        }
        let expected: String = (1..10_001).map(|seq| format!("data: {seq}\n\n")).collect();
        assert!(all == expected.as_bytes());
    }
}

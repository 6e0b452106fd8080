//! What the modules promise one another, held against a decoder that has nothing in common with them.

use proptest::prelude::*;

use super::bom::{BOM, Bom};
use super::boundary::Boundary;
use super::decode::{DEFAULT_LIMIT, Decoder, Event, Item};
use super::encode::tests::{Decoded, Decoder as ByTheBook};
use super::position::Position;

/// Streams of fields, line ends and marks in any order, with bytes of no meaning in between.
pub(super) fn streams() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: &[&[u8]] = &[
        b"\n",
        b"\r",
        b"\r\n",
        b"\n\n",
        b"\r\r",
        b"\r\n\r\n",
        b"\xef\xbb\xbf",
        b"\xef",
        b"\xbb\xbf",
        b"data",
        b"data:",
        b"data: a",
        b"data:  b\xc3\xa9",
        b"data: \xff\xe2\x82",
        b"id",
        b"id: 1",
        b"id:2",
        b"id: \xf0\x9f",
        b"id: n\0l",
        b"id: \x07",
        b"event",
        b"event: tick",
        b"retry: 500",
        b"retry:7",
        b"retry: 1s",
        b"retry",
        b":",
        b": comment",
        b"dat",
        b"data2: x",
        b" ",
        b"\0",
    ];
    prop::collection::vec(prop::sample::select(PIECES), 0..24).prop_map(|pieces| pieces.concat())
}

/// What a client has after a stream: its events, its last event ID and its reconnection time.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    events: Vec<Decoded>,
    last_id: String,
    retry: Option<u64>,
}

fn by_the_book(stream: &[u8]) -> Seen {
    let mut decoder = ByTheBook::default();
    let events = decoder.decode(&String::from_utf8_lossy(stream));
    Seen {
        events,
        last_id: decoder.last_id,
        retry: decoder.retry,
    }
}

fn events(decoder: &mut Decoder, stream: &[u8], step: usize) -> Vec<Event> {
    let mut events = Vec::new();
    for mut piece in stream.chunks(step) {
        while let Some(item) = decoder.next(&mut piece) {
            match item {
                Item::Event(event) => events.push(event),
                Item::Oversize { bytes } => panic!("{bytes} bytes are too many"),
            }
        }
        assert!(piece.is_empty(), "all was taken in");
    }
    events
}

fn decoded(event: Event) -> Decoded {
    Decoded {
        id: event.id.unwrap_or_default(),
        event: event.name.unwrap_or_default(),
        data: event.data,
    }
}

/// The places of a stream, and its very beginning unless a mark leads.
fn places(stream: &[u8]) -> Vec<usize> {
    let mut boundary = Boundary::default();
    let mut places: Vec<usize> = (!stream.starts_with(BOM))
        .then_some(0)
        .into_iter()
        .collect();
    for (at, byte) in stream.iter().enumerate() {
        places.extend(boundary.follow(std::slice::from_ref(byte)).map(|_| at + 1));
    }
    places
}

/// What a client got of a stream until it broke at any place.
fn whole_blocks(stream: &[u8]) -> &[u8] {
    &stream[..Boundary::default().follow(stream).unwrap_or(0)]
}

#[test]
fn ours_between_the_halves_of_a_line_end_changes_nothing() {
    // The line feed behind ours is an empty line of its own, and a block of nothing dispatches nothing.
    let whole = by_the_book(b"id: 1\rdata: a\r\r\ndata: b\n\n");
    for ours in [":\n\n", ":\r\n\r\n"] {
        let mut stream = b"id: 1\rdata: a\r\r".to_vec();
        assert_eq!(Boundary::default().follow(&stream), Some(stream.len()));
        stream.extend_from_slice(ours.as_bytes());
        stream.extend_from_slice(b"\ndata: b\n\n");
        assert_eq!(by_the_book(&stream), whole);
    }
}

proptest! {
    #[test]
    fn a_comment_at_any_place_changes_nothing(stream in streams()) {
        let whole = by_the_book(&stream);
        for place in places(&stream) {
            let (before, behind) = stream.split_at(place);
            prop_assert_eq!(&by_the_book(&[before, b":\n\n", behind].concat()), &whole, "at {}", place);
        }
    }

    #[test]
    fn our_decoder_dispatches_what_is_dispatched_by_the_book(stream in streams(), step in 1_usize..20) {
        let mut decoder = Decoder::default();
        let events = events(&mut decoder, &stream, step);
        let expected = by_the_book(&stream);
        // An id that could not be sent back is none.
        let sendable = |mut event: Decoded| {
            if event.id.contains('\u{7}') {
                event.id.clear();
            }
            event
        };
        let events: Vec<_> = events.into_iter().map(decoded).collect();
        let expected_events: Vec<_> = expected.events.into_iter().map(sendable).collect();
        prop_assert_eq!(events, expected_events);
        let retry = decoder.position().retry().map(|retry| retry.as_millis() as u64);
        // The time of a line that has not ended does not count, and one without a digit changes nothing.
        if expected.retry.is_some() {
            prop_assert_eq!(retry, expected.retry);
        }
    }

    #[test]
    fn the_position_is_the_id_behind_the_last_whole_block(stream in streams(), step in 1_usize..20) {
        let mut position = Position::new(None);
        stream.chunks(step).for_each(|piece| position.follow(piece));
        let expected = by_the_book(whole_blocks(&stream));
        prop_assert_eq!(position.is_known(), !expected.last_id.contains('\u{7}'));
        if position.is_known() {
            let last_id = position.last_id().unwrap_or_default();
            prop_assert_eq!(String::from_utf8_lossy(last_id), expected.last_id);
        }
        prop_assert!(position.has_dispatched() || expected.events.is_empty());
    }

    #[test]
    fn a_stream_taken_up_anew_reads_as_one(first in streams(), second in streams(), step in 1_usize..20) {
        let (mut decoder, mut position) = (Decoder::default(), Position::new(None));
        let mut seen = events(&mut decoder, &first, step);
        decoder.begin_again();
        seen.extend(events(&mut decoder, &second, step));
        for stream in [&first, &second] {
            position.follow(stream);
            position.forget_half();
        }
        // What a client gets: whole blocks of the first, something of ours, the second without its mark.
        let mut both = whole_blocks(&first).to_vec();
        both.extend_from_slice(b":\n\n");
        let mut bom = Bom::default();
        for piece in second.chunks(step) {
            let (held, rest) = bom.strip(piece);
            both.extend_from_slice(held);
            both.extend_from_slice(rest);
        }
        let mut client = Decoder::new(DEFAULT_LIMIT, None);
        prop_assert_eq!(events(&mut client, &both, step), seen);
        prop_assert_eq!(client.position().last_id(), position.last_id());
    }
}

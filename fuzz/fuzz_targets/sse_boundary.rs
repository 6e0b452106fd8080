//! Boundaries of event streams: any bytes in any split have the same, and a comment there changes nothing for a client.
#![no_main]

mod eventsource;

use libfuzzer_sys::fuzz_target;
use streamgate::sse::bom::Bom;
use streamgate::sse::boundary::Boundary;
use streamgate::sse::position::Position;

const COMMENT: &[u8] = b":\n\n";
const BOM: &[u8] = b"\xef\xbb\xbf";

fuzz_target!(|input: (u8, &[u8])| {
    let (split, bytes) = input;
    let places = places(bytes);
    assert_eq!(last_of_each(&places, bytes, split), follow(bytes, split));
    assert_eq!(places_of_lines(&places, bytes), empty_lines(bytes));
    let whole = eventsource::events(bytes);
    let mut commented = with_comments(bytes, &places);
    assert_eq!(
        eventsource::events(&commented),
        whole,
        "a comment at each place"
    );
    if let Some(place) = places.get(usize::from(split) % places.len().max(1)) {
        commented = with_comments(bytes, &[*place]);
        assert_eq!(
            eventsource::events(&commented),
            whole,
            "a comment at {place}"
        );
    }
    let (mut one, mut other) = (Position::new(None), Position::new(None));
    one.follow(bytes);
    other.follow(&commented);
    assert_eq!(one.last_id(), other.last_id());
    assert_eq!(
        (one.is_known(), one.retry()),
        (other.is_known(), other.retry())
    );
    assert_eq!(one.has_dispatched(), other.has_dispatched());
    assert_eq!(
        stripped(bytes, split),
        bytes.strip_prefix(BOM).unwrap_or(bytes)
    );
});

/// All places, as they are found byte by byte.
fn places(bytes: &[u8]) -> Vec<usize> {
    let mut boundary = Boundary::default();
    let bytes = bytes.iter().enumerate();
    bytes
        .filter_map(|(at, byte)| Some(at + boundary.follow(&[*byte])?))
        .collect()
}

fn follow(bytes: &[u8], split: u8) -> Vec<Option<usize>> {
    let mut boundary = Boundary::default();
    assert!(boundary.is_between_events());
    let pieces = bytes.chunks(usize::from(split).max(1));
    let follow = |piece: &[u8]| {
        let last = boundary.follow(piece);
        assert_eq!(boundary.is_between_events(), last == Some(piece.len()));
        last
    };
    pieces.map(follow).collect()
}

fn last_of_each(places: &[usize], bytes: &[u8], split: u8) -> Vec<Option<usize>> {
    let step = usize::from(split).max(1);
    let (mut lasts, mut at, mut places) = (Vec::new(), 0, places.iter().peekable());
    for piece in bytes.chunks(step) {
        let mut last = None;
        while let Some(place) = places.next_if(|place| **place <= at + piece.len()) {
            last = Some(place - at);
        }
        lasts.push(last);
        at += piece.len();
    }
    lasts
}

/// Places behind whole line ends: not behind the mark, and not between CR and LF.
fn places_of_lines(places: &[usize], bytes: &[u8]) -> usize {
    let is_line = |place: &&usize| {
        let is_half = bytes[..**place].ends_with(b"\r") && bytes[**place..].starts_with(b"\n");
        !is_half && bytes[..**place] != *BOM
    };
    places.iter().filter(is_line).count()
}

fn empty_lines(bytes: &[u8]) -> usize {
    let lines = eventsource::lines(bytes);
    lines.iter().filter(|line| line.is_empty()).count()
}

fn with_comments(bytes: &[u8], places: &[usize]) -> Vec<u8> {
    let (mut commented, mut at) = (Vec::new(), 0);
    for place in places {
        commented.extend_from_slice(&bytes[at..*place]);
        commented.extend_from_slice(COMMENT);
        at = *place;
    }
    commented.extend_from_slice(&bytes[at..]);
    commented
}

fn stripped(bytes: &[u8], split: u8) -> Vec<u8> {
    let (mut bom, mut out) = (Bom::default(), Vec::new());
    for piece in bytes.chunks(usize::from(split).max(1)) {
        let (held, rest) = bom.strip(piece);
        out.extend_from_slice(held);
        out.extend_from_slice(rest);
    }
    out.extend_from_slice(bom.finish());
    out
}

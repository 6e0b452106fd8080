use proptest::prelude::*;

use super::*;
use crate::sse::tests::streams;

/// All places of a stream that comes byte by byte.
fn places(stream: &[u8]) -> Vec<usize> {
    let mut boundary = Boundary::default();
    let bytes = stream.iter().enumerate();
    bytes
        .filter_map(|(at, byte)| Some(at + boundary.follow(std::slice::from_ref(byte))?))
        .collect()
}

/// The same by the definition: lines are cut off one after the other, and the empty ones are looked for.
fn places_by_lines(stream: &[u8]) -> Vec<usize> {
    let (mut places, mut at) = (Vec::new(), 0);
    if stream.starts_with(BOM) {
        at = BOM.len();
        places.push(at);
    }
    while let Some(length) = stream[at..].iter().position(|byte| b"\r\n".contains(byte)) {
        let end = at + length;
        at = end + 1;
        let ends = if stream[end..].starts_with(b"\r\n") {
            at += 1;
            end + 1..=end + 2
        } else {
            end + 1..=end + 1
        };
        if length == 0 {
            places.extend(ends);
        }
    }
    places
}

#[test]
fn blocks_end_behind_empty_lines_of_any_kind() {
    let table: &[(&[u8], &[usize])] = &[
        (b"", &[]),
        (b"data: a\n", &[]),
        (b"data: a\r\n", &[]),
        (b"data: a\n\n", &[9]),
        (b"data: a\r\r", &[9]),
        (b"data: a\r\n\r\n", &[10, 11]),
        (b"data: a\r\n\n", &[10]),
        (b"data: a\n\r\n", &[9, 10]),
        (b"data: a\r\rb", &[9]),
        (b"\n", &[1]),
        (b"\r\n\n", &[1, 2, 3]),
        (b":\n\nid: 1\n\n", &[3, 10]),
    ];
    for (stream, expected) in table {
        assert_eq!(places(stream), *expected, "{stream:?}");
    }
}

#[test]
fn a_leading_mark_is_no_part_of_the_first_line() {
    let table: &[(&[u8], &[usize])] = &[
        (b"\xef\xbb\xbf\n", &[3, 4]),
        (b"\xef\xbb\xbf\r\n", &[3, 4, 5]),
        (b"\xef\xbb\xbf\xef\xbb\xbf\n", &[3]),
        (b"\xef\n\n", &[3]),
        (b"\xef\xbb\r\r\n", &[4, 5]),
        (b"\xef\xbb\xbd\n\n", &[5]),
        (b"\n\xef\xbb\xbf\n", &[1]),
    ];
    for (stream, expected) in table {
        assert_eq!(places(stream), *expected, "{stream:?}");
    }
    assert_eq!(Boundary::begun().follow(b"\xef\xbb\xbf\n"), None);
    assert!(Boundary::begun().is_between_events());
}

#[test]
fn the_last_place_of_many_is_told() {
    let mut boundary = Boundary::default();
    assert!(boundary.is_between_events(), "nothing has begun");
    assert_eq!(boundary.follow(b""), None);
    assert_eq!(boundary.follow(b"data: a\n\ndata: b\n\ndata: c"), Some(18));
    assert!(!boundary.is_between_events());
    assert_eq!(boundary.follow(b"\r\n\r"), Some(3));
    assert!(boundary.is_between_events(), "a line feed may still come");
    assert_eq!(
        boundary.follow(b"\n"),
        Some(1),
        "it belongs to the same end"
    );
    assert!(boundary.is_between_events());
    assert_eq!(boundary.follow(b"id: 1\n"), None);
    assert!(!boundary.is_between_events());
}

#[test]
fn a_boundary_is_a_byte() {
    assert_eq!(size_of::<Boundary>(), 1);
}

proptest! {
    #[test]
    fn a_place_is_behind_every_empty_line_and_nowhere_else(stream in streams()) {
        prop_assert_eq!(places(&stream), places_by_lines(&stream));
    }

    #[test]
    fn any_split_gives_the_same_places(stream in streams(), step in 1_usize..20) {
        let expected = places_by_lines(&stream);
        let (mut boundary, mut at) = (Boundary::default(), 0);
        for piece in stream.chunks(step) {
            let end = at + piece.len();
            let last = expected.iter().rev().find(|place| (at + 1..=end).contains(place));
            prop_assert_eq!(boundary.follow(piece).map(|place| at + place), last.copied());
            prop_assert_eq!(boundary.is_between_events(), expected.contains(&end));
            at = end;
        }
    }
}

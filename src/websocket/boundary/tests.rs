//! Frame heads in all forms, and in any split.

use proptest::prelude::*;

use super::*;

/// All events of `bytes`, given in pieces as a tunnel gives them, and what was left over.
fn events(mut boundary: Boundary, pieces: &[&[u8]]) -> (Vec<Result<Event, Violation>>, Vec<u8>) {
    let (mut found, mut held) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let mut rest = &held[..];
        loop {
            match boundary.next(&mut rest) {
                Ok(Some(event)) => found.push(Ok(event)),
                Ok(None) => break,
                Err(violation) => found.push(Err(violation)),
            }
        }
        assert!(rest.len() < MAX_HEAD);
        held = rest.to_vec();
    }
    (found, held)
}

fn server() -> Boundary {
    Boundary::new(Sender::Server, Extensions::None)
}

#[test]
fn a_fragmented_message_with_a_ping_in_it_is_one_message() {
    let bytes = b"\x01\x03abc\x89\x01x\x00\x00\x80\x01d";
    let (found, rest) = events(server(), &[bytes]);
    let ends: Vec<_> = found
        .iter()
        .filter_map(|event| match event {
            Ok(Event::End { opcode, message }) => Some((*opcode, *message)),
            _ => None,
        })
        .collect();
    let expected = [
        (Opcode::Text, false),
        (Opcode::Ping, false),
        (Opcode::Continuation, false),
        (Opcode::Continuation, true),
    ];
    assert_eq!(ends, expected);
    assert!(rest.is_empty());
}

#[test]
fn what_breaks_the_rfc_is_told_once() {
    use Violation as V;
    let client = Boundary::new(Sender::Client, Extensions::None);
    let deflate = Boundary::new(Sender::Server, Extensions::Negotiated);
    for (boundary, bytes, expected) in [
        (server(), &b"\x83\x00"[..], V::Opcode(3)),
        (server(), b"\x8b", V::Opcode(11)),
        (server(), b"\xc1\x00", V::Reserved),
        (deflate.clone(), b"\xa1\x00", V::Reserved),
        (deflate.clone(), b"\x01\x00\xc0\x00", V::Reserved),
        (deflate, b"\xc9\x00", V::Reserved),
        (server(), b"\x09\x00", V::FragmentedControl),
        (server(), b"\x89\x7e\x00\x7e", V::LongControl),
        (server(), b"\x80\x00", V::Continuation),
        (server(), b"\x01\x00\x81\x00", V::Interleaved),
        (server(), b"\x81\x80\x00\x00\x00\x00", V::Masking),
        (client, b"\x81\x00", V::Masking),
        (server(), b"\x82\x7e\x00\x7d", V::Length),
        (
            server(),
            b"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff",
            V::Length,
        ),
        (
            server(),
            b"\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00",
            V::Length,
        ),
    ] {
        let (found, _rest) = events(boundary, &[bytes, b"\x81\x00"]);
        assert_eq!(found.last(), Some(&Err(expected)), "{bytes:?}");
    }
}

#[test]
fn a_huge_payload_is_skipped_in_one_step() {
    let mut boundary = server();
    let mut head = &b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"[..];
    assert!(
        matches!(boundary.next(&mut head), Ok(Some(Event::Head(head))) if head.payload == u64::MAX >> 1)
    );
    let megabyte = vec![0; 1 << 20];
    let mut rest = &megabyte[..];
    assert_eq!(boundary.next(&mut rest), Ok(None));
    assert!(rest.is_empty() && !boundary.is_between_frames());
    assert!(!boundary.is_between_messages());
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let frame = (any::<u8>(), any::<bool>(), 0..300usize);
    let frames = proptest::collection::vec(frame, 0..12).prop_map(|frames| {
        let mut bytes = Vec::new();
        for (kind, fin, length) in frames {
            let first = [0x01, 0x02, 0x00, 0x88, 0x89, 0x8a][usize::from(kind) % 6];
            bytes.push(first | u8::from(fin) << 7);
            if length < 126 {
                bytes.push(length as u8);
            } else {
                bytes.push(126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            bytes.resize(bytes.len() + length, kind);
        }
        bytes
    });
    prop_oneof![frames, proptest::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #[test]
    fn any_split_gives_the_same_events(
        bytes in frames(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        pieces.push(&bytes[from..]);
        let whole = events(server(), &[&bytes]);
        prop_assert_eq!(events(server(), &pieces), whole);
    }

    #[test]
    fn heads_are_those_that_tungstenite_reads(bytes in frames()) {
        let mut rest = &bytes[..];
        if let Ok(Some(Event::Head(head))) = server().next(&mut rest) {
            let mut cursor = std::io::Cursor::new(&bytes);
            let parsed = tungstenite::protocol::frame::FrameHeader::parse(&mut cursor);
            let (theirs, payload) = parsed.unwrap().unwrap();
            prop_assert_eq!(payload, head.payload);
            prop_assert_eq!((theirs.is_final, theirs.mask), (head.fin, head.mask));
            prop_assert_eq!(u8::from(theirs.opcode), head.opcode.bits());
            prop_assert_eq!(cursor.position(), head.length as u64);
        }
    }
}

//! Frame heads: any bytes in any split give the same events, and heads are those that tungstenite reads.
#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use streamgate::websocket::boundary::{Boundary, Event, Extensions, Sender, Violation};
use tungstenite::protocol::frame::FrameHeader;

fuzz_target!(|input: (u8, bool, bool, &[u8])| {
    let (split, is_client, is_extended, bytes) = input;
    let sender = if is_client { Sender::Client } else { Sender::Server };
    let extensions = if is_extended {
        Extensions::Negotiated
    } else {
        Extensions::None
    };
    let boundary = Boundary::new(sender, extensions);
    let whole = events(boundary.clone(), bytes, bytes.len().max(1));
    assert_eq!(whole, events(boundary, bytes, usize::from(split).max(1)));
    if let Some(Ok(Event::Head(head))) = whole.first() {
        let mut cursor = Cursor::new(bytes);
        let (theirs, length) = FrameHeader::parse(&mut cursor)
            .expect("a head that is sound for us is sound for them")
            .expect("a head that is whole for us is whole for them");
        assert_eq!((length, theirs.mask, theirs.is_final), (head.payload, head.mask, head.fin));
        assert_eq!(u8::from(theirs.opcode), head.opcode.bits());
        assert_eq!(cursor.position(), head.length as u64);
    }
});

fn events(mut boundary: Boundary, bytes: &[u8], step: usize) -> Vec<Result<Event, Violation>> {
    let (mut found, mut held) = (Vec::new(), Vec::new());
    for piece in bytes.chunks(step) {
        held.extend_from_slice(piece);
        let mut rest = &held[..];
        loop {
            match boundary.next(&mut rest) {
                Ok(Some(event)) => found.push(Ok(event)),
                Ok(None) => break,
                Err(violation) => found.push(Err(violation)),
            }
        }
        held = rest.to_vec();
    }
    found
}

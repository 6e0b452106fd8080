//! The chunked coding: any bytes in any split are read the same way, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgate::http::chunked::{Decoder, Piece};

fuzz_target!(|input: (u8, &[u8])| {
    let (split, bytes) = input;
    let whole = decode(bytes, bytes.len().max(1));
    let parts = decode(bytes, usize::from(split).max(1));
    assert_eq!(whole, parts);
});

/// The body and where it ended; `None` when it was refused.
fn decode(bytes: &[u8], step: usize) -> Option<(Vec<u8>, Option<usize>)> {
    let (mut decoder, mut body, mut at) = (Decoder::new(), Vec::new(), 0);
    for part in bytes.chunks(step) {
        let mut taken = 0;
        while taken < part.len() {
            let piece = decoder.decode(&part[taken..]).ok()?;
            match piece.piece {
                Piece::Framing => {}
                Piece::Data(range) => body.extend_from_slice(&part[taken..][range]),
                Piece::End => return Some((body, Some(at + taken + piece.consumed))),
            }
            taken += piece.consumed;
        }
        at += part.len();
    }
    Some((body, None))
}

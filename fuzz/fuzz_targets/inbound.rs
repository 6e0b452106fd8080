//! The strict reader of requests: any bytes in any split get the same verdicts, and what passes has one meaning.
#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgate::http::inbound::{Bounds, Halt, Inbound};

const BOUNDS: Bounds = Bounds {
    size: 2048,
    count: 16,
};

fuzz_target!(|input: (u8, &[u8])| {
    let (split, bytes) = input;
    let whole = follow(bytes, bytes.len().max(1));
    assert_eq!(whole, follow(bytes, usize::from(split).max(1)));
    if whole.0 > 0 {
        means_one_thing(bytes);
    }
});

/// Heads that passed, and how it stands at the end. (Of two faults in one line the one that is seen first is named: only
/// the answer must be the same.)
fn follow(bytes: &[u8], step: usize) -> (u64, Option<Result<u16, Halt>>) {
    let (mut inbound, mut waiting, mut halt) = (Inbound::new(BOUNDS), Vec::new(), None);
    for part in bytes.chunks(step) {
        waiting.extend_from_slice(part);
        let passed;
        (passed, halt) = inbound.follow(&waiting);
        waiting.drain(..passed);
        if matches!(halt, Some(Halt::Refused(_) | Halt::Broken(_))) {
            break;
        }
    }
    let halt = halt.map(|halt| match halt {
        Halt::Refused(fault) => Ok(fault.problem().status().as_u16()),
        other => Err(other),
    });
    (inbound.heads(), halt)
}

/// Another parser finds one host and one length in the first head.
fn means_one_thing(bytes: &[u8]) {
    let mut fields = [httparse::EMPTY_HEADER; BOUNDS.count];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request.parse(bytes).expect("what passes is a request");
    let end = match parsed {
        httparse::Status::Complete(end) => end,
        httparse::Status::Partial => panic!("half a head passed"),
    };
    let count = |name: &str| {
        let named = request.headers.iter();
        named.filter(|field| field.name.eq_ignore_ascii_case(name)).count()
    };
    let (lengths, codings) = (count("content-length"), count("transfer-encoding"));
    assert!(lengths + codings <= 1, "two lengths");
    assert!(count("host") <= 1, "two hosts");
    let head = &bytes[..end];
    let bare = |at: usize| head[at] == b'\n' && (at == 0 || head[at - 1] != b'\r');
    assert!(!(0..head.len()).any(bare), "a bare line feed");
    assert!(!head.contains(&0), "a NUL");
}

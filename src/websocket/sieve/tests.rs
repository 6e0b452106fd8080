//! Messages too large, compressed and in pieces, as tungstenite sees them behind the sieve.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;
use tungstenite::Message;
use tungstenite::protocol::{Role, WebSocket, WebSocketConfig};

use super::*;

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_head(Opcode::Text, payload.len(), &mut out);
    out[0] = first;
    out.extend_from_slice(payload);
    out
}

/// A message as a sender without context takeover compresses it.
fn deflated(message: &[u8]) -> Vec<u8> {
    let mut compress = Compress::new(Compression::default(), false);
    let mut out = Vec::with_capacity(message.len() + 64);
    compress
        .compress_vec(message, &mut out, FlushCompress::Sync)
        .unwrap();
    out.truncate(out.len() - 4);
    out
}

/// What comes through, given in pieces of this length.
fn through(bytes: &[u8], limit: usize, piece: usize) -> Result<Vec<u8>, SieveFault> {
    let mut sieve = Sieve::new(limit, Extensions::Negotiated);
    let mut out = Vec::new();
    for mut piece in bytes.chunks(piece) {
        loop {
            let mut some = Vec::new();
            sieve.push(&mut piece, &mut some, 1)?;
            if some.is_empty() {
                break;
            }
            out.extend(some);
            let held = sieve.held.as_ref().map_or(0, |held| held.message.len());
            assert!(held as u64 <= sieve.most(true));
        }
    }
    Ok(out)
}

/// What tungstenite makes of it: texts, and the marks' numbers.
fn told(bytes: &[u8]) -> Vec<Result<Vec<u8>, u64>> {
    struct Both<'a>(&'a [u8]);
    impl std::io::Read for Both<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl std::io::Write for Both<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let config = WebSocketConfig::default().read_buffer_size(64);
    let mut socket = WebSocket::from_raw_socket(Both(bytes), Role::Client, Some(config));
    let mut told = Vec::new();
    while let Ok(message) = socket.read() {
        match message {
            Message::Text(_) | Message::Binary(_) => told.push(Ok(message.into_data().into())),
            Message::Pong(pong) => told.extend(Sieve::mark(&pong).map(Err)),
            _ => {}
        }
    }
    told
}

#[test]
fn a_mark_stands_in_the_place_of_a_message_too_large() {
    let long = vec![b'x'; 2_000];
    let pong = frame(0x8a, b"12345678");
    let mut bytes = frame(0x81, b"before");
    bytes.extend(frame(0x81, &long));
    bytes.extend(frame(0x81, b"between"));
    // In fragments, with pongs of the feed's own in it.
    for (first, part) in [
        (0x02, &long[..900]),
        (0x00, &long[..900]),
        (0x80, &long[..5]),
    ] {
        bytes.extend(frame(first, part));
        bytes.extend(&pong);
    }
    bytes.extend(frame(0xc1, &deflated(b"compressed")));
    bytes.extend(frame(0xc1, &deflated(&long)));
    bytes.extend(frame(0x81, b"after"));
    for piece in [1, 3, 100, 10_000] {
        let told = told(&through(&bytes, 1_000, piece).unwrap());
        assert_eq!(
            told[..4],
            [
                Ok(b"before".to_vec()),
                Err(2_000),
                Ok(b"between".to_vec()),
                Err(1_805)
            ]
        );
        assert_eq!(told[4], Ok(b"compressed".to_vec()));
        assert_eq!(told[5], Err(1_001));
        assert_eq!(told[6..], [Ok(b"after".to_vec())]);
    }
}

#[test]
fn a_message_of_the_limit_passes_in_any_form() {
    let most = vec![b'x'; 1_000];
    let compressed = deflated(&most);
    let halves = compressed.split_at(compressed.len() / 2);
    let mut bytes = frame(0x81, &most);
    bytes.extend(frame(0x01, &most[..999]));
    bytes.extend(frame(0x80, &most[..1]));
    bytes.extend(frame(0xc1, &compressed));
    bytes.extend(frame(0x41, halves.0));
    bytes.extend(frame(0x89, b"ping"));
    bytes.extend(frame(0x80, halves.1));
    assert_eq!(told(&through(&bytes, 1_000, 7).unwrap()), vec![Ok(most); 4]);
    let marks = told(&through(&bytes, 999, 7).unwrap());
    assert!(
        marks.iter().all(Result::is_err) && marks.len() == 4,
        "{marks:?}"
    );
}

#[test]
fn what_breaks_the_rules_is_told() {
    let framing = [&b"\x83\x00"[..], b"\x81\x80", b"\x80\x00", b"\xa1\x00"];
    for bytes in framing {
        let told = through(bytes, 10, 1);
        assert!(matches!(told, Err(SieveFault::Framing(_))), "{told:?}");
    }
    let corrupt = through(&frame(0xc1, b"\xff\xff"), 10, 10);
    assert_eq!(corrupt, Err(SieveFault::Inflate(InflateFault::Corrupt)));
}

proptest! {
    #[test]
    fn any_split_comes_through_the_same(
        texts in proptest::collection::vec(("[a-z]{0,40}", any::<bool>(), 1..50usize), 0..10),
        limit in 5..40usize,
        piece in 1..60usize,
    ) {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for (text, compressed, fragment) in &texts {
            let payload = match compressed {
                true => deflated(text.as_bytes()),
                false => text.as_bytes().to_vec(),
            };
            let count = payload.chunks(*fragment).len();
            for (index, part) in payload.chunks(*fragment).enumerate() {
                let begin = if index == 0 { 0x01 | u8::from(*compressed) << 6 } else { 0 };
                let end = u8::from(index + 1 == count) << 7;
                bytes.extend(frame(begin | end, part));
            }
            if count > 0 {
                expected.push((text.len() <= limit).then(|| text.as_bytes().to_vec()));
            }
        }
        let told: Vec<_> = told(&through(&bytes, limit, piece).unwrap())
            .into_iter()
            .map(Result::ok)
            .collect();
        prop_assert_eq!(told, expected);
    }

    #[test]
    fn what_comes_through_is_sound_whatever_comes(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        piece in 1..60usize,
    ) {
        let mut sieve = Sieve::new(100, Extensions::Negotiated);
        let mut out = Vec::new();
        for mut piece in bytes.chunks(piece) {
            let _ = sieve.push(&mut piece, &mut out, usize::MAX);
        }
        let mut rest = &out[..];
        let mut boundary = Boundary::new(Sender::Server, Extensions::None);
        while boundary.next(&mut rest).unwrap().is_some() {}
    }
}

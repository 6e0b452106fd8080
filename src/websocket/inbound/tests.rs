use proptest::prelude::*;

use super::*;

const LIMIT: usize = 1_000;
const KEY: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// One masked frame.
fn client(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        short @ 0..126 => out.push(0x80 | short as u8),
        long => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(&KEY);
    let from = out.len();
    out.extend_from_slice(payload);
    frame::mask(&mut out[from..], KEY);
    out
}

/// All items of `bytes`, given in pieces of at most `step`.
fn read(extensions: Extensions, bytes: &[u8], step: usize) -> (Vec<Item>, Option<Fault>) {
    let (mut inbound, mut items) = (Inbound::new(extensions, LIMIT), Vec::new());
    for mut piece in bytes.chunks(step) {
        loop {
            match inbound.next(&mut piece) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(fault) => return (items, Some(fault)),
            }
        }
        assert!(piece.is_empty(), "all is taken");
    }
    (items, None)
}

fn sound(bytes: &[u8]) -> Vec<Item> {
    let (items, fault) = read(Extensions::Negotiated, bytes, usize::MAX);
    assert_eq!(fault, None);
    items
}

fn fault(bytes: &[u8]) -> Option<Fault> {
    read(Extensions::None, bytes, usize::MAX).1
}

#[test]
fn messages_are_unmasked_and_put_together_around_control_frames() {
    let mut bytes = client(0x01, "€".as_bytes().split_at(1).0);
    bytes.extend(client(0x89, b"ping"));
    bytes.extend(client(0x00, "€".as_bytes().split_at(1).1));
    bytes.extend(client(0x8a, b""));
    bytes.extend(client(0x80, b"!"));
    bytes.extend(client(0x82, &[0xff, 0]));
    bytes.extend(client(0x81, b""));
    bytes.extend(client(0x88, &[0x03, 0xe8]));
    let expected = [
        Item::Ping(b"ping".to_vec()),
        Item::Pong,
        Item::Text("€!".into()),
        Item::Binary(vec![0xff, 0]),
        Item::Text(String::new()),
        Item::Close(Some(1000)),
    ];
    assert_eq!(sound(&bytes), expected);
}

#[test]
fn compressed_messages_are_inflated_up_to_the_limit() {
    let text = "tick ".repeat(LIMIT / 5);
    let payload = deflate::compress(text.as_bytes()).unwrap();
    let (first, second) = payload.split_at(3);
    let mut bytes = client(0x41, first);
    bytes.extend(client(0x80, second));
    assert_eq!(sound(&bytes), [Item::Text(text)]);
    let bomb = deflate::compress(&[b'a'; LIMIT + 1]).unwrap();
    let told = read(Extensions::Negotiated, &client(0xc2, &bomb), usize::MAX);
    assert_eq!(told.1, Some(Fault::TooLong { limit: LIMIT }));
    let told = read(Extensions::Negotiated, &client(0xc2, &[0xff; 9]), 1);
    assert_eq!(told.1, Some(Fault::Corrupt));
    assert_eq!(
        fault(&client(0xc2, &payload)),
        Some(Violation::Reserved.into())
    );
}

#[test]
fn what_is_wrong_is_told_with_its_code() {
    let mut unmasked = client(0x81, b"x");
    unmasked[1] &= 0x7f;
    let mut two = client(0x01, &[b'x'; 600]);
    two.extend(client(0x80, &[b'x'; 600]));
    for (bytes, code) in [
        (unmasked, 1002),
        (client(0x80, b"x"), 1002),
        (client(0x83, b"x"), 1002),
        (client(0x09, b"x"), 1002),
        (client(0x81, &[0xff]), 1007),
        (client(0x81, &"€".as_bytes()[..2]), 1007),
        (client(0x82, &[0; LIMIT + 1]), 1009),
        (two, 1009),
        (client(0x88, &[3]), 1002),
        (client(0x88, &[3, 0xed]), 1002),
        (client(0x88, &[3, 0xe8, 0xff]), 1007),
    ] {
        let fault = fault(&bytes).expect("something is wrong");
        assert_eq!(fault.code().code(), code, "{bytes:x?}: {fault}");
    }
}

#[test]
fn a_length_beyond_the_limit_is_refused_before_its_payload() {
    let head = [
        0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4,
    ];
    assert_eq!(fault(&head), Some(Fault::TooLong { limit: LIMIT }));
}

fn frames() -> impl Strategy<Value = Vec<u8>> {
    let whole = (
        prop::sample::select(vec![0x81_u8, 0x82, 0x89, 0x8a, 0x01, 0x00, 0x80, 0x88]),
        prop::collection::vec(any::<u8>(), 0..200),
    );
    let whole = whole.prop_map(|(first, payload)| {
        let end = payload.len().min(if first & 8 == 0 { 200 } else { 125 });
        client(first, &payload[..end])
    });
    prop::collection::vec(whole, 0..8).prop_map(|frames| frames.concat())
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_items(bytes in frames(), step in 1_usize..40) {
        let whole = read(Extensions::None, &bytes, usize::MAX);
        prop_assert_eq!(read(Extensions::None, &bytes, step), whole);
    }

    #[test]
    fn whatever_is_sent_is_kept_within_the_limit(bytes: Vec<u8>, step in 1_usize..40) {
        let mut inbound = Inbound::new(Extensions::Negotiated, LIMIT);
        for mut piece in bytes.chunks(step) {
            while let Ok(Some(_item)) = inbound.next(&mut piece) {}
            prop_assert!(inbound.message.len() <= LIMIT && inbound.control.len() <= 125);
        }
    }
}

/// What is too long is not awaited: its end, and what follows, come after the fault.
#[test]
fn after_a_fault_there_is_nothing_but_the_close() {
    let long = [client(0x02, &[0; LIMIT]), client(0x80, b"x")].concat();
    for (wrong, has_close) in [
        (client(0x82, &[0; LIMIT + 1]), true),
        (client(0x81, &[0xff]), true),
        (client(0x88, &[0]), true),
        (long, true),
        (client(0x80, b""), false),
    ] {
        let bytes = [wrong, client(0x82, &[0; 100]), client(0x88, b"")].concat();
        for step in [1, 7, 64, usize::MAX] {
            let (mut inbound, mut items) = (Inbound::new(Extensions::None, LIMIT), Vec::new());
            for mut piece in bytes.chunks(step) {
                while !piece.is_empty() {
                    items.extend(inbound.next(&mut piece).transpose());
                }
            }
            assert!(items.remove(0).is_err());
            let expected = has_close.then_some(Ok(Item::Close(None)));
            assert!(items.iter().eq(&expected), "{items:?}");
        }
    }
}

//! What passes, what is held back, and what is forbidden, however the bytes are split.

use proptest::prelude::*;

use super::*;

const KEY: [u8; 4] = [1, 2, 3, 4];

/// A client's frame: the first byte, and the payload in clear text.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..=125 => bytes.push(0x80 | short as u8),
        long => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&KEY);
    let at = bytes.len();
    bytes.extend_from_slice(payload);
    frame::mask(&mut bytes[at..], KEY);
    bytes
}

fn messages(number: u32) -> WebSocket {
    let number = NonZeroU32::new(number).unwrap();
    WebSocket {
        message_rate: Some(MessageRate {
            per_second: number,
            burst: number,
        }),
        ..WebSocket::default()
    }
}

fn strict() -> WebSocket {
    WebSocket {
        strict: true,
        ..WebSocket::default()
    }
}

fn client(rules: &WebSocket) -> Follower {
    Follower::new(Sender::Client, Extensions::None, rules)
}

/// What passes of these pieces, and the first fault. What is held back stands in front of the next piece. Behind a fault they
/// are followed as a direction does it, and nothing passes.
fn pass<'a>(
    follower: &mut Follower,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<u8>, Option<CloseCode>) {
    let (mut passed, mut held) = (Vec::new(), Vec::new());
    let mut fault = None;
    for piece in pieces {
        let mut data = [&held, piece].concat();
        let followed = follower.follow(&mut data);
        held = data[followed.hold].to_vec();
        assert!(held.len() <= MAX_HELD);
        if fault.is_none() {
            passed.extend_from_slice(&data[..followed.pass]);
        }
        fault = fault.or(followed.fault);
    }
    (passed, fault)
}

#[tokio::test(start_paused = true)]
async fn frames_that_begin_no_message_have_a_limit_of_their_own() {
    let begin = frame(0x01, b"begin");
    for (name, other) in [
        ("ping", frame(0x89, b"")),
        ("pong", frame(0x8a, b"unasked")),
        ("empty fragment", frame(0x00, b"")),
        ("small fragment", frame(0x00, &[b'x'; 1023])),
    ] {
        let mut follower = client(&messages(1));
        assert_eq!(pass(&mut follower, [&begin[..]]).1, None);
        for number in 0..OTHERS_AT_LEAST.get() {
            assert_eq!(pass(&mut follower, [&other[..]]).1, None, "{name} {number}");
        }
        let (passed, fault) = pass(&mut follower, [&other[..]]);
        assert_eq!(
            (passed.len(), fault),
            (0, Some(CloseCode::Policy)),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn large_fragments_and_the_close_pass_at_any_rate() {
    let mut follower = client(&messages(1));
    let (begin, large) = (frame(0x02, b""), frame(0x00, &[0; 1024]));
    assert_eq!(pass(&mut follower, [&begin[..]]).1, None);
    for _ in 0..1_000 {
        assert_eq!(pass(&mut follower, [&large[..]]).1, None);
    }
    let ping = frame(0x89, b"");
    for _ in 0..OTHERS_AT_LEAST.get() {
        assert_eq!(pass(&mut follower, [&ping[..]]).1, None);
    }
    assert_eq!(pass(&mut follower, [&frame(0x88, b"")[..]]).1, None);
    // A second one is no Close any more.
    let again = pass(&mut follower, [&frame(0x88, b"")[..]]);
    assert_eq!(again.1, Some(CloseCode::Policy));
}

#[tokio::test(start_paused = true)]
async fn no_client_escapes_its_limits_by_what_is_no_frame() {
    let unmasked = b"\x81\x02hi";
    let limited = WebSocket {
        message_size: Some(10),
        ..WebSocket::default()
    };
    for (rules, expected) in [
        (WebSocket::default(), (4, None)),
        (limited, (0, Some(CloseCode::Protocol))),
        (messages(1), (0, Some(CloseCode::Protocol))),
        (strict(), (0, Some(CloseCode::Protocol))),
    ] {
        let (passed, fault) = pass(&mut client(&rules), [&unmasked[..]]);
        assert_eq!((passed.len(), fault), expected);
    }
}

#[test]
fn a_strict_tunnel_takes_a_close_that_may_be_sent_and_nothing_after_it() {
    let close = |payload: &[u8]| frame(0x88, payload);
    let after = |code: u16| [close(&code.to_be_bytes()), frame(0x81, b"more")].concat();
    for (bytes, passes) in [
        (close(b""), 6),
        (close(&1000_u16.to_be_bytes()), 8),
        (close(b"\x0f\xa0and a reason"), 20),
        (close(b"\x03"), 0),
        (close(&0_u16.to_be_bytes()), 0),
        (close(&1004_u16.to_be_bytes()), 0),
        (close(&1005_u16.to_be_bytes()), 0),
        (close(&1006_u16.to_be_bytes()), 0),
        (close(&1015_u16.to_be_bytes()), 0),
        (close(&2999_u16.to_be_bytes()), 0),
        (close(&5000_u16.to_be_bytes()), 0),
        (after(1000), 8),
    ] {
        let fault = (passes < bytes.len()).then_some(CloseCode::Protocol);
        // However it is split, and without `strict` in any case as it came.
        for at in 0..=bytes.len() {
            let pieces = || [&bytes[..at], &bytes[at..]];
            let expected = (bytes[..passes].to_vec(), fault);
            assert_eq!(
                pass(&mut client(&strict()), pieces()),
                expected,
                "{bytes:?}"
            );
            let lax = pass(&mut client(&WebSocket::default()), pieces());
            assert_eq!(lax, (bytes.clone(), None));
        }
    }
}

#[test]
fn the_code_of_a_close_is_read_across_any_split() {
    let bytes = frame(0x88, b"\x0f\xa1reason");
    for at in 0..=bytes.len() {
        let mut follower = client(&WebSocket::default());
        pass(&mut follower, [&bytes[..at], &bytes[at..]]);
        assert_eq!(follower.close_code(), Some(4001), "{at}");
    }
    let mut follower = client(&WebSocket::default());
    pass(&mut follower, [&frame(0x88, b"\x03")[..]]);
    assert_eq!(follower.close_code(), Some(NO_CODE));
}

#[test]
fn a_close_behind_what_is_forbidden_is_heard_and_does_not_pass_however_it_is_split() {
    let limited = WebSocket {
        message_size: Some(0),
        ..WebSocket::default()
    };
    let bytes = [frame(0x01, b"more"), frame(0x88, b"")].concat();
    for at in 0..=bytes.len() {
        let mut follower = client(&limited);
        let passed = pass(&mut follower, [&bytes[..at], &bytes[at..]]);
        assert_eq!(passed, (Vec::new(), Some(CloseCode::TooBig)), "{at}");
        // The source will say no more, and the other side has not been told.
        assert_eq!(follower.close_code(), Some(NO_CODE), "{at}");
        assert!(!follower.passes_close(), "{at}");
    }
    let mut follower = client(&WebSocket::default());
    pass(&mut follower, [&bytes[..]]);
    assert!(follower.passes_close());
}

#[test]
fn our_pong_is_taken_out_of_any_split_and_costs_nothing() {
    let rules = messages(1);
    let mut follower = client(&rules);
    let payload = follower.await_pong();
    let (before, behind) = (frame(0x89, b"theirs"), frame(0x8a, b"12345678"));
    let bytes = [&before[..], &frame(0x8a, &payload), &behind].concat();
    let expected = [before, behind].concat();
    for at in 0..=bytes.len() {
        let mut follower = client(&rules);
        follower.awaited = Some(payload);
        let (passed, fault) = pass(&mut follower, [&bytes[..at], &bytes[at..]]);
        assert_eq!((passed, fault), (expected.clone(), None), "{at}");
        assert!(follower.awaited.is_none());
        assert_eq!(follower.messages(), 0);
    }
}

proptest! {
    /// Whatever comes, sound or not, in pieces or at once: the same passes, and the same is forbidden.
    #[test]
    fn any_split_gives_the_same(
        frames in proptest::collection::vec(
            (any::<bool>(), 0_u8..16, proptest::collection::vec(any::<u8>(), 0..20)),
            1..8,
        ),
        cuts in proptest::collection::vec(1_usize..12, 0..60),
        strict in any::<bool>(),
        size in proptest::option::of(0_u64..40),
    ) {
        let rules = WebSocket { strict, message_size: size, ..WebSocket::default() };
        let bytes: Vec<u8> = frames
            .iter()
            .flat_map(|(fin, opcode, payload)| frame(u8::from(*fin) << 7 | opcode, payload))
            .collect();
        let (mut rest, mut pieces) = (&bytes[..], Vec::new());
        for cut in cuts {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        let (mut whole, mut split) = (client(&rules), client(&rules));
        whole.awaited = Some(*b"12345678");
        split.awaited = whole.awaited;
        let expected = pass(&mut whole, [&bytes[..]]);
        prop_assert_eq!(pass(&mut split, pieces), expected);
        prop_assert_eq!(split.close_code(), whole.close_code());
        prop_assert_eq!(split.passes_close(), whole.passes_close());
    }
}

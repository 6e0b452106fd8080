use http::HeaderMap;
use proptest::prelude::*;

use super::*;

fn headers(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(SEC_WEBSOCKET_EXTENSIONS, line.parse().unwrap());
    }
    headers
}

#[test]
fn offers_of_browsers_are_taken_and_those_that_cannot_be_kept_are_not() {
    for (offer, taken) in [
        ("permessage-deflate; client_max_window_bits", true),
        ("permessage-deflate", true),
        ("x-webkit-deflate-frame, permessage-deflate", true),
        ("Permessage-Deflate; client_max_window_bits=\"10\"", true),
        (
            "permessage-deflate; server_max_window_bits=10, permessage-deflate",
            true,
        ),
        ("permessage-deflate; server_max_window_bits=10", false),
        ("permessage-deflate; client_max_window_bits=16", false),
        ("permessage-deflate; client_max_window_bits=08", false),
        ("permessage-deflate; server_no_context_takeover=1", false),
        (
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
            false,
        ),
        ("permessage-deflate; unknown", false),
        ("permessage-deflate2", false),
        ("", false),
    ] {
        let answer = negotiate(&headers(&[offer]));
        assert_eq!(answer, taken.then_some(AGREEMENT), "{offer}");
    }
    assert_eq!(negotiate(&HeaderMap::new()), None);
}

#[test]
fn an_answer_is_held_to_the_offer() {
    for (answer, expected) in [
        (&[][..], Ok(false)),
        (&[AGREEMENT], Ok(true)),
        (
            &["permessage-deflate; server_no_context_takeover"],
            Ok(true),
        ),
        (
            &["permessage-deflate; server_no_context_takeover; server_max_window_bits=9"],
            Ok(true),
        ),
        (&["permessage-deflate"], Err(Unagreed)),
        (
            &["permessage-deflate; server_no_context_takeover; client_max_window_bits=9"],
            Err(Unagreed),
        ),
        (&["x-other"], Err(Unagreed)),
        (&[AGREEMENT, AGREEMENT], Err(Unagreed)),
    ] {
        assert_eq!(agreed(&headers(answer)), expected, "{answer:?}");
    }
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    // RFC 7692 §7.2.3: one block, two blocks, a stored block, a block that says it is the last.
    for payload in [
        &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..],
        &[
            0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00,
        ],
        &[
            0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00,
        ],
        &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00],
    ] {
        assert_eq!(inflate(payload, 5).unwrap(), b"Hello");
        assert_eq!(
            inflate(payload, 4),
            Err(InflateFault::TooLong { limit: 4 }),
            "{payload:x?}"
        );
    }
    assert_eq!(inflate(&[0x00], 0).unwrap(), b"");
}

#[test]
fn a_bomb_takes_no_more_than_its_limit() {
    let bomb = compress(&vec![0; 64 << 20]).unwrap();
    assert!(bomb.len() < 1 << 20);
    let limit = 1 << 20;
    assert_eq!(inflate(&bomb, limit), Err(InflateFault::TooLong { limit }));
    // And the next message on this thread is not touched by it.
    let text = "again and ".repeat(10);
    let payload = compress(text.as_bytes()).unwrap();
    assert_eq!(inflate(&payload, 100).unwrap(), text.as_bytes());
}

#[test]
fn what_gains_nothing_is_not_compressed() {
    assert_eq!(compress(&[b'a'; SHORTEST - 1]), None);
    assert!(compress(&[b'a'; SHORTEST]).is_some());
    let mut noise = fastrand::Rng::with_seed(7);
    let noise: Vec<u8> = std::iter::repeat_with(|| noise.u8(..))
        .take(5_000)
        .collect();
    assert_eq!(compress(&noise), None);
}

#[test]
fn garbage_is_corrupt_and_not_more() {
    assert_eq!(inflate(&[0xff; 40], 100), Err(InflateFault::Corrupt));
    assert_eq!(inflate(&[0x07], 100), Err(InflateFault::Corrupt));
}

proptest! {
    #[test]
    fn what_was_compressed_comes_back(words in prop::collection::vec("[a-d]{1,8}", 0..4_000)) {
        let text = words.join(" ");
        if let Some(payload) = compress(text.as_bytes()) {
            prop_assert!(payload.len() < text.len());
            prop_assert_eq!(inflate(&payload, text.len()).unwrap(), text.as_bytes());
            prop_assert!(inflate(&payload, text.len() - 1).is_err());
        }
    }

    #[test]
    fn nothing_that_is_sent_does_more_than_fail(bytes: Vec<u8>, limit in 0_usize..1_000) {
        if let Ok(message) = inflate(&bytes, limit) {
            prop_assert!(message.len() <= limit);
        }
    }
}

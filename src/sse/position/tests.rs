use super::*;

fn behind(stream: &[u8]) -> Position {
    let mut position = Position::new(None);
    position.follow(stream);
    position
}

#[test]
fn an_id_takes_effect_at_the_end_of_its_block() {
    let table: &[(&[u8], Option<&[u8]>)] = &[
        (b"", None),
        (b"id: 1\ndata: a\n", None),
        (b"id: 1\ndata: a\n\n", Some(b"1")),
        (b"id: 1\r\r", Some(b"1")),
        (b"id:1\r\n\r\n", Some(b"1")),
        (b"id:  1\n\n", Some(b" 1")),
        (b"id: 1\nid: 2\n\n", Some(b"2")),
        (b"id: 1\n\nid: 2\n", Some(b"1")),
        (b"id: 1\n\ndata: a\n\n", Some(b"1")),
        (b"id: 1\n\nid\n\n", None),
        (b"id: 1\n\nid:\n\n", None),
        (b"id: 1\n\nid: 2\0\n\n", Some(b"1")),
        (b"id: 1\n\nid: 2\nid: \0\n\n", Some(b"2")),
        (b"ID: 1\n\n", None),
        (b"id : 1\n\n", None),
        (b" id: 1\n\n", None),
        (b":id: 1\n\n", None),
        (b"data: id: 1\n\n", None),
        (b"id: \xc3\xa9\t:\n\n", Some(b"\xc3\xa9\t:")),
        (b"\xef\xbb\xbfid: 1\n\n", Some(b"1")),
        (b"\xef\xbbid: 1\n\n", None),
        (b"\n\xef\xbb\xbfid: 1\n\n", None),
    ];
    for (stream, expected) in table {
        let position = behind(stream);
        assert_eq!(position.last_id(), *expected, "{stream:?}");
        assert!(position.is_known(), "{stream:?}");
    }
}

#[test]
fn an_id_that_cannot_be_sent_is_not_known_until_another_comes() {
    let fits = [b"id: ", &[b'x'; MAX_ID][..], b"\n\n"].concat();
    assert_eq!(behind(&fits).last_id().map(<[u8]>::len), Some(MAX_ID));
    let too_long = [b"id: ", &[b'x'; MAX_ID + 1][..], b"\n\n"].concat();
    for unknown in [&too_long[..], b"id: \x07\n\n", b"id: a\x7fb\n\n"] {
        let mut position = Position::new(Some(b"0".to_vec()));
        position.follow(&unknown[..unknown.len() - 1]);
        assert!(position.is_known(), "the block has not ended");
        position.follow(b"\n");
        assert!(!position.is_known());
        assert_eq!(position.last_id(), None);
        assert!(position.has_dispatched());
        let mut cleared = position.clone();
        cleared.follow(b"id\n\n");
        assert!(cleared.is_known());
        position.follow(b"data: a\n\n");
        assert!(!position.is_known());
        position.follow(b"id: 2\n\n");
        assert_eq!(position.last_id(), Some(&b"2"[..]));
    }
    let with_nul = [b"id: ", &[b'x'; MAX_ID + 1][..], b"\0\n\n"].concat();
    assert!(
        behind(&with_nul).is_known(),
        "it is as if it were not there"
    );
    for given in [b"a\nb".to_vec(), vec![b'x'; MAX_ID + 1]] {
        assert!(!Position::new(Some(given)).is_known());
    }
}

#[test]
fn an_id_of_any_length_is_not_held() {
    let mut position = behind(b"id: ");
    for _ in 0..64 {
        position.follow(&[b'x'; 1024]);
    }
    assert!(position.value.bytes.capacity() <= MAX_ID);
}

#[test]
fn a_reconnection_time_is_digits_and_counts_at_once() {
    let table: &[(&[u8], Option<u64>)] = &[
        (b"retry: 500", None),
        (b"retry: 500\n", Some(500)),
        (b"retry:0\r", Some(0)),
        (b"retry: 5 \n", None),
        (b"retry:  5\n", None),
        (b"retry: +5\n", None),
        (b"retry: -5\n", None),
        (b"retry: 5s\n", None),
        (b"retry: \n", None),
        (b"retry\n", None),
        (b"retry: 5\nretry: x\n", Some(5)),
        (b"retry: 3600001\n", Some(3_600_000)),
        (b"retry: 99999999999999999999999999\n", Some(3_600_000)),
        (b"retry: 000000000000000000000000007\n", Some(7)),
    ];
    for (stream, expected) in table {
        let expected = expected.map(Duration::from_millis);
        assert_eq!(behind(stream).retry(), expected, "{stream:?}");
    }
}

#[test]
fn blocks_with_data_or_an_id_are_noticed() {
    let table: &[(&[u8], bool)] = &[
        (b"data: a\n", false),
        (b"data\n\n", true),
        (b"id: 1\n\n", true),
        (b"id\n\n", true),
        (b"id: \0\n\n", false),
        (b":\n\nevent: a\n\nretry: 1\n\nx: y\n\n", false),
    ];
    for (stream, expected) in table {
        assert_eq!(behind(stream).has_dispatched(), *expected, "{stream:?}");
    }
}

#[test]
fn a_half_block_is_forgotten_and_a_mark_may_lead_again() {
    let halves: &[&[u8]] = &[
        b"id: 2",
        b"id: 2\n",
        b"id: 2\ndata: a\r",
        b"id: \0",
        b"i",
        b"retry: 77",
        b"data: a\n",
    ];
    for half in halves {
        let mut position = behind(b"id: 1\nretry: 5\n\n");
        position.follow(half);
        position.forget_half();
        assert_eq!(position.last_id(), Some(&b"1"[..]), "{half:?}");
        position.follow(b"\xef\xbb\xbfretry: 8\n\n");
        assert_eq!(position.last_id(), Some(&b"1"[..]), "{half:?}");
        assert_eq!(position.retry(), Some(Duration::from_millis(8)));
    }
    let mut position = behind(b"data: a\n");
    position.forget_half();
    position.follow(b"\n");
    assert!(!position.has_dispatched());
}

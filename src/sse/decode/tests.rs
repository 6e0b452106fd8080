use super::*;

fn items(limit: usize, stream: &[u8]) -> Vec<Item> {
    let mut decoder = Decoder::new(limit, None);
    let mut items = Vec::new();
    for mut byte in stream.chunks(1) {
        items.extend(std::iter::from_fn(|| decoder.next(&mut byte)));
    }
    items
}

fn event(name: Option<&str>, data: &str, id: Option<&str>) -> Item {
    Item::Event(Event {
        name: name.map(str::to_owned),
        data: data.to_owned(),
        id: id.map(str::to_owned),
    })
}

#[test]
fn events_are_dispatched_as_the_chapter_says() {
    let table: &[(&[u8], &[Item])] = &[
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", &[event(None, "YHOO\n+2\n10", None)]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            &[
                event(None, "first event", Some("1")),
                event(None, "second event", None),
                event(None, " third event", None),
            ],
        ),
        (b"data\n\ndata\ndata\n\ndata:", &[event(None, "", None), event(None, "\n", None)]),
        (b"data:test\n\ndata: test\n\n", &[event(None, "test", None), event(None, "test", None)]),
    ];
    for (stream, expected) in table {
        assert_eq!(items(DEFAULT_LIMIT, stream), *expected, "{stream:?}");
    }
}

#[test]
fn names_and_ids_are_the_blocks_own() {
    let table: &[(&[u8], &[Item])] = &[
        (
            b"event: a\nevent: b\ndata: x\n\n",
            &[event(Some("b"), "x", None)],
        ),
        (b"event: a\nevent\ndata: x\n\n", &[event(None, "x", None)]),
        (b"event: a\n\ndata: x\n\n", &[event(None, "x", None)]),
        (
            b"event: a\rdata: x\r\revent:b\r",
            &[event(Some("a"), "x", None)],
        ),
        (b"id: 1\n\ndata: x\n\n", &[event(None, "x", Some("1"))]),
        (b"data: x\nid: 1\n\n", &[event(None, "x", Some("1"))]),
        (b"data: x\nid: 1\0\n\n", &[event(None, "x", None)]),
        (
            b"data: \xff\xe2\x82\nid: \xf0\x9f\n\n",
            &[event(None, "\u{fffd}\u{fffd}", Some("\u{fffd}"))],
        ),
        (
            b"\xef\xbb\xbfdata: \xef\xbb\xbf\n\n",
            &[event(None, "\u{feff}", None)],
        ),
        (b"data: x\nid: 1\n", &[]),
    ];
    for (stream, expected) in table {
        assert_eq!(items(DEFAULT_LIMIT, stream), *expected, "{stream:?}");
    }
}

#[test]
fn an_event_over_the_limit_is_told_and_the_next_one_comes() {
    let oversize = |bytes| Item::Oversize { bytes };
    let table: &[(&[u8], &[Item])] = &[
        (b"data: 1234567\n\n", &[event(None, "1234567", None)]),
        (b"data: 12345678\n\n", &[oversize(9)]),
        (
            b"data: 12345678\ndata: 1\nid: 7\nretry: 5\n\ndata\n\n",
            &[oversize(11), event(None, "", Some("7"))],
        ),
        (
            b"event: 12345\ndata: 12\n\n",
            &[event(Some("12345"), "12", None)],
        ),
        (b"event: 12345\ndata: 123\n\n", &[oversize(9)]),
        (b"event: 123456789\n\n", &[oversize(9)]),
        (
            b"data\ndata\ndata\ndata\ndata\ndata\ndata\ndata\ndata\n\n",
            &[oversize(9)],
        ),
        (
            b": a comment of any length\nother: fields too\nid: and an id\n\n",
            &[],
        ),
        (b"data: 123456789", &[]),
    ];
    for (stream, expected) in table {
        assert_eq!(items(8, stream), *expected, "{stream:?}");
    }
}

#[test]
fn what_passes_the_limit_is_not_held() {
    let mut decoder = Decoder::new(100, None);
    for start in ["data: ", "\nevent: "] {
        assert_eq!(decoder.next(&mut start.as_bytes()), None);
        for _ in 0..64 {
            assert_eq!(decoder.next(&mut &[b'x'; 64][..]), None);
        }
        let block = &decoder.block;
        assert_eq!(block.data.capacity() + block.next_name.capacity(), 0);
    }
}

#[test]
fn a_new_connection_goes_on_behind_the_last_whole_event() {
    let mut decoder = Decoder::new(DEFAULT_LIMIT, Some(b"0".to_vec()));
    assert_eq!(decoder.position().last_id(), Some(&b"0"[..]));
    let mut first: &[u8] = b"retry: 9\ndata: a\n\nid: 1\nevent: lost\ndata: los";
    assert_eq!(decoder.next(&mut first), Some(event(None, "a", Some("0"))));
    assert_eq!(decoder.next(&mut first), None);
    decoder.begin_again();
    assert_eq!(decoder.position().last_id(), Some(&b"0"[..]));
    assert!(decoder.position().retry().is_some());
    let mut second: &[u8] = b"\xef\xbb\xbfdata: b\n\n";
    assert_eq!(decoder.next(&mut second), Some(event(None, "b", Some("0"))));
}

use super::*;

/// All places of a stream that comes byte by byte.
fn places(stream: &[u8]) -> Vec<usize> {
    let mut boundary = Boundary::default();
    let is_place = |(index, byte): (usize, &u8)| {
        boundary
            .follow(std::slice::from_ref(byte))
            .map(|_| index + 1)
    };
    stream.iter().enumerate().filter_map(is_place).collect()
}

#[test]
fn blocks_end_behind_empty_lines_of_any_kind() {
    let table: &[(&[u8], &[usize])] = &[
        (b"", &[]),
        (b"data: a\n", &[]),
        (b"data: a\n\n", &[9]),
        (b"data: a\r\r", &[9]),
        (b"data: a\r\n\r\n", &[10, 11]),
        (b"data: a\r\n\n", &[10]),
        (b"data: a\n\r\n", &[9, 10]),
        (b"data: a\r\rb", &[9]),
        (b"\n", &[1]),
        (b"\r\n\n", &[1, 2, 3]),
        (b"\xef\xbb\xbf\n", &[3, 4]),
        (b"\xef\xbb\n\n", &[4]),
        (b"\n\xef\xbb\xbf\n", &[1]),
        (b":\n\nid: 1\n\n", &[3, 10]),
    ];
    for (stream, expected) in table {
        assert_eq!(places(stream), *expected, "{stream:?}");
    }
}

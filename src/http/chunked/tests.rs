//! The decoder in tables and under any split of its input.

use http::HeaderMap;
use proptest::prelude::*;

use super::{ChunkError, Decoder, LAST, Piece, TAIL, head, trailer_section};

/// Data, trailers, and how many bytes were consumed when the body ended; `None` while it has not.
type Outcome = Result<(Vec<u8>, Option<(usize, Option<HeaderMap>)>), ChunkError>;

/// Decodes input that comes in pieces of these sizes, the last size again and again.
fn decode(input: &[u8], sizes: &[usize]) -> Outcome {
    let mut decoder = Decoder::new();
    let mut data = Vec::new();
    let (mut at, mut turn) = (0, 0);
    while at < input.len() {
        let size = sizes[turn.min(sizes.len() - 1)].max(1);
        let piece = &input[at..input.len().min(at + size)];
        let mut done = 0;
        while done < piece.len() {
            let step = decoder.decode(&piece[done..])?;
            match step.piece {
                Piece::Framing => assert_eq!(done + step.consumed, piece.len()),
                Piece::Data(range) => {
                    assert!(!range.is_empty() && range.end == step.consumed);
                    data.extend_from_slice(&piece[done..][range]);
                }
                Piece::End => {
                    let again = decoder.decode(b"more").unwrap();
                    assert_eq!((again.consumed, again.piece), (0, Piece::End));
                    return Ok((data, Some((at + done + step.consumed, decoder.trailers()))));
                }
            }
            done += step.consumed;
        }
        at += piece.len();
        turn += 1;
    }
    assert!(!decoder.is_done());
    Ok((data, None))
}

fn whole(input: &[u8]) -> Outcome {
    decode(input, &[input.len()])
}

#[test]
fn body_ends_at_its_last_byte_and_not_behind_it() {
    for (body, data) in [
        (&b"0\r\n\r\n"[..], &b""[..]),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (
            b"00A;x=\"y\";z\r\n0123456789\r\n1\r\n!\r\n000\r\n\r\n",
            b"0123456789!",
        ),
        (b"2;\xe9\t\r\n\r\n\r\n0;last\r\n\r\n", b"\r\n"),
    ] {
        let next = [body, b"HTTP/1.1 200 OK\r\n"].concat();
        assert_eq!(whole(&next), Ok((data.to_vec(), Some((body.len(), None)))));
    }
}

#[test]
fn truncated_body_has_no_end() {
    let body = b"5\r\nhello\r\n0\r\na: b\r\n\r\n";
    for cut in 0..body.len() {
        assert!(matches!(whole(&body[..cut]), Ok((_, None))), "{cut}");
    }
}

#[test]
fn trailers_come_out_once_and_without_forbidden_fields() {
    let body = b"0\r\nX-Sum: 1 \r\nContent-Length: 9\r\nx-sum:2\r\n\r\n";
    let (_, end) = whole(body).unwrap();
    let fields = end.unwrap().1.unwrap();
    let values: Vec<_> = fields.get_all("x-sum").iter().collect();
    assert_eq!(values, ["1", "2"]);
    assert_eq!(fields.len(), 2);
}

#[test]
fn violations_are_refused() {
    use ChunkError::{DataTooLong, Extension, LineEnd, Size, SizeTooLarge, Trailer};
    for (body, error) in [
        (&b"\r\n"[..], Size),
        (b";a\r\n", Size),
        (b" 5\r\n", Size),
        (b"5 \r\n", Size),
        (b"0x5\r\n", Size),
        (b"+5\r\n", Size),
        (b"-1\r\n", Size),
        (b"5\n", LineEnd),
        (b"5\rx", LineEnd),
        (b"5;a\n", Extension),
        (b"5;\0\r\n", Extension),
        (b"5;a\rb\r\n", LineEnd),
        (b"8000000000000000\r\n", SizeTooLarge),
        (b"00000000000000005\r\n", SizeTooLarge),
        (b"1\r\nab", DataTooLong),
        (b"1\r\na\n", DataTooLong),
        (b"1\r\na\rb", LineEnd),
        (b"0\r\n\n", LineEnd),
        (b"0\r\n\rx", LineEnd),
        (b"0\r\na: b\n", LineEnd),
        (b"0\r\na: b\rc", LineEnd),
        (b"0\r\nab\r\n\r\n", Trailer),
        (b"0\r\na : b\r\n\r\n", Trailer),
        (b"0\r\na: b\r\n c\r\n\r\n", Trailer),
    ] {
        assert_eq!(whole(body), Err(error), "{body:?}");
    }
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let extension = |length| [b"1;", "x".repeat(length).as_bytes(), b"\r\na\r\n"].concat();
    assert!(whole(&extension(255)).is_ok());
    assert_eq!(whole(&extension(256)), Err(ChunkError::ExtensionTooLong));

    let trailers = |length| [b"0\r\na:", "x".repeat(length).as_bytes(), b"\r\n\r\n"].concat();
    assert!(matches!(
        whole(&trailers(8 * 1024 - 4)),
        Ok((_, Some((_, Some(_)))))
    ));
    assert_eq!(
        whole(&trailers(8 * 1024 - 3)),
        Err(ChunkError::TrailersTooLong)
    );
}

#[test]
fn largest_size_is_half_of_64_bits() {
    let mut decoder = Decoder::new();
    let step = decoder.decode(b"7fffffffffffffff\r\nabc").unwrap();
    assert_eq!(step.piece, Piece::Data(18..21));
}

#[test]
fn heads_are_hexadecimal() {
    for (len, text) in [
        (1, "1\r\n"),
        (15, "f\r\n"),
        (16, "10\r\n"),
        (0x1a2b, "1a2b\r\n"),
    ] {
        let mut out = Vec::new();
        head(len, &mut out);
        assert_eq!(out, text.as_bytes());
    }
    let mut out = Vec::new();
    head(usize::MAX, &mut out);
    assert_eq!(out, format!("{:x}\r\n", usize::MAX).into_bytes());
}

proptest! {
    #[test]
    fn any_split_gives_what_was_encoded(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5),
        trailer in prop::option::of("[!-~]{1,20}"),
        sizes in prop::collection::vec(1usize..12, 1..20),
    ) {
        let mut body = Vec::new();
        for chunk in &chunks {
            head(chunk.len(), &mut body);
            body.extend_from_slice(chunk);
            body.extend_from_slice(TAIL);
        }
        let fields = trailer.map(|value| HeaderMap::from_iter([(
            http::HeaderName::from_static("x-end"), value.parse().unwrap(),
        )]));
        match &fields {
            Some(fields) => trailer_section(fields, &mut body),
            None => body.extend_from_slice(LAST),
        }
        let end = body.len();
        body.extend_from_slice(b"rest");
        prop_assert_eq!(decode(&body, &sizes), Ok((chunks.concat(), Some((end, fields)))));
    }

    #[test]
    fn any_split_of_any_bytes_has_the_same_outcome(
        body in "([0-3;a: \r\n]|\r\n|0\r\n|1\r\na\r\n){0,24}",
        sizes in prop::collection::vec(1usize..6, 1..20),
    ) {
        prop_assert_eq!(decode(body.as_bytes(), &sizes), whole(body.as_bytes()));
    }
}

//! What is no HTTP/2, or no request: told by a reset stream or an ended connection, and nothing reaches the backend.

use super::frames::{Frames, field, frame, get, head};
use super::{
    COMPRESSION_ERROR, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, GOAWAY, HEADERS,
    PROTOCOL_ERROR, RST_STREAM, WINDOW_UPDATE,
};
use crate::harness::{Backend, Gate, echo_http};

const WHOLE: u8 = END_HEADERS | END_STREAM;

/// The status of a response's head, which is not in the table that each connection begins with, or is.
fn status(payload: &[u8]) -> u16 {
    // `:status` is the first field. 0x88 to 0x8e are the static table's; others are literals with an indexed name.
    const KNOWN: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];
    // A change of the table's size may stand before it (RFC 7541 §6.3).
    let start = payload.iter().position(|byte| byte & 0xe0 != 0x20).unwrap();
    match payload[start] {
        indexed @ 0x88..=0x8e => KNOWN[usize::from(indexed - 0x88)],
        _ => {
            let length = usize::from(payload[start + 1] & 0x7f);
            let digits = &payload[start + 2..start + 2 + length];
            match payload[start + 1] & 0x80 {
                0 => std::str::from_utf8(digits).unwrap().parse().unwrap(),
                // Digits in Huffman's code: 0 to 2 have five bits, the others six (RFC 7541, appendix B).
                _ => huffman_digits(digits),
            }
        }
    }
}

fn huffman_digits(bytes: &[u8]) -> u16 {
    let bits: Vec<u8> = bytes
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1))
        .collect();
    let take = |at: usize, count: usize| {
        bits[at..at + count]
            .iter()
            .fold(0u16, |n, bit| n << 1 | u16::from(*bit))
    };
    let (mut at, mut number) = (0, 0);
    for _ in 0..3 {
        let short = take(at, 5);
        if short < 3 {
            (at, number) = (at + 5, number * 10 + short);
        } else {
            (at, number) = (at + 6, number * 10 + take(at, 6) - 0x19 + 3);
        }
    }
    number
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_reset() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let with = |name: &str, value: &str| [head("/bad"), field(name, value)].concat();
    let cases = [
        [vec![0x82, 0x87], field(":authority", "a")].concat(),
        [vec![0x87], field(":path", "/bad")].concat(),
        [vec![0x82, 0x82, 0x87], field(":path", "/bad")].concat(),
        [field("x", "y"), head("/bad")].concat(),
        with(":status", "200"),
        with(":unknown", "x"),
        with("X-Upper", "y"),
        with("connection", "close"),
        with("transfer-encoding", "chunked"),
        with("keep-alive", "x"),
        with("upgrade", "websocket"),
        with("te", "gzip"),
        with("x", "a\r\nb"),
        with("x", "a\0b"),
        with("bad name", "x"),
    ];
    for (number, fields) in cases.iter().enumerate() {
        // Some are the stream's own fault, some the connection's (RFC 9113 §5.4): each has its own.
        let mut client = Frames::connect(&gate).await;
        client.send(&frame(HEADERS, WHOLE, 1, fields)).await;
        loop {
            let answer = client.next().await.expect("an answer before the end");
            assert_ne!(answer.kind, HEADERS, "case {number} was answered");
            if answer.kind == RST_STREAM {
                assert_eq!(
                    answer.payload,
                    PROTOCOL_ERROR.to_be_bytes(),
                    "case {number}"
                );
                client.send(&get(3, "/good")).await;
                assert_eq!(status(&client.next_of(HEADERS).await.payload), 200);
                break;
            }
            if answer.kind == GOAWAY {
                break;
            }
        }
    }
    let requests = backend.requests();
    assert!(
        requests.iter().all(|request| request.target() == "/good"),
        "{requests:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_contradict_themselves_are_400() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = Frames::connect(&gate).await;
    let with = |name: &str, value: &str| [head("/bad"), field(name, value)].concat();
    let connect = [field(":method", "CONNECT"), field(":authority", "a:443")].concat();
    let cases = [
        with("host", "other"),
        with("host", "localhost:81"),
        with("content-length", "+0"),
        connect,
    ];
    for (number, fields) in cases.iter().enumerate() {
        let stream = 2 * u32::try_from(number).unwrap() + 1;
        client.send(&frame(HEADERS, WHOLE, stream, fields)).await;
        loop {
            let answer = client.next().await.expect("the connection lives");
            match answer.kind {
                HEADERS => assert_eq!(status(&answer.payload), 400, "case {number}"),
                RST_STREAM => assert_eq!(answer.payload, PROTOCOL_ERROR.to_be_bytes()),
                _ => continue,
            }
            assert_eq!(answer.stream, stream);
            break;
        }
    }
    assert!(backend.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_with_too_much_in_it_is_431() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let many = [head("/bad"), field("x", "y").repeat(101)].concat();
    let long = [head("/bad"), field("x", &"y".repeat(8000)).repeat(5)].concat();
    // What is a little too long we say; what is longer h2 does; what is far longer is a flood.
    let longer = [head("/bad"), field("x", &"y".repeat(8000)).repeat(7)].concat();
    for fields in [many, long, longer] {
        let (mut client, stream) = (Frames::connect(&gate).await, 1);
        let mut pieces = fields.chunks(16_000).peekable();
        let first = pieces.next().unwrap();
        let flags = |last: bool| if last { END_HEADERS } else { 0 };
        let mut bytes = frame(
            HEADERS,
            END_STREAM | flags(pieces.peek().is_none()),
            stream,
            first,
        );
        while let Some(piece) = pieces.next() {
            bytes.extend(frame(
                super::CONTINUATION,
                flags(pieces.peek().is_none()),
                stream,
                piece,
            ));
        }
        client.send(&bytes).await;
        let answer = client.next_of(HEADERS).await;
        assert_eq!((answer.stream, status(&answer.payload)), (stream, 431));
    }
    assert!(backend.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn violations_of_the_protocol_end_the_connection() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    // h2 has PROTOCOL_ERROR for some faults of compression.
    // A table of 1 MiB (RFC 7541 §6.3), where 4096 bytes are allowed.
    let huge_table = [vec![0x3f, 0xe1, 0xff, 0x3f], head("/bad")].concat();
    let cases = [
        (
            frame(HEADERS, WHOLE, 1, &huge_table),
            &[COMPRESSION_ERROR, PROTOCOL_ERROR][..],
        ),
        (
            frame(HEADERS, WHOLE, 1, &[0xff, 0xff, 0xff]),
            &[COMPRESSION_ERROR, PROTOCOL_ERROR][..],
        ),
        (frame(HEADERS, WHOLE, 2, &head("/bad")), &[PROTOCOL_ERROR]),
        (
            frame(WINDOW_UPDATE, 0, 0, &0u32.to_be_bytes()),
            &[PROTOCOL_ERROR],
        ),
        (
            frame(WINDOW_UPDATE, 0, 0, &0x7fff_ffffu32.to_be_bytes()),
            &[FLOW_CONTROL_ERROR],
        ),
        (frame(super::CONTINUATION, 0, 1, b""), &[PROTOCOL_ERROR]),
        (frame(super::DATA, 0, 0, b"x"), &[PROTOCOL_ERROR]),
    ];
    for (number, (bytes, reasons)) in cases.iter().enumerate() {
        let mut client = Frames::connect(&gate).await;
        client.send(bytes).await;
        let found = client.reason().await;
        assert!(
            found.is_some_and(|found| reasons.contains(&found)),
            "case {number}: {found:?}"
        );
    }
    assert!(backend.requests().is_empty());
    assert_eq!(gate.get("/still-here").await.1, "GET /still-here");
}

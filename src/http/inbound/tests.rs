//! Verdicts in tables, and under any split of the bytes.

use proptest::prelude::*;

use super::{Bounds, Fault, Halt, Inbound};
use crate::http::chunked::ChunkError;
use crate::http::host::HostError;

const BOUNDS: Bounds = Bounds {
    size: 300,
    count: 5,
};

/// Heads that were passed, what else was passed if all was well, and how it stands at the end.
fn follow(input: &[u8], sizes: &[usize]) -> (u64, Option<usize>, Option<Halt>) {
    let mut inbound = Inbound::new(BOUNDS);
    let (mut waiting, mut passed, mut at, mut turn) = (Vec::new(), 0, 0, 0);
    let mut halt = None;
    while at < input.len() {
        let size = sizes[turn.min(sizes.len() - 1)].max(1);
        let piece = &input[at..input.len().min(at + size)];
        at += piece.len();
        turn += 1;
        waiting.extend_from_slice(piece);
        loop {
            let done;
            (done, halt) = inbound.follow(&waiting);
            passed += done;
            waiting.drain(..done);
            if halt != Some(Halt::Unanswered) {
                break;
            }
            // Each is answered as soon as it has been passed.
            inbound.resume();
        }
        if matches!(halt, Some(Halt::Refused(_) | Halt::Broken(_))) {
            break;
        }
    }
    // Where a broken chunk is noticed, what stands before it has been passed as far as it had come.
    let broken = matches!(halt, Some(Halt::Broken(_)));
    (inbound.heads(), (!broken).then_some(passed), halt)
}

fn whole(input: &[u8]) -> (u64, Option<usize>, Option<Halt>) {
    follow(input, &[input.len()])
}

fn verdict(input: &[u8]) -> Option<Halt> {
    let at_once = whole(input);
    assert_eq!(follow(input, &[1]), at_once, "{}", input.escape_ascii());
    at_once.2
}

#[test]
fn good_requests_pass_whole() {
    for (input, heads) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], 1),
        (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        (b"GET / HTTP/1.0\r\n\r\n", 1),
        (b"M-SEARCH /a?b=c|{} HTTP/1.1\r\nhost:\r\nX:\t\xe9 \t\r\n\r\n", 1),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        (b"GET http://A/x HTTP/1.1\r\nHost: a:80\r\n\r\n", 1),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 2),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n1;x\r\na\r\n0\r\nb: c\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 2),
    ] {
        assert_eq!(whole(input), (heads, Some(input.len()), None), "{}", input.escape_ascii());
        assert_eq!(verdict(input), None);
    }
}

#[test]
fn bad_request_lines_are_refused() {
    use Fault::{BareCr, BareLf, Connect, Control, RequestLine, Target, Version};
    for (line, fault) in [
        (&b"GET / HTTP/1.1\n"[..], BareLf),
        (b"\n", BareLf),
        (b"GET /\rHTTP/1.1\r\n", BareCr),
        (b"\rGET / HTTP/1.1\r\n", BareCr),
        (b"GET /\0 HTTP/1.1\r\n", Control),
        (b"\x16\x03\x01", Control),
        (b"\r\n\r\n", RequestLine),
        (b"GET /\r\n", RequestLine),
        (b"GET\r\n", RequestLine),
        (b" GET / HTTP/1.1\r\n", RequestLine),
        (b"GET  / HTTP/1.1\r\n", RequestLine),
        (b"GET /  HTTP/1.1\r\n", RequestLine),
        (b"GET / HTTP/1.1 \r\n", RequestLine),
        (b"GET\t/\tHTTP/1.1\r\n", RequestLine),
        (b"GET / a HTTP/1.1\r\n", RequestLine),
        (b"G@T / HTTP/1.1\r\n", RequestLine),
        (b"G\xc3T / HTTP/1.1\r\n", RequestLine),
        (b"GET / http/1.1\r\n", Version),
        (b"GET / HTTP/1.2\r\n", Version),
        (b"GET / HTTP/2.0\r\n", Version),
        (b"GET / HTTP/01.1\r\n", Version),
        (b"GET / HTTP/1.1x\r\n", Version),
        (b"PRI * HTTP/2.0\r\n", Version),
        (b"CONNECT a:443 HTTP/1.1\r\n", Connect),
        (b"GET * HTTP/1.1\r\n", Target),
        (b"GET a HTTP/1.1\r\n", Target),
        (b"GET a:80 HTTP/1.1\r\n", Target),
        (b"GET ftp://a/ HTTP/1.1\r\n", Target),
        (b"GET http:///a HTTP/1.1\r\n", Target),
        (b"GET /#a HTTP/1.1\r\n", Target),
        (b"GET /\xe9 HTTP/1.1\r\n", Target),
        (b"GET /\tb HTTP/1.1\r\n", Target),
    ] {
        assert_eq!(
            verdict(line),
            Some(Halt::Refused(fault)),
            "{}",
            line.escape_ascii()
        );
    }
}

#[test]
fn bad_fields_are_refused() {
    use Fault::{
        BareCr, BareLf, ContentLength, Control, Folded, Name, NoColon, SpaceBeforeColon,
        TransferEncoding, TwoFramings, UnsafeValue, UpgradeH2c,
    };
    for (fields, fault) in [
        (&b"A: b\nC: d\r\n"[..], BareLf),
        (b"A: b\rC: d\r\n", BareCr),
        (b"A: b\r\r\n", BareCr),
        (b"A: \0\r\n", Control),
        (b"A: \x7f\r\n", Control),
        (b"A: b\r\n c\r\n", Folded),
        (b" A: b\r\n", Folded),
        (b"\tA: b\r\n", Folded),
        (b"A b\r\n", NoColon),
        (b"A : b\r\n", SpaceBeforeColon),
        (b"A\t: b\r\n", SpaceBeforeColon),
        (b": b\r\n", Name),
        (b"A b: c\r\n", Name),
        (b"A(b): c\r\n", Name),
        (b"\xc3: c\r\n", Name),
        (b"Content-Length: 1\r\nContent-Length: 1\r\n", ContentLength),
        (b"Content-Length: 1, 1\r\n", ContentLength),
        (b"Content-Length: +1\r\n", ContentLength),
        (b"Content-Length: -1\r\n", ContentLength),
        (b"Content-Length: 0x1\r\n", ContentLength),
        (b"Content-Length: 1_0\r\n", ContentLength),
        (b"Content-Length:\r\n", ContentLength),
        (b"Content-Length: 99999999999999999999\r\n", ContentLength),
        (b"Transfer-Encoding: xchunked\r\n", TransferEncoding),
        (b"Transfer-Encoding: chunked, chunked\r\n", TransferEncoding),
        (b"Transfer-Encoding: gzip, chunked\r\n", TransferEncoding),
        (b"Transfer-Encoding: \"chunked\"\r\n", TransferEncoding),
        (b"Transfer-Encoding: chunked;a=b\r\n", TransferEncoding),
        (
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            TransferEncoding,
        ),
        (b"Transfer-Encoding: identity\r\n", TransferEncoding),
        (b"Transfer-Encoding:\r\n", TransferEncoding),
        (
            b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
            TwoFramings,
        ),
        (
            b"Content-Length: 0\r\ntransfer-encoding:chunked\r\n\r\n",
            TwoFramings,
        ),
        (b"Transfer-Encoding: chun\xe2\x84\xaaed\r\n", UnsafeValue),
        (b"Connection: \xa0close\r\n", UnsafeValue),
        (b"Upgrade: websocket, H2C/1\r\n", UpgradeH2c),
        (b"Host: b\r\n", Fault::Host(HostError::Several)),
        (b"A: b\r\nA: b\r\nA: b\r\nA: b\r\nA: b\r\n", Fault::TooMany),
    ] {
        let input = [b"GET / HTTP/1.1\r\nHost: a\r\n", fields].concat();
        assert_eq!(
            verdict(&input),
            Some(Halt::Refused(fault)),
            "{}",
            fields.escape_ascii()
        );
    }
}

#[test]
fn heads_that_contradict_themselves_are_refused() {
    for (input, fault) in [
        (
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            Fault::Host(HostError::Missing),
        ),
        (
            b"GET http://a/ HTTP/1.1\r\n\r\n",
            Fault::Host(HostError::Missing),
        ),
        (
            b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
            Fault::Host(HostError::Differs),
        ),
        (
            b"GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n",
            Fault::Host(HostError::Differs),
        ),
        (
            b"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            Fault::Host(HostError::UserInfo),
        ),
        (
            b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
            Fault::TransferEncoding,
        ),
    ] {
        assert_eq!(
            verdict(input),
            Some(Halt::Refused(fault)),
            "{}",
            input.escape_ascii()
        );
    }
}

#[test]
fn a_head_has_as_many_bytes_as_it_may_and_no_more() {
    let head = |size: usize| {
        let fixed = "GET / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n";
        fixed.replace("X: ", &format!("X: {}", "x".repeat(size - fixed.len())))
    };
    assert_eq!(verdict(head(300).as_bytes()), None);
    for size in [301, 302, 303, 400] {
        assert_eq!(
            verdict(head(size).as_bytes()),
            Some(Halt::Refused(Fault::TooLong)),
            "{size}"
        );
    }
}

#[test]
fn a_head_is_passed_whole_or_not_at_all() {
    let input = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for cut in 1..input.len() {
        let mut inbound = Inbound::new(BOUNDS);
        assert_eq!(inbound.follow(&input[..cut]), (0, Some(Halt::Partial)));
        assert!(inbound.is_within_head(&input[..cut]));
        assert_eq!(inbound.follow(input), (input.len(), Some(Halt::Unanswered)));
        assert!(!inbound.is_within_head(b""));
    }
}

#[test]
fn an_empty_line_is_no_head() {
    let mut inbound = Inbound::new(BOUNDS);
    assert_eq!(inbound.follow(b"\r\n"), (0, Some(Halt::Partial)));
    assert!(!inbound.is_within_head(b"\r\n"));
}

#[test]
fn what_follows_an_upgrade_waits_for_its_answer() {
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n";
    let input = [&head[..], b"GET / HTTP/1.1\n"].concat();
    let mut inbound = Inbound::new(BOUNDS);
    assert_eq!(inbound.follow(&input), (head.len(), Some(Halt::Undecided)));
    assert_eq!(
        inbound.follow(&input[head.len()..]),
        (0, Some(Halt::Undecided))
    );
    inbound.resume();
    let refused = Halt::Refused(Fault::BareLf);
    assert_eq!(inbound.follow(&input[head.len()..]), (0, Some(refused)));
}

#[test]
fn what_follows_a_request_waits_for_its_answer() {
    let request = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    let input = [&request[..], b"GET / HTTP/1.1\n"].concat();
    let mut inbound = Inbound::new(BOUNDS);
    let unanswered = Some(Halt::Unanswered);
    assert_eq!(inbound.follow(&input), (request.len(), unanswered));
    assert_eq!(inbound.follow(&input[request.len()..]), (0, unanswered));
    assert!(!inbound.is_within_head(&input[request.len()..]));
    inbound.resume();
    let refused = Some(Halt::Refused(Fault::BareLf));
    assert_eq!(inbound.follow(&input[request.len()..]), (0, refused));
}

#[test]
fn of_a_refused_head_is_known_what_was_good() {
    for (input, method, path, host) in [
        (
            &b"GET /a?b HTTP/1.1\r\nHost: A.org\r\nX : y\r\n"[..],
            "GET",
            "/a",
            "a.org",
        ),
        (
            b"\r\nPUT /a HTTP/1.1\r\nX : y\r\nHost: a.org\r\n",
            "PUT",
            "/a",
            "",
        ),
        (
            b"PUT /a HTTP/1.1\r\nHost: a@b\r\nX : y\r\n",
            "PUT",
            "/a",
            "",
        ),
        (b"GET  /a HTTP/1.1\r\nHost: a.org\r\n", "", "", ""),
        (
            b"GET /a HTTP/1.1\r\nHost: a.org\r\nX: half",
            "GET",
            "/a",
            "a.org",
        ),
        (b"GET /a HTT", "", "", ""),
    ] {
        let mut inbound = Inbound::new(BOUNDS);
        inbound.follow(input);
        let outline = inbound.outline(input);
        let asked = outline.asked.as_ref();
        let found = (
            asked.map_or("", |(method, _)| method.as_str()),
            asked.map_or("", |(_, target)| target.path()),
            outline.host.as_ref().map_or("", |host| host.name()),
        );
        assert_eq!(found, (method, path, host), "{}", input.escape_ascii());
    }
}

#[test]
fn broken_chunks_are_told() {
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, error) in [
        (&b"1 \r\na"[..], ChunkError::Size),
        (b"1\r\na\r\n8000000000000000\r\n", ChunkError::SizeTooLarge),
        (b"1\n", ChunkError::LineEnd),
        (b"1\r\nab", ChunkError::DataTooLong),
        (b"0\r\na\r\n\r\n", ChunkError::Trailer),
    ] {
        assert_eq!(verdict(&[head, body].concat()), Some(Halt::Broken(error)));
    }
}

proptest! {
    #[test]
    fn any_split_gives_the_same_verdicts(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "GET / HTTP/1.1\r\n", "POST /a HTTP/1.1\r\n", "Host: a\r\n", "\r\n", "\r", "\n", " ", "\t", ":", "x",
            "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n", "1\r\na\r\n", "0\r\n\r\n", "0\r\n",
            "abc", "A: b\r\n", "\0", "Upgrade: websocket\r\n", "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        ]), 0..14),
        sizes in prop::collection::vec(1usize..40, 1..20),
    ) {
        let input = pieces.concat().into_bytes();
        prop_assume!(!input.is_empty());
        prop_assert_eq!(follow(&input, &sizes), whole(&input));
    }
}

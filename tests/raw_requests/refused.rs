//! What is refused: nothing of it reaches the backend, and the connection is closed.

use super::{Recorder, Then};

/// Each of `heads` is a request line and its fields, without the last CRLF.
async fn demand_400(heads: &[&[u8]], behind: &[u8]) {
    let recorder = Recorder::start().await;
    for head in heads {
        let bytes = [head, &b"\r\n"[..], behind].concat();
        recorder.demand(&bytes, &[400], Then::Closed, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_with_two_lengths_is_refused() {
    let heads: &[&[u8]] = &[
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\ntRANSFER-eNCODING:chunked\r\ncONTENT-lENGTH:5\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX: y\r\ncontent-length: 5\r\n",
        b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ];
    demand_400(heads, b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_is_no_plain_number_is_refused() {
    let recorder = Recorder::start().await;
    for value in [
        "+5",
        "-5",
        "5, 5",
        "5,5",
        "0x5",
        "5;",
        "5 5",
        "5.0",
        "five",
        "",
        "1e1",
        "\"5\"",
        "5,",
        "\u{665}",
        "18446744073709551616",
        "99999999999999999999999",
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {value}\r\n\r\nhello");
        recorder
            .demand(head.as_bytes(), &[400], Then::Closed, &[])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coding_other_than_one_chunked_is_refused() {
    let recorder = Recorder::start().await;
    for value in [
        "xchunked",
        "chunkedx",
        "chunked, chunked",
        "chunked,",
        ", chunked",
        "gzip, chunked",
        "chunked, gzip",
        "gzip",
        "identity",
        "identity, chunked",
        "\"chunked\"",
        "chunked;q=1",
        "chunked chunked",
        "",
        "chunke\u{301}d",
        "\u{a0}chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
        "identity\r\nTransfer-Encoding: chunked",
    ] {
        let head =
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {value}\r\n\r\n0\r\n\r\n");
        recorder
            .demand(head.as_bytes(), &[400], Then::Closed, &[])
            .await;
    }
    let old = b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    recorder.demand(old, &[400], Then::Closed, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_are_none_are_refused() {
    let recorder = Recorder::start().await;
    let extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(300));
    let trailer = format!("0\r\nX: {}\r\n\r\n", "x".repeat(9000));
    for body in [
        "ffffffffffffffff\r\nhello",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-1\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\0\r\nhello\r\n0\r\n\r\n",
        "5\rX\nhello\r\n0\r\n\r\n",
        "\r\nhello",
        ";a=b\r\n\r\n",
        "5\r\nhello\r\n0\r\nno field\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        "5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n",
        &extension,
        &trailer,
    ] {
        let text =
            format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        recorder
            .demand(text.as_bytes(), &[400], Then::Closed, &[])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn line_ends_and_control_characters_are_refused() {
    let recorder = Recorder::start().await;
    let bytes: &[&[u8]] = &[
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\rHost: a\r\r",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x0b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x7f\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: \x1b[2J\r\n\r\n",
    ];
    for bytes in bytes {
        recorder.demand(bytes, &[400], Then::Closed, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_fields_are_refused() {
    let heads: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\n",
        b"GET / HTTP/1.1\r\n Host: a\r\n",
        b"GET / HTTP/1.1\r\n \r\nHost: a\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n",
        b"GET / HTTP/1.1\r\nHost\t: a\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n: y\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX Y: z\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX(Y): z\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX\xe9: z\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: \xffclose\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continu\xe9\r\n",
    ];
    demand_400(heads, b"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_none_or_two_is_refused() {
    let heads: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nhost: b\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n",
        b"GET / HTTP/1.1\r\nHost: a,b\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n",
        b"GET / HTTP/1.1\r\nHost: a@b\r\n",
        b"GET / HTTP/1.1\r\nHost: a:b\r\n",
        b"GET / HTTP/1.1\r\nHost: a:99999\r\n",
        b"GET / HTTP/1.1\r\nHost: http://a\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1\r\n",
        b"GET / HTTP/1.1\r\nHost: b\xfccher.example\r\n",
        b"GET http://a/ HTTP/1.1\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost: b\r\n",
        b"GET http://a:81/ HTTP/1.1\r\nHost: a\r\n",
        b"GET http://a@b/ HTTP/1.1\r\nHost: b\r\n",
        b"GET http://a/ HTTP/1.1\r\nHost:\r\n",
    ];
    demand_400(heads, b"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_request_lines_are_refused() {
    let heads: &[&[u8]] = &[
        b"GET  / HTTP/1.1\r\nHost: a\r\n",
        b"GET /  HTTP/1.1\r\nHost: a\r\n",
        b" GET / HTTP/1.1\r\nHost: a\r\n",
        b"GET / HTTP/1.1 \r\nHost: a\r\n",
        b"GET\t/\tHTTP/1.1\r\nHost: a\r\n",
        b"GET /a b HTTP/1.1\r\nHost: a\r\n",
        b"GET / http/1.1\r\nHost: a\r\n",
        b"GET / HTTP/1.2\r\nHost: a\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n",
        b"GET / HTTP/11\r\nHost: a\r\n",
        b"GET / HTTP/1.10\r\nHost: a\r\n",
        b"GET / HTTP /1.1\r\nHost: a\r\n",
        b"GET / XTTP/1.1\r\nHost: a\r\n",
        b"GET /\r\nHost: a\r\n",
        b"GET\r\n",
        b"G:T / HTTP/1.1\r\nHost: a\r\n",
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n",
        b"GET a HTTP/1.1\r\nHost: a\r\n",
        b"GET a:80 HTTP/1.1\r\nHost: a\r\n",
        b"GET * HTTP/1.1\r\nHost: a\r\n",
        b"GET ? HTTP/1.1\r\nHost: a\r\n",
        b"GET /#a HTTP/1.1\r\nHost: a\r\n",
        b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n",
        b"GET http:/a HTTP/1.1\r\nHost: a\r\n",
        b"GET /caf\xc3\xa9 HTTP/1.1\r\nHost: a\r\n",
        b"GET /a%00b HTTP/1.1\r\nHost: a\r\n",
        b"GET /a%2fb HTTP/1.1\r\nHost: a\r\n",
        b"GET /a%zz HTTP/1.1\r\nHost: a\r\n",
        b"GET /a/../b HTTP/1.1\r\nHost: a\r\n",
        b"GET /a/%2e%2e/b HTTP/1.1\r\nHost: a\r\n",
        b"GET /.. HTTP/1.1\r\nHost: a\r\n",
        b"GET /a\\..\\b HTTP/1.1\r\nHost: a\r\n",
        b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n",
        b"CONNECT / HTTP/1.1\r\nHost: a\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket, h2c\r\nConnection: Upgrade\r\n",
    ];
    demand_400(heads, b"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_of_a_head_is_431() {
    let recorder = Recorder::start().await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    let line = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(40_000));
    let endless = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(40_000));
    let many = format!(
        "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
        "X: y\r\n".repeat(100)
    );
    for text in [long, line, endless, many] {
        recorder
            .demand(text.as_bytes(), &[431], Then::Closed, &[])
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_http_at_all_is_refused_at_once() {
    let recorder = Recorder::start().await;
    let bytes: &[&[u8]] = &[
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00",
        b"HELO example.org\r\n",
    ];
    for bytes in bytes {
        recorder.demand(bytes, &[400], Then::Closed, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_behind_a_good_one_is_refused_in_its_turn() {
    let recorder = Recorder::start().await;
    let good = b"GET /good HTTP/1.1\r\nHost: a\r\n\r\n";
    let bad: &[&[u8]] = &[
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\0",
    ];
    for bad in bad {
        let bytes = [&good[..], bad, good].concat();
        let requests = ["GET /good none "];
        recorder
            .demand(&bytes, &[200, 400], Then::Closed, &requests)
            .await;
        let bytes = [&good[..], good, bad].concat();
        let requests = ["GET /good none "; 2];
        recorder
            .demand(&bytes, &[200, 200, 400], Then::Closed, &requests)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verdict_does_not_depend_on_how_the_bytes_come() {
    let recorder = Recorder::start().await;
    let text = "GET /a HTTP/1.1\r\nHost: a\r\n\r\nPOST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi\
                GET /c HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n";
    for size in [1, 3, 40] {
        recorder.record.lock().unwrap().clear();
        let mut client = recorder.gate.clear().await;
        for piece in text.as_bytes().chunks(size) {
            if client.try_send(piece).await.is_err() {
                break;
            }
        }
        for status in [200, 200, 400] {
            assert_eq!(client.head().await.status(), status);
            client.body().await;
        }
        client.closes().await;
        let requests = ["GET /a none ", "POST /b length hi"];
        assert_eq!(*recorder.record.lock().unwrap(), requests);
    }
}

//! What passes, as oddly as it is written: the backend gets exactly this.

use super::{Recorder, Then};

#[tokio::test(flavor = "multi_thread")]
async fn bodies_arrive_with_the_framing_they_were_sent_with() {
    let recorder = Recorder::start().await;
    for (bytes, request) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], "GET / none "),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", "POST /a length hello"),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello", "POST /a length hello"),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length:\t5 \r\n\r\nhello", "POST /a length hello"),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "POST /a length "),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 7\r\n\r\n0\r\n\r\n\0\n", "POST /a length 0\\r\\n\\r\\n\\x00\\n"),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "POST /a chunked hello"),
        (b"POST /a HTTP/1.1\r\nHost: a\r\ntransfer-encoding: CHUNKED \r\n\r\n05\r\nhello\r\n000\r\n\r\n", "POST /a chunked hello"),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=\"b\";c\r\nhello\r\n0;d\r\n\r\n", "POST /a chunked hello"),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nA\r\n0\r\n\r\nGET /\r\n0\r\n\r\n", "POST /a chunked 0\\r\\n\\r\\nGET /"),
        (b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n", "POST /a chunked "),
        (b"DELETE /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", "DELETE /a length hi"),
    ] {
        recorder.demand(bytes, &[200], Then::Kept, &[request]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_may_be_odd_where_they_are_not_ambiguous() {
    let recorder = Recorder::start().await;
    for (bytes, request) in [
        (&b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], "GET / none "),
        (b"GET / HTTP/1.1\r\nhOST:a\r\n\r\n", "GET / none "),
        (b"GET / HTTP/1.1\r\nHost:\t a \t\r\n\r\n", "GET / none "),
        (b"GET / HTTP/1.1\r\nHost: a:80\r\nX:\r\nX: \xc3\xa9\tb\r\n\r\n", "GET / none "),
        (b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n!#$%&'*+-.^_`|~9: x\r\n\r\n", "GET / none "),
        (b"GET http://A/b?c HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET /b?c none "),
        (b"GET HTTP://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET / none "),
        (b"PROPFIND /a//b///? HTTP/1.1\r\nHost: a\r\n\r\n", "PROPFIND /a//b///? none "),
        (b"get /%41;b=c HTTP/1.1\r\nHost: a\r\n\r\n", "get /%41;b=c none "),
        (b"GET /a?b=http://c/../d&e={f}|g HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a?b=http://c/../d&e={f}|g none "),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Forwarded-For, Host, Forwarded, keep-alive\r\n\r\n", "GET / none "),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: ,,, \r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\n\r\n", "GET / none "),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers, gzip\r\nConnection: TE\r\n\r\n", "GET / none "),
        (b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\n", "GET / none "),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: nothing\r\n\r\n", "GET / none "),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\nX-Content-Length: 5\r\n\r\n", "GET / none "),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", "HEAD / none "),
    ] {
        recorder.demand(bytes, &[200], Then::Kept, &[request]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_is_kept_only_when_it_asks() {
    let recorder = Recorder::start().await;
    let requests = ["GET /old none "];
    let bytes = b"GET /old HTTP/1.0\r\nHost: a\r\n\r\n";
    recorder
        .demand(bytes, &[200], Then::Closed, &requests)
        .await;
    let bytes = b"GET /old HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n";
    recorder.demand(bytes, &[200], Then::Kept, &requests).await;
    let bytes = b"GET /old HTTP/1.0\r\n\r\n";
    recorder
        .demand(bytes, &[200], Then::Closed, &requests)
        .await;
    let bytes = b"GET /old HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /more HTTP/1.1\r\nHost: a\r\n\r\n";
    recorder
        .demand(bytes, &[200], Then::Closed, &requests)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_begin_where_the_one_before_ends() {
    let recorder = Recorder::start().await;
    let bytes = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\r\n\
        POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\
        GET /c HTTP/1.1\r\nHost: a\r\n\r\n";
    let requests = ["POST /a length hello", "POST /b chunked hi", "GET /c none "];
    recorder
        .demand(bytes, &[200, 200, 200], Then::Kept, &requests)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expect_100_continue_is_answered_once_the_body_is_wanted() {
    let recorder = Recorder::start().await;
    let bytes =
        b"POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 5\r\n\r\nhello";
    let requests = ["POST /a length hello"];
    // With the body at hand there is nothing to wait for, and a 100 does no harm (RFC 9110 §10.1.1).
    recorder
        .demand(bytes, &[100, 200], Then::Kept, &requests)
        .await;
}

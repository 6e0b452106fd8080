//! The same over HTTP/2, where it differs.

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Request};
use std::time::Duration;

use crate::harness::{Backend, Gate, H2Client, H2Response, closes_mid_body, echo_http, within};

#[tokio::test(flavor = "multi_thread")]
async fn h2_requests_become_http_1_1_requests() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = H2Client::connect(&gate).await;
    let request = Request::get("https://app.test:8443/a?b=c")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (response, _) = client.begin(request, true).await;
    let mut exchange = backend.next().await;
    let request = &exchange.request;
    assert_eq!(request.start, "GET /a?b=c HTTP/1.1");
    assert_eq!(request.all("host"), ["app.test:8443"]);
    // RFC 9113 8.2.3: one field again.
    assert_eq!(request.all("cookie"), ["a=1; b=2"]);
    assert_eq!(request.all("x-forwarded-proto"), ["https"]);
    assert!(
        request.get("via").is_some_and(|via| via.starts_with("2")),
        "{request:?}"
    );
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nKeep-Alive: timeout=5\r\n\
                  Content-Length: 5\r\n\r\nhello";
    exchange.wire.send(answer).await;
    let mut response = H2Response::from(within("a head", response).await.unwrap());
    assert_eq!(response.status(), 200);
    assert!(!response.head.headers().contains_key("keep-alive"));
    assert_eq!(response.text().await, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_share_one_connection() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = H2Client::connect(&gate).await;
    let mut waiting = Vec::new();
    for number in 0..50 {
        let request = Request::get(format!("https://localhost/{number}"))
            .body(())
            .unwrap();
        waiting.push(client.begin(request, true).await.0);
    }
    for (number, response) in waiting.into_iter().enumerate() {
        let mut response = H2Response::from(within("a head", response).await.unwrap());
        assert_eq!(response.text().await, format!("GET /{number}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_bodies_stream_both_ways_at_once() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = H2Client::connect(&gate).await;
    let request = Request::post("https://localhost/").body(()).unwrap();
    let (response, mut body) = client.begin(request, false).await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/plain").await;
    let mut response = H2Response::from(within("a head", response).await.unwrap());
    for piece in ["ping", "pong"] {
        body.send_data(Bytes::from(piece), false).unwrap();
        let there = exchange.wire.body_bytes(piece.len()).await;
        exchange.wire.send_chunk(there).await;
        assert_eq!(response.piece().await.unwrap().unwrap(), piece);
    }
    body.send_data(Bytes::new(), true).unwrap();
    exchange.wire.text().await;
    exchange.wire.end_chunks().await;
    assert_eq!(response.text().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_mebibytes_arrive_over_h2() {
    let backend = Backend::that(|mut exchange| async move {
        let mut length = 0_usize;
        while let Ok(Some(piece)) = exchange.wire.piece().await {
            length += piece.len();
        }
        let total = 20 << 20;
        assert_eq!(length, total, "the upload");
        exchange
            .wire
            .send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n"
            ))
            .await;
        for block in 0..20_u8 {
            exchange.wire.send(vec![block; 1 << 20]).await;
        }
        Some(exchange.wire)
    });
    let backend = backend.await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = H2Client::connect(&gate).await;
    let request = Request::post("https://localhost/").body(()).unwrap();
    let (response, mut body) = client.begin(request, false).await;
    for _ in 0..20 {
        send_with_flow_control(&mut body, vec![b'x'; 1 << 20].into()).await;
    }
    body.send_data(Bytes::new(), true).unwrap();
    let mut response = H2Response::from(within("a head", response).await.unwrap());
    let mut at = 0_usize;
    while let Some(piece) = response.piece().await.unwrap() {
        let right = piece
            .iter()
            .enumerate()
            .all(|(offset, byte)| usize::from(*byte) == (at + offset) >> 20);
        assert!(right, "another body came, near byte {at}");
        at += piece.len();
    }
    assert_eq!(at, 20 << 20);
}

async fn send_with_flow_control(body: &mut h2::SendStream<Bytes>, mut data: Bytes) {
    while !data.is_empty() {
        body.reserve_capacity(data.len());
        let capacity = std::future::poll_fn(|cx| body.poll_capacity(cx));
        let capacity = within("room in the window", capacity)
            .await
            .unwrap()
            .unwrap();
        let part = data.split_to(capacity.min(data.len()));
        body.send_data(part, false).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_cross_from_http_1_1_to_h2_and_back() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = H2Client::connect(&gate).await;
    let request = Request::post("https://localhost/")
        .header("te", "trailers")
        .header("trailer", "x-up");
    let (response, mut body) = client.begin(request.body(()).unwrap(), false).await;
    body.send_data(Bytes::from("up"), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-up", HeaderValue::from_static("1"));
    body.send_trailers(trailers).unwrap();
    let mut exchange = backend.next().await;
    assert_eq!(exchange.wire.text().await, "up");
    assert_eq!(
        exchange.wire.trailers,
        [("x-up".to_owned(), "1".to_owned())]
    );
    let answer = "HTTP/1.1 200 OK\r\nTrailer: X-Down\r\nTransfer-Encoding: chunked\r\n\r\n\
                  4\r\ndown\r\n0\r\nX-Down: 2\r\n\r\n";
    exchange.wire.send(answer).await;
    let mut response = H2Response::from(within("a head", response).await.unwrap());
    assert_eq!(response.text().await, "down");
    let trailers = response.trailers().await.expect("trailers come");
    assert_eq!(trailers["x-down"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_cut_by_the_backend_resets_the_stream_and_no_other() {
    let backend = Backend::that(|exchange| async move {
        if exchange.request.target() == "/cut" {
            return closes_mid_body(exchange).await;
        }
        echo_http(exchange).await
    });
    let backend = backend.await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = H2Client::connect(&gate).await;
    let mut response = client.get("/cut").await;
    assert_eq!(response.piece().await.unwrap().unwrap(), "partial");
    assert!(
        response.piece().await.is_err(),
        "the body ended as if it were whole"
    );
    assert_eq!(client.get("/sound").await.text().await, "GET /sound");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_of_the_client_cancels_the_upstream_request() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = H2Client::connect(&gate).await;
    for after_head in [false, true] {
        let request = Request::get("https://localhost/").body(()).unwrap();
        let (response, mut stream) = client.begin(request, true).await;
        let mut exchange = backend.next().await;
        if after_head {
            exchange.answer_in_chunks("text/plain").await;
            within("a head", response).await.unwrap();
        }
        stream.send_reset(Reason::CANCEL);
        exchange.wire.closes_within(Duration::from_secs(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_errors_are_like_any_other() {
    let backend = Backend::that(|_| async { None }).await;
    let upstream = backend.upstream("app");
    let route = "[[route]]\npath = \"/only\"\nupstream = \"app\"\n";
    let gate = Gate::start(&format!("{upstream}{route}")).await;
    let mut client = H2Client::connect(&gate).await;
    assert_eq!(client.get("/none").await.status(), 404);
    let response = client.get("/only").await;
    assert_eq!(response.status(), 502);
    assert!(response.head.headers().contains_key("proxy-status"));
    let request = Request::get("https://a.test/only")
        .header("host", "b.test")
        .body(())
        .unwrap();
    assert_eq!(client.request(request).await.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_stream_holds_up_no_other() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = H2Client::connect(&gate).await;
    let request = |path: &str| {
        Request::get(format!("https://localhost{path}"))
            .body(())
            .unwrap()
    };
    let (stalled, _) = client.begin(request("/stalled"), true).await;
    let mut large = backend.next().await;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 64 << 20);
    large.wire.send(head).await;
    // Nobody reads this body, and its stream's window is soon closed.
    let _unread = within("a head", stalled).await.unwrap();
    let flood = async {
        for _ in 0..64 {
            large.wire.send(vec![b'x'; 1 << 20]).await;
        }
    };
    let other = async {
        let (response, _) = client.begin(request("/other"), true).await;
        let mut exchange = backend.next().await;
        exchange.answer("200 OK", "quick").await;
        H2Response::from(within("a head", response).await.unwrap())
            .text()
            .await
    };
    tokio::select! {
        () = flood => panic!("a body that nobody reads was taken whole"),
        text = other => assert_eq!(text, "quick"),
    }
}

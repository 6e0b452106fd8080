//! Connections towards clients and backends: reuse, order, old versions, bodies that are not there.

use crate::harness::{Backend, Gate, echo_http, reset};

#[tokio::test(flavor = "multi_thread")]
async fn five_requests_share_one_upstream_connection() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    for number in 0..5 {
        client
            .send(format!("GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
            .await;
        assert_eq!(client.head().await.status(), 200);
        assert_eq!(client.text().await, format!("GET /{number}"));
    }
    assert_eq!(backend.requests().len(), 5);
    assert_eq!(backend.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooled_connection_gone_stale_costs_no_error() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    for round in 0..10 {
        client
            .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        let mut exchange = backend.next().await;
        exchange.answer("200 OK", "fine").await;
        assert_eq!(client.head().await.status(), 200, "round {round}");
        assert_eq!(client.text().await, "fine", "round {round}");
        // Closed when idle, with FIN or with RST, without a word in the response.
        if round % 2 == 0 {
            drop(exchange)
        } else {
            exchange.reset()
        }
    }
    assert_eq!(backend.connections(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooled_connection_that_dies_under_a_get_is_replaced() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange.answer("200 OK", "").await;
    client.head().await;
    client
        .send("GET /second HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let exchange = exchange.next().await;
    assert_eq!(exchange.request.target(), "/second");
    // The backend's keep-alive timer fired while the request was on its way.
    drop(exchange);
    let mut again = backend.next().await;
    assert_eq!(again.request.target(), "/second");
    again.answer("200 OK", "at last").await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.text().await, "at last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_is_never_sent_twice() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange.answer("200 OK", "").await;
    client.head().await;
    client
        .send("POST /second HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    let mut exchange = exchange.next().await;
    assert_eq!(exchange.wire.text().await, "hi");
    drop(exchange);
    assert_eq!(client.head().await.status(), 502);
    assert!(
        backend.request_if_any().is_none(),
        "the POST was sent again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_close_of_the_backend_is_its_own_affair() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    for _ in 0..2 {
        client
            .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        let mut exchange = backend.next().await;
        let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
        exchange.wire.send(answer).await;
        let head = client.head().await;
        assert_ne!(head.get("connection"), Some("close"));
        assert_eq!(client.text().await, "ok");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_close_delimited_response_arrives_whole() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange
        .wire
        .send("HTTP/1.0 200 OK\r\n\r\nuntil the end")
        .await;
    drop(exchange);
    let head = client.head().await;
    assert_eq!(head.start.split(' ').next(), Some("HTTP/1.1"));
    assert_eq!(client.text().await, "until the end");
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    let requests: String = (0..10)
        .map(|number| format!("GET /{number} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .collect();
    client.send(requests).await;
    for number in 0..10 {
        assert_eq!(client.head().await.status(), 200);
        assert_eq!(client.text().await, format!("GET /{number}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_without_a_body_have_none() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    let mut exchange = None;
    for (method, answer, length) in [
        ("HEAD", "200 OK\r\nContent-Length: 1234\r\n", Some("1234")),
        ("GET", "204 No Content\r\n", None),
        (
            "GET",
            "304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 99\r\n",
            Some("99"),
        ),
        ("HEAD", "200 OK\r\nTransfer-Encoding: chunked\r\n", None),
        ("POST", "204 No Content\r\n", None),
    ] {
        let body = if method == "POST" {
            "Content-Length: 0\r\n"
        } else {
            ""
        };
        client
            .send(format!(
                "{method} / HTTP/1.1\r\nHost: localhost\r\n{body}\r\n"
            ))
            .await;
        let mut at_backend = match exchange.take() {
            None => backend.next().await,
            Some(exchange) => crate::harness::Exchange::next(exchange).await,
        };
        assert_eq!(at_backend.request.method(), method);
        at_backend.wire.send(format!("HTTP/1.1 {answer}\r\n")).await;
        let head = client.head_of_answer_to(method).await;
        assert!(answer.starts_with(&head.status().to_string()), "{head:?}");
        if let (Some(length), Some(found)) = (length, head.get("content-length")) {
            assert_eq!(found, length);
        }
        if head.status() == 204 {
            assert_eq!(head.get("content-length"), None, "RFC 9110 8.6");
        }
        exchange = Some(at_backend);
    }
    // All on one connection each: a phantom body would have shifted what followed.
    assert_eq!(backend.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_client_gets_no_chunks() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/plain").await;
    exchange.wire.send_chunk("one").await;
    exchange.wire.send_chunk("two").await;
    exchange.wire.end_chunks().await;
    let head = client.head().await;
    assert_eq!(head.get("transfer-encoding"), None);
    assert_eq!(client.text().await, "onetwo");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_client_may_keep_its_connection() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    for _ in 0..2 {
        client
            .send("GET /old HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")
            .await;
        let head = client.head().await;
        assert!(
            head.get("connection")
                .is_some_and(|value| value.eq_ignore_ascii_case("keep-alive"))
        );
        assert_eq!(client.text().await, "GET /old");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_without_asking_still_gets_the_body() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
             Content-Length: 5\r\n\r\n",
        )
        .await;
    assert_eq!(client.head().await.status(), 200);
    client.send("hello").await;
    assert_eq!(client.text().await, "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_responses_of_the_backend_do_not_end_the_request() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    exchange.wire.send(interim).await;
    exchange.answer("200 OK", "final").await;
    let mut head = client.head().await;
    while head.status() < 200 {
        head = client.head().await;
    }
    assert_eq!(head.status(), 200);
    assert_eq!(client.text().await, "final");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_pipelines_and_leaves_cancels_the_request_under_way() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n";
    // A whole request, half of one, more than is kept of them, what is no request.
    for behind in [next, &next[..20], &next.repeat(600), "\0\n"] {
        for resets in [true, false] {
            let mut client = gate.clear().await;
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let mut exchange = backend.next().await;
            client.send(&behind[..behind.len().min(16 << 10)]).await;
            if resets {
                reset(client.into_parts().0);
            } else {
                drop(client);
            }
            exchange.wire.closes().await;
        }
    }
    assert!(backend.request_if_any().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_for_their_turn_are_served_in_order_however_they_are_cut() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let body = "x".repeat(100);
    let requests: String = (0..40)
        .map(|number| {
            let length = format!("Content-Length: {}\r\n", body.len());
            match number % 2 {
                0 => format!("POST /{number} HTTP/1.1\r\nHost: a\r\n{length}\r\n{body}"),
                _ => format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"),
            }
        })
        .collect();
    for size in [7, 150, 1000, requests.len()] {
        let mut client = gate.clear().await;
        for piece in requests.as_bytes().chunks(size) {
            client.send(piece).await;
        }
        for number in 0..40 {
            assert_eq!(client.head().await.status(), 200);
            let text = client.text().await;
            let expected = match number % 2 {
                0 => body.clone(),
                _ => format!("GET /{number}"),
            };
            assert!(text.ends_with(&expected), "{size} {number}: {text}");
        }
    }
}

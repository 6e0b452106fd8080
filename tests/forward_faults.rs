//! Forwarding when a side misbehaves: refusals, stalls, cuts, requests that must not pass.

use std::time::Duration;

use crate::harness::{
    Backend, Gate, closes_mid_body, connect, echo_http, stalls_after_head, stays_pending, within,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_refuses_is_502() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let text = format!(
        "[upstream.app]\nservers = [\"http://127.0.0.1:{port}\"]\n\
         [[route]]\npath = \"/*\"\nupstream = \"app\"\n"
    );
    let gate = Gate::start(&text).await;
    let (head, body) = gate.get("/").await;
    assert_eq!(head.status(), 502);
    let cause = head.get("proxy-status").expect("RFC 9209");
    assert!(
        cause.contains("streamgate") && cause.contains("connection_refused"),
        "{cause}"
    );
    assert!(
        !body.contains(&port.to_string()),
        "internals are shown: {body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_does_not_fail_a_request_another_can_take() {
    let backend = Backend::that(echo_http).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let text = format!(
        "[upstream.app]\nservers = [\"http://127.0.0.1:{port}\", \"http://{}\"]\n\
         [[route]]\npath = \"/*\"\nupstream = \"app\"\n",
        backend.address()
    );
    let gate = Gate::start(&text).await;
    for _ in 0..6 {
        assert_eq!(gate.get("/").await.0.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_stalls_is_504() {
    let backend = Backend::that(stalls_after_head).await;
    let text = format!(
        "{}timeouts = {{ response = \"500ms\" }}\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    let (head, _) = gate.get("/").await;
    assert_eq!(head.status(), 504);
    let cause = head.get("proxy-status").expect("RFC 9209");
    assert!(cause.contains("timeout"), "{cause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_no_http_server_is_502() {
    let backend = Backend::that(|mut exchange| async move {
        exchange.wire.send("220 mail.test ESMTP\r\n\r\n").await;
        None
    });
    let backend = backend.await;
    let gate = Gate::start(&backend.for_everything()).await;
    let (head, _) = gate.get("/").await;
    assert_eq!(head.status(), 502);
    assert!(head.get("proxy-status").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_closes_before_its_head_is_502() {
    let backend = Backend::that(|_| async { None }).await;
    let gate = Gate::start(&backend.for_everything()).await;
    assert_eq!(gate.get("/").await.0.status(), 502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_cut_by_the_backend_is_cut_for_the_client() {
    let backend = Backend::that(closes_mid_body).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.body_that_is_cut().await, b"partial");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_cut_by_the_backend_is_cut_for_the_client() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/plain").await;
    exchange.wire.send_chunk("partial").await;
    client.head().await;
    assert_eq!(client.body_bytes(7).await, b"partial");
    drop(exchange);
    client.body_that_is_cut().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_falls_silent_is_cut_after_idle() {
    let mut backend = Backend::by_hand().await;
    let text = format!(
        "{}timeouts = {{ idle = \"500ms\" }}\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/plain").await;
    exchange.wire.send_chunk("then nothing").await;
    client.head().await;
    assert_eq!(client.body_that_is_cut().await, b"then nothing");
    exchange.wire.closes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_before_the_head_cancels_the_request() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    drop(client);
    exchange.wire.closes_within(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_within_the_body_cancels_the_request() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/plain").await;
    client.head().await;
    drop(client);
    exchange.wire.closes_within(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_within_its_upload_cancels_the_request() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\npart")
        .await;
    let mut exchange = backend.next().await;
    assert_eq!(exchange.wire.body_bytes(4).await, b"part");
    drop(client);
    exchange.wire.closes_within(Duration::from_secs(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_head_and_a_stall_ends_at_header_timeout() {
    let backend = Backend::that(echo_http).await;
    let text = format!(
        "{}[limits]\nheader_timeout = \"1s\"\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    let mut client = gate.tls().await;
    client.send("GET / HTTP/1.1\r\nHost: loc").await;
    let pending = client.head_if_any("GET");
    let answer = within("408 or the end", pending).await;
    assert!(answer.is_none_or(|head| head.status() == 408));
    assert!(backend.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_trickles_ends_at_header_timeout() {
    let backend = Backend::that(echo_http).await;
    let text = format!(
        "{}[limits]\nheader_timeout = \"1s\"\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    let mut client = gate.clear().await;
    // A byte now and then does not renew the time.
    let trickle = async {
        for byte in b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "
            .iter()
            .chain([b'y'; 1000].iter())
        {
            if client.try_send(&[*byte]).await.is_err() {
                return;
            }
            crate::harness::silence(Duration::from_millis(100)).await;
        }
    };
    within("the end of a trickling client", trickle).await;
    assert!(backend.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_ends_at_keep_alive() {
    let backend = Backend::that(echo_http).await;
    let text = format!(
        "{}[limits]\nkeep_alive = \"1s\"\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    client.head().await;
    client.text().await;
    client.closes().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_too_large_is_431() {
    let backend = Backend::that(echo_http).await;
    let text = format!(
        "{}[limits]\nheader_size = \"16KiB\"\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    for fields in [
        format!("X-Large: {}\r\n", "x".repeat(40_000)),
        "X-Many: 1\r\n".repeat(101),
    ] {
        let mut client = gate.tls().await;
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        // The program may answer and close before it has read all of this.
        let _ = client.try_send(request.as_bytes()).await;
        assert_eq!(client.head().await.status(), 431);
    }
    assert!(backend.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_body_size_is_413() {
    let mut backend = Backend::by_hand().await;
    let text = format!(
        "{}[limits]\nbody_size = \"1KiB\"\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    let mut client = gate.tls().await;
    client
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1025\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 413);
    assert!(backend.request_if_any().is_none());
    let mut client = gate.tls().await;
    client
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    client.send_chunk("x".repeat(1025)).await;
    assert_eq!(client.head().await.status(), 413);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_length_beside_transfer_encoding_is_refused() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\
             Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        )
        .await;
    assert_eq!(client.head().await.status(), 400);
    client.body().await;
    client.closes().await;
    let requests = backend.requests();
    assert!(requests.is_empty(), "passed on: {requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_two_parsers_read_in_two_ways_are_refused() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let cases = [
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    ];
    for case in cases {
        let mut client = gate.tls().await;
        client.send(case).await;
        let head = client.head().await;
        assert_eq!(head.status(), 400, "{case:?}");
        client.body().await;
        client.closes().await;
    }
    let requests = backend.requests();
    assert!(requests.is_empty(), "passed on: {requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_client_on_the_clear_port_hurts_nobody() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(connect(gate.http).await);
    }
    assert_eq!(gate.get("/still-here").await.1, "GET /still-here");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_or_are_closed_and_do_not_break_others() {
    let backend = Backend::that(echo_http).await;
    let text = format!("{}[limits]\nconnections = 4\n", backend.for_everything());
    let gate = Gate::start(&text).await;
    let mut served = Vec::new();
    for _ in 0..4 {
        let mut client = gate.clear().await;
        client
            .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        assert_eq!(client.head().await.status(), 200);
        client.text().await;
        served.push(client);
    }
    let mut fifth = gate.clear().await;
    let _ = fifth
        .try_send(b"GET /fifth HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let not_served = async {
        if fifth
            .head_if_any("GET")
            .await
            .is_none_or(|head| head.status() == 503)
        {
            std::future::pending::<()>().await;
        }
    };
    stays_pending(
        "an answer beyond the limit",
        Duration::from_millis(500),
        not_served,
    )
    .await;
    drop(served);
    // A place is free again.
    within("a place", async {
        loop {
            let mut client = gate.clear().await;
            let _ = client
                .try_send(b"GET /later HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await;
            if client
                .head_if_any("GET")
                .await
                .is_some_and(|head| head.status() == 200)
            {
                return;
            }
        }
    })
    .await;
}

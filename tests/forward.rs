//! Requests and responses passed on: what arrives, and how it looks on the other side.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::harness::{Backend, Exchange, Gate, Wire, echo_http, stays_pending};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn passes_a_request_and_its_response_on() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send(
            "POST /a//b?q=%20&r HTTP/1.1\r\nHost: gate.test:8443\r\nX-Mine: kept\r\n\
             Cookie: a=1\r\nCookie: b=2\r\nContent-Length: 5\r\n\r\nhello",
        )
        .await;
    let mut exchange = backend.next().await;
    let request = &exchange.request;
    assert_eq!(request.start, "POST /a//b?q=%20&r HTTP/1.1");
    assert_eq!(request.get("host"), Some("gate.test:8443"));
    assert_eq!(request.get("x-mine"), Some("kept"));
    // One field or two: RFC 6265 5.4 has them mean the same.
    assert_eq!(request.all("cookie").join("; "), "a=1; b=2");
    assert_eq!(exchange.wire.text().await, "hello");
    let answer = "HTTP/1.1 201 Very Made\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Its: kept\r\n\
                  Content-Length: 4\r\n\r\nmade";
    exchange.wire.send(answer).await;
    let head = client.head().await;
    assert_eq!(head.status(), 201);
    assert_eq!(head.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(head.get("x-its"), Some("kept"));
    assert_eq!(client.text().await, "made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_body_streams_chunk_by_chunk() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    for piece in ["one", "two", "three"] {
        client.send_chunk(piece).await;
        // The next is not sent before this one has arrived.
        assert_eq!(
            exchange.wire.body_bytes(piece.len()).await,
            piece.as_bytes()
        );
    }
    client.end_chunks().await;
    assert_eq!(exchange.wire.text().await, "");
    exchange.answer("200 OK", "").await;
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_body_streams_chunk_by_chunk() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/plain").await;
    assert_eq!(client.head().await.status(), 200);
    for piece in ["one", "two", "three"] {
        exchange.wire.send_chunk(piece).await;
        assert_eq!(client.body_bytes(piece.len()).await, piece.as_bytes());
    }
    exchange.wire.end_chunks().await;
    assert_eq!(client.text().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_may_come_before_the_request_s_end() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/plain").await;
    assert_eq!(client.head().await.status(), 200);
    for piece in ["ping", "pong"] {
        client.send_chunk(piece).await;
        let there = exchange.wire.body_bytes(piece.len()).await;
        exchange.wire.send_chunk(there).await;
        assert_eq!(client.body_bytes(piece.len()).await, piece.as_bytes());
    }
    client.end_chunks().await;
    exchange.wire.text().await;
    exchange.wire.end_chunks().await;
    client.text().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_mebibytes_arrive_unharmed_each_way() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let payload = pattern(20 * MIB);
    for framing in ["length", "chunked"] {
        let (stream, _) = gate.tls().await.into_parts();
        let (read, write) = tokio::io::split(stream);
        let mut up = Wire::new(tokio::io::join(tokio::io::empty(), write));
        let mut down = Wire::new(tokio::io::join(read, tokio::io::sink()));
        let send = async {
            if framing == "length" {
                let head = format!("Content-Length: {}\r\n\r\n", payload.len());
                up.send(format!("POST / HTTP/1.1\r\nHost: localhost\r\n{head}"))
                    .await;
                up.send(&payload).await;
                return;
            }
            up.send("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            for piece in payload.chunks(50_000) {
                up.send_chunk(piece).await;
            }
            up.end_chunks().await;
        };
        let receive = async {
            assert_eq!(down.head().await.status(), 200);
            down.body().await
        };
        let ((), echoed) = tokio::join!(send, receive);
        assert_eq!(echoed.len(), payload.len(), "{framing}");
        assert!(echoed == payload, "{framing}: another body came back");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_the_backend_back() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    let total = 256 * MIB;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n");
    exchange.wire.send(head).await;
    let block = vec![b'x'; MIB];
    // Nobody reads: what the sockets on the way hold is soon full, long before the whole body.
    let flood = async {
        for _ in 0..total / MIB {
            exchange.wire.send(&block).await;
        }
    };
    stays_pending(
        "the end of a flood that nobody reads",
        Duration::from_secs(2),
        flood,
    )
    .await;
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn response_trailers_arrive() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    assert_eq!(exchange.request.get("te"), Some("trailers"));
    let answer = "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                  2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n";
    exchange.wire.send(answer).await;
    client.head().await;
    assert_eq!(client.text().await, "ok");
    assert_eq!(client.trailers, [("x-sum".to_owned(), "42".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn request_trailers_arrive() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: localhost\r\nTrailer: X-Sum\r\n\
             Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 42\r\n\r\n",
        )
        .await;
    let mut exchange = backend.next().await;
    assert_eq!(exchange.wire.text().await, "ok");
    assert_eq!(
        exchange.wire.trailers,
        [("x-sum".to_owned(), "42".to_owned())]
    );
    exchange.answer("200 OK", "").await;
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn hop_by_hop_fields_stay_behind() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, X-Named\r\nX-Named: 1\r\n\
             Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\n\
             TE: gzip\r\nUpgrade: h2c\r\nX-Kept: 1\r\n\r\n",
        )
        .await;
    let gone = [
        "x-named",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "upgrade",
    ];
    // `Upgrade: h2c` may be refused or removed; it is never passed on.
    let mut exchange = match answer_or_request(&mut client, &mut backend).await {
        Some(exchange) => exchange,
        None => return,
    };
    for name in gone {
        assert_eq!(exchange.request.get(name), None, "{name} was passed on");
    }
    assert_ne!(exchange.request.get("te"), Some("gzip"));
    assert_eq!(exchange.request.get("x-kept"), Some("1"));
    let answer = "HTTP/1.1 200 OK\r\nConnection: X-Named\r\nX-Named: 1\r\nKeep-Alive: timeout=5\r\n\
                  Proxy-Connection: close\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n";
    exchange.wire.send(answer).await;
    let head = client.head().await;
    for name in ["x-named", "keep-alive", "proxy-connection"] {
        assert_eq!(head.get(name), None, "{name} was passed on");
    }
    assert_eq!(head.get("x-kept"), Some("1"));
}

async fn answer_or_request(
    client: &mut crate::harness::TlsWire,
    backend: &mut Backend,
) -> Option<Exchange> {
    tokio::select! {
        head = client.head() => {
            assert_eq!(head.status(), 400);
            None
        }
        exchange = backend.next() => Some(exchange),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarding_fields_are_the_proxy_s_own() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: app.test\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: gopher\r\n\
             X-Forwarded-Host: evil.test\r\nX-Forwarded-Port: 1\r\nForwarded: for=6.6.6.6\r\n\
             X-Request-Id: mine\r\n\r\n",
        )
        .await;
    let mut exchange = backend.next().await;
    let request = &exchange.request;
    assert_eq!(request.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(request.all("x-forwarded-proto"), ["https"]);
    assert_eq!(request.all("x-forwarded-host"), ["app.test"]);
    assert_eq!(request.all("x-forwarded-port").len(), 1);
    assert_ne!(request.get("x-forwarded-port"), Some("1"));
    let forwarded = request.all("forwarded").join(",");
    assert!(
        forwarded.contains(&format!("for={}", Ipv4Addr::LOCALHOST)),
        "{forwarded}"
    );
    assert!(!forwarded.contains("6.6.6.6"), "{forwarded}");
    assert!(
        request
            .get("via")
            .is_some_and(|via| via.contains("streamgate")),
        "{request:?}"
    );
    let id = request.get("x-request-id").expect("each request has an id");
    assert_ne!(id, "mine");
    exchange.answer("200 OK", "").await;
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_header_cannot_remove_forwarded_for() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: localhost\r\nCookie: kept=1\r\n\
             Connection: X-Forwarded-For, X-Forwarded-Proto, Forwarded, Host, Cookie, X-Request-Id\r\n\r\n",
        )
        .await;
    let mut exchange = backend.next().await;
    for name in [
        "x-forwarded-for",
        "x-forwarded-proto",
        "forwarded",
        "host",
        "x-request-id",
    ] {
        assert!(exchange.request.get(name).is_some(), "{name} was removed");
    }
    exchange.answer("200 OK", "").await;
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn strip_prefix_removes_whole_segments_only() {
    let backend = Backend::that(echo_http).await;
    let upstream = backend.upstream("app");
    let routes = "[[route]]\npath = \"/api/*\"\nupstream = \"app\"\nstrip_prefix = \"/api\"\n";
    let gate = Gate::start(&format!("{upstream}{routes}")).await;
    assert_eq!(gate.get("/api/users?q=/api").await.1, "GET /users?q=/api");
    assert_eq!(gate.get("/api/").await.1, "GET /");
    assert_eq!(gate.get("/apiary").await.0.status(), 404);
}

fn pattern(length: usize) -> Vec<u8> {
    // A period that no buffer's size is a multiple of: a block lost or doubled shows.
    (0..length).map(|at| (at % 251) as u8).collect()
}

//! HTTP/2 to servers: shared connections, both-way streams, trailers, resets.

use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use http::{HeaderMap, HeaderValue, Request, Response};

use crate::harness::{
    Gate, H2Backend, H2Client, H2Response, TlsBackend, server_config, stays_pending, within,
};

/// How long something is awaited that should not come.
const SHORT: Duration = Duration::from_millis(300);

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn route_to(backend: &H2Backend) -> String {
    format!(
        "[server]\nworkers = 1\ndrain_timeout = \"5s\"\n\
         [[route]]\npath = \"/*\"\nupstream = \"app\"\ntimeouts = {{ response = \"2s\" }}\n\
         [upstream.app]\nservers = [\"h2c://{}\"]\nretries = 0\n",
        backend.address
    )
}

async fn started() -> (H2Backend, Gate) {
    let backend = H2Backend::clear().await;
    let gate = Gate::start(&route_to(&backend)).await;
    (backend, gate)
}

fn trailers(name: &'static str, value: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert(name, HeaderValue::from_static(value));
    trailers
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_1_request_becomes_one_of_http_2() {
    let (mut backend, gate) = started().await;
    let mut client = gate.tls().await;
    let request = "POST /a?b=c HTTP/1.1\r\nHost: app.test:8443\r\nTE: trailers\r\n\
                   Connection: TE, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                   Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    client.send(request).await;
    let mut exchange = backend.next().await;
    assert_eq!(exchange.request.uri(), "http://app.test:8443/a?b=c");
    for gone in [
        "host",
        "connection",
        "x-hop",
        "keep-alive",
        "transfer-encoding",
    ] {
        assert_eq!(exchange.field(gone), None, "{gone}");
    }
    assert_eq!(exchange.field("te"), Some("trailers"));
    assert_eq!(exchange.field("x-forwarded-host"), Some("app.test:8443"));
    assert_eq!(exchange.piece().await.unwrap().unwrap(), "hello");
    assert!(exchange.piece().await.is_none());
    exchange.answer("world");
    let head = client.head().await;
    assert_eq!(head.status(), 200);
    assert_eq!(client.text().await, "world");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_many_clients_share_a_connection() {
    let (mut backend, gate) = started().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = gate.tls().await;
        client.send(GET).await;
        clients.push(client);
    }
    for _ in 0..20 {
        backend.next().await.answer("hi");
    }
    for mut client in clients {
        assert_eq!(client.head().await.status(), 200);
        assert_eq!(client.text().await, "hi");
    }
    assert_eq!(backend.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_request_connects_and_the_others_wait_for_what_it_gets() {
    let backend = TlsBackend::start(server_config(&["127.0.0.1"], &["h2", "http/1.1"])).await;
    let config = format!(
        "[server]\nworkers = 1\ndrain_timeout = \"5s\"\n\
         [[route]]\npath = \"/*\"\nupstream = \"app\"\n\
         [upstream.app]\nservers = [\"https://{}\"]\ntls = {{ verify = false }}\n",
        backend.address
    );
    let gate = Gate::start(&config).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = gate.tls().await;
        client.send(GET).await;
        clients.push(client);
    }
    let tcp = backend.tcp().await;
    // As long as it is not known what is spoken, nobody else connects.
    stays_pending("a second connection", SHORT, backend.tcp()).await;
    let stream = backend.handshake(tcp).await.unwrap();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            respond.send_response(Response::new(()), true).unwrap();
        }
    });
    for client in &mut clients {
        assert_eq!(client.head().await.status(), 200);
    }
    stays_pending("a second connection", SHORT, backend.tcp()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_connection_gets_a_second_one_beside_it() {
    let mut backend = H2Backend::with_streams(1).await;
    let gate = Gate::start(&route_to(&backend)).await;
    let mut first = gate.tls().await;
    first.send(GET).await;
    backend.next().await.answer("known");
    assert_eq!(first.head().await.status(), 200);
    first.text().await;
    // By now it is known how many streams there may be.
    first.send(GET).await;
    let mut waiting = backend.next().await;
    let mut second = gate.tls().await;
    second.send(GET).await;
    backend.next().await.answer("beside");
    assert_eq!(second.head().await.status(), 200);
    assert_eq!(second.text().await, "beside");
    waiting.answer("at last");
    first.head().await;
    assert_eq!(first.text().await, "at last");
    assert_eq!(backend.connections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_pass_both_ways() {
    let (mut backend, gate) = started().await;
    let mut client = H2Client::connect(&gate).await;
    let request = Request::post("https://localhost/")
        .header("te", "trailers")
        .header("content-type", "application/grpc");
    let (response, mut body) = client.begin(request.body(()).unwrap(), false).await;
    body.send_data(Bytes::from("ask"), false).unwrap();
    // What may not stand there stays behind, both ways.
    let mut sent = trailers("x-sum", "1");
    sent.insert("x-forwarded-for", HeaderValue::from_static("6.6.6.6"));
    body.send_trailers(sent).unwrap();
    let mut exchange = backend.next().await;
    assert_eq!(exchange.piece().await.unwrap().unwrap(), "ask");
    assert!(exchange.piece().await.is_none());
    assert_eq!(exchange.trailers().await, Some(trailers("x-sum", "1")));
    let mut answer = exchange.begin("application/grpc");
    answer.send_data(Bytes::from("told"), false).unwrap();
    let mut sent = trailers("grpc-status", "0");
    sent.insert("set-cookie", HeaderValue::from_static("a=b"));
    answer.send_trailers(sent).unwrap();
    let mut response = H2Response::from(within("a head", response).await.unwrap());
    assert_eq!(response.text().await, "told");
    assert_eq!(
        response.trailers().await,
        Some(trailers("grpc-status", "0"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_of_trailers_only_stays_one() {
    let (mut backend, gate) = started().await;
    let mut client = H2Client::connect(&gate).await;
    let request = Request::post("https://localhost/")
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (response, mut body) = client.begin(request, false).await;
    body.send_data(Bytes::from("ask"), true).unwrap();
    let mut exchange = backend.next().await;
    let answer = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", "12");
    exchange.answer_with_head(answer.body(()).unwrap());
    let response = H2Response::from(within("a head", response).await.unwrap());
    assert_eq!(response.head.headers()["grpc-status"], "12");
    assert!(response.body.is_end_stream());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_directions_stream_at_once() {
    let (mut backend, gate) = started().await;
    let mut client = H2Client::connect(&gate).await;
    let request = Request::post("https://localhost/").body(()).unwrap();
    let (response, mut body) = client.begin(request, false).await;
    let mut exchange = backend.next().await;
    // The head comes although the request goes on.
    let mut answer = exchange.begin("application/grpc+proto");
    let mut response = H2Response::from(within("a head", response).await.unwrap());
    for word in ["ping", "pong", "ping"] {
        body.send_data(Bytes::from(word), false).unwrap();
        let there = exchange.piece().await.unwrap().unwrap();
        answer.send_data(there, false).unwrap();
        assert_eq!(response.piece().await.unwrap().unwrap(), word);
    }
    body.send_data(Bytes::new(), true).unwrap();
    while exchange.piece().await.is_some() {}
    answer.send_data(Bytes::new(), true).unwrap();
    assert_eq!(response.text().await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_passes_at_once_and_ends_with_its_client() {
    let (mut backend, gate) = started().await;
    let mut client = gate.tls().await;
    client.send(GET).await;
    let mut exchange = backend.next().await;
    let mut events = exchange.begin("text/event-stream");
    let head = client.head().await;
    assert_eq!(head.get("x-accel-buffering"), Some("no"));
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        events.send_data(Bytes::from(event), false).unwrap();
        assert_eq!(client.piece().await.unwrap().unwrap(), event);
    }
    drop(client);
    let reset = std::future::poll_fn(|cx| events.poll_reset(cx));
    let reason = within("the stream's reset", reset).await.unwrap();
    assert_eq!(reason, Reason::CANCEL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_resets_its_stream() {
    let (mut backend, gate) = started().await;
    let mut client = gate.tls().await;
    client.send(GET).await;
    let mut exchange = backend.next().await;
    drop(client);
    assert_eq!(exchange.is_reset().await, Reason::CANCEL);
    // With half a body it is no different.
    let mut client = H2Client::connect(&gate).await;
    let request = Request::post("https://localhost/").body(()).unwrap();
    let (_response, mut body) = client.begin(request, false).await;
    body.send_data(Bytes::from("half"), false).unwrap();
    let mut exchange = backend.next().await;
    exchange.piece().await.unwrap().unwrap();
    body.send_reset(Reason::CANCEL);
    assert_eq!(exchange.is_reset().await, Reason::CANCEL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_resets_a_stream_whose_server_takes_no_more() {
    let (mut backend, gate) = started().await;
    let mut client = H2Client::connect(&gate).await;
    let request = Request::post("https://localhost/").body(()).unwrap();
    let (response, mut body) = client.begin(request, false).await;
    body.send_data(Bytes::from(vec![0; 200_000]), false)
        .unwrap();
    let mut exchange = backend.next().await;
    // The whole window of RFC 9113 §6.9.2, of which nothing is given back.
    let mut taken = 0;
    while taken < 65_535 {
        let piece = within("a piece", exchange.request.body_mut().data()).await;
        taken += piece.unwrap().unwrap().len();
    }
    let mut answer = exchange.begin("text/plain");
    assert_eq!(within("a head", response).await.unwrap().status(), 200);
    body.send_reset(Reason::CANCEL);
    let reset = within("a reset", std::future::poll_fn(|cx| answer.poll_reset(cx))).await;
    assert_eq!(reset.unwrap(), Reason::CANCEL);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_a_reset_reaches_the_client() {
    let (mut backend, gate) = started().await;
    let mut client = H2Client::connect(&gate).await;
    let request = Request::get("https://localhost/").body(()).unwrap();
    let (response, _) = client.begin(request, true).await;
    let mut exchange = backend.next().await;
    let mut answer = exchange.begin("application/grpc");
    answer.send_data(Bytes::from("part"), false).unwrap();
    let mut response = H2Response::from(within("a head", response).await.unwrap());
    assert_eq!(response.piece().await.unwrap().unwrap(), "part");
    answer.send_reset(Reason::ENHANCE_YOUR_CALM);
    assert_eq!(response.piece().await, Err(Reason::ENHANCE_YOUR_CALM));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_instead_of_an_answer_is_502() {
    let (mut backend, gate) = started().await;
    let mut client = gate.tls().await;
    client.send(GET).await;
    backend.next().await.reset(Reason::INTERNAL_ERROR);
    let head = client.head().await;
    assert_eq!(head.status(), 502);
    let status = head.get("proxy-status").unwrap();
    assert!(status.contains("error=connection_terminated"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_refused_unseen_is_sent_again() {
    let (mut backend, gate) = started().await;
    let mut client = gate.tls().await;
    // Not idempotent: but nothing has seen it.
    let post = "POST /once HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    client.send(post).await;
    backend.next().await.reset(Reason::REFUSED_STREAM);
    let mut again = backend.next().await;
    assert_eq!(again.request.uri().path(), "/once");
    again.answer("done");
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.text().await, "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_everything_is_not_asked_for_ever() {
    let (mut backend, gate) = started().await;
    let mut client = gate.tls().await;
    client.send(GET).await;
    backend.next().await.answer("hi");
    client.head().await;
    client.text().await;
    client.send(GET).await;
    for _ in 0..2 {
        backend.next().await.reset(Reason::REFUSED_STREAM);
    }
    assert_eq!(client.head().await.status(), 502);
    client.text().await;
    // Its next request comes right after these two.
    client
        .send("GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut next = backend.next().await;
    assert_eq!(next.request.uri().path(), "/next");
    next.answer("hi");
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_going_away_gets_no_more_requests() {
    let (mut backend, gate) = started().await;
    let mut before = gate.tls().await;
    before.send(GET).await;
    let mut running = backend.next().await;
    backend.go_away();
    for _ in 0..3 {
        let mut client = gate.tls().await;
        client
            .send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi")
            .await;
        let mut exchange = backend.next().await;
        assert_eq!(exchange.piece().await.unwrap().unwrap(), "hi");
        exchange.answer("fine");
        assert_eq!(client.head().await.status(), 200);
        assert_eq!(client.text().await, "fine");
    }
    running.answer("finished");
    assert_eq!(before.head().await.status(), 200);
    assert_eq!(before.text().await, "finished");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_response_is_waited_for_from_the_bodys_last_progress_on() {
    let (mut backend, gate) = started().await;
    let mut client = H2Client::connect(&gate).await;
    let request = Request::post("https://localhost/").body(()).unwrap();
    let (response, mut body) = client.begin(request, false).await;
    let mut exchange = backend.next().await;
    // Three pauses within the limit, and more than it in all.
    for _ in 0..3 {
        crate::harness::silence(Duration::from_millis(900)).await;
        body.send_data(Bytes::from("on"), false).unwrap();
        exchange.piece().await.unwrap().unwrap();
    }
    body.send_data(Bytes::new(), true).unwrap();
    let response = within("a head", response).await.unwrap();
    assert_eq!(response.status(), 504);
    assert_eq!(exchange.is_reset().await, Reason::CANCEL);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_no_http_2_is_a_protocol_fault() {
    let backend = crate::harness::Backend::that(crate::harness::echo_http).await;
    let config = format!(
        "[[route]]\npath = \"/*\"\nupstream = \"app\"\n\
         [upstream.app]\nservers = [\"h2c://{}\"]\nretries = 0\n",
        backend.address()
    );
    let gate = Gate::start(&config).await;
    assert_eq!(gate.get("/").await.0.status(), 502);
}

//! What is known of servers, and what follows from it: checks, ejection, and the streams of a server that falls.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::harness::{Backend, Checked, Gate, H2Client, TlsWire, balanced, refusing, within};
use crate::tunnel::handshake;

const CHECKED: &str = "health = { path = \"/healthz?deep\", interval = \"100ms\", timeout = \"2s\", rise = 2, fall = 2 }\n";

async fn names(gate: &Gate, count: usize) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..count {
        let (head, body) = gate.get("/").await;
        assert_eq!(head.status(), 200);
        names.push(body);
    }
    names.sort();
    names.dedup();
    names
}

async fn told(gate: &Gate, mark: usize, message: &str, server: &Checked) -> Option<String> {
    let address = server.address();
    let line = gate.log.wait(mark, message, |line| {
        line.message() == message && line.has("server", &address)
    });
    line.await.text("cause")
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_bring_a_server_down_and_up_again() {
    let (a, b) = (Checked::named("a").await, Checked::named("b").await);
    let gate = Gate::start(&balanced(&[&a.url(), &b.url()], CHECKED)).await;
    assert_eq!(names(&gate, 4).await, ["a", "b"]);
    a.says(500);
    let cause = told(&gate, 0, "server is down", &a).await;
    assert!(cause.is_some_and(|cause| cause.contains("500")));
    assert_eq!(names(&gate, 6).await, ["b"]);
    // What is known of a server outlives a reload of its upstream.
    gate.reload_well(&balanced(
        &[&b.url(), &a.url()],
        &format!("{CHECKED}retries = 2\n"),
    ))
    .await;
    assert_eq!(names(&gate, 6).await, ["b"]);
    a.says(204);
    told(&gate, 0, "server is up", &a).await;
    assert_eq!(names(&gate, 4).await, ["a", "b"]);
    let check = &a.checks()[0];
    assert_eq!((check.method(), check.target()), ("GET", "/healthz?deep"));
    assert_eq!(check.get("host"), Some(a.address().as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_asks_for_the_host_and_takes_the_statuses_that_it_is_told() {
    let a = Checked::named("a").await;
    a.says(404);
    let keys = "health = { path = \"/healthz\", interval = \"100ms\", fall = 1, rise = 1, status = [\"404\"], host = \"app.internal\" }\n";
    let gate = Gate::start(&balanced(&[&a.url()], keys)).await;
    assert_eq!(names(&gate, 3).await, ["a"]);
    a.says(200);
    told(&gate, 0, "server is down", &a).await;
    assert_eq!(a.checks()[0].get("host"), Some("app.internal"));
    // A reload that takes the check away lets requests through again.
    gate.reload_well(&balanced(&[&a.url()], "")).await;
    assert_eq!(names(&gate, 3).await, ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_no_healthy_server_left_it_is_503_with_a_time() {
    let keys = "retries = 0\nhealth = { path = \"/\", interval = \"100ms\", fall = 1 }\n";
    let gate = Gate::start(&balanced(&[&refusing()], keys)).await;
    gate.logged("the fall", |line| line.message() == "server is down")
        .await;
    let (head, body) = gate.get("/").await;
    assert_eq!(head.status(), 503);
    assert_eq!(head.get("retry-after"), Some("1"));
    let cause = head.get("proxy-status").expect("RFC 9209");
    assert!(cause.contains("destination_unavailable"), "{cause}");
    assert!(!body.contains("127.0.0.1"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_eject_a_server_and_all_of_them_if_need_be() {
    let good = Checked::named("good").await;
    let passive = "retries = 0\npassive = { failures = 2, window = \"1m\", eject = \"30m\" }\n";
    let gate = Gate::start(&balanced(&[&refusing(), &good.url()], passive)).await;
    let mut failed = 0;
    for _ in 0..12 {
        match gate.get("/").await.0.status() {
            200 => {}
            502 => failed += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!(
        failed, 2,
        "the first two show how it is, and no request after them goes there"
    );
    let line = gate
        .logged("the ejection", |line| line.message() == "server ejected")
        .await;
    assert!(line.text("cause").is_some(), "{line:?}");
    gate.reload_well(&balanced(&[&refusing()], passive)).await;
    for expected in [502, 502, 503] {
        let (head, _) = gate.get("/").await;
        assert_eq!(head.status(), expected);
        if expected == 503 {
            let after: u64 = head.get("retry-after").unwrap().parse().unwrap();
            assert!((1700..=1800).contains(&after), "{after}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_answers_never_ejects_it() {
    let backend = Backend::that(|mut exchange: crate::harness::Exchange| async move {
        exchange.answer("500 Oh", "no").await;
        Some(exchange.wire)
    })
    .await;
    let url = format!("http://{}", backend.address());
    let passive = "passive = { failures = 1 }\n";
    let gate = Gate::start(&balanced(&[&url], passive)).await;
    for _ in 0..5 {
        assert_eq!(gate.get("/").await.0.status(), 500);
    }
    // Nor does a client that leaves.
    let mut backend = Backend::by_hand().await;
    let url = format!("http://{}", backend.address());
    gate.reload_well(&balanced(&[&url], passive)).await;
    let mut leaves = gate.tls().await;
    leaves
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf")
        .await;
    let mut left = backend.next().await;
    drop(leaves);
    left.wire.raw_until_close().await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    backend.next().await.answer("200 OK", "").await;
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_dies_says_nothing_of_its_server() {
    let mut backend = Backend::by_hand().await;
    let url = format!("http://{}", backend.address());
    let keys = "passive = { failures = 1 }\n";
    let text = balanced(&[&url], keys) + "[server]\nworkers = 1\ndrain_timeout = \"5s\"\n";
    let gate = Gate::start(&text).await;
    let mut client = gate.tls().await;
    let get = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send(get).await;
    let mut exchange = backend.next().await;
    exchange.answer("200 OK", "").await;
    client.head().await;
    // The server closes it just when a request comes that must not be sent twice.
    client
        .send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        .await;
    drop(exchange.next().await);
    assert_eq!(client.head().await.status(), 502);
    client.text().await;
    client.send(get).await;
    backend.next().await.answer("200 OK", "").await;
    assert_eq!(client.head().await.status(), 200);
}

/// Routes that differ in what becomes of streams.
fn routes(server: &Checked) -> String {
    let mut text = balanced(&[&server.url()], CHECKED);
    for what in ["keep", "drain", "close"] {
        for path in ["/ws", "/events"] {
            text.push_str(&format!(
                "[[route]]\npath = \"{path}/{what}\"\nupstream = \"app\"\non_unhealthy = \"{what}\"\n"
            ));
        }
    }
    text + "[server]\ndrain_timeout = \"1s\"\n"
}

async fn opened(gate: &Gate, what: &str) -> (TlsWire, TlsWire) {
    let (mut socket, mut events) = (gate.tls().await, gate.tls().await);
    socket.send(handshake(&format!("/ws/{what}"), "")).await;
    assert_eq!(socket.head().await.status(), 101);
    events
        .send(format!(
            "GET /events/{what} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        ))
        .await;
    assert_eq!(events.head().await.status(), 200);
    assert!(events.piece().await.unwrap().is_some());
    (socket, events)
}

/// Whether an event stream ends with a `retry:` and nothing else.
async fn ends_in_order(events: &mut TlsWire) -> bool {
    let retry = events.piece().await.unwrap().unwrap_or_default();
    retry.starts_with(b"retry: ") && events.piece().await == Ok(None)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_streams_of_a_server_that_falls_end_as_their_route_says() {
    let server = Checked::named("a").await;
    let gate = Gate::start(&routes(&server)).await;
    let (mut kept, _kept_events) = opened(&gate, "keep").await;
    let (mut drained, mut drained_events) = opened(&gate, "drain").await;
    let (mut closed, mut closed_events) = opened(&gate, "close").await;
    let mut h2 = H2Client::connect(&gate).await;
    let mut in_h2 = h2.get("/events/close").await;
    server.says(503);
    told(&gate, 0, "server is down", &server).await;
    // Close 1013, try again later: there may be another server.
    let told_in_order = |bytes: Vec<u8>| bytes.starts_with(b"\x88\x11\x03\xf5");
    assert!(told_in_order(closed.raw_until_close().await));
    assert!(ends_in_order(&mut closed_events).await);
    assert!(told_in_order(drained.raw_until_close().await));
    assert!(ends_in_order(&mut drained_events).await);
    let rest = async { while in_h2.body.data().await.is_some_and(|piece| piece.is_ok()) {} };
    within("the end of the stream in HTTP/2", rest).await;
    kept.send("as ever").await;
    assert_eq!(kept.raw(7).await, b"as ever");
    let ended = |line: &&crate::harness::Line| {
        line.message() == "stream close" && line.has("reason", "backend_unhealthy")
    };
    gate.logged("the records", |line| ended(&line)).await;
    within("all records", async {
        while gate.log.since(0).iter().filter(ended).count() < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_http2_in_clear_text_is_asked_in_http2() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("h2c://{}", listener.local_addr().unwrap());
    let keys = "health = { path = \"/healthz\", interval = \"100ms\", fall = 1, rise = 1 }\n";
    let gate = Gate::start(&balanced(&[&url], keys)).await;
    // Each check has a connection of its own: the first is told that all is not well, the second that it is.
    for status in [500, 200] {
        let (tcp, _) = within("a check", listener.accept()).await.unwrap();
        let mut connection = within("the preface", h2::server::handshake(tcp))
            .await
            .unwrap();
        let (request, mut respond) = within("the check", connection.accept())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(request.uri().path(), "/healthz");
        let response = http::Response::builder().status(status).body(()).unwrap();
        respond.send_response(response, true).unwrap();
        within("the connection's end", async {
            while connection.accept().await.is_some() {}
        })
        .await;
    }
    gate.logged("the fall", |line| line.message() == "server is down")
        .await;
    gate.logged("the rise", |line| line.message() == "server is up")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_gets_no_answer_fails_in_time_and_ends_with_the_process() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let keys = "health = { path = \"/\", interval = \"100ms\", timeout = \"200ms\", fall = 1 }\n";
    let mut gate = Gate::start(&balanced(&[&url], keys)).await;
    let line = gate
        .logged("the fall", |line| line.message() == "server is down")
        .await;
    assert!(
        line.text("cause")
            .is_some_and(|cause| cause.contains("200ms")),
        "{line:?}"
    );
    // A check is under way now, or soon: the process does not wait for it.
    gate.signal("TERM");
    crate::harness::within_time(Duration::from_secs(5), "the end", gate.ended()).await;
    drop(silent);
}

//! A request is tried again where it cannot have had an effect, and never elsewhere.

use crate::harness::{Backend, Checked, Gate, Wire, balanced, refusing, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_post_with_its_body_goes_to_another_server_when_the_first_refuses() {
    let mut backend = Backend::by_hand().await;
    let there = format!("http://{}", backend.address());
    let gate = Gate::start(&balanced(&[&refusing(), &there], "")).await;
    // Two in a row: one of them has its first try at the server that refuses.
    for _ in 0..2 {
        let mut client = gate.tls().await;
        client
            .send("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nthe whole")
            .await;
        let mut exchange = backend.next().await;
        assert_eq!(exchange.wire.text().await, "the whole");
        exchange.answer("200 OK", "taken").await;
        assert_eq!(client.head().await.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_retries_a_refusal_is_the_answer() {
    let gate = Gate::start(&balanced(&[&refusing(), &refusing()], "retries = 0\n")).await;
    assert_eq!(gate.get("/").await.0.status(), 502);
    let lines = gate.log.since(0);
    assert!(!lines.iter().any(|line| line.message() == "trying again"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_restarted_meanwhile_costs_no_request() {
    let url = refusing();
    let address = url.strip_prefix("http://").unwrap();
    let text = balanced(&[&url], "retries = 4\n");
    let gate = Gate::start(&format!("{text}[log]\nlevel = \"debug\"\n")).await;
    let restart = async {
        gate.logged("a first try that failed", |line| {
            line.message() == "trying again"
        })
        .await;
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let tcp = within("the next try", listener.accept()).await.unwrap().0;
        let mut server = Wire::new(tcp);
        server.head().await;
        let answer = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nback";
        server.send(answer).await;
    };
    let ((head, body), ()) = tokio::join!(gate.get("/"), restart);
    assert_eq!((head.status(), body.as_str()), (200, "back"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_that_gets_no_answer_is_tried_elsewhere_and_the_log_says_why() {
    let mut silent = Backend::by_hand().await;
    let good = Checked::named("good").await;
    let text = balanced(&[&format!("http://{}", silent.address()), &good.url()], "");
    let gate = Gate::start(&format!("{text}[log]\nlevel = \"debug\"\n")).await;
    let closes = async {
        loop {
            silent.next().await.reset();
        }
    };
    tokio::select! {
        () = closes => {}
        () = async {
            for _ in 0..4 {
                let (head, body) = gate.get("/").await;
                assert_eq!((head.status(), body.as_str()), (200, "good"));
            }
        } => {}
    }
    let line = gate
        .logged("a second try", |line| line.message() == "trying again")
        .await;
    assert!(
        line.text("cause").is_some_and(|cause| !cause.is_empty()),
        "{line:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_have_had_an_effect_is_never_sent_twice() {
    for (request, expected) in [
        (
            "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
            502,
        ),
        (
            "PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody",
            502,
        ),
    ] {
        let mut backend = Backend::by_hand().await;
        let url = format!("http://{}", backend.address());
        let gate = Gate::start(&balanced(&[&url], "retries = 5\n")).await;
        let mut client = gate.tls().await;
        client.send(request).await;
        within("the request", backend.next()).await.reset();
        assert_eq!(client.head().await.status(), expected);
        assert_eq!(backend.connections(), 1, "{request}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_began_is_not_asked_for_again() {
    let mut backend = Backend::by_hand().await;
    let url = format!("http://{}", backend.address());
    let gate = Gate::start(&balanced(&[&url], "retries = 5\n")).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange.wire.send("HTTP/1.1 200 OK\r\nContent-").await;
    drop(exchange);
    assert_eq!(client.head().await.status(), 502);
    assert_eq!(backend.connections(), 1);
}

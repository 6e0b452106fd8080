//! How the names of servers become connections.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::harness::{Backend, Gate, NameServer, PATIENCE, Wire, echo_http, within};

/// A route to a port of this name, with the name server that knows it.
fn route_to(name: &str, port: u16, dns: &NameServer) -> String {
    format!(
        "{}[upstream.app]\nservers = [\"http://{name}:{port}\"]\n\
         [[route]]\npath = \"/*\"\nupstream = \"app\"\n",
        dns.config()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_resolved_and_remembered_for_its_ttl() {
    let backend = Backend::that(echo_http).await;
    let dns = NameServer::start().await;
    dns.set("app.test", 600, &["127.0.0.1"]);
    let gate = Gate::start(&route_to("app.test", backend.address().port(), &dns)).await;
    for path in ["/1", "/2"] {
        let (head, body) = gate.get(path).await;
        assert_eq!((head.status(), body), (200, format!("GET {path}")));
    }
    // Once for each family, on each of the workers that were asked.
    assert!(dns.asked_for("app.test") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_answer_is_used_after_the_ttl() {
    // The same port on two addresses of loopback, so that only the name tells which is meant.
    let before = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let port = before.local_addr().unwrap().port();
    let after = TcpListener::bind(("127.0.0.3", port)).await.unwrap();
    let dns = NameServer::start().await;
    dns.set("app.test", 1, &["127.0.0.2"]);
    // No connection is kept: each request has to find the server.
    let config = route_to("app.test", port, &dns)
        .replace("[[route]]", "keep_alive = { idle = \"0\" }\n[[route]]");
    let gate = Gate::start(&config).await;
    answered_by(&gate, &before).await;
    dns.set("app.test", 600, &["127.0.0.3"]);
    let changed = async {
        loop {
            let mut client = gate.tls().await;
            client
                .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await;
            let (tcp, moved) = tokio::select! {
                accepted = before.accept() => (accepted.unwrap().0, false),
                accepted = after.accept() => (accepted.unwrap().0, true),
            };
            let mut server = Wire::new(tcp);
            server.head().await;
            server.send("HTTP/1.1 204 No Content\r\n\r\n").await;
            client.head().await;
            if moved {
                return;
            }
        }
    };
    within("the new address", changed).await;
}

async fn answered_by(gate: &Gate, listener: &TcpListener) {
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let accepted = within("a connection", listener.accept()).await;
    let mut server = Wire::new(accepted.unwrap().0);
    server.head().await;
    server.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_addresses_are_tried_when_the_first_refuses() {
    let backend = Backend::that(echo_http).await;
    let dns = NameServer::start().await;
    // Nothing listens on the first two. Whichever comes first in its turn, the last one is found.
    dns.set("app.test", 600, &["127.0.0.7", "::1", "127.0.0.1"]);
    let config = route_to("app.test", backend.address().port(), &dns).replace(
        "[[route]]",
        "retries = 0\nkeep_alive = { idle = \"0\" }\n[[route]]",
    );
    let gate = Gate::start(&config).await;
    for _ in 0..6 {
        assert_eq!(gate.get("/").await.0.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_an_ipv6_address_only_is_reached() {
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let dns = NameServer::start().await;
    dns.set("six.test", 600, &["::1"]);
    let port = listener.local_addr().unwrap().port();
    let gate = Gate::start(&route_to("six.test", port, &dns)).await;
    answered_by(&gate, &listener).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_does_not_exist_is_a_dns_error() {
    let dns = NameServer::start().await;
    let gate = Gate::start(&route_to("nowhere.test", 80, &dns)).await;
    let (head, _) = gate.get("/").await;
    assert_eq!(head.status(), 502);
    let status = head.get("proxy-status").unwrap();
    assert!(status.contains("error=dns_error"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn localhost_is_never_asked_for() {
    let backend = Backend::that(echo_http).await;
    let dns = NameServer::start().await;
    let gate = Gate::start(&route_to("localhost", backend.address().port(), &dns)).await;
    assert_eq!(gate.get("/").await.0.status(), 200);
    assert_eq!(dns.asked_for("localhost"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_addresses_are_used_when_names_cannot_be_resolved_anew() {
    let backend = Backend::that(echo_http).await;
    let dns = NameServer::start().await;
    dns.set("app.test", 1, &["127.0.0.1"]);
    let workers = "[server]\nworkers = 1\ndrain_timeout = \"5s\"\n";
    let config = route_to("app.test", backend.address().port(), &dns)
        .replace("[[route]]", "keep_alive = { idle = \"0\" }\n[[route]]");
    let gate = Gate::start(&format!("{workers}{config}")).await;
    assert_eq!(gate.get("/").await.0.status(), 200);
    drop(dns);
    let used = async {
        let stale = "a name was not resolved anew, its last addresses are used";
        loop {
            assert_eq!(gate.get("/").await.0.status(), 200);
            if gate.log.since(0).iter().any(|line| line.message() == stale) {
                return;
            }
        }
    };
    crate::harness::within_time(PATIENCE + Duration::from_secs(5), "the old addresses", used).await;
}

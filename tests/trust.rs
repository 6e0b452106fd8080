//! Who asked: what is believed of proxies in front, and what backends are told.

use crate::harness::{Backend, Gate, Head, echo_http};

const TRUSTED: &str = "[trust]\nproxies = [\"127.0.0.0/8\", \"10.0.0.0/8\", \"fd00::/8\"]\n";

/// Sends one GET with these lines in its head, and returns the head that the backend got.
async fn received(gate: &Gate, backend: &mut Backend, lines: &str) -> Head {
    let mut client = gate.tls().await;
    let request = format!("GET /who HTTP/1.1\r\nHost: app.test:8443\r\n{lines}\r\n");
    client.send(request).await;
    let mut exchange = backend.next().await;
    exchange.answer("200 OK", "").await;
    assert_eq!(client.head().await.status(), 200);
    exchange.request
}

fn one<'h>(head: &'h Head, name: &str) -> &'h str {
    let all = head.all(name);
    assert_eq!(all.len(), 1, "{name}: {all:?}");
    all[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_s_own_words_do_not_reach_the_backend() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let port = gate.https.port().to_string();
    for lines in [
        "",
        "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: evil\r\n\
         X-Forwarded-Port: 1\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nX-Request-Id: evil\r\nX-Forwarded-Prefix: /evil\r\n",
        "X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_Host: evil\r\nx_real_ip: 6.6.6.6\r\nX_Request_Id: evil\r\n",
        // What `Connection` names is for one hop; what backends rely on is not.
        "Connection: X-Forwarded-For, Forwarded, X-Request-Id, X-Forwarded-Proto, Host, Via\r\nX-Forwarded-For: 6.6.6.6\r\n",
    ] {
        let head = received(&gate, &mut backend, lines).await;
        assert_eq!(one(&head, "x-forwarded-for"), "127.0.0.1", "{lines}");
        assert_eq!(one(&head, "x-forwarded-proto"), "https", "{lines}");
        assert_eq!(one(&head, "x-forwarded-host"), "app.test:8443", "{lines}");
        assert_eq!(one(&head, "x-forwarded-port"), port, "{lines}");
        assert_eq!(
            one(&head, "forwarded"),
            "for=127.0.0.1;host=\"app.test:8443\";proto=https",
            "{lines}"
        );
        assert_eq!(one(&head, "host"), "app.test:8443", "{lines}");
        assert_eq!(one(&head, "x-request-id").len(), 32, "{lines}");
        assert_eq!(one(&head, "via"), "1.1 streamgate", "{lines}");
        let words = ["6.6.6", "evil"];
        let stray = head
            .fields
            .iter()
            .find(|(_, value)| words.iter().any(|word| value.contains(word)));
        assert_eq!(stray, None, "{lines}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn believed_proxies_are_followed_to_the_client() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&format!("{}{TRUSTED}", backend.for_everything())).await;
    for (lines, addresses, forwarded) in [
        (
            "X-Forwarded-For: 6.6.6.6, 192.0.2.1\r\nX-Forwarded-For: 10.0.0.9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: site.test\r\n",
            "192.0.2.1, 10.0.0.9, 127.0.0.1",
            "for=192.0.2.1;host=site.test;proto=http, for=10.0.0.9, for=127.0.0.1",
        ),
        (
            "X-Forwarded-For: 2001:db8::1, fd00::9\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: site.test\r\n",
            "2001:db8::1, fd00::9, 127.0.0.1",
            "for=\"[2001:db8::1]\";host=site.test;proto=http, for=\"[fd00::9]\", for=127.0.0.1",
        ),
        // A proxy that sets X-Forwarded-For passes a client's Forwarded on.
        (
            "Forwarded: for=6.6.6.6;proto=https;host=evil\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: site.test\r\n",
            "192.0.2.1, 127.0.0.1",
            "for=192.0.2.1;host=site.test;proto=http, for=127.0.0.1",
        ),
        (
            "Forwarded: for=6.6.6.6, for=\"192.0.2.1:7\";host=site.test;proto=http\r\nForwarded: for=10.0.0.9\r\n",
            "192.0.2.1, 10.0.0.9, 127.0.0.1",
            "for=192.0.2.1;host=site.test;proto=http, for=10.0.0.9, for=127.0.0.1",
        ),
        (
            "X-Forwarded-For: 192.0.2.1, nonsense\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: site.test\r\n",
            "127.0.0.1",
            "for=127.0.0.1;host=site.test;proto=http",
        ),
    ] {
        let head = received(&gate, &mut backend, lines).await;
        assert_eq!(one(&head, "x-forwarded-for"), addresses, "{lines}");
        assert_eq!(one(&head, "forwarded"), forwarded, "{lines}");
        assert_eq!(one(&head, "x-forwarded-proto"), "http", "{lines}");
        assert_eq!(one(&head, "x-forwarded-host"), "site.test", "{lines}");
        assert_eq!(one(&head, "x-forwarded-port"), "80", "{lines}");
        assert_eq!(one(&head, "host"), "app.test:8443", "{lines}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_kinds_that_are_named_are_believed() {
    let mut backend = Backend::by_hand().await;
    let route = backend.for_everything();
    let gate = Gate::start(&format!("{route}{TRUSTED}headers = [\"forwarded\"]\n")).await;
    let lines = "X-Forwarded-For: 6.6.6.6\r\nForwarded: for=192.0.2.1\r\n";
    let head = received(&gate, &mut backend, lines).await;
    assert_eq!(one(&head, "x-forwarded-for"), "192.0.2.1, 127.0.0.1");
    gate.reload_well(&format!("{route}{TRUSTED}headers = [\"x-forwarded\"]\n"))
        .await;
    let lines = "Forwarded: for=6.6.6.6\r\n";
    let head = received(&gate, &mut backend, lines).await;
    assert_eq!(one(&head, "x-forwarded-for"), "127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_who_asked_and_the_name_that_a_believed_proxy_gave() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&format!("{}{TRUSTED}", backend.for_everything())).await;
    let mut client = gate.tls().await;
    let lines = "X-Forwarded-For: 192.0.2.1\r\nX-Request-Id: edge-42/a\r\n";
    client
        .send(format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
        .await;
    let head = client.head().await;
    assert_eq!(head.get("x-request-id"), Some("edge-42/a"));
    client.text().await;
    let line = gate
        .logged("the request's line", |line| line.has("id", "edge-42/a"))
        .await;
    assert!(line.has("client", "192.0.2.1"), "{line:?}");
    assert_eq!(backend.requests()[0].get("x-request-id"), Some("edge-42/a"));
    // What is not fit for a log is replaced.
    let long = "x".repeat(129);
    for name in ["a b", long.as_str(), ""] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: {name}\r\n\r\n");
        client.send(request).await;
        let head = client.head().await;
        let given = head.get("x-request-id").expect("a name");
        assert!(given.len() == 32 && given != name, "{given}");
        client.text().await;
    }
}

//! Who is at both ends of a TLS connection: clients that show certificates, and hosts that a connection was not made for.

use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::harness::{
    Backend, Directory, Gate, Head, Wire, authority_file, client_config, client_config_showing,
    echo_http, leaf, stranger,
};

/// One GET for a host, and what comes back; `None`: the connection ended before.
async fn ask(stream: TlsStream<TcpStream>, host: &str, lines: &str) -> Option<Head> {
    let mut client = Wire::new(stream);
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n");
    // Who is refused may hear of it only now: in TLS 1.3 its own part of the handshake is done before the server's verdict.
    let _ = client.try_send(request.as_bytes()).await;
    client.head_if_any("GET").await
}

async fn asking_clients(backend: &Backend, mode: &str) -> Gate {
    let directory = Directory::new();
    authority_file(directory.path());
    leaf(&["localhost"]).write(directory.path(), "gate");
    let tls = format!("[tls]\nclient_auth = {{ mode = \"{mode}\", ca = \"authority.pem\" }}\n");
    Gate::start_in(directory, &(backend.for_everything() + &tls)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_are_told_whose_certificate_was_shown_and_nothing_that_clients_say_of_it() {
    let backend = Backend::that(echo_http).await;
    let gate = asking_clients(&backend, "optional").await;
    let forged = "X-Client-Cert-Subject: CN=root\r\nX_Client_Cert_San: DNS:root\r\nX-Client-Cert-Verify: SUCCESS\r\n\
                  Connection: x-client-cert-fingerprint\r\n";
    let known = Arc::new(client_config_showing(&leaf(&["ann.test"])));
    let nobody = Arc::new(client_config(&["http/1.1"], rustls::ALL_VERSIONS));
    // Twice: a client that comes again has to show it again.
    for config in [&known, &known, &nobody] {
        let stream = gate.handshake(Arc::clone(config), "localhost").await;
        let head = ask(stream.unwrap(), "localhost", forged).await.unwrap();
        assert_eq!(head.status(), 200);
    }
    let requests = backend.requests();
    for request in &requests[..2] {
        assert_eq!(request.all("x-client-cert-san"), ["DNS:ann.test"]);
        assert_eq!(request.all("x-client-cert-subject").len(), 1);
        assert_eq!(request.all("x-client-cert-fingerprint")[0].len(), 64);
    }
    let words = ["root", "SUCCESS"];
    for (name, value) in requests.iter().flat_map(|request| &request.fields) {
        assert!(
            !words.iter().any(|word| value.contains(word)),
            "{name}: {value}"
        );
    }
    let stray = |(name, _): &&(String, String)| name.replace('_', "-").starts_with("x-client-cert");
    assert_eq!(requests[2].fields.iter().find(stray), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_a_good_certificate_comes_no_further_than_its_handshake() {
    let backend = Backend::that(echo_http).await;
    let gate = asking_clients(&backend, "required").await;
    let bad = [
        client_config(&["http/1.1"], rustls::ALL_VERSIONS),
        client_config_showing(&stranger("ann.test")),
    ];
    for config in bad {
        if let Ok(stream) = gate.handshake(Arc::new(config), "localhost").await {
            assert!(ask(stream, "localhost", "").await.is_none());
        }
    }
    let good = client_config_showing(&leaf(&["ann.test"]));
    let stream = gate.handshake(Arc::new(good), "localhost").await.unwrap();
    assert_eq!(ask(stream, "localhost", "").await.unwrap().status(), 200);
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_a_certificate_of_its_own_wants_a_connection_of_its_own() {
    let directory = Directory::new();
    let mut text = String::new();
    for (name, names) in [
        ("gate", &["a.test", "*.wild.test"][..]),
        ("other", &["b.test"]),
    ] {
        leaf(names).write(directory.path(), name);
        text += &format!("[[tls.certificate]]\ncert = \"{name}.pem\"\nkey = \"{name}.key\"\n");
    }
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start_in(directory, &(backend.for_everything() + &text)).await;
    let config = Arc::new(client_config(&["http/1.1"], rustls::ALL_VERSIONS));
    for (sni, host, status) in [
        ("a.test", "a.test", 200),
        ("a.test", "A.test:443", 200),
        // Browsers do so: the certificate that they were shown is for both.
        ("a.test", "x.wild.test", 200),
        ("x.wild.test", "a.test", 200),
        ("a.test", "b.test", 421),
        ("x.wild.test", "b.test", 421),
        ("b.test", "a.test", 421),
        // No certificate is for these: another connection would not be better.
        ("a.test", "x.y.wild.test", 200),
        ("b.test", "elsewhere.test", 200),
    ] {
        let stream = gate.handshake(Arc::clone(&config), sni).await.unwrap();
        let head = ask(stream, host, "").await.unwrap();
        assert_eq!(head.status(), status, "{sni} {host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hsts_is_told_over_tls_only_and_a_backends_own_stays() {
    let mut backend = Backend::by_hand().await;
    let tls = "[tls]\nhsts = \"180d\"\n";
    let gate = Gate::start(&(backend.for_everything() + tls)).await;
    let field = "strict-transport-security";
    for (own, told) in [("", "max-age=15552000"), ("max-age=5", "max-age=5")] {
        let mut client = gate.tls().await;
        client
            .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        let mut exchange = backend.next().await;
        let own = match own {
            "" => String::new(),
            own => format!("Strict-Transport-Security: {own}\r\n"),
        };
        let answer = format!("HTTP/1.1 204 No Content\r\n{own}\r\n");
        exchange.wire.send(answer).await;
        assert_eq!(client.head().await.all(field), [told]);
    }
    let mut client = gate.clear().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange.answer("200 OK", "").await;
    assert_eq!(client.head().await.get(field), None);
}

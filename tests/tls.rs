//! TLS towards clients: versions, protocols, certificates, resumption, and peers who do not speak it.

use std::sync::Arc;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::AsyncWriteExt;

use crate::harness::{
    Backend, Directory, Gate, Wire, client_config, connect, echo_http, leaf, stays_pending,
    untrusting_client_config, within,
};

#[tokio::test(flavor = "multi_thread")]
async fn alpn_offers_h2_and_http_1_1_and_prefers_h2() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let cases: [(&[&str], Option<&[u8]>); 4] = [
        (&["h2"], Some(b"h2")),
        (&["http/1.1"], Some(b"http/1.1")),
        (&["http/1.1", "h2"], Some(b"h2")),
        (&[], None),
    ];
    for (offered, chosen) in cases {
        let config = Arc::new(client_config(offered, rustls::ALL_VERSIONS));
        let stream = gate.handshake(config, "localhost").await.unwrap();
        assert_eq!(
            stream.get_ref().1.alpn_protocol(),
            chosen,
            "offered {offered:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_alpn_speaks_http_1_1() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let config = Arc::new(client_config(&[], rustls::ALL_VERSIONS));
    let mut client = Wire::new(gate.handshake(config, "localhost").await.unwrap());
    client
        .send("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.text().await, "GET /hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn speaks_tls_1_2_and_1_3() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    for (version, spoken) in [
        (&TLS12, ProtocolVersion::TLSv1_2),
        (&TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let config = Arc::new(client_config(&["http/1.1"], &[version]));
        let stream = gate.handshake(config, "localhost").await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(spoken));
        let mut client = Wire::new(stream);
        client
            .send("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        assert_eq!(client.head().await.status(), 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn min_version_refuses_older_clients() {
    let backend = Backend::that(echo_http).await;
    let text = format!("{}[tls]\nmin_version = \"1.3\"\n", backend.for_everything());
    let gate = Gate::start(&text).await;
    let old = Arc::new(client_config(&["http/1.1"], &[&TLS12]));
    assert!(gate.handshake(old, "localhost").await.is_err());
    let new = Arc::new(client_config(&["http/1.1"], &[&TLS13]));
    assert!(gate.handshake(new, "localhost").await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_resume_by_ticket_on_every_worker() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(client_config(&["http/1.1"], &[version]));
        for attempt in 0..8 {
            let stream = gate.handshake(Arc::clone(&config), "localhost").await;
            let mut client = Wire::new(stream.unwrap());
            // TLS 1.3 tickets come after the handshake, so something has to be read.
            client
                .send("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await;
            assert_eq!(client.head().await.status(), 200);
            client.text().await;
            let kind = client.stream().get_ref().1.handshake_kind();
            let resumed = kind == Some(HandshakeKind::Resumed);
            assert_eq!(
                resumed,
                attempt > 0,
                "attempt {attempt} of {version:?}: {kind:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sni_picks_the_certificate() {
    let directory = Directory::new();
    let first = leaf(&["first.test"]);
    let second = leaf(&["second.test", "also-second.test"]);
    let wildcard = leaf(&["*.wild.test"]);
    let mut text = String::new();
    for (certificate, name) in [
        (&first, "first"),
        (&second, "second"),
        (&wildcard, "wildcard"),
    ] {
        certificate.write(directory.path(), name);
        text += &format!("[[tls.certificate]]\ncert = \"{name}.pem\"\nkey = \"{name}.key\"\n");
    }
    let backend = Backend::that(echo_http).await;
    let text = format!("{}{text}", backend.for_everything());
    let gate = Gate::start_in(directory, &text).await;
    let config = Arc::new(client_config(&["http/1.1"], rustls::ALL_VERSIONS));
    for (host, certificate) in [
        ("first.test", &first),
        ("second.test", &second),
        ("also-second.test", &second),
        ("x.wild.test", &wildcard),
        ("SECOND.test", &second),
    ] {
        let stream = gate.handshake(Arc::clone(&config), host).await;
        let stream = stream.unwrap_or_else(|error| panic!("{host}: {error}"));
        let shown = stream.get_ref().1.peer_certificates().unwrap();
        assert_eq!(shown[0], certificate.der, "{host}");
    }
    // A name that no certificate has gets the first, and this client does not accept it.
    let error = gate.handshake(config, "x.y.wild.test").await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_tls_port_hurts_nobody() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let garbage: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\xff\xff\x01\x00\x00\x00\x00\x00",
        b"\x00\x00\x00\x00\x00\x00\x00\x00",
        b"",
    ];
    for bytes in garbage {
        let mut client = Wire::new(connect(gate.https).await);
        let _ = client.try_send(bytes).await;
        let _ = client.half_close().await;
        // An alert may come; what matters is that the connection ends.
        client.raw_until_close().await;
    }
    let config = Arc::new(untrusting_client_config());
    assert!(gate.handshake(config, "localhost").await.is_err());
    assert_eq!(gate.get("/still-here").await.1, "GET /still-here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_handshake_ends_at_its_timeout() {
    let backend = Backend::that(echo_http).await;
    let text = format!(
        "{}[limits]\ntls_handshake_timeout = \"1s\"\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    let mut silent = Wire::new(connect(gate.https).await);
    let mut halting = connect(gate.https).await;
    halting.write_all(b"\x16\x03\x01\x02").await.unwrap();
    let mut halting = Wire::new(halting);
    stays_pending(
        "a stalled handshake's end before its time",
        Duration::from_millis(500),
        silent.raw_until_close(),
    )
    .await;
    silent.raw_until_close().await;
    halting.raw_until_close().await;
    assert_eq!(gate.get("/still-here").await.1, "GET /still-here");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_stalled_handshakes_hold_up_nobody() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut stalled = Vec::new();
    for _ in 0..100 {
        stalled.push(connect(gate.https).await);
    }
    assert_eq!(gate.get("/still-here").await.1, "GET /still-here");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clear_listener_serves_the_same_routes() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.clear().await;
    client
        .send("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.text().await, "GET /hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clear_port_redirects_to_https_with_path_and_query() {
    let backend = Backend::that(echo_http).await;
    let text = format!(
        "{}[[listen]]\naddress = \"systemd:https\"\ntls = true\n\
         [[listen]]\naddress = \"systemd:http\"\nredirect_to_https = true\n",
        backend.for_everything()
    );
    let gate = Gate::start(&text).await;
    for (method, host) in [
        ("GET", "app.test"),
        ("HEAD", "app.test:80"),
        ("POST", "app.test"),
    ] {
        let mut client = gate.clear().await;
        let head = format!("{method} /a/b%20c?x=1&y=%2F HTTP/1.1\r\nHost: {host}\r\n");
        client.send(head + "Content-Length: 0\r\n\r\n").await;
        let head = client.head_of_answer_to(method).await;
        assert!(
            matches!(head.status(), 301 | 307 | 308),
            "{method}: {head:?}"
        );
        let location = head.get("location").expect("a redirect has a Location");
        let rest = location.strip_prefix("https://app.test").expect(location);
        let rest = rest.split_once('/').map(|(_port, path)| path);
        assert_eq!(rest, Some("a/b%20c?x=1&y=%2F"), "{location}");
    }
    assert!(
        backend.requests().is_empty(),
        "a redirect reached the backend"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn close_notify_ends_the_client_s_direction() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client.half_close().await;
    within("the other direction's end", client.closes()).await;
}

//! How servers are reached: TLS, sockets in the file system, the PROXY protocol, kept connections.

use std::net::SocketAddr;

use tokio::net::UnixListener;

use crate::harness::{
    Backend, Directory, Gate, H2Backend, Head, TlsBackend, Wire, authority_file, echo_http,
    echo_websocket, leaf, server_config, server_config_for_known_clients, within,
};

const GET: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A route to this server, with more keys for its upstream.
fn route_to(url: impl std::fmt::Display, keys: &str) -> String {
    format!(
        "[[route]]\npath = \"/*\"\nupstream = \"app\"\n\
         [upstream.app]\nservers = [\"{url}\"]\nretries = 0\n{keys}\n"
    )
}

fn https(address: SocketAddr, keys: &str) -> String {
    route_to(format_args!("https://{address}"), keys)
}

/// A gate whose directory has `authority.pem`, `client.pem` and `client.key`.
async fn gate(config: &str) -> Gate {
    let directory = Directory::new();
    leaf(&["localhost", "127.0.0.1"]).write(directory.path(), "gate");
    leaf(&["client.test"]).write(directory.path(), "client");
    authority_file(directory.path());
    Gate::start_in(directory, config).await
}

fn assert_fault(head: &Head, fault: &str) {
    assert_eq!(head.status(), 502);
    let status = head.get("proxy-status").unwrap();
    assert!(status.contains(&format!("error={fault}")), "{status}");
}

/// One request through the gate that this backend answers over TLS.
async fn is_served(gate: &Gate, backend: &TlsBackend) {
    let mut client = gate.tls().await;
    client.send(GET).await;
    let mut server = backend.next().await.expect("a handshake succeeds");
    assert_eq!(server.head().await.start, "GET / HTTP/1.1");
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    server.send(answer).await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.text().await, "hi");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_known_by_its_authority_and_its_name() {
    let backend = TlsBackend::start(server_config(&["app.internal"], &[])).await;
    let keys = "tls = { ca = \"authority.pem\", server_name = \"app.internal\" }";
    let gate = gate(&https(backend.address, keys)).await;
    is_served(&gate, &backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_known_by_its_address_where_no_name_is_given() {
    let backend = TlsBackend::start(server_config(&["127.0.0.1"], &["http/1.1"])).await;
    let gate = gate(&https(backend.address, "tls = { ca = \"authority.pem\" }")).await;
    is_served(&gate, &backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_name_or_authority_is_not_spoken_to() {
    let names = [
        "tls = { ca = \"authority.pem\", server_name = \"other.internal\" }",
        // Its own certificate is not one that the system trusts.
        "tls = { server_name = \"app.internal\" }",
    ];
    for keys in names {
        let backend = TlsBackend::start(server_config(&["app.internal"], &[])).await;
        let gate = gate(&https(backend.address, keys)).await;
        let mut client = gate.tls().await;
        client.send(GET).await;
        let refused = backend.next().await;
        assert!(refused.is_err(), "the handshake was refused: {keys}");
        assert_fault(&client.head().await, "tls_certificate_error");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_certificate_will_do_when_none_is_verified() {
    let backend = TlsBackend::start(server_config(&["whatever.test"], &[])).await;
    let gate = gate(&https(backend.address, "tls = { verify = false }")).await;
    is_served(&gate, &backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_no_tls_is_a_tls_fault() {
    let backend = TlsBackend::start(server_config(&["127.0.0.1"], &[])).await;
    let gate = gate(&https(backend.address, "tls = { ca = \"authority.pem\" }")).await;
    let mut client = gate.tls().await;
    client.send(GET).await;
    let mut server = Wire::new(backend.tcp().await);
    server.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    assert_fault(&client.head().await, "tls_protocol_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_shown_to_a_server_that_asks() {
    let backend = TlsBackend::start(server_config_for_known_clients(&["127.0.0.1"])).await;
    let keys = "tls = { ca = \"authority.pem\", client_cert = \"client.pem\", client_key = \"client.key\" }";
    let gate = gate(&https(backend.address, keys)).await;
    is_served(&gate, &backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_misses_a_certificate_ends_with_an_alert() {
    let backend = TlsBackend::start(server_config_for_known_clients(&["127.0.0.1"])).await;
    let gate = gate(&https(backend.address, "tls = { ca = \"authority.pem\" }")).await;
    let mut client = gate.tls().await;
    client.send(GET).await;
    assert!(backend.next().await.is_err());
    assert_fault(&client.head().await, "tls_alert_received");
}

#[tokio::test(flavor = "multi_thread")]
async fn alpn_picks_http_2_where_the_server_has_it() {
    let mut backend = H2Backend::tls(server_config(&["127.0.0.1"], &["h2", "http/1.1"])).await;
    let gate = gate(&https(backend.address, "tls = { ca = \"authority.pem\" }")).await;
    let mut client = gate.tls().await;
    client.send(GET).await;
    let mut exchange = backend.next().await;
    assert_eq!(exchange.request.uri(), "https://localhost/");
    exchange.answer("hi");
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.text().await, "hi");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_over_http_2_and_tls_names_its_scheme() {
    let mut backend = H2Backend::tls(server_config(&["127.0.0.1"], &["h2"])).await;
    let keys = "tls = { ca = \"authority.pem\" }\nhealth = { path = \"/healthz\" }";
    let _gate = gate(&https(backend.address, keys)).await;
    let mut check = backend.next().await;
    let asked = format!("https://{}/healthz", backend.address);
    assert_eq!(check.request.uri(), asked.as_str());
    check.answer("fine");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_wants_http_1_1_for_a_request_gets_it_so() {
    let backend = TlsBackend::start(server_config(&["127.0.0.1"], &["h2", "http/1.1"])).await;
    let gate = gate(&https(backend.address, "tls = { ca = \"authority.pem\" }")).await;
    let mut client = gate.tls().await;
    // Not idempotent: but its server has not acted on it.
    client
        .send("POST /old HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        .await;
    let (stream, _) = backend.next().await.unwrap().into_parts();
    let mut shared = h2::server::handshake(stream).await.unwrap();
    let (_request, mut respond) = within("a stream", shared.accept()).await.unwrap().unwrap();
    respond.send_reset(h2::Reason::HTTP_1_1_REQUIRED);
    let mut driven = tokio::task::JoinSet::new();
    driven.spawn(async move { shared.accept().await.is_none() });
    let mut server = backend.next().await.unwrap();
    assert_eq!(server.head().await.start, "POST /old HTTP/1.1");
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    server.send(answer).await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.text().await, "hi");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_to_an_https_server_is_an_upgrade_of_http_1_1() {
    let backend = TlsBackend::start(server_config(&["127.0.0.1"], &["h2", "http/1.1"])).await;
    let gate = gate(&https(backend.address, "tls = { ca = \"authority.pem\" }")).await;
    let mut client = gate.tls().await;
    client
        .send(
            "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    let mut server = backend.next().await.unwrap();
    assert_eq!(
        server.stream().get_ref().1.alpn_protocol(),
        Some(&b"http/1.1"[..])
    );
    let request = server.head().await;
    let accept = tungstenite::handshake::derive_accept_key(
        request.get("sec-websocket-key").unwrap().as_bytes(),
    );
    server
        .send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n\x08bytes"
        ))
        .await;
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(client.raw(6).await, b"\x08bytes");
    client.send("\x08back").await;
    assert_eq!(server.raw(5).await, b"\x08back");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_over_tls_passes_at_once() {
    let backend = TlsBackend::start(server_config(&["127.0.0.1"], &[])).await;
    let gate = gate(&https(backend.address, "tls = { ca = \"authority.pem\" }")).await;
    let mut client = gate.tls().await;
    client.send(GET).await;
    let mut server = backend.next().await.unwrap();
    server.head().await;
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    server.send(head).await;
    assert_eq!(client.head().await.status(), 200);
    for event in ["data: 1\n\n", "data: 2\n\n"] {
        server.send(event).await;
        assert_eq!(client.body_bytes(event.len()).await, event.as_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_in_the_file_system_is_a_server() {
    let directory = Directory::new();
    let path = std::path::absolute(directory.path().join("app.sock")).unwrap();
    // The path of a socket is short; a test's directory need not be.
    let short = std::env::temp_dir().join(format!("sg-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).or_else(|_too_long| UnixListener::bind(&short));
    let listener = listener.unwrap();
    let bound = listener.local_addr().unwrap();
    let url = format!("unix:{}", bound.as_pathname().unwrap().display());
    let gate = Gate::start(&route_to(url, "")).await;
    let mut client = gate.tls().await;
    client.send(GET).await;
    let accepted = within("a connection", listener.accept()).await;
    let mut server = Wire::new(accepted.unwrap().0);
    let request = server.head().await;
    assert_eq!(request.all("host"), ["localhost"]);
    assert_eq!(request.all("x-forwarded-proto"), ["https"]);
    server.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 204);
    // It is kept.
    client.send(GET).await;
    server.head().await;
    server.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 204);
    let _ = std::fs::remove_file(&short);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_header_of_version_1_names_the_client() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let gate = Gate::start(&route_to(url, "proxy_protocol = \"v1\"")).await;
    let mut client = gate.clear().await;
    let from = client.stream().local_addr().unwrap();
    // One connection for each request: none is kept.
    for _ in 0..2 {
        client.send(GET).await;
        let accepted = within("a connection", listener.accept()).await;
        let mut server = Wire::new(accepted.unwrap().0);
        let expected = format!(
            "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
            from.port(),
            gate.http.port()
        );
        let header = server.raw(expected.len()).await;
        assert_eq!(String::from_utf8(header).unwrap(), expected);
        assert_eq!(server.head().await.start, "GET / HTTP/1.1");
        server.send("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(client.head().await.status(), 204);
        server.closes().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_header_of_version_2_goes_before_tls() {
    let backend = TlsBackend::start(server_config(&["127.0.0.1"], &["h2", "http/1.1"])).await;
    let keys = "proxy_protocol = \"v2\"\ntls = { ca = \"authority.pem\" }";
    let gate = gate(&https(backend.address, keys)).await;
    let mut client = gate.tls().await;
    let from = client.stream().get_ref().0.local_addr().unwrap();
    client.send(GET).await;
    let mut tcp = backend.tcp().await;
    let mut header = [0; 28];
    let read = tokio::io::AsyncReadExt::read_exact(&mut tcp, &mut header);
    within("a PROXY header", read).await.unwrap();
    assert_eq!(&header[..12], b"\r\n\r\n\0\r\nQUIT\n");
    assert_eq!(header[12..16], [0x21, 0x11, 0, 12]);
    assert_eq!(header[24..26], from.port().to_be_bytes());
    assert_eq!(header[26..28], gate.https.port().to_be_bytes());
    let mut server = Wire::new(backend.handshake(tcp).await.unwrap());
    assert_eq!(server.head().await.start, "GET / HTTP/1.1");
    server.send("HTTP/1.1 204 No Content\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 204);
}

/// How many connections four requests of this kind make, one after the other on one connection of the client's.
async fn connections_for_four(keys: &str) -> usize {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&route_to(
        format_args!("http://{}", backend.address()),
        keys,
    ))
    .await;
    let mut client = gate.tls().await;
    for _ in 0..4 {
        client.send(GET).await;
        client.head().await;
        assert_eq!(client.text().await, "GET /");
    }
    backend.connections()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_as_keep_alive_says() {
    for (keys, connections) in [
        ("", 1),
        ("keep_alive = { idle = \"0\" }", 4),
        ("keep_alive = { connections = 0 }", 4),
        ("keep_alive = { requests = 2 }", 2),
        ("keep_alive = { max_age = \"1h\", requests = 4 }", 1),
    ] {
        assert_eq!(connections_for_four(keys).await, connections, "{keys}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_body_takes_no_connection_that_was_idle_for_long() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    let post = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi";
    for connections in [1, 1] {
        client.send(post).await;
        client.head().await;
        assert_eq!(client.text().await, "hi");
        assert_eq!(backend.connections(), connections);
    }
    // The time itself is what this is about.
    crate::harness::silence(std::time::Duration::from_millis(1100)).await;
    client.send(post).await;
    client.head().await;
    assert_eq!(client.text().await, "hi");
    assert_eq!(backend.connections(), 2);
    client.send(GET).await;
    client.head().await;
    assert_eq!(client.text().await, "GET /");
    assert_eq!(backend.connections(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_to_an_h2c_server_is_an_upgrade_of_http_1_1() {
    let backend = Backend::that(echo_websocket).await;
    let gate = Gate::start(&route_to(format_args!("h2c://{}", backend.address()), "")).await;
    let mut client = gate.tls().await;
    client
        .send(
            "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    assert_eq!(client.head().await.status(), 101);
    // A masked text `hi` comes back unmasked.
    client.send(b"\x81\x82\0\0\0\0hi").await;
    assert_eq!(client.raw(4).await, b"\x81\x02hi");
}

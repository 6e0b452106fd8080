//! Fields on their way: those of one hop, those that a route changes, and what becomes of the path beside them.

use crate::harness::{Backend, Gate, Head, echo_http, echo_websocket};

/// A route with more keys for every request, to a backend of the test's.
fn route(backend: &Backend, path: &str, more: &str) -> String {
    let upstream = backend.upstream("app");
    format!("{upstream}[[route]]\npath = \"{path}\"\nupstream = \"app\"\n{more}\n")
}

async fn ask(gate: &Gate, backend: &mut Backend, target: &str, lines: &str) -> Head {
    let mut client = gate.tls().await;
    let request = format!("GET {target} HTTP/1.1\r\nHost: app.test\r\n{lines}\r\n");
    client.send(request).await;
    let mut exchange = backend.next().await;
    exchange.answer("200 OK", "").await;
    assert_eq!(client.head().await.status(), 200);
    exchange.request
}

#[tokio::test(flavor = "multi_thread")]
async fn via_and_the_request_s_name_come_back_too() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    for (answer, via, id) in [
        (
            "HTTP/1.1 200 OK\r\nVia: 1.0 inner\r\n",
            &["1.0 inner", "1.1 streamgate"][..],
            None,
        ),
        (
            "HTTP/1.0 200 OK\r\nX-Request-Id: theirs\r\n",
            &["1.0 streamgate"],
            Some("theirs"),
        ),
    ] {
        let mut client = gate.tls().await;
        client
            .send("GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 outer\r\n\r\n")
            .await;
        let mut exchange = backend.next().await;
        assert_eq!(exchange.request.all("via"), ["1.1 outer", "1.1 streamgate"]);
        let sent = exchange
            .request
            .get("x-request-id")
            .expect("a name")
            .to_owned();
        let fields = "Server: backend\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\nLocation: http://inner/\r\n\
                      Content-Length: 0\r\n\r\n";
        exchange.wire.send(format!("{answer}{fields}")).await;
        let head = client.head().await;
        assert!(head.start.starts_with("HTTP/1.1 200"), "{}", head.start);
        assert_eq!(head.all("via"), via);
        assert_eq!(head.all("x-request-id"), [id.unwrap_or(&sent)]);
        assert_eq!(head.get("server"), Some("backend"));
        assert_eq!(head.get("location"), Some("http://inner/"));
        assert_eq!((head.get("x-hop"), head.get("keep-alive")), (None, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_changes_what_its_backend_gets() {
    let mut backend = Backend::by_hand().await;
    let rules = "headers.request.remove = [\"X-Debug\", \"X-Forwarded-Host\"]\n\
                 headers.request.set = { X-One = \"{room}@{client_ip}/{rest}\", X-Real-IP = \"{client_ip}\", X-Token = { file = \"token.txt\" } }\n\
                 headers.request.add = { X-Two = \"more\", Via = \"1.1 extra\" }";
    let directory = crate::harness::Directory::new();
    directory.write("token.txt", "s3cret {room}\n");
    crate::harness::leaf(&["localhost"]).write(directory.path(), "gate");
    let gate = Gate::start_in(directory, &route(&backend, "/rooms/{room}/*", rules)).await;
    let lines = "X-Debug: 1\r\nX-One: a\r\nX-One: b\r\nX-Two: client\r\nX-Real-IP: 6.6.6.6\r\n";
    let head = ask(&gate, &mut backend, "/rooms/a%20b/x%2Dy//z", lines).await;
    assert_eq!(head.all("x-debug"), [""; 0]);
    assert_eq!(head.all("x-forwarded-host"), [""; 0]);
    assert_eq!(head.all("x-one"), ["a b@127.0.0.1/x%2Dy//z"]);
    assert_eq!(head.all("x-real-ip"), ["127.0.0.1"]);
    assert_eq!(head.all("x-token"), ["s3cret {room}"]);
    assert_eq!(head.all("x-two"), ["client", "more"]);
    assert_eq!(head.all("via"), ["1.1 streamgate", "1.1 extra"]);
    assert_eq!(head.all("x-forwarded-for"), ["127.0.0.1"]);
    assert!(!gate.log.to_string().contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_changes_all_its_responses() {
    let backend = Backend::that(echo_http).await;
    let sockets = Backend::that(echo_websocket).await;
    let mut events = Backend::by_hand().await;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead_address = dead.local_addr().unwrap();
    drop(dead);
    let rules = "headers.response.set = { X-Env = \"prod-{host}\", Server = \"gate\" }\nheaders.response.remove = [\"X-Accel-Buffering\", \"Via\"]\n";
    let mut config = format!(
        "{}{}{}[upstream.dead]\nservers = [\"http://{dead_address}\"]\n[bridge.feed]\nsource = \"ws://{dead_address}/\"\n",
        backend.upstream("app"),
        sockets.upstream("sockets"),
        events.upstream("events"),
    );
    for (path, action) in [
        ("/app", "upstream = \"app\""),
        ("/ws", "upstream = \"sockets\""),
        ("/events", "upstream = \"events\""),
        ("/dead", "upstream = \"dead\""),
        ("/feed", "bridge = \"feed\""),
        ("/away", "redirect = \"/app\""),
        ("/fixed", "respond = 204"),
    ] {
        config.push_str(&format!("[[route]]\npath = \"{path}\"\n{action}\n{rules}"));
    }
    let gate = Gate::start(&config).await;
    for (path, status) in [
        ("/app", 200),
        ("/ws", 101),
        ("/events", 200),
        ("/dead", 502),
        ("/feed", 200),
        ("/away", 308),
        ("/fixed", 204),
    ] {
        let mut client = gate.tls().await;
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let lines = if status == 101 { upgrade } else { "" };
        client
            .send(format!(
                "GET {path} HTTP/1.1\r\nHost: App.test:1\r\n{lines}\r\n"
            ))
            .await;
        if path == "/events" {
            let mut exchange = events.next().await;
            exchange.answer_in_chunks("text/event-stream").await;
            let head = client.head().await;
            check(&head, path, status);
            continue;
        }
        let head = client.head().await;
        check(&head, path, status);
    }
}

fn check(head: &Head, path: &str, status: u16) {
    assert_eq!(head.status(), status, "{path}");
    assert_eq!(head.all("x-env"), ["prod-app.test"], "{path}");
    assert_eq!(head.all("server"), ["gate"], "{path}");
    assert_eq!(head.all("x-accel-buffering"), [""; 0], "{path}");
    assert_eq!(head.all("via"), [""; 0], "{path}");
    assert_eq!(head.all("x-request-id").len(), 1, "{path}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_gets_the_host_that_is_asked_for_or_its_own() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&route(&backend, "/*", "")).await;
    assert_eq!(
        ask(&gate, &mut backend, "/", "").await.all("host"),
        ["app.test"]
    );
    gate.reload_well(&route(&backend, "/*", "preserve_host = false"))
        .await;
    let head = ask(&gate, &mut backend, "/", "").await;
    assert_eq!(head.all("host"), [backend.address().to_string()]);
    assert_eq!(head.all("x-forwarded-host"), ["app.test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_path_keeps_its_encoding_and_the_query() {
    let mut backend = Backend::by_hand().await;
    let rewrites = [
        (
            "/api/*",
            "/v2/{rest}",
            &[
                ("/api/", "/v2/"),
                ("/api/a%20b/%C3%A9?x=%2F&y", "/v2/a%20b/%C3%A9?x=%2F&y"),
                ("/api//a/?", "/v2//a/?"),
            ][..],
        ),
        (
            "/users/{id}/{tab}",
            "/{tab}/of/{id}.html",
            &[("/users/a%3Fb/c%25?q", "/c%25/of/a%3Fb.html?q")],
        ),
        ("/*", "/all/{rest}", &[("/x/y;z", "/all/x/y;z")]),
    ];
    for (path, rewrite, cases) in rewrites {
        let config = route(&backend, path, &format!("rewrite = \"{rewrite}\""));
        let gate = Gate::start(&config).await;
        for (asked, got) in cases {
            let head = ask(&gate, &mut backend, asked, "").await;
            assert_eq!(head.target(), *got, "{asked}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encoded_slashes_are_refused_or_kept_as_they_are() {
    let mut backend = Backend::by_hand().await;
    let upstream = route(&backend, "/api/*", "");
    let named = "[[route]]\npath = \"/api/{project}\"\nrespond = 204\n[[route]]\npath = \"/api/group/project\"\nrespond = 204\n";
    let config = format!("{upstream}{named}[server]\ndrain_timeout = \"5s\"\n");
    let gate = Gate::start(&config).await;
    assert_eq!(gate.get("/api/group%2Fproject").await.0.status(), 400);
    gate.reload_well(&format!("{config}encoded_slashes = \"keep\"\n"))
        .await;
    // Neither two segments nor the value of one.
    let head = ask(&gate, &mut backend, "/api/group%2Fproject?a=%2f", "").await;
    assert_eq!(head.target(), "/api/group%2Fproject?a=%2f");
    assert_eq!(gate.get("/api/a%2F..%2Fb").await.0.status(), 400);
    assert_eq!(gate.get("/api/plain").await.0.status(), 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_s_own_body_limit_goes_before_the_one_for_all() {
    let backend = Backend::that(echo_http).await;
    let upstream = backend.upstream("app");
    let gate = Gate::start(&format!(
        "{upstream}[limits]\nbody_size = \"10B\"\n\
         [[route]]\npath = \"/any\"\nupstream = \"app\"\n\
         [[route]]\npath = \"/more\"\nupstream = \"app\"\nlimits.body_size = \"20B\"\n\
         [[route]]\npath = \"/all\"\nupstream = \"app\"\nlimits = {{ body_size = \"0\" }}\n"
    ))
    .await;
    for (path, length, status) in [
        ("/any", 10, 200),
        ("/any", 11, 413),
        ("/more", 20, 200),
        ("/more", 21, 413),
        ("/all", 5000, 200),
    ] {
        let mut client = gate.tls().await;
        let body = "x".repeat(length);
        let request =
            format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}");
        client.send(request).await;
        assert_eq!(client.head().await.status(), status, "{path} {length}");
    }
}

//! The operator's own pages for errors that streamgate makes.

use crate::harness::{Backend, Directory, Gate, H2Client, Head, leaf};

async fn ask(gate: &Gate, path: &str, accept: &str) -> (Head, String) {
    let mut client = gate.tls().await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n");
    client.send(request).await;
    let head = client.head().await;
    (head, client.text().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_stands_in_the_place_of_an_error_by_status_and_accept() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = dead.local_addr().unwrap();
    drop(dead);
    let mut backend = Backend::by_hand().await;
    let directory = Directory::new();
    leaf(&["localhost"]).write(directory.path(), "gate");
    directory.write("404.html", "<h1>lost</h1>");
    directory.write("502.html", "<h1>away</h1>");
    directory.write("502.json", "{\"away\":true}");
    let config = format!(
        "{}[[route]]\npath = \"/app\"\nupstream = \"app\"\n\
         [upstream.dead]\nservers = [\"http://{address}\"]\n[[route]]\npath = \"/dead\"\nupstream = \"dead\"\n\
         [errors]\n404 = \"404.html\"\n5xx = [\"502.html\", \"502.json\"]\n",
        backend.upstream("app")
    );
    let gate = Gate::start_in(directory, &config).await;
    for (path, accept, status, content_type, body) in [
        (
            "/none",
            "*/*",
            404,
            "text/html; charset=utf-8",
            "<h1>lost</h1>",
        ),
        (
            "/none",
            "application/json",
            404,
            "text/html; charset=utf-8",
            "<h1>lost</h1>",
        ),
        (
            "/dead",
            "text/html",
            502,
            "text/html; charset=utf-8",
            "<h1>away</h1>",
        ),
        (
            "/dead",
            "application/json",
            502,
            "application/problem+json",
            "{\"away\":true}",
        ),
        (
            "/dead",
            "*/*",
            502,
            "text/html; charset=utf-8",
            "<h1>away</h1>",
        ),
    ] {
        let (head, found) = ask(&gate, path, accept).await;
        assert_eq!(head.status(), status, "{path} {accept}");
        assert_eq!(
            head.get("content-type"),
            Some(content_type),
            "{path} {accept}"
        );
        assert_eq!(found, body, "{path} {accept}");
        let cause = head.get("proxy-status").expect("the cause");
        assert!(cause.starts_with("streamgate; error="), "{cause}");
        assert_eq!(head.get("cache-control"), Some("no-store"));
    }
    // What has no page is told as ever, and a backend's own errors are its own.
    let (head, body) = ask(&gate, "/a%2Fb", "*/*").await;
    assert_eq!(head.status(), 400);
    assert!(body.contains("400 Bad Request"), "{body}");
    let mut client = gate.tls().await;
    client.send("GET /app HTTP/1.1\r\nHost: a\r\n\r\n").await;
    backend
        .next()
        .await
        .answer("502 Bad Gateway", "its own")
        .await;
    assert_eq!(client.head().await.status(), 502);
    assert_eq!(client.text().await, "its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_the_pages() {
    let directory = Directory::new();
    leaf(&["localhost"]).write(directory.path(), "gate");
    directory.write("404.txt", "one");
    let config = "[errors]\n404 = \"404.txt\"\n";
    let gate = Gate::start_in(directory, config).await;
    assert_eq!(ask(&gate, "/", "*/*").await.1, "one");
    gate.directory().write("404.txt", "two");
    gate.reload_well(config).await;
    assert_eq!(ask(&gate, "/", "*/*").await.1, "two");
    gate.reload_well("").await;
    assert!(ask(&gate, "/", "*/*").await.1.starts_with("404 Not Found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_refused_unread_gets_the_page_and_a_record() {
    let directory = Directory::new();
    leaf(&["localhost"]).write(directory.path(), "gate");
    for status in ["400", "408", "431"] {
        directory.write(&format!("{status}.html"), format!("page of {status}"));
    }
    let config = "[errors]\n400 = \"400.html\"\n408 = \"408.html\"\n431 = \"431.html\"\n\
        [limits]\nheader_timeout = \"1s\"\nheader_size = \"8KiB\"\n";
    let gate = Gate::start_in(directory, config).await;
    let long = format!(
        "GET /long HTTP/1.1\r\nHost: a.test\r\nX: {}\r\n",
        "x".repeat(8192)
    );
    for (bytes, status, error, known) in [
        (
            "GET /a?secret HTTP/1.1\r\nHost: A.test:80\r\nX : y\r\n\r\n",
            400,
            "bad_request",
            ("GET", "/a", "a.test"),
        ),
        (
            "HEAD /b HTTP/1.1\r\nX : y\r\n\r\n",
            400,
            "bad_request",
            ("HEAD", "/b", ""),
        ),
        ("GET /c\r\n\r\n", 400, "bad_request", ("", "", "")),
        (
            "GET /late HTTP/1.1\r\nHost: a.test\r\nX: y",
            408,
            "request_timeout",
            ("GET", "/late", "a.test"),
        ),
        (&long, 431, "header_too_large", ("GET", "/long", "a.test")),
    ] {
        let mark = gate.log.mark();
        let mut client = gate.clear().await;
        client.send(bytes).await;
        let (method, path, host) = known;
        let head = client.head_of_answer_to(method).await;
        assert_eq!(head.status(), status, "{head:?}");
        for name in ["date", "x-request-id", "proxy-status"] {
            assert!(head.get(name).is_some(), "{name}: {head:?}");
        }
        assert_eq!(head.get("connection"), Some("close"));
        assert_eq!(head.get("content-length"), Some("11"));
        let page = if method == "HEAD" {
            String::new()
        } else {
            format!("page of {status}")
        };
        assert_eq!(client.text().await, page);
        client.closes().await;
        let is_record = |line: &crate::harness::Line| line.message() == "request";
        let line = gate.log.wait(mark, "the record", is_record).await;
        for (name, value) in [
            ("status", status.to_string().as_str()),
            ("error", error),
            ("method", method),
            ("path", path),
            ("host", host),
            ("id", head.get("x-request-id").unwrap()),
            ("bytes_out", page.len().to_string().as_str()),
        ] {
            assert!(line.has(name, value), "{name}: {line:?}");
        }
        assert!(
            line.text("client").unwrap().starts_with("127.0.0.1:"),
            "{line:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_https_and_a_head_too_large_for_http_2_have_their_records() {
    let listen = "[[listen]]\naddress = \"systemd:https\"\ntls = true\n\
        [[listen]]\naddress = \"systemd:http\"\nredirect_to_https = true\n";
    let gate = Gate::start(&format!("{listen}[limits]\nheader_count = 20\n")).await;
    let mut client = gate.clear().await;
    client.send("GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let head = client.head().await;
    assert_eq!(head.status(), 308);
    let id = head.get("x-request-id").expect("a name").to_owned();
    let line = gate.logged("the record", |line| line.has("id", &id)).await;
    assert!(
        line.has("status", "308") && line.has("path", "/a"),
        "{line:?}"
    );

    let mut request = http::Request::head("https://localhost/b");
    for number in 0..30 {
        request = request.header(format!("x-{number}"), "y");
    }
    let mut client = H2Client::connect(&gate).await;
    let mut response = client.request(request.body(()).unwrap()).await;
    assert_eq!(response.status(), 431);
    assert_eq!(response.text().await, "");
    let line = gate
        .logged("the record", |line| line.has("status", "431"))
        .await;
    assert!(
        line.has("error", "header_too_large") && line.has("path", "/b"),
        "{line:?}"
    );
}

//! The operator's own pages for errors that streamgate makes.

use crate::harness::{Backend, Directory, Gate, Head, leaf};

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

//! Which route a request takes, and what it gets where there is none.

use crate::harness::{Backend, Gate, echo_http};

/// Four upstreams that tell themselves apart by what `strip_prefix` leaves would be a riddle: each is a backend of its own.
struct Named {
    backends: Vec<(&'static str, Backend)>,
}

impl Named {
    async fn start(names: &[&'static str]) -> Self {
        let mut backends = Vec::new();
        for name in names {
            backends.push((*name, Backend::that(echo_http).await));
        }
        Self { backends }
    }

    fn upstreams(&self) -> String {
        let all = self.backends.iter();
        all.map(|(name, backend)| backend.upstream(name)).collect()
    }

    /// Who has got a request since the last time this was asked. Fails if it was more than one.
    fn taken_by(&self, before: &[usize]) -> Option<&'static str> {
        let counts = self.counts();
        let mut taken = None;
        for (index, (name, _)) in self.backends.iter().enumerate() {
            if counts[index] > before[index] {
                assert_eq!(taken, None, "two backends got the request");
                taken = Some(*name);
            }
        }
        taken
    }

    fn counts(&self) -> Vec<usize> {
        let all = self.backends.iter();
        all.map(|(_, backend)| backend.requests().len()).collect()
    }
}

async fn ask(gate: &Gate, method: &str, host: &str, path: &str) -> u16 {
    let mut client = gate.tls().await;
    client
        .send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
        .await;
    client.head_of_answer_to(method).await.status()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_specific_route_wins_whatever_the_order() {
    let named = Named::start(&[
        "any", "prefix", "exact", "named", "host", "wildcard", "post",
    ])
    .await;
    let routes = [
        "path = \"/*\"\nupstream = \"any\"",
        "path = \"/a/*\"\nupstream = \"prefix\"",
        "path = \"/a/b\"\nupstream = \"exact\"",
        "path = \"/a/{x}\"\nupstream = \"named\"",
        "host = \"one.test\"\npath = \"/*\"\nupstream = \"host\"",
        "host = \"*.test\"\npath = \"/*\"\nupstream = \"wildcard\"",
        "path = \"/a/b\"\nmethods = [\"POST\"]\nupstream = \"post\"",
    ];
    let cases = [
        ("GET", "x", "/", "any"),
        ("GET", "x", "/ab", "any"),
        ("GET", "x", "/a", "any"),
        ("GET", "x", "/a/b", "exact"),
        ("POST", "x", "/a/b", "post"),
        ("GET", "x", "/a/c", "named"),
        ("GET", "x", "/a/b/c", "prefix"),
        ("GET", "one.test", "/a/b", "host"),
        ("GET", "ONE.test:8443", "/", "host"),
        ("GET", "two.test", "/", "wildcard"),
        ("GET", "test", "/", "any"),
    ];
    for reversed in [false, true] {
        let mut ordered = routes.to_vec();
        if reversed {
            ordered.reverse();
        }
        let text: String = ordered
            .iter()
            .map(|route| format!("[[route]]\n{route}\n"))
            .collect();
        let gate = Gate::start(&format!("{}{text}", named.upstreams())).await;
        for (method, host, path, expected) in cases {
            let before = named.counts();
            assert_eq!(
                ask(&gate, method, host, path).await,
                200,
                "{method} {host} {path}"
            );
            assert_eq!(
                named.taken_by(&before),
                Some(expected),
                "{method} {host} {path}"
            );
        }
        gate.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_route_is_404_and_no_method_405() {
    let named = Named::start(&["app"]).await;
    let route = "[[route]]\npath = \"/only\"\nmethods = [\"GET\", \"PUT\"]\nupstream = \"app\"\n";
    let gate = Gate::start(&format!("{}{route}", named.upstreams())).await;
    for (method, path, status) in [
        ("GET", "/only", 200),
        ("HEAD", "/only", 200),
        ("GET", "/other", 404),
        ("GET", "/only/more", 404),
    ] {
        assert_eq!(
            ask(&gate, method, "x", path).await,
            status,
            "{method} {path}"
        );
    }
    let mut client = gate.tls().await;
    client
        .send("DELETE /only HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    let head = client.head().await;
    assert_eq!(head.status(), 405);
    let allow = head.get("allow").expect("405 has Allow");
    assert!(allow.contains("GET") && allow.contains("PUT"), "{allow}");
    assert!(!allow.contains("DELETE"), "{allow}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_s_form_follows_accept() {
    let named = Named::start(&["app"]).await;
    let route = "[[route]]\npath = \"/only\"\nupstream = \"app\"\n";
    let gate = Gate::start(&format!("{}{route}", named.upstreams())).await;
    for (accept, content_type) in [
        ("*/*", "text/plain"),
        ("application/json", "application/problem+json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
    ] {
        let mut client = gate.tls().await;
        let request = format!("GET /none HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\n\r\n");
        client.send(request).await;
        let head = client.head().await;
        assert_eq!(head.status(), 404);
        let found = head.get("content-type").unwrap_or_default();
        assert!(found.starts_with(content_type), "{accept}: {found}");
        assert!(!client.body().await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_two_parsers_read_in_two_ways_are_refused() {
    let named = Named::start(&["app"]).await;
    let route = "[[route]]\npath = \"/*\"\nupstream = \"app\"\n";
    let gate = Gate::start(&format!("{}{route}", named.upstreams())).await;
    for path in ["/a/../b", "/a/./b", "/a/%2e%2E/b", "/a%2fb", "/a%00b"] {
        assert_eq!(ask(&gate, "GET", "x", path).await, 400, "{path}");
    }
    assert_eq!(named.counts(), [0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_logged_with_route_and_status() {
    let named = Named::start(&["app"]).await;
    let route = "[[route]]\npath = \"/only\"\nupstream = \"app\"\n";
    let gate = Gate::start(&format!("{}{route}", named.upstreams())).await;
    assert_eq!(ask(&gate, "GET", "x", "/only?secret=1").await, 200);
    let line = gate
        .logged("the request's line", |line| line.message() == "request")
        .await;
    assert!(line.has("method", "GET"), "{line:?}");
    assert!(line.has("status", "200"), "{line:?}");
    assert!(
        line.text("path")
            .is_some_and(|path| path.starts_with("/only")),
        "{line:?}"
    );
    assert!(
        line.text("route")
            .is_some_and(|route| route.contains("/only")),
        "{line:?}"
    );
}

//! The actions that need nobody behind: redirects and fixed responses.

use http::Request;

use crate::harness::{Directory, Gate, H2Client, Head, leaf};

async fn ask(gate: &Gate, method: &str, target: &str) -> (Head, String) {
    let mut client = gate.tls().await;
    let request =
        format!("{method} {target} HTTP/1.1\r\nHost: App.test:8443\r\nConnection: close\r\n\r\n");
    client.send(request).await;
    let head = client.head_of_answer_to(method).await;
    (head, client.text().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_lead_where_they_should() {
    let gate = Gate::start(
        "[[route]]\npath = \"/old/*\"\nredirect = \"https://new.example.org/{rest}\"\n\
         [[route]]\npath = \"/users/{id}\"\nredirect = { to = \"/people?id={id}&{query}\", status = 301 }\n\
         [[route]]\npath = \"/up/*\"\nredirect = { to = \"{proto}://www.{host}{path}\", status = 307 }\n\
         [[route]]\npath = \"/in/*\"\nredirect = { to = \"/{rest}\", status = 302 }\n",
    )
    .await;
    for (method, target, status, location) in [
        (
            "GET",
            "/old/a%2Db//c?d=e",
            308,
            "https://new.example.org/a%2Db//c?d=e",
        ),
        ("POST", "/old/", 308, "https://new.example.org/"),
        ("HEAD", "/old/x", 308, "https://new.example.org/x"),
        ("GET", "/users/a%26b?x=1", 301, "/people?id=a%26b&x=1"),
        ("GET", "/up/a?b", 307, "https://www.app.test/up/a?b"),
        ("GET", "/in/a", 302, "/a"),
        // Not another site's address.
        ("GET", "/in//evil.org/", 302, "/evil.org/"),
        ("GET", "/in/\\evil.org/", 302, "/evil.org/"),
    ] {
        let (head, body) = ask(&gate, method, target).await;
        assert_eq!(head.status(), status, "{target}");
        assert_eq!(head.get("location"), Some(location), "{target}");
        assert_eq!(body, "", "{target}");
        assert!(head.get("x-request-id").is_some() && head.get("proxy-status").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fixed_responses_say_what_the_configuration_says() {
    let directory = Directory::new();
    leaf(&["localhost"]).write(directory.path(), "gate");
    directory.write("maintenance.html", "<p>closed</p>");
    let config = "[[route]]\npath = \"/text\"\nrespond = { body = \"hello\" }\n\
         [[route]]\npath = \"/json\"\nrespond = { status = 418, body = '{\"a\":1}', content_type = \"application/json\" }\n\
         [[route]]\npath = \"/none\"\nrespond = 204\n\
         [[route]]\npath = \"/file/*\"\nrespond = { status = 503, file = \"maintenance.html\" }\nheaders.response.set = { Retry-After = \"120\" }\n";
    let gate = Gate::start_in(directory, config).await;
    for (target, status, content_type, body) in [
        ("/text", 200, Some("text/plain; charset=utf-8"), "hello"),
        ("/json", 418, Some("application/json"), "{\"a\":1}"),
        ("/none", 204, None, ""),
        (
            "/file/any",
            503,
            Some("text/html; charset=utf-8"),
            "<p>closed</p>",
        ),
    ] {
        for method in ["GET", "HEAD", "DELETE"] {
            let (head, found) = ask(&gate, method, target).await;
            assert_eq!(head.status(), status, "{method} {target}");
            assert_eq!(head.get("content-type"), content_type, "{method} {target}");
            let length = head.get("content-length").map(str::to_owned);
            if status != 204 {
                assert_eq!(length, Some(body.len().to_string()), "{method} {target}");
            }
            assert_eq!(
                found,
                if method == "HEAD" { "" } else { body },
                "{method} {target}"
            );
        }
    }
    let (head, _) = ask(&gate, "GET", "/file/any").await;
    assert_eq!(head.get("retry-after"), Some("120"));
    assert_eq!(head.get("proxy-status"), None);
    // A new file is a change.
    gate.directory()
        .write("maintenance.html", "<p>open soon</p>");
    gate.reload_well(config).await;
    assert_eq!(ask(&gate, "GET", "/file/any").await.1, "<p>open soon</p>");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_over_http_2_gets_no_body() {
    let route = "[[route]]\npath = \"/text\"\nrespond = { body = \"hello\" }\n";
    let gate = Gate::start(route).await;
    let mut client = H2Client::connect(&gate).await;
    for (path, status) in [("/text", 200), ("/none", 404)] {
        let request = Request::head(format!("https://localhost{path}"));
        let mut response = client.request(request.body(()).unwrap()).await;
        assert_eq!(response.status(), status);
        assert!(response.head.headers().contains_key("content-type"));
        assert_eq!(response.text().await, "", "{path}");
    }
}

//! Another server is asked who asks: what it is asked, and what comes of its answer.

use std::time::Duration;

use crate::auth::ask;
use crate::bridge::bridge;
use crate::harness::{
    Backend, Exchange, Gate, Head, Line, Subscriber, echo_http, stays_pending, within,
};
use crate::tunnel::handshake;

/// Everything goes to `backend`, and `asked` is asked about it.
fn asking(backend: &Backend, asked: &Backend, more: &str) -> String {
    format!(
        "{}auth = \"sso\"\n{}",
        backend.for_everything(),
        sso(asked, more)
    )
}

fn sso(asked: &Backend, more: &str) -> String {
    format!(
        "[auth.sso]\n{more}[auth.sso.forward]\nurl = \"http://{}/check?app=1\"\ntimeout = \"1s\"\n\
         headers_response = [\"X-User\", \"X-Roles\"]\nuser = \"X-User\"\nlease = \"X-Lease\"\n",
        asked.address()
    )
}

/// What each question is answered with, by the `Cookie` that it has.
async fn by_cookie() -> Backend {
    Backend::that(|mut exchange: Exchange| async move {
        let said = exchange
            .request
            .get("cookie")
            .unwrap_or_default()
            .to_owned();
        let (status, fields, body) = match said.as_str() {
            "ann" => ("204 No Content", "X-User: ann\r\n", ""),
            "nobody" => ("200 OK", "", "some text"),
            "short" => ("204 No Content", "X-User: ann\r\nX-Lease: 2\r\n", ""),
            "forbidden" => ("403 Forbidden", "Content-Type: text/html\r\n", "<p>no"),
            "login" => (
                "302 Found",
                "Location: https://id.example.org/?a=b\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n",
                "",
            ),
            "broken" => ("500 Internal Server Error", "", "stack trace"),
            "odd" => ("404 Not Found", "", ""),
            "late" => {
                exchange.wire.closes().await;
                return None;
            }
            _ => (
                "401 Unauthorized",
                "WWW-Authenticate: Own realm=\"x\"\r\n",
                "who?",
            ),
        };
        let length = match status {
            "204 No Content" => String::new(),
            _ => format!("Content-Length: {}\r\n", body.len()),
        };
        let answer = format!("HTTP/1.1 {status}\r\n{fields}{length}\r\n{body}");
        exchange.wire.send(answer).await;
        Some(exchange.wire)
    })
    .await
}

fn cookie(value: &str) -> String {
    format!("Cookie: {value}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_question_has_what_is_needed_and_the_answer_is_told_to_the_backend() {
    let (backend, asked) = (Backend::that(echo_http).await, by_cookie().await);
    let gate = Gate::start(&asking(&backend, &asked, "")).await;
    let fields = "Cookie: ann\r\nX-User: eve\r\nX_User: eve\r\nX-Roles: admin\r\nX-Secret: s\r\n\
                  X-Forwarded-Uri: /public\r\nX-Forwarded-Method: OPTIONS\r\nX-Forwarded-For: 192.0.2.9\r\n";
    let (head, body) = ask(&gate, "/x?a=b", fields).await;
    assert_eq!((head.status(), body.as_str()), (200, "GET /x?a=b"));
    let question = asked.requests().remove(0);
    assert_eq!(
        (question.method(), question.target()),
        ("GET", "/check?app=1")
    );
    for (name, value) in [
        ("cookie", "ann"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "localhost"),
        ("x-forwarded-uri", "/x?a=b"),
        ("x-forwarded-for", "127.0.0.1"),
    ] {
        assert_eq!(question.all(name), [value], "{name}");
    }
    assert_eq!(question.get("x-secret"), None);
    let request = backend.requests().remove(0);
    assert_eq!(request.all("x-user"), ["ann"]);
    for gone in ["x_user", "x-roles", "streamgate-auth-question"] {
        assert_eq!(request.get(gone), None, "{gone}");
    }
    gate.logged("the user of the request", |line| {
        line.message() == "request" && line.has("user", "ann")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_means_the_client_is_the_client_s_whole() {
    let (backend, asked) = (Backend::that(echo_http).await, by_cookie().await);
    let gate = Gate::start(&asking(&backend, &asked, "")).await;
    let (head, body) = ask(&gate, "/x", &cookie("login")).await;
    assert_eq!(head.status(), 302);
    assert_eq!(head.get("location"), Some("https://id.example.org/?a=b"));
    assert_eq!(head.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(body, "");
    let (head, body) = ask(&gate, "/x", &cookie("forbidden")).await;
    assert_eq!((head.status(), body.as_str()), (403, "<p>no"));
    assert_eq!(head.get("content-type"), Some("text/html"));
    let (head, body) = ask(&gate, "/x", "").await;
    assert_eq!((head.status(), body.as_str()), (401, "who?"));
    assert_eq!(head.get("www-authenticate"), Some("Own realm=\"x\""));
    let mut client = gate.tls().await;
    client.send(handshake("/ws", "")).await;
    assert_eq!(client.head().await.status(), 401);
    assert!(backend.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_answer_is_a_fault_and_nobody_gets_in() {
    let (backend, asked) = (Backend::that(echo_http).await, by_cookie().await);
    let gate = Gate::start(&asking(&backend, &asked, "")).await;
    for (said, status) in [("broken", 502), ("odd", 502), ("late", 504)] {
        let (head, body) = ask(&gate, "/x", &cookie(said)).await;
        assert_eq!(head.status(), status, "{said}");
        assert!(!body.contains("stack"), "{body}");
        assert!(head.get("proxy-status").is_some());
    }
    assert!(backend.requests().is_empty());
    assert_eq!(ask(&gate, "/x", &cookie("nobody")).await.0.status(), 200);
    let nameless: Head = backend.requests().remove(0);
    assert_eq!(nameless.get("x-user"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_lets_nobody_in() {
    let backend = Backend::that(echo_http).await;
    let refusing = crate::harness::refusing();
    let config = format!(
        "{}auth = \"sso\"\n[auth.sso.forward]\nurl = \"{refusing}\"\n",
        backend.for_everything()
    );
    let gate = Gate::start(&config).await;
    assert_eq!(ask(&gate, "/x", "").await.0.status(), 502);
    assert!(backend.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_source_is_not_ended_for_ever_by_a_server_that_is_gone() {
    let backend = Backend::by_hand().await;
    let config = format!(
        "{}auth = \"sso\"\n[auth.sso.forward]\nurl = \"{}\"\n",
        bridge(&backend, ""),
        crate::harness::refusing()
    );
    let gate = Gate::start(&config).await;
    let (head, body) = ask(&gate, "/live/a", "Accept: text/event-stream\r\n").await;
    assert_eq!(head.status(), 200);
    assert!(body.contains("retry: ") && body.contains("busy"), "{body}");
    assert!(!body.contains("streamgate.open"), "{body}");
    for fields in ["Accept: application/json\r\n", "Accept: text/html\r\n"] {
        let (head, _body) = ask(&gate, "/live/a?after=latest", fields).await;
        assert_eq!(head.status(), 502, "{fields}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_a_question_is_not_asked() {
    // The server that is asked is behind the same route.
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&backend.for_everything()).await;
    let listening = |line: &Line| line.has("address", "systemd:http");
    let own = gate.logged("its own address", listening).await;
    let own = own.text("local").unwrap();
    let config = format!(
        "{}auth = \"sso\"\n[auth.sso.forward]\nurl = \"http://{own}/check\"\n",
        backend.for_everything()
    );
    gate.reload_well(&config).await;
    let (head, _body) = ask(&gate, "/x", "").await;
    assert_eq!(head.status(), 502);
    assert!(backend.request_if_any().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_lease_of_its_answer() {
    let (mut backend, asked) = (Backend::by_hand().await, by_cookie().await);
    let gate = Gate::start(&asking(&backend, &asked, "")).await;
    let mut client = gate.tls().await;
    client.send(handshake("/ws", &cookie("short"))).await;
    let _behind = backend.next().await.into_tunnel().await;
    assert_eq!(client.head().await.status(), 101);
    let told = within("the client's Close", client.raw(4)).await;
    assert_eq!((told[0], &told[2..]), (0x88, &4401u16.to_be_bytes()[..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_is_taken_anew_where_it_is_asked_again() {
    let (mut backend, asked) = (Backend::by_hand().await, by_cookie().await);
    let gate = Gate::start(&asking(&backend, &asked, "recheck = \"1s\"\n")).await;
    let mut client = gate.tls().await;
    client.send(handshake("/ws", &cookie("short"))).await;
    let mut behind = backend.next().await.into_tunnel().await;
    assert_eq!(client.head().await.status(), 101);
    let quiet = Duration::from_secs(4);
    stays_pending("an end", quiet, client.some_raw()).await;
    behind.send([0x82, 1, b'x']).await;
    assert_eq!(client.raw(3).await, [0x82, 1, b'x']);
    assert!(asked.requests().len() >= 3, "{}", asked.requests().len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_client_is_not_let_in_any_more_ends() {
    let mut backend = Backend::by_hand().await;
    // The first question is answered with yes, and all others with no.
    let mut asked = Backend::by_hand().await;
    let config = format!(
        "{}auth = \"sso\"\n{}",
        bridge(&backend, ""),
        sso(&asked, "recheck = \"1s\"\n")
    );
    let gate = Gate::start(&config).await;
    let subscribed = Subscriber::open(&gate, "/live/a", None);
    let answered = async {
        let mut question = asked.next().await;
        question.answer("204 No Content", "").await;
        question
    };
    let (mut subscriber, question) = tokio::join!(subscribed, answered);
    drop(question);
    let _feed = backend.feed().await;
    let mut again = within("the next question", asked.next()).await;
    again.answer("503 Service Unavailable", "").await;
    drop(again);
    // A fault of that server ends no stream.
    let mut again = within("the next question", asked.next()).await;
    again.answer("401 Unauthorized", "").await;
    let heard = within("the stream's end", subscriber.until_end()).await;
    let told = format!("{heard:?}");
    assert!(told.contains("token_expired"), "{told}");
}

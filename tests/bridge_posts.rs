//! The way back to a source of server-sent events: `publish.url`.

use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tungstenite::Message;

use crate::bridge_websocket::many;
use crate::harness::{
    ADMIN, Admin, Backend, Exchange, Gate, Head, WebSocketClient, allow_many_files, stays_pending,
    within,
};

/// How many messages of many clients all of them are told.
const TOLD: usize = 100;
const JSON: (&str, &str) = ("Sec-WebSocket-Protocol", "streamgate.v1.json");

/// A bridge whose source is `source`, and whose messages go to `app`.
fn bridge(source: &Backend, app: &Backend, more: &str) -> String {
    format!(
        "[bridge.live]\nsource = \"http://{}/events/{{room}}\"\n\
         publish = {{ enabled = true, url = \"http://{}/rooms/{{room}}/messages?by=gate\" }}\n{more}\n\
         [[route]]\npath = \"/live/{{room}}\"\nbridge = \"live\"\n",
        source.address(),
        app.address()
    )
}

/// The source's answer, once it was asked.
async fn open(source: &mut Backend) -> Exchange {
    let mut exchange = source.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    exchange
}

async fn post(gate: &Gate, kind: &str, fields: &str, body: &str) -> (Head, String) {
    let mut client = gate.tls().await;
    let request = format!(
        "POST /live/a%20b HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n{fields}\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    client.send(request).await;
    let head = client.head().await;
    let text = client.text().await;
    (head, text)
}

/// What has come to the app, and its answer.
async fn answered(app: &mut Backend, status: &str, body: &str) -> (Head, String) {
    let mut exchange = app.next().await;
    let said = exchange.wire.body().await;
    // The test plays no second request on the same connection.
    let status = format!("{status}\r\nConnection: close");
    exchange.answer(&status, body).await;
    (exchange.request, String::from_utf8(said).unwrap())
}

async fn event(client: &mut WebSocketClient) -> Value {
    loop {
        if let Message::Text(text) = client.next().await {
            return serde_json::from_str(&text).expect("an object");
        }
    }
}

/// The next event that is a message, or a refusal.
async fn said(client: &mut WebSocketClient) -> Value {
    loop {
        let event = event(client).await;
        let name = event["event"].as_str().unwrap_or_default();
        if !["streamgate.open", "streamgate.status"].contains(&name) {
            return event;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_goes_to_the_url_with_what_the_source_is_asked_with() {
    let (source, mut app) = (Backend::by_hand().await, Backend::by_hand().await);
    let more = "share_key = \"{room}/{header.cookie}\"\n\
                connect = { headers = { Authorization = \"Bearer t\" }, forward = [\"cookie\"] }";
    let gate = Gate::start(&bridge(&source, &app, more)).await;
    // No client listens yet: a message needs no open source.
    for (kind, sent_as, body) in [
        ("text/plain", "text/plain; charset=utf-8", "grüße"),
        ("application/json", "application/json", "{\"a\":1}"),
        (
            "application/octet-stream",
            "application/octet-stream",
            "\0\x01",
        ),
    ] {
        let fields = "Cookie: user=one\r\nIdempotency-Key: k\r\nX-Own: no\r\n";
        let fields = fields.replace("k\r", &format!("{}\r", sent_as.len()));
        let ask = post(&gate, kind, &fields, body);
        let ((head, told), (request, said)) =
            tokio::join!(ask, answered(&mut app, "204 No Content", ""));
        assert_eq!((head.status(), told.as_str()), (204, ""));
        assert_eq!(request.method(), "POST");
        assert_eq!(request.target(), "/rooms/a%20b/messages?by=gate");
        assert_eq!(request.get("content-type"), Some(sent_as));
        assert_eq!(request.get("authorization"), Some("Bearer t"));
        assert_eq!(request.get("cookie"), Some("user=one"));
        assert_eq!(request.get("x-own"), None);
        let key = sent_as.len().to_string();
        assert_eq!(request.get("idempotency-key"), Some(&*key));
        assert_eq!(said, body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_answer_is_the_answer() {
    let (source, mut app) = (Backend::by_hand().await, Backend::by_hand().await);
    let gate = Gate::start(&bridge(&source, &app, "")).await;
    for (answer, status, body) in [
        ("200 OK", 200, "{\"id\":7}"),
        (
            "201 Created\r\nContent-Type: text/html\r\nSet-Cookie: a=b",
            200,
            "<p>",
        ),
        ("202 Accepted", 204, ""),
        (
            "422 Unprocessable Content\r\nContent-Type: application/problem+json",
            422,
            "{}",
        ),
        ("401 Unauthorized\r\nWWW-Authenticate: Basic", 401, ""),
        ("429 Too Many Requests\r\nRetry-After: 17", 429, ""),
        (
            "307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/",
            502,
            "",
        ),
        ("405 Method Not Allowed", 502, ""),
        ("500 Internal Server Error", 503, "secret"),
        ("503 Service Unavailable\r\nRetry-After: 9", 503, "secret"),
    ] {
        let ask = post(&gate, "application/json", "", "{}");
        let ((head, told), _) = tokio::join!(ask, answered(&mut app, answer, body));
        assert_eq!(head.status(), status, "{answer}");
        assert_eq!(head.get("set-cookie"), None);
        let wait = head.get("retry-after");
        match status {
            503 | 502 => assert!(!told.contains("secret"), "{told}"),
            _ => assert_eq!(told, body, "{answer}"),
        }
        match answer {
            _ if status == 200 => assert_eq!(head.get("cache-control"), Some("no-store")),
            _ if status == 401 => assert_eq!(head.get("www-authenticate"), Some("Bearer")),
            _ if status == 429 => assert_eq!(wait, Some("17")),
            _ if answer.contains("Retry-After") => assert_eq!(wait, Some("9")),
            _ if status == 503 => assert_eq!(wait, Some("1")),
            _ => assert_eq!(wait, None, "{answer}"),
        }
    }
    // Garbage, and a server that breaks off before it answers.
    for garbage in ["SSH-2.0\r\n\r\n", ""] {
        let ask = post(&gate, "application/json", "", "{}");
        let break_off = async {
            let mut exchange = app.next().await;
            exchange.wire.send(garbage).await;
        };
        assert_eq!(tokio::join!(ask, break_off).0.0.status(), 502, "{garbage}");
    }
    // No connection.
    drop(app);
    let (head, _) = post(&gate, "text/plain", "", "x").await;
    assert_eq!((head.status(), head.get("retry-after")), (503, Some("1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_a_message_of_its_own_over_one_connection_until_one_is_refused() {
    let (source, mut app) = (Backend::by_hand().await, Backend::by_hand().await);
    let gate = Gate::start(&bridge(&source, &app, "")).await;
    let lines = "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n";
    let ask = post(
        &gate,
        "application/x-ndjson",
        "Idempotency-Key: k\r\n",
        lines,
    );
    let app = async {
        let mut exchange = app.next().await;
        for number in 1..=2 {
            let expected = format!("{{\"n\":{number}}}");
            assert_eq!(exchange.wire.body().await, expected.as_bytes());
            let key = format!("k-{number}");
            assert_eq!(exchange.request.get("idempotency-key"), Some(&*key));
            match number {
                1 => exchange.answer("200 OK", "not told").await,
                _ => exchange.answer("409 Conflict", "why").await,
            }
            if number == 1 {
                exchange = exchange.next().await;
            }
        }
        exchange
    };
    let ((head, told), mut exchange) = tokio::join!(ask, app);
    assert_eq!((head.status(), told.as_str()), (409, "why"));
    // The third never comes: what comes next is the end of the connection.
    assert!(exchange.wire.head_if_any("POST").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_websocket_client_says_is_posted_in_its_order_and_refusals_are_told() {
    let (mut source, mut app) = (Backend::by_hand().await, Backend::by_hand().await);
    let gate = Gate::start(&format!("{ADMIN}{}", bridge(&source, &app, ""))).await;
    let (mut client, mut stream) = tokio::join!(
        WebSocketClient::open(&gate, "/live/a", &[JSON]),
        open(&mut source)
    );
    for text in ["{\"say\":1}", "two", "[3"] {
        client.send(Message::text(text)).await;
    }
    let mut first = app.next().await;
    assert_eq!(first.wire.body().await, b"{\"say\":1}");
    assert_eq!(first.request.get("content-type"), Some("application/json"));
    stays_pending(
        "the second before the first is answered",
        Duration::from_millis(300),
        app.next(),
    )
    .await;
    first.answer("204 No Content", "").await;
    let mut second = first.next().await;
    assert_eq!(second.wire.body().await, b"two");
    let kind = second.request.get("content-type");
    assert_eq!(kind, Some("text/plain; charset=utf-8"));
    second.answer("403 Forbidden", "no").await;
    let told = said(&mut client).await;
    assert_eq!(
        told.to_string(),
        r#"{"event":"streamgate.error","status":403}"#
    );
    let mut third = second.next().await;
    assert_eq!(third.wire.body().await, b"[3");
    third.answer("500 Internal Server Error", "").await;
    assert_eq!(said(&mut client).await["status"], 503);
    // The stream is as before.
    stream.wire.send_chunk("data: still here\n\n").await;
    assert_eq!(said(&mut client).await["data"], "still here");
    let posts =
        |status| format!("streamgate_bridge_posts_total{{bridge=\"live\",status=\"{status}\"}}");
    let (taken, refused, down) = (posts(204), posts(403), posts(503));
    Admin::of(&gate)
        .await
        .counts(&[(&taken, 1.0), (&refused, 1.0), (&down, 1.0)])
        .await;
    client.socket.close(None).await.unwrap();
    let close = gate.log.wait(0, "the stream's end", |line| {
        line.message() == "stream close"
    });
    assert_eq!(close.await.number("messages_in"), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_arrives_although_its_client_has_left() {
    let (mut source, mut app) = (Backend::by_hand().await, Backend::by_hand().await);
    let gate = Gate::start(&bridge(&source, &app, "")).await;
    let (mut client, _stream) = tokio::join!(
        WebSocketClient::open(&gate, "/live/a", &[JSON]),
        open(&mut source)
    );
    client.send(Message::text("last words")).await;
    let mut exchange = app.next().await;
    drop(client);
    assert_eq!(exchange.wire.body().await, b"last words");
    exchange.answer("204 No Content", "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_and_many_websocket_clients_hear_each_other() {
    allow_many_files();
    let (say, mut said_there) = mpsc::channel(4096);
    let mut source = Backend::by_hand().await;
    let app = Backend::that(move |mut exchange: Exchange| {
        let say = say.clone();
        async move {
            let body = exchange.wire.body().await;
            exchange.answer("200 OK", "taken").await;
            say.send(String::from_utf8(body).unwrap()).await.ok()?;
            Some(exchange.wire)
        }
    })
    .await;
    let gate = Gate::start(&bridge(&source, &app, "")).await;
    let (first, mut stream) = tokio::join!(
        WebSocketClient::open(&gate, "/live/a", &[JSON]),
        open(&mut source)
    );
    let mut clients = vec![first];
    while clients.len() < many() {
        clients.push(WebSocketClient::open(&gate, "/live/a", &[JSON]).await);
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(Message::text(format!("from {number}"))).await;
    }
    // The app tells everyone what it was told by one.
    let mut heard = Vec::new();
    while heard.len() < many() {
        let said = within("a message at the app", said_there.recv()).await;
        let said = said.expect("the app is there");
        // A thousand clients with a thousand events each would be a test of patience.
        if heard.len() < TOLD {
            stream.wire.send_chunk(format!("data: {said}\n\n")).await;
        }
        heard.push(said);
    }
    for client in &mut clients {
        for expected in heard.iter().take(TOLD) {
            assert_eq!(said(client).await["data"], expected.as_str());
        }
    }
    heard.sort();
    let mut all: Vec<String> = (0..many()).map(|number| format!("from {number}")).collect();
    all.sort();
    assert_eq!(heard, all);
    assert!(app.connections() <= many(), "{}", app.connections());
}

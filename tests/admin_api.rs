//! The admin API: what it shows of streams, routes, servers, certificates and bridges.

use serde_json::{Value, json};
use tungstenite::Message;

use crate::bridge::{bridge, open};
use crate::harness::{
    ADMIN_API, Admin, AdminSocket, Backend, Gate, WebSocketClient, echo_http, echo_websocket,
    refusing, within,
};

/// A program with both ways to its API.
pub async fn started(text: &str) -> (Gate, AdminSocket) {
    let gate = Gate::start(&format!("{ADMIN_API}{text}")).await;
    let api = AdminSocket::of(&gate);
    (gate, api)
}

/// A stream's id.
pub fn id(stream: &Value) -> &str {
    stream["id"].as_str().unwrap()
}

/// A WebSocket route at `path` to `backend`.
pub fn route(path: &str, backend: &Backend, name: &str) -> String {
    let upstream = backend.upstream(name);
    format!("{upstream}[[route]]\npath = \"{path}\"\nupstream = \"{name}\"\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_tells_the_process_at_one_glance() {
    let backend = Backend::that(echo_http).await;
    let (gate, api) = started(&backend.for_everything()).await;
    gate.get("/").await;
    let admin = Admin::of(&gate).await;
    admin
        .counts(&[(
            "streamgate_requests_total{route=\"/*\",status=\"200\"}",
            1.0,
        )])
        .await;
    let status = api.get("/api/status").await;
    assert_eq!(status["pid"], gate.process());
    assert_eq!(status["state"], "serving");
    assert_eq!(status["requests"], 1);
    assert_eq!(status["requests_by_class"]["2xx"], 1);
    assert_eq!(status["may_change"], true);
    assert_eq!(status["log_level"], "info");
    assert_eq!(status["reload"], Value::Null);
    assert_eq!(status["connections_limit"], 100_000);
    assert!(status["uptime_seconds"].as_f64().unwrap() > 0.0);
    assert!(status["workers"].as_u64().unwrap() > 0);
    assert!(
        status["config"]
            .as_str()
            .unwrap()
            .ends_with("streamgate.toml"),
        "{status}"
    );
    let (_, text) = admin.ask("GET", "/api/status").await;
    let seen: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(seen["may_change"], false);
    gate.reload_well(&format!("{ADMIN_API}{}", backend.for_everything()))
        .await;
    assert_eq!(
        api.get("/api/status").await["reload"]["outcome"],
        "unchanged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_listed_page_by_page_and_by_filter() {
    let echo = Backend::that(echo_websocket).await;
    let text = route("/ws", &echo, "app") + &route("/other/*", &echo, "other");
    let (gate, api) = started(&text).await;
    let mut clients = Vec::new();
    for number in 0..5 {
        let path = if number < 3 { "/ws" } else { "/other/x" };
        let mut client = WebSocketClient::open(&gate, path, &[]).await;
        client.echoes(Message::text("hello")).await;
        clients.push(client);
    }
    let all = api.streams("", 5).await;
    let shown = &all[0];
    assert_eq!(shown["kind"], "tunnel");
    assert_eq!(shown["route"], "/ws");
    assert_eq!(shown["backend"], echo.address().to_string());
    assert_eq!(shown["user"], Value::Null);
    // A client masks, which takes four bytes more.
    assert_eq!(
        (&shown["bytes_in"], &shown["bytes_out"]),
        (&json!(11), &json!(7))
    );
    assert_eq!(shown["messages_in"], 1);
    assert_eq!(shown["cursor"], Value::Null);
    assert!(shown["age_seconds"].as_f64().unwrap() < 60.0);
    let client = shown["client"].as_str().unwrap().to_owned();
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let page = api.get(&format!("/api/streams?limit=2{after}")).await;
        assert_eq!((&page["total"], &page["matched"]), (&json!(5), &json!(5)));
        assert_eq!(page["workers_absent"], json!([]));
        found.extend(page["streams"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else {
            break;
        };
        after = format!("&after={next}");
    }
    let ids = |streams: &[Value]| {
        streams
            .iter()
            .map(|it| id(it).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&found), ids(&all), "each once, the oldest first");
    let own = id(&all[4]).get(4..20).unwrap().to_uppercase();
    let table = [
        ("&route=/ws".to_owned(), 3),
        ("&route=/none".to_owned(), 0),
        ("&kind=tunnel".to_owned(), 5),
        ("&kind=event_stream".to_owned(), 0),
        (format!("&client={client}"), 1),
        ("&client=127.0.0.0/8&route=/ws".to_owned(), 3),
        ("&client=192.0.2.1".to_owned(), 0),
        ("&q=OTHER".to_owned(), 2),
        (format!("&q={own}"), 1),
        (format!("&backend={}", echo.address()), 5),
        ("&user=ann".to_owned(), 0),
    ];
    for (filter, count) in table {
        let told = api.get(&format!("/api/streams?limit=100{filter}")).await;
        assert_eq!(told["matched"], count, "{filter}");
        assert_eq!(told["streams"].as_array().unwrap().len(), count, "{filter}");
    }
    for wrong in [
        "kind=other",
        "limit=0",
        "limit=1001",
        "after=x",
        "client=x",
        "color=red",
        "q=a&q=b",
    ] {
        let (head, text) = api.ask("GET", &format!("/api/streams?{wrong}"), "").await;
        assert_eq!(head.status(), 400, "{wrong}");
        assert_eq!(head.get("content-type"), Some("application/problem+json"));
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problem["status"], 400);
        assert!(problem["detail"].is_string() && problem["title"].is_string());
    }
    drop(clients);
    api.streams("", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_servers_and_certificates_are_told_as_they_are() {
    let backend = Backend::that(echo_http).await;
    let down = refusing();
    let text = format!(
        "{}[[route]]\nhost = \"app.example.org\"\npath = \"/app/*\"\nmethods = [\"GET\", \"POST\"]\nupstream = \"app\"\n\
         [[route]]\npath = \"/gone\"\nrespond = 410\n\
         [[route]]\npath = \"/old\"\nredirect = \"/new\"\n\
         [upstream.checked]\nservers = [{{ url = \"{down}\", weight = 3 }}]\nbalance = \"ip_hash\"\n\
         health = {{ path = \"/healthz\", interval = \"100ms\", fall = 1 }}\n",
        backend.upstream("app"),
    );
    let (gate, api) = started(&text).await;
    gate.get("/gone").await;
    let counted = "streamgate_requests_total{route=\"/gone\",status=\"410\"}";
    Admin::of(&gate).await.counts(&[(counted, 1.0)]).await;
    let routes = api.get("/api/routes").await;
    let [app, gone, old] = &routes["routes"].as_array().unwrap()[..] else {
        panic!("{routes}");
    };
    assert_eq!(app["host"], json!(["app.example.org"]));
    assert_eq!(
        (&app["path"], &app["methods"]),
        (&json!("/app/*"), &json!(["GET", "POST"]))
    );
    assert_eq!(
        (&app["action"], &app["auth"]),
        (&json!("upstream app"), &Value::Null)
    );
    assert_eq!(
        (&gone["action"], &gone["host"]),
        (&json!("respond 410"), &json!([]))
    );
    assert_eq!(gone["requests"]["4xx"], 1);
    assert_eq!(
        (&gone["methods"], &gone["streams"]),
        (&Value::Null, &json!(0))
    );
    assert_eq!(old["action"], "redirect 308 /new");
    within("the server to be found down", async {
        loop {
            let told = api.get("/api/upstreams").await;
            let [app, checked] = &told["upstreams"].as_array().unwrap()[..] else {
                panic!("{told}");
            };
            assert_eq!(app["servers"][0]["state"], "unknown");
            assert_eq!(
                app["servers"][0]["url"],
                format!("http://{}", backend.address())
            );
            assert_eq!(checked["balance"], "ip_hash");
            let server = &checked["servers"][0];
            assert_eq!(server["weight"], 3);
            if server["state"] == "down" {
                assert!(server["cause"].is_string(), "{server}");
                assert!(server["since_seconds"].as_f64().unwrap() < 15.0, "{server}");
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    let certificates = api.get("/api/certificates").await;
    let certificate = &certificates["certificates"][0];
    assert_eq!(certificate["names"][0], "localhost");
    assert!(certificate["file"].as_str().unwrap().ends_with("gate.pem"));
    assert!(certificate["days_left"].as_f64().unwrap() > 0.0);
    let [from, to] = ["not_before", "not_after"].map(|name| certificate[name].as_str().unwrap());
    assert!(from < to && to.ends_with('Z'), "{certificate}");
    assert_eq!(certificate["ocsp"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_s_channels_are_told_without_the_paths_of_their_feeds() {
    let mut backend = Backend::by_hand().await;
    let more = "reconnect = { initial = \"10s\", max = \"30s\" }";
    let (gate, api) = started(&bridge(&backend, more)).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("one").await;
    assert_eq!(subscriber.message().await, "one");
    let told = api.get("/api/bridges").await;
    let bridge = &told["bridges"][0];
    assert_eq!(
        (&bridge["name"], &bridge["store"]),
        (&json!("live"), &json!("memory"))
    );
    assert_eq!(bridge["channels_total"], 1);
    let channel = &bridge["channels"][0];
    assert_eq!(
        (&channel["channel"], &channel["state"]),
        (&json!("live/a"), &json!("up"))
    );
    assert_eq!(channel["url"], format!("ws://{}", backend.address()));
    assert_eq!(
        (&channel["subscribers"], &channel["log"]["messages"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(channel["last_id"], subscriber.cursor);
    assert_eq!(
        (&channel["cause"], &channel["reconnects"]),
        (&Value::Null, &json!(0))
    );
    drop(feed);
    within("the loss to be told", async {
        while api.get("/api/bridges").await["bridges"][0]["channels"][0]["cause"].is_null() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let told = api.get("/api/bridges").await;
    assert_eq!(told["bridges"][0]["channels"][0]["state"], "reconnecting");
}

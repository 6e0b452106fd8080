//! The admin API: what it shows of streams, routes, servers, certificates and bridges, and how it ends a stream.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tungstenite::Message;

use crate::bridge::{bridge, open};
use crate::harness::{
    ADMIN_API, Admin, AdminSocket, Backend, Gate, H2Client, Heard, Subscriber, WebSocketClient,
    echo_http, echo_websocket, refusing, stays_pending, within,
};
use crate::tunnel::open_tunnel;

async fn started(text: &str) -> (Gate, AdminSocket) {
    let gate = Gate::start(&format!("{ADMIN_API}{text}")).await;
    let api = AdminSocket::of(&gate);
    (gate, api)
}

fn id(stream: &Value) -> &str {
    stream["id"].as_str().unwrap()
}

/// A WebSocket route at `path` to `backend`.
fn route(path: &str, backend: &Backend, name: &str) -> String {
    let upstream = backend.upstream(name);
    format!("{upstream}[[route]]\npath = \"{path}\"\nupstream = \"{name}\"\n")
}

/// Code and reason of the Close that comes next.
async fn close_of(client: &mut WebSocketClient) -> (u16, String) {
    let Message::Close(Some(close)) = client.next().await else {
        panic!("no Close with a code");
    };
    (close.code.into(), close.reason.to_string())
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
async fn a_websocket_that_is_closed_hears_1001_on_both_sides() {
    let mut backend = Backend::by_hand().await;
    let (gate, api) = started(&backend.for_everything()).await;
    let (mut client, mut exchange) = open_tunnel(&gate, &mut backend).await;
    let stream = &api.streams("", 1).await[0];
    let path = format!("/api/streams/{}", id(stream));
    let (head, text) = api.ask("DELETE", &path, "").await;
    assert_eq!((head.status(), text.as_str()), (200, "{\"closed\":1}\n"));
    let mut expected = vec![0x88, 24, 0x03, 0xe9];
    expected.extend_from_slice(b"closed by the operator");
    assert_eq!(client.raw(26).await, expected);
    let masked = exchange.wire.raw(30).await;
    assert_eq!(masked[..2], [0x88, 0x80 | 24]);
    let said: Vec<u8> = masked[6..]
        .iter()
        .zip(masked[2..6].iter().cycle())
        .map(|(byte, key)| byte ^ key)
        .collect();
    assert_eq!(said, expected[2..]);
    let closed = gate
        .logged("its end", |line| line.message() == "stream close")
        .await;
    assert!(
        closed.has("reason", "operator") && closed.has("close_code", "1001"),
        "{closed:?}"
    );
    let series = "streamgate_streams_closed_total{kind=\"tunnel\",route=\"/*\",cause=\"operator\"}";
    Admin::of(&gate).await.counts(&[(series, 1.0)]).await;
    let (head, _) = api.ask("DELETE", &path, "").await;
    assert_eq!(head.status(), 404, "it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_that_is_closed_ends_in_order_behind_its_event() {
    let mut backend = Backend::by_hand().await;
    let (gate, api) = started(&backend.for_everything()).await;
    let ask = "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut client = gate.tls().await;
    client.send(ask).await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/event-stream").await;
    assert_eq!(client.head().await.status(), 200);
    exchange.wire.send_chunk("data: ha").await;
    assert_eq!(client.body_bytes(8).await, b"data: ha");
    let stream = &api.streams("&kind=event_stream", 1).await[0];
    let path = format!("/api/streams/{}", id(stream));
    assert_eq!(api.ask("DELETE", &path, "").await.0.status(), 200);
    exchange.wire.send_chunk("lf\n\ndata: next\n\n").await;
    // The rest of the event, when to come back, and a body that ends as a whole one does.
    let rest = client.text().await;
    let told = rest
        .strip_prefix("lf\n\nretry: ")
        .unwrap_or_else(|| panic!("{rest:?}"));
    assert!(told.trim_end().parse::<u64>().is_ok(), "{rest:?}");
    gate.logged("its end", |line| line.has("reason", "operator"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_is_closed_is_told_when_to_come_back() {
    let mut backend = Backend::by_hand().await;
    let (gate, api) = started(&bridge(&backend, "")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("one").await;
    assert_eq!(subscriber.message().await, "one");
    let mut h2 = H2Client::connect(&gate).await;
    let mut over_h2 = Subscriber::over_h2(h2.get("/live/a").await);
    over_h2.opened().await;
    let streams = api.streams("&kind=subscription", 2).await;
    for stream in &streams {
        assert_eq!(stream["backend"], "live/a");
        assert_eq!(stream["lag_seconds"], 0.0, "{stream}");
    }
    assert_eq!(streams[0]["cursor"], subscriber.cursor);
    let mut websocket = WebSocketClient::open(&gate, "/live/a", &[]).await;
    let streams = api.streams("&kind=subscription", 3).await;
    for stream in &streams {
        let path = format!("/api/streams/{}", id(stream));
        assert_eq!(api.ask("DELETE", &path, "").await.0.status(), 200);
    }
    for mut subscriber in [subscriber, over_h2] {
        let last = subscriber.until_end().await;
        assert!(matches!(last[..], [.., Heard::Retry(250..)]), "{last:?}");
    }
    loop {
        if let Message::Close(close) = websocket.next().await {
            let close = close.unwrap();
            assert_eq!(u16::from(close.code), 1001);
            assert_eq!(close.reason.as_str(), "closed by the operator");
            break;
        }
    }
    let series = "streamgate_streams_closed_total{kind=\"subscription\",route=\"/live/{room}\",cause=\"operator\"}";
    Admin::of(&gate).await.counts(&[(series, 3.0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_closes_what_lives_now_on_a_route_and_nothing_else() {
    let echo = Backend::that(echo_websocket).await;
    let text = route("/ws", &echo, "app") + &route("/other", &echo, "other");
    let (gate, api) = started(&text).await;
    let mut closing = Vec::new();
    for _ in 0..4 {
        closing.push(WebSocketClient::open(&gate, "/ws", &[]).await);
    }
    let mut other = WebSocketClient::open(&gate, "/other", &[]).await;
    for wrong in [
        "",
        "?over=5s",
        "?q=ws",
        "?route=/ws&over=11m",
        "?route=/ws&all=1",
    ] {
        let (head, _) = api
            .ask("POST", &format!("/api/streams/drain{wrong}"), "")
            .await;
        assert_eq!(head.status(), 400, "{wrong}");
    }
    let begun = Instant::now();
    let (head, text) = api
        .ask("POST", "/api/streams/drain?route=/ws&over=2s", "")
        .await;
    assert_eq!(head.status(), 202);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told["closing"], 4);
    let mut late = WebSocketClient::open(&gate, "/ws", &[]).await;
    for client in &mut closing {
        assert_eq!(
            close_of(client).await,
            (1001, "closed by the operator".to_owned())
        );
    }
    // On each of the workers the last one of n ends n-1 parts later than the first.
    assert!(begun.elapsed() < Duration::from_secs(8));
    late.echoes(Message::text("I am new")).await;
    other.echoes(Message::text("so am I")).await;
    let left = api.streams("", 2).await;
    let routes: BTreeSet<_> = left
        .iter()
        .map(|it| it["route"].as_str().unwrap())
        .collect();
    assert_eq!(routes, BTreeSet::from(["/ws", "/other"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_over_a_time_leaves_the_last_ones_for_later() {
    let echo = Backend::that(echo_websocket).await;
    let (gate, api) = started(&route("/ws", &echo, "app")).await;
    let mut clients = Vec::new();
    // So many that one worker has at least two of them.
    for _ in 0..16 {
        clients.push(WebSocketClient::open(&gate, "/ws", &[]).await);
    }
    let target = "/api/streams/drain?route=/ws&over=10m";
    assert_eq!(api.ask("POST", target, "").await.0.status(), 202);
    within("the first ends", async {
        while api.get("/api/streams").await["total"] == 16 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let more = async {
        while api.get("/api/streams").await["total"].as_u64().unwrap() >= 8 {
            tokio::task::yield_now().await;
        }
    };
    stays_pending("the end of most", Duration::from_millis(500), more).await;
    // What is left of it does not keep the process from ending.
    drop(clients);
    gate.stop().await;
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

//! What the admin API tells as time goes by, and what of the log it changes for a while.

use serde_json::Value;

use crate::harness::{
    ADMIN, ADMIN_API, Admin, AdminSocket, Backend, Gate, WebSocketClient, Wire, connect, echo_http,
    echo_websocket, within,
};

type Following = Wire<tokio::net::TcpStream>;

async fn follow(admin: &Admin, last: Option<&str>) -> Following {
    let mut wire = Wire::new(connect(admin.address).await);
    let last = last.map(|id| format!("Last-Event-ID: {id}\r\n"));
    let last = last.unwrap_or_default();
    wire.send(format!(
        "GET /api/live HTTP/1.1\r\nHost: localhost\r\n{last}\r\n"
    ))
    .await;
    wire
}

/// The next event: its name, its id, its data.
async fn next(wire: &mut Following) -> (String, String, Value) {
    let piece = wire.piece().await.expect("it is not cut");
    let piece = String::from_utf8(piece.expect("it goes on").to_vec()).unwrap();
    let field = |name: &str| {
        let mut lines = piece.lines();
        let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.unwrap_or_default().to_owned()
    };
    let data = serde_json::from_str(&field("data")).unwrap_or_else(|_| panic!("{piece}"));
    (field("event"), field("id"), data)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_come_once_a_second_behind_those_that_were() {
    let backend = Backend::that(echo_websocket).await;
    let text = format!("{ADMIN}{}", backend.for_everything());
    let gate = Gate::start(&text).await;
    let admin = Admin::of(&gate).await;
    let _tunnel = WebSocketClient::open(&gate, "/ws", &[]).await;
    let live = "streamgate_streams{kind=\"tunnel\",route=\"/*\"}";
    admin.counts(&[(live, 1.0)]).await;
    let mut wire = follow(&admin, None).await;
    let head = wire.head().await;
    assert_eq!(
        (head.status(), head.get("content-type")),
        (200, Some("text/event-stream"))
    );
    let (name, id, history) = next(&mut wire).await;
    assert_eq!(name, "history");
    let points = history["points"].as_array().unwrap();
    assert_eq!(
        points.len() as u64,
        id.parse::<u64>().unwrap(),
        "all since the start"
    );
    let (name, second, point) = next(&mut wire).await;
    assert_eq!(name, "status");
    assert_eq!(
        second.parse::<u64>().unwrap(),
        id.parse::<u64>().unwrap() + 1
    );
    assert_eq!(point["streams"]["tunnel"], 1);
    assert_eq!(point["state"], "serving");
    assert_eq!(point["requests"], 1);
    assert_eq!(point["requests_by_class"]["1xx"], 1);
    assert!(point["connections"].as_u64().unwrap() >= 1);
    // Whoever comes back gets what it has missed.
    next(&mut wire).await;
    drop(wire);
    let mut wire = follow(&admin, Some(&id)).await;
    wire.head().await;
    let (name, _, missed) = next(&mut wire).await;
    assert_eq!(name, "history");
    assert!(missed["points"].as_array().unwrap().len() >= 2);
    // A reload is told at once.
    let more = format!("{text}[[route]]\npath = \"/more\"\nrespond = 204\n");
    gate.reload_well(&more).await;
    within("the reload", async {
        loop {
            let (name, _, told) = next(&mut wire).await;
            if name == "reload" {
                assert_eq!(told["outcome"], "done");
                return;
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_by_a_token_that_is_replaced_follows_no_more() {
    let backend = Backend::that(echo_http).await;
    let text = |token: &str| {
        let routes = backend.for_everything();
        format!("{ADMIN}token = \"{token}-of-this-test\"\n{routes}")
    };
    let gate = Gate::start(&text("the-first-token")).await;
    let mut wire = Wire::new(connect(Admin::of(&gate).await.address).await);
    wire.send(
        "GET /api/live HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer the-first-token-of-this-test\r\n\r\n",
    )
    .await;
    assert_eq!(wire.head().await.status(), 200);
    assert_eq!(next(&mut wire).await.0, "history");
    gate.reload_well(&text("the-other-token")).await;
    within("the end", async {
        while wire.piece().await.expect("it is not cut").is_some() {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_may_follow_and_a_place_is_free_when_one_leaves() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&format!("{ADMIN}{}", backend.for_everything())).await;
    let admin = Admin::of(&gate).await;
    let mut following = Vec::new();
    for _ in 0..16 {
        let mut wire = follow(&admin, None).await;
        assert_eq!(wire.head().await.status(), 200);
        following.push(wire);
    }
    let (head, _) = admin.ask("GET", "/api/live").await;
    assert_eq!(head.status(), 503);
    assert!(head.get("retry-after").is_some());
    // Others are answered all the while.
    assert_eq!(admin.ask("GET", "/healthz").await.0.status(), 200);
    drop(following.pop());
    within("a free place", async {
        while follow(&admin, None).await.head().await.status() != 200 {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_s_level_is_set_for_a_while_and_a_reload_ends_it() {
    let backend = Backend::that(echo_http).await;
    let text = format!("{ADMIN_API}{}", backend.for_everything());
    let gate = Gate::start(&text).await;
    let api = AdminSocket::of(&gate);
    assert_eq!(api.get("/api/log").await["level"], "info");
    let put = async |body: &str| api.ask("PUT", "/api/log", body).await.0.status();
    for wrong in [
        "",
        "level=debug",
        "{\"level\":\"loud\"}",
        "{\"level\":\"DEBUG\"}",
        "{\"level\":\"debug\",\"for\":\"2d\"}",
        "{\"level\":\"debug\",\"until\":\"noon\"}",
    ] {
        assert_eq!(put(wrong).await, 400, "{wrong}");
    }
    assert_eq!(put(&" ".repeat(5_000)).await, 413);
    assert_eq!(put("{\"level\":\"debug\",\"for\":\"10m\"}").await, 200);
    assert_eq!(api.get("/api/status").await["log_level"], "debug");
    // What is no HTTP breaks its connection, which is worth a line to whoever looks for it.
    let mut wire = Wire::new(connect(Admin::of(&gate).await.address).await);
    wire.send("this is no HTTP\r\n\r\n").await;
    gate.logged("a line for debugging", |line| line.has("level", "DEBUG"))
        .await;
    gate.reload_well(&text).await;
    assert_eq!(api.get("/api/log").await["level"], "info");
    assert_eq!(put("{\"level\":\"error\",\"for\":\"100ms\"}").await, 200);
    within("the end of the while", async {
        while api.get("/api/log").await["level"] != "info" {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

//! How fast requests may come, how many connections and streams one client may have, and what is told beyond.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use crate::bridge::bridge;
use crate::harness::{
    ADMIN, Admin, Backend, Gate, H2Client, Head, Heard, Subscriber, Wire, connect, echo_http,
    within,
};
use crate::tunnel::handshake;

/// The tests' own address is that of a proxy, so that they can be many clients.
const MANY_CLIENTS: &str = "[trust]\nproxies = [\"127.0.0.1\"]\n";

fn limited(backend: &Backend, limits: &str) -> String {
    let upstream = backend.upstream("app");
    format!("{upstream}[[route]]\npath = \"/*\"\nupstream = \"app\"\nlimits = {{ {limits} }}\n")
}

/// One GET of a client with these lines in its head.
async fn ask(gate: &Gate, path: &str, lines: &str) -> Head {
    let mut client = gate.clear().await;
    client
        .send(format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"
        ))
        .await;
    client.head().await
}

fn from(client: &str) -> String {
    format!("X-Forwarded-For: {client}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_too_fast_is_told_when_to_come_back_and_nobody_else_is() {
    let backend = Backend::that(echo_http).await;
    let config = limited(&backend, "rate = \"3/h\", burst = 2") + MANY_CLIENTS + ADMIN;
    let gate = Gate::start(&config).await;
    let admin = Admin::of(&gate).await;
    for expected in [200, 200, 429] {
        let head = ask(&gate, "/", &from("2001:db8::1")).await;
        assert_eq!(head.status(), expected);
        if expected == 429 {
            let wait: u64 = head.get("retry-after").unwrap().parse().unwrap();
            assert!((1_100..=1_200).contains(&wait), "{wait}");
            assert_eq!(
                head.get("ratelimit-policy"),
                Some("\"requests\";q=3;w=3600")
            );
            let left = format!("\"requests\";r=0;t={wait}");
            assert_eq!(head.get("ratelimit"), Some(&*left));
            assert_eq!(
                head.get("proxy-status"),
                Some("streamgate; error=http_request_denied")
            );
        }
    }
    // Another address of the same /64 is the same client, another /64 is another one.
    assert_eq!(ask(&gate, "/", &from("2001:db8::2")).await.status(), 429);
    assert_eq!(
        ask(&gate, "/", &from("2001:db8:0:1::1")).await.status(),
        200
    );
    assert_eq!(
        backend.requests().len(),
        3,
        "what is refused is not passed on"
    );
    let counted = "streamgate_requests_rate_limited_total{route=\"/*\"}";
    admin.counts(&[(counted, 2.0)]).await;
    gate.logged("the refusal", |line| {
        line.message() == "request" && line.has("error", "rate_limited")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_ways_to_ask_draw_on_the_same_bucket() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&limited(&backend, "rate = \"1/h\", burst = 3")).await;
    // Over HTTP/2, by a WebSocket's handshake, and from another worker's connection.
    let mut h2 = H2Client::connect(&gate).await;
    assert_eq!(h2.get("/").await.status(), 200);
    let mut client = gate.tls().await;
    client.send(handshake("/ws", "")).await;
    assert_ne!(client.head().await.status(), 429);
    assert_eq!(ask(&gate, "/", "").await.status(), 200);
    assert_eq!(h2.get("/").await.status(), 429);
    let mut client = gate.tls().await;
    client.send(handshake("/ws", "")).await;
    let head = client.head().await;
    assert_eq!(head.status(), 429);
    assert!(head.get("retry-after").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_s_value_may_be_the_sender() {
    let backend = Backend::that(echo_http).await;
    let limits = "rate = \"1/h\", burst = 1, by = \"header:X-Api-Key\"";
    let gate = Gate::start(&limited(&backend, limits)).await;
    for (key, status) in [
        ("X-Api-Key: one\r\n", 200),
        ("X-Api-Key: one\r\n", 429),
        ("x-api-key: other\r\n", 200),
        ("", 200),
        ("", 429),
    ] {
        assert_eq!(ask(&gate, "/", key).await.status(), status, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_forgives_nobody() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&limited(&backend, "rate = \"2/h\"")).await;
    for status in [200, 200, 429] {
        assert_eq!(ask(&gate, "/", "").await.status(), status);
    }
    gate.reload_well(&limited(&backend, "rate = \"2/h\", body_size = \"1MiB\""))
        .await;
    assert_eq!(ask(&gate, "/", "").await.status(), 429);
    gate.reload_well(&limited(&backend, "rate = \"2/h\", burst = 3"))
        .await;
    assert_eq!(ask(&gate, "/", "").await.status(), 200);
    gate.reload_well(&limited(&backend, "")).await;
    assert_eq!(ask(&gate, "/", "").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_source_that_is_too_fast_is_sent_away_and_not_ended() {
    let mut backend = Backend::by_hand().await;
    let limits = "publish = { enabled = true }\n";
    let config = bridge(&backend, limits) + "limits = { rate = \"1/h\", burst = 1 }\n" + ADMIN;
    let gate = Gate::start(&config).await;
    let admin = Admin::of(&gate).await;
    let (_subscriber, _feed) = crate::bridge::open(&gate, &mut backend).await;
    let (head, wire) = Subscriber::ask(&gate, "/live/a", None).await;
    assert_eq!(head.status(), 200, "a status would end it for ever");
    let heard = Subscriber::over(wire).until_end().await;
    let Some(Heard::Retry(retry)) = heard.first() else {
        panic!("it is told when to come back: {heard:?}");
    };
    assert!(*retry >= 3_500_000, "not before it would be taken: {retry}");
    // Those that read a status get one.
    let poll = ask(
        &gate,
        "/live/a?after=latest",
        "Accept: application/json\r\n",
    )
    .await;
    assert_eq!(poll.status(), 429);
    let mut client = gate.tls().await;
    client.send(handshake("/live/a", "")).await;
    assert_eq!(client.head().await.status(), 429);
    let mut client = gate.tls().await;
    let post = "POST /live/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nhi";
    client.send(post).await;
    assert_eq!(client.head().await.status(), 429);
    let counted = "streamgate_bridge_rejected_total{bridge=\"live\",reason=\"rate\"}";
    admin.counts(&[(counted, 4.0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_are_among_the_streams_of_their_route_and_client() {
    let mut backend = Backend::by_hand().await;
    let config = bridge(&backend, "") + "limits = { streams = 3, streams_per_ip = 2 }\n";
    let gate = Gate::start(&(config + MANY_CLIENTS)).await;
    let (first, _feed) = crate::bridge::open(&gate, &mut backend).await;
    let _second = Subscriber::open(&gate, "/live/a", None).await;
    let (head, wire) = Subscriber::ask(&gate, "/live/a", None).await;
    assert_eq!(head.status(), 200);
    let heard = Subscriber::over(wire).until_end().await;
    assert!(matches!(heard[0], Heard::Retry(10_000..)), "{heard:?}");
    let open = async |client: &str| {
        let mut wire = gate.tls().await;
        wire.send(handshake("/live/a", &from(client))).await;
        (wire.head().await, wire)
    };
    let (head, _wire) = open("127.0.0.1").await;
    assert_eq!(head.status(), 429, "a WebSocket of the same client");
    assert!(head.get("retry-after").is_some());
    let (head, _third) = open("192.0.2.1").await;
    assert_eq!(head.status(), 101);
    let (head, _wire) = open("192.0.2.2").await;
    assert_eq!(head.status(), 503, "a client with none, on a full route");
    // A place is free again as soon as its stream has ended.
    drop(first);
    within("a place", async {
        while open("192.0.2.3").await.0.status() != 101 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn few(backend: &Backend, limit: usize, more: &str) -> String {
    let limits = format!("[limits]\nconnections_per_ip = {limit}\n");
    backend.for_everything() + more + &limits
}

/// Whether a connection is served. One that is not is closed before anything was said on it.
async fn is_served(wire: &mut Wire<tokio::net::TcpStream>) -> bool {
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let _ = wire.try_send(request).await;
    let head = within("an answer, or the end", wire.head_if_any("GET")).await;
    if head.is_some() {
        wire.text().await;
    }
    head.is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_has_so_many_connections_and_the_next_is_closed_at_once() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&few(&backend, 2, ADMIN)).await;
    let admin = Admin::of(&gate).await;
    let mut first = gate.clear().await;
    let mut second = gate.clear().await;
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    // Before TLS: there is not even a handshake.
    let mut third = Wire::new(connect(gate.https).await);
    third.closes_within(Duration::from_secs(5)).await;
    assert!(!is_served(&mut gate.clear().await).await);
    admin
        .counts(&[("streamgate_connections_refused_total", 2.0)])
        .await;
    assert!(is_served(&mut first).await && is_served(&mut second).await);
    drop(second);
    within("a place", async {
        while !is_served(&mut gate.clear().await).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_a_lower_limit_lives_on() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&few(&backend, 0, "")).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut wire = gate.clear().await;
        assert!(is_served(&mut wire).await);
        held.push(wire);
    }
    gate.reload_well(&few(&backend, 1, "")).await;
    for wire in &mut held {
        assert!(is_served(wire).await);
    }
    assert!(!is_served(&mut gate.clear().await).await);
    held.truncate(1);
    assert!(!is_served(&mut gate.clear().await).await);
    held.clear();
    within("a place", async {
        while !is_served(&mut gate.clear().await).await {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_announced_client_is_the_one_whose_connections_count() {
    let backend = Backend::that(echo_http).await;
    let listen = "[[listen]]\naddress = \"systemd:http\"\nproxy_protocol = true\n\
                  [[listen]]\naddress = \"systemd:https\"\ntls = true\n";
    let config = few(&backend, 1, &format!("{listen}{MANY_CLIENTS}"));
    let gate = Gate::start(&config).await;
    let mut held = Vec::new();
    for (client, served) in [
        ("192.0.2.1", true),
        ("192.0.2.1", false),
        ("192.0.2.2", true),
        ("192.0.2.2", false),
    ] {
        let mut tcp = connect(gate.http).await;
        let header = format!("PROXY TCP4 {client} 203.0.113.9 4711 80\r\n");
        tcp.write_all(header.as_bytes()).await.unwrap();
        let mut wire = Wire::new(tcp);
        assert_eq!(is_served(&mut wire).await, served, "{client}");
        held.push(wire);
    }
    // A proxy that is trusted may have as many as it has clients.
    let _tls = [gate.tls().await, gate.tls().await];
}

#[tokio::test(flavor = "multi_thread")]
async fn running_out_of_files_is_a_pause_and_not_the_end() {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let used = std::fs::read_dir(format!("/proc/{}/fd", gate.process()));
    let limit = used.unwrap().count() + 8;
    let limited = |soft: usize| {
        let status = std::process::Command::new("prlimit")
            .args(["--pid", &gate.process().to_string()])
            .arg(format!("--nofile={soft}:"))
            .status();
        assert!(status.expect("`prlimit` of util-linux").success());
    };
    limited(limit);
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(connect(gate.http).await);
    }
    gate.logged("the pause", |line| {
        line.message() == "accepting connections pauses"
    })
    .await;
    drop(held);
    // Who waited is served, with no more files than before.
    let (head, text) = within("an answer", gate.get("/after")).await;
    assert_eq!((head.status(), &*text), (200, "GET /after"));
}

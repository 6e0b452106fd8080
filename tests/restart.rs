//! SIGUSR2: a new process takes the listening sockets over, the old one drains, and no client is refused.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::net::TcpStream;
use tungstenite::Message;

use crate::bridge::{bridge, open};
use crate::harness::{
    ADMIN, Admin, Backend, Gate, H2Client, Heard, Line, Subscriber, WebSocketClient, Wire, connect,
    echo_http, echo_websocket, within, within_time,
};

/// A drain that no test waits for to its end.
const LONG_DRAIN: &str = "[server]\nworkers = 2\ndrain_timeout = \"20s\"\n";

/// Sockets of the program's own, a queue for each worker, beside those of the test.
const OWN_SOCKETS: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n\
                           [[listen]]\naddress = \"systemd:https\"\ntls = true\n";

/// A program that listens on sockets of its own, where clear text is spoken.
async fn start_on_own_sockets(config: &str) -> Gate {
    let mut gate = Gate::start(&format!("{config}{OWN_SOCKETS}")).await;
    let line = gate
        .logged("the address", |line| {
            line.message() == "listening" && line.has("address", "127.0.0.1:0")
        })
        .await;
    gate.http = line.text("local").unwrap().parse().unwrap();
    gate
}

fn says(line: &Line, message: &str) -> bool {
    line.message() == message
}

/// How the clients of a test fared.
#[derive(Default)]
struct Tally {
    answered: AtomicUsize,
    over: AtomicBool,
}

/// A request on a connection that is kept as long as the server keeps it.
async fn ask(kept: &mut Option<Wire<TcpStream>>, gate: std::net::SocketAddr) {
    let mut wire = match kept.take() {
        Some(wire) => wire,
        None => Wire::new(connect(gate).await),
    };
    wire.send("GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let head = wire.head().await;
    assert_eq!(head.status(), 200);
    assert_eq!(wire.text().await, "GET /x");
    if head.get("connection") != Some("close") {
        *kept = Some(wire);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_no_request_is_refused_or_lost_over_several_restarts() {
    let backend = Backend::that(echo_http).await;
    let mut gate = start_on_own_sockets(&format!(
        "{}{LONG_DRAIN}[log]\naccess = false\n",
        backend.for_everything()
    ))
    .await;
    let (address, tally) = (gate.http, Tally::default());
    let client = async |keeps: bool| {
        let mut kept = None;
        while !tally.over.load(Ordering::Relaxed) {
            ask(&mut kept, address).await;
            tally.answered.fetch_add(1, Ordering::Relaxed);
            kept = kept.filter(|_| keeps);
        }
    };
    let clients = (0..8).map(|number| client(number % 2 == 0));
    let restarts = async {
        for _restart in 0..3 {
            let before = (tally.answered.load(Ordering::Relaxed), gate.process());
            let mark = gate.log.mark();
            gate.restart().await;
            assert_ne!(gate.process(), before.1);
            gate.log
                .wait(mark, "the old process's end", |line| says(line, "stopped"))
                .await;
            within("requests to the new process", async {
                while tally.answered.load(Ordering::Relaxed) < before.0 + 50 {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
        tally.over.store(true, Ordering::Relaxed);
    };
    tokio::join!(join_all(clients), restarts);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_in_the_kernel_is_served_by_the_new_process() {
    let mut backend = Backend::by_hand().await;
    let echo = Backend::that(echo_http).await;
    let mut gate = start_on_own_sockets(&format!(
        "{}[[route]]\npath = \"/waits\"\nupstream = \"echo\"\n{}{LONG_DRAIN}[limits]\nconnections = 1\n",
        echo.upstream("echo"),
        backend.for_everything()
    ))
    .await;
    // One connection has the only permit; the others wait: accepted without one, or in the kernel's queues.
    let mut first = gate.clear().await;
    first
        .send("GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut held = backend.next().await;
    let mut waiting = Vec::new();
    for _client in 0..8 {
        let mut client = gate.clear().await;
        let request = "GET /waits HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        client.send(request).await;
        waiting.push(client);
    }
    gate.restart().await;
    // What the old process has accepted already it serves when its only permit is free.
    held.answer("200 OK", "done").await;
    for client in &mut waiting {
        assert_eq!(client.head().await.status(), 200);
        assert_eq!(client.text().await, "GET /waits");
    }
    assert_eq!(first.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_under_way_is_finished_by_the_old_process() {
    let mut backend = Backend::by_hand().await;
    let mut gate = Gate::start(&format!("{}{LONG_DRAIN}", backend.for_everything())).await;
    let mut client = gate.tls().await;
    client
        .send("GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/plain").await;
    exchange.wire.send_chunk("before, ").await;
    let mark = gate.log.mark();
    gate.restart().await;
    exchange.wire.send_chunk("after").await;
    exchange.wire.end_chunks().await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!(client.text().await, "before, after");
    client.closes().await;
    gate.log
        .wait(mark, "the old process's end", |line| says(line, "stopped"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_hears_1012_and_an_event_stream_when_to_come_back() {
    let echo = Backend::that(echo_websocket).await;
    let mut source = Backend::by_hand().await;
    let mut gate = Gate::start(&format!(
        "{}[[route]]\npath = \"/ws\"\nupstream = \"echo\"\n{}[server]\ndrain_timeout = \"4s\"\n",
        echo.upstream("echo"),
        source.for_everything()
    ))
    .await;
    let mut socket = WebSocketClient::open(&gate, "/ws", &[]).await;
    socket.echoes(Message::text("before")).await;
    let mut events = gate.tls().await;
    events
        .send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut stream = source.next().await;
    stream.answer_in_chunks("text/event-stream").await;
    stream.wire.send_chunk("data: one\n\n").await;
    assert_eq!(events.head().await.status(), 200);
    let mut events = Subscriber::over(events);
    assert_eq!(events.message().await, "one");
    gate.restart().await;
    let Message::Close(Some(close)) = socket.next().await else {
        panic!("no Close");
    };
    assert_eq!(u16::from(close.code), 1012);
    let rest = events.until_end().await;
    assert!(
        rest.iter().any(|heard| matches!(heard, Heard::Retry(_))),
        "{rest:?}"
    );
    // Both find the new process.
    let mut socket = WebSocketClient::open(&gate, "/ws", &[]).await;
    socket.echoes(Message::text("after")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_leave_at_once_however_long_the_drain_may_take() {
    let mut backend = Backend::by_hand().await;
    let mut gate = Gate::start(&format!("{}{LONG_DRAIN}", bridge(&backend, ""))).await;
    let (mut subscriber, _feed) = open(&gate, &mut backend).await;
    let mut h2 = H2Client::connect(&gate).await;
    let mut over_h2 = Subscriber::over_h2(h2.get("/live/a").await);
    over_h2.opened().await;
    let fields = [("sec-websocket-protocol", "streamgate.v1.json")];
    let mut socket = WebSocketClient::open(&gate, "/live/a", &fields).await;
    gate.restart().await;
    within_time(Duration::from_secs(5), "the subscribers' ends", async {
        for subscriber in [&mut subscriber, &mut over_h2] {
            let rest = subscriber.until_end().await;
            let retry = rest
                .iter()
                .any(|heard| matches!(heard, Heard::Retry(250..)));
            assert!(retry, "clients would all return at once: {rest:?}");
        }
        let close = loop {
            match socket.socket.next().await {
                Some(Ok(Message::Close(Some(close)))) => break close,
                Some(Ok(_event)) => {}
                other => panic!("no Close: {other:?}"),
            }
        };
        assert_eq!(u16::from(close.code), 1012);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_that_cannot_start_leaves_the_old_one_serving() {
    let backend = Backend::that(echo_http).await;
    let good = format!("{}{LONG_DRAIN}", backend.for_everything());
    let mut gate = start_on_own_sockets(&good).await;
    let file = gate.directory().path().join("streamgate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    for (bad, status) in [
        ("this is not TOML".to_owned(), "exit status: 78"),
        (
            format!("{text}[[listen]]\naddress = \"systemd:unknown\"\n"),
            "exit status: 1",
        ),
    ] {
        std::fs::write(&file, bad).unwrap();
        let (mark, process) = (gate.log.mark(), gate.process());
        gate.signal("USR2");
        let failed = "restart failed, serving as before";
        let line = gate
            .log
            .wait(mark, "the failure", |line| says(line, failed))
            .await;
        assert!(line.text("cause").unwrap().contains(status), "{line:?}");
        assert_eq!(gate.process(), process);
        let mut kept = None;
        for _request in 0..4 {
            ask(&mut kept, gate.http).await;
        }
    }
    // And with a good one it goes on.
    std::fs::write(&file, text).unwrap();
    gate.restart().await;
    ask(&mut None, gate.http).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_configuration_holds_in_the_new_process() {
    let backend = Backend::that(echo_http).await;
    let one = format!("{}[server]\nworkers = 3\n", backend.for_everything());
    let mut gate = start_on_own_sockets(&one).await;
    let file = gate.directory().path().join("streamgate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    for workers in [1, 4] {
        let route = "[[route]]\npath = \"/new\"\nrespond = { status = 418, body = \"new\" }\n";
        let changed = text.replace("workers = 3", &format!("workers = {workers}"));
        std::fs::write(&file, format!("{changed}{route}")).unwrap();
        gate.restart().await;
        // Whichever queue they fall into, somebody accepts from it.
        for _connection in 0..24 {
            let mut wire = gate.clear().await;
            wire.send("GET /new HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .await;
            // The process before may still accept until it has seen that it is to drain.
            let status = wire.head().await.status();
            assert!([200, 418].contains(&status), "{status}");
        }
        assert_eq!(gate.get("/new").await.0.status(), 418);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_listener_goes_to_the_new_process() {
    let backend = Backend::that(echo_http).await;
    let text = format!("{}{ADMIN}", backend.for_everything());
    let mut gate = Gate::start(&text).await;
    let admin = Admin::of(&gate).await;
    let mark = gate.log.mark();
    gate.restart().await;
    gate.log
        .wait(mark, "the old process's end", |line| says(line, "stopped"))
        .await;
    assert_eq!(admin.ask("GET", "/readyz").await.0.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_old_process_drains_the_new_one_alone_answers_the_operator() {
    let mut backend = Backend::by_hand().await;
    let text = format!("{}{ADMIN}{LONG_DRAIN}", backend.for_everything());
    let mut gate = Gate::start(&text).await;
    let admin = Admin::of(&gate).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut held = backend.next().await;
    let mark = gate.log.mark();
    gate.restart().await;
    gate.log
        .wait(mark, "the drain", |line| says(line, "draining"))
        .await;
    for _ask in 0..20 {
        assert_eq!(admin.ask("GET", "/readyz").await.0.status(), 200);
    }
    held.answer("200 OK", "done").await;
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_restart_and_a_reload_wait_for_the_first_one() {
    let backend = Backend::that(echo_http).await;
    let mut gate = Gate::start(&backend.for_everything()).await;
    let mark = gate.log.mark();
    // Both signals come before the new process can be there.
    gate.signal("STOP");
    gate.signal("USR2");
    gate.signal("CONT");
    gate.log
        .wait(mark, "the restart", |line| says(line, "restarting"))
        .await;
    gate.signal("USR2");
    let line = gate
        .log
        .wait(mark, "a refusal or the end", |line| {
            says(line, "restart refused") || says(line, "handed over")
        })
        .await;
    assert_eq!(line.message(), "restart refused", "{line:?}");
    gate.adopt_successor(mark).await;
    assert_eq!(gate.get("/x").await.0.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_a_restart_ends_both() {
    let backend = Backend::that(echo_http).await;
    let mut gate = Gate::start(&backend.for_everything()).await;
    let mark = gate.log.mark();
    gate.signal("USR2");
    let line = gate
        .log
        .wait(mark, "the restart", |line| says(line, "restarting"))
        .await;
    gate.signal("TERM");
    let successor = line.number("process").unwrap();
    gate.ended().await;
    assert!(!std::path::Path::new(&format!("/proc/{successor}/exe")).exists());
    within("nobody", TcpStream::connect(gate.https))
        .await
        .expect_err("nobody listens");
}

#[tokio::test(flavor = "multi_thread")]
async fn subscribers_come_back_to_the_new_process_and_get_every_event_once() {
    let mut backend = Backend::by_hand().await;
    let mut gate = Gate::start(&format!("{}{LONG_DRAIN}", bridge(&backend, ""))).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    for text in ["one", "two", "three"] {
        feed.text(text).await;
    }
    assert_eq!(subscriber.message().await, "one");
    // This one has read no further when the process goes.
    let cursor = subscriber.cursor.clone();
    gate.restart().await;
    let rest = subscriber.until_end().await;
    assert!(
        rest.iter()
            .any(|heard| matches!(heard, Heard::Retry(250..))),
        "{rest:?}"
    );
    let mut back = Subscriber::open(&gate, "/live/a", Some(&cursor)).await;
    let (opened, gap) = back.opened().await;
    assert_eq!(gap, None);
    assert_eq!(opened.json()["resumed"], true, "{opened:?}");
    assert_eq!(back.message().await, "two");
    assert_eq!(back.message().await, "three");
    // The feed could not be asked what it said in between, so that is told.
    let mut feed = backend.feed().await;
    let gap = back.next_but_status().await;
    assert_eq!(gap.json()["reason"], "upstream_reconnect", "{gap:?}");
    feed.text("four").await;
    assert_eq!(back.message().await, "four");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_fails_leaves_the_feeds_where_they_were() {
    let mut backend = Backend::by_hand().await;
    let mut gate = Gate::start(&format!("{}{LONG_DRAIN}", bridge(&backend, ""))).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    let file = gate.directory().path().join("streamgate.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, "this is not TOML").unwrap();
    let mark = gate.log.mark();
    gate.signal("USR2");
    gate.log
        .wait(mark, "the failure", |line| {
            says(line, "restart failed, serving as before")
        })
        .await;
    feed.text("still fed").await;
    assert_eq!(subscriber.message().await, "still fed");
    assert_eq!(backend.connections(), 1);
    std::fs::write(&file, text).unwrap();
    gate.restart().await;
    subscriber.until_end().await;
}

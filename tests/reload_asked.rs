//! Reloads that the operator asks for: over the admin socket, by `streamgate reload`; and what is told of them.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use tokio::net::UnixStream;

use crate::bridge::bridge;
use crate::harness::{
    ADMIN, Admin, Backend, Directory, Gate, H2Client, Head, Outcome, Subscriber, Wire, echo_http,
    run_program, within,
};
use crate::tunnel::open_tunnel;

const SOCKET: &str = "[admin]\nsocket = \"admin.sock\"\n";

/// A route that answers with its own path.
fn route(path: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nrespond = {{ status = 200, body = \"{path}\" }}\n")
}

fn socket(gate: &Gate) -> PathBuf {
    gate.directory().path().join("admin.sock")
}

/// What every configuration here has, and the gate would else put in.
fn whole(text: &str) -> String {
    format!(
        "{text}\n[[listen]]\naddress = \"systemd:https\"\ntls = true\n\
         [[listen]]\naddress = \"systemd:http\"\n\
         [[tls.certificate]]\ncert = \"gate.pem\"\nkey = \"gate.key\"\n\
         [server]\ndrain_timeout = \"5s\"\nwatch = false\n"
    )
}

async fn reload(gate: &Gate, config: &str, more: &[&str]) -> Outcome {
    gate.directory().write("streamgate.toml", config);
    let arguments = [&["reload", "--config", "streamgate.toml"], more].concat();
    run_program(gate.directory().path(), &arguments).await
}

async fn ask(gate: &Gate, method: &str, path: &str) -> (Head, String) {
    let stream = within("the socket", UnixStream::connect(socket(gate))).await;
    let mut wire = Wire::new(stream.unwrap());
    wire.send(format!("{method} {path} HTTP/1.1\r\nHost: admin\r\n\r\n"))
        .await;
    let head = wire.head_of_answer_to(method).await;
    (head, wire.text().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_tells_what_has_changed_or_why_nothing_has() {
    let start = whole(&(SOCKET.to_owned() + &route("/one")));
    let gate = Gate::start(&start).await;
    let more = start.clone() + &route("/two");
    let taken = Backend::that(echo_http).await;
    let taken = format!("{start}[[listen]]\naddress = \"{}\"\n", taken.address());
    let absent = format!("include = [\"absent.toml\"]\n{start}");
    let no_certificate = start.replace("gate.pem", "absent.pem");
    let table: [(&str, &[&str], i32, &str); 9] = [
        (&start, &[], 0, "nothing has changed\n"),
        (
            &more,
            &["--plan"],
            0,
            "a reload would change:\n  route `/two`: added\n",
        ),
        (&more, &[], 0, "reloaded\n  route `/two`: added\n"),
        (&format!("{more}broken"), &[], 78, "streamgate.toml:"),
        ("this is not TOML", &[], 1, "nobody answers at"),
        (&format!("{more}unknown = 1\n"), &[], 78, "streamgate.toml:"),
        (&taken, &[], 1, "nothing has changed: "),
        (&absent, &[], 78, "absent.toml` cannot be read"),
        (
            &no_certificate,
            &["--plan"],
            78,
            "absent.pem` cannot be read",
        ),
    ];
    for (config, more, code, said) in table {
        let outcome = reload(&gate, config, more).await;
        assert_eq!(outcome.code, code, "{}", outcome.said);
        assert!(outcome.said.contains(said), "{}", outcome.said);
    }
    assert_eq!(
        gate.get("/two").await.1,
        "/two",
        "all mistakes changed nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_for_the_socket_and_the_last_one_is_told_to_all() {
    let start = whole(&format!(
        "[admin]\naddress = \"127.0.0.1:0\"\nsocket = \"admin.sock\"\n{}",
        route("/one")
    ));
    let gate = Gate::start(&start).await;
    let admin = Admin::of(&gate).await;
    assert_eq!(
        admin.ask("GET", "/api/reload").await.1,
        "{\"outcome\":\"none\"}\n"
    );
    for path in ["/api/reload", "/api/reload?plan"] {
        assert_eq!(admin.ask("POST", path).await.0.status(), 403, "{path}");
    }
    assert_eq!(ask(&gate, "DELETE", "/api/reload").await.0.status(), 405);
    assert_eq!(ask(&gate, "POST", "/api/reload?now").await.0.status(), 400);
    gate.directory()
        .write("streamgate.toml", start + &route("/two"));
    let (head, plan) = ask(&gate, "POST", "/api/reload?plan").await;
    assert_eq!(head.status(), 200);
    assert_eq!(
        gate.get("/two").await.0.status(),
        404,
        "a plan changes nothing"
    );
    let (_, done) = ask(&gate, "POST", "/api/reload").await;
    let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parse(&plan)["changes"], parse(&done)["changes"]);
    assert_eq!(parse(&done)["changes"][0]["line"], "route `/two`: added");
    assert_eq!(admin.ask("GET", "/api/reload").await.1, done);
    // From the same list as the line in the log.
    let logged = gate
        .logged("the reload", |line| line.message() == "reloaded")
        .await;
    assert_eq!(logged.text("changes").unwrap(), "route `/two`: added");
    gate.directory().write("streamgate.toml", "nothing");
    let (head, refused) = ask(&gate, "POST", "/api/reload").await;
    assert_eq!(
        (head.status(), &parse(&refused)["because"]),
        (422, &"configuration".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_becomes_of_what_lives() {
    let mut backend = Backend::by_hand().await;
    let mut feeds = Backend::by_hand().await;
    let text = whole(&format!("{SOCKET}{}", backend.for_everything()));
    let start = format!("{text}{}", bridge(&feeds, ""));
    let gate = Gate::start(&start).await;
    let _tunnel = open_tunnel(&gate, &mut backend).await;
    let _subscription = crate::bridge::open(&gate, &mut feeds).await;
    let changed = format!("{text}{}", bridge(&feeds, "binary = \"utf8\""));
    let served = format!("{text}{}", bridge(&feeds, "heartbeat = \"3s\""));
    let unrouted = whole(&format!("{SOCKET}{}", bridge(&feeds, "")));
    let address = backend.address();
    let table = [
        (
            &text,
            "bridge `live`: removed, 1 channel with 1 subscriber kept\n".to_owned(),
        ),
        (
            &changed,
            "bridge `live`: changed, feed settings changed, 1 channel end".to_owned(),
        ),
        (
            &changed,
            "1 subscriber drained within 5s and come back\n".to_owned(),
        ),
        (
            &served,
            "bridge `live`: changed, 1 channel with 1 subscriber kept\n".to_owned(),
        ),
        (
            &unrouted,
            format!("server `{address}` removed with 1 request or stream under way (streams kept)"),
        ),
        (&unrouted, ": removed, 1 live stream kept\n".to_owned()),
    ];
    for (config, said) in table {
        let outcome = reload(&gate, config, &["--plan"]).await;
        assert!(outcome.said.contains(&said), "{said}: {}", outcome.said);
        assert_eq!(outcome.code, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_follows_reloads_and_goes_with_the_process() {
    let directory = Directory::new();
    crate::harness::leaf(&["localhost"]).write(directory.path(), "gate");
    // What a process has left that is gone.
    drop(UnixListener::bind(directory.path().join("admin.sock")).unwrap());
    let start = format!("{SOCKET}{}", route("/one"));
    let mut gate = Gate::start_in(directory, &start).await;
    assert_eq!(ask(&gate, "GET", "/readyz").await.1, "ready\n");
    let path = socket(&gate);
    let second = run_program(
        gate.directory().path(),
        &["reload", "--config", "absent.toml"],
    );
    assert_eq!(
        second.await.code,
        1,
        "without a configuration nobody is found"
    );
    gate.reload_well(&start.replace("admin.sock", "other.sock"))
        .await;
    assert!(!path.exists());
    gate.reload_well(&start).await;
    assert_eq!(ask(&gate, "GET", "/readyz").await.1, "ready\n");
    gate.signal("TERM");
    gate.ended().await;
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn old_configurations_are_freed_with_their_streams() {
    let mut backend = Backend::by_hand().await;
    let text = format!("{ADMIN}{}", backend.for_everything());
    let gate = Gate::start(&text).await;
    let admin = Admin::of(&gate).await;
    let mut held = Vec::new();
    for round in 0..20 {
        let mut client = gate.tls().await;
        client
            .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        held.push((client, backend.next().await));
        let more = route(&format!("/round/{round}"));
        gate.reload_well(&format!("{text}{more}")).await;
    }
    let held_now = admin.scrape().await.value("streamgate_configurations_live");
    assert_eq!(
        held_now,
        Some(21.0),
        "each request holds what it began with"
    );
    for (mut client, mut exchange) in held {
        exchange.answer("200 OK", "done").await;
        assert_eq!(client.head().await.status(), 200);
    }
    admin
        .counts(&[("streamgate_configurations_live", 1.0)])
        .await;
}

/// A server's route and a bridge's, whose streams have this fate.
fn both(backend: &Backend, feeds: &Backend, fate: &str) -> String {
    let upstream = format!(
        "{}[[route]]\npath = \"/ws\"\nupstream = \"app\"\n",
        backend.upstream("app")
    );
    let bridge =
        bridge(feeds, "").replace("[bridge.live]", "[bridge.live]\nidle = { linger = \"1s\" }");
    let fated = format!("{upstream}{bridge}").replace(
        "[[route]]\n",
        &format!("[[route]]\non_remove = \"{fate}\"\n"),
    );
    format!(
        "{fated}[[route]]\npath = \"/other/{{room}}\"\nbridge = \"live\"\n[[route]]\npath = \"/more\"\nupstream = \"app\"\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_plan_says_of_streams_of_every_age_is_what_happens() {
    let (mut backend, mut feeds) = (Backend::by_hand().await, Backend::by_hand().await);
    let start = whole(&format!("{SOCKET}{}", both(&backend, &feeds, "keep")));
    let gate = Gate::start(&start).await;
    let (mut kept, mut kept_server) = open_tunnel(&gate, &mut backend).await;
    let (mut kept_subscriber, mut feed) = crate::bridge::open(&gate, &mut feeds).await;
    let closing = whole(&format!("{SOCKET}{}", both(&backend, &feeds, "close")));
    let outcome = reload(&gate, &closing, &[]).await;
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    let (mut closed, _closed_server) = open_tunnel(&gate, &mut backend).await;
    let mut closed_subscriber = Subscriber::open(&gate, "/live/a", None).await;
    closed_subscriber.opened().await;
    let rest = both(&backend, &feeds, "close");
    let rest = rest
        .replace("path = \"/ws\"", "path = \"/new-ws\"")
        .replace("path = \"/live/{room}\"", "path = \"/new/{room}\"");
    let rest = whole(&format!("{SOCKET}{rest}"));
    let (plan, done) = (
        reload(&gate, &rest, &["--plan"]).await.said,
        reload(&gate, &rest, &[]).await.said,
    );
    for route in ["/ws", "/live/{room}"] {
        let line = format!("route `{route}`: removed, 1 live stream kept, 1 live stream closed\n");
        assert!(plan.contains(&line), "{line}: {plan}");
    }
    let changes = |said: &str| said.split_once('\n').map(|(_, changes)| changes.to_owned());
    assert_eq!(changes(&plan), changes(&done));
    assert_eq!(closed.raw_until_close().await[2..4], [0x03, 0xe9]);
    closed_subscriber.until_end().await;
    kept_server.wire.send("as ever").await;
    assert_eq!(kept.raw(7).await, b"as ever");
    feed.text("still fed").await;
    assert_eq!(kept_subscriber.message().await, "still fed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_many_ask_for_at_once_is_done_a_few_times_and_each_is_answered() {
    let start = whole(&(SOCKET.to_owned() + &route("/one")));
    let gate = Gate::start(&start).await;
    let mark = gate.log.mark();
    let all = (0..100).map(|_| ask(&gate, "POST", "/api/reload"));
    for (head, text) in futures_util::future::join_all(all).await {
        assert_eq!(head.status(), 200, "{text}");
    }
    let reloads = gate.log.since(mark);
    let reloads = reloads
        .iter()
        .filter(|line| line.message() == "reload: unchanged")
        .count();
    assert!((1..=50).contains(&reloads), "{reloads} reloads");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_to_the_admin_address_do_not_keep_the_operator_out() {
    let start = format!(
        "[admin]\naddress = \"127.0.0.1:0\"\nsocket = \"admin.sock\"\n{}",
        route("/one")
    );
    let start = whole(&start);
    let gate = Gate::start(&start).await;
    let admin = Admin::of(&gate).await;
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(crate::harness::connect(admin.address).await);
    }
    let begun = tokio::time::Instant::now();
    let outcome = reload(&gate, &start, &[]).await;
    assert_eq!(outcome.code, 0, "{}", outcome.said);
    // Shorter than an idle connection is borne with.
    assert!(begun.elapsed().as_secs() < 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_idle_holds_no_old_configuration() {
    let backend = Backend::that(echo_http).await;
    let mut feeds = Backend::by_hand().await;
    let (app, feed) = (backend.address(), feeds.address());
    let text = format!(
        "{ADMIN}[upstream.app]\nservers = [\"http://{app}\"]\n\
         health = {{ path = \"/\", interval = \"100ms\" }}\n\
         [[route]]\npath = \"/app\"\nupstream = \"app\"\n\
         [bridge.live]\nsource = \"ws://{feed}/feed\"\nidle = {{ eager = true }}\n\
         [[route]]\npath = \"/live\"\nbridge = \"live\"\n"
    );
    let gate = Gate::start(&text).await;
    let admin = Admin::of(&gate).await;
    let _feed = feeds.feed().await;
    let mut idle = Vec::new();
    for round in 0..10 {
        // Connections of all kinds that have had an answer, and one of a server that is kept.
        let mut clear = Wire::new(crate::harness::connect(gate.http).await);
        clear
            .send("GET /app HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        assert_eq!(clear.head().await.status(), 200);
        clear.text().await;
        let mut client = H2Client::connect(&gate).await;
        assert_eq!(client.get("/app").await.head.status(), 200);
        idle.push((clear, client));
        let more = route(&format!("/round/{round}"));
        let timeouts = format!(
            "[upstream.more]\nservers = [\"http://{app}\"]\nconnect_timeout = \"{}s\"\n",
            round + 1
        );
        gate.reload_well(&format!("{text}{more}{timeouts}")).await;
    }
    admin
        .counts(&[("streamgate_configurations_live", 1.0)])
        .await;
}

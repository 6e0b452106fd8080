//! The bridges' logs over a restart of the program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::json;

use crate::bridge::{bridge, id_parts, message_at, open};
use crate::harness::{Backend, Directory, Event, Gate, Line, Subscriber};

/// A directory for states, and the table of the configuration that names it.
struct Store(Directory);

impl Store {
    fn new() -> Self {
        Self(Directory::new())
    }

    fn server(&self) -> String {
        format!(
            "[server]\ndrain_timeout = \"5s\"\nstate_dir = \"{}\"\n",
            self.0.path().display()
        )
    }

    /// The program with this configuration and this directory.
    async fn gate(&self, config: &str) -> Gate {
        Gate::start(&format!("{config}{}", self.server())).await
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn state(&self) -> PathBuf {
        self.file("bridges.state")
    }

    /// What lies in the directory.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        entries
            .map(|entry| name(entry).into_string().unwrap())
            .collect()
    }
}

/// Logs these and stops the program. Returns the id of the first.
async fn log_and_stop(
    store: &Store,
    backend: &mut Backend,
    config: &str,
    texts: &[&str],
) -> String {
    let gate = store.gate(config).await;
    let (mut subscriber, mut feed) = open(&gate, backend).await;
    let mut first = None;
    for text in texts {
        feed.text(text).await;
        let (data, id) = message_at(&mut subscriber).await;
        assert_eq!(data, *text);
        first.get_or_insert(id);
    }
    drop(subscriber);
    gate.stop().await;
    first.expect("something was logged")
}

/// A client that comes back to room `a`, with what it is told first.
async fn back(gate: &Gate, cursor: &str) -> (Subscriber, Event, Option<Event>) {
    let mut subscriber = Subscriber::open(gate, "/live/a", Some(cursor)).await;
    let (open, gap) = subscriber.opened().await;
    (subscriber, open, gap)
}

fn reason(event: &Event) -> String {
    assert_eq!(event.name, "streamgate.gap", "{event:?}");
    event.json()["reason"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_on_in_the_same_log_after_a_restart() {
    let (store, mut backend) = (Store::new(), Backend::by_hand().await);
    let config = bridge(&backend, "");
    let first = log_and_stop(&store, &mut backend, &config, &["one", "two", "three"]).await;
    assert_eq!(store.names(), ["bridges.state"]);
    let mode = fs::metadata(store.state()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "for the program's own user alone");

    let gate = store.gate(&config).await;
    let taken_up = gate
        .logged("the log's return", |line| {
            line.message() == "bridge logs taken up"
        })
        .await;
    assert_eq!(taken_up.number("channels"), Some(1));
    assert_eq!(taken_up.number("events"), Some(3));
    assert!(
        store.names().is_empty(),
        "a crash must not bring it back: {:?}",
        store.names()
    );
    let (mut subscriber, open, gap) = back(&gate, &first).await;
    assert_eq!(gap, None);
    assert_eq!(open.json()["resumed"], json!(true));
    assert_eq!(open.json()["replay"], json!(2));
    let (epoch, number) = id_parts(&first);
    for (expected, step) in [("two", 1), ("three", 2)] {
        let (data, id) = message_at(&mut subscriber).await;
        assert_eq!(
            (data.as_str(), id_parts(&id)),
            (expected, (epoch.clone(), number + step))
        );
    }
    // A WebSocket feed without `resume` cannot tell what it said meanwhile: that is told, and the numbers go on.
    let mut feed = backend.feed().await;
    feed.text("four").await;
    let gap = subscriber.next_but_status().await;
    assert_eq!(reason(&gap), "upstream_reconnect");
    assert!(gap.json()["down_ms"].as_u64().is_some());
    let (data, id) = message_at(&mut subscriber).await;
    assert_eq!(
        (data.as_str(), id_parts(&id)),
        ("four", (epoch, number + 4))
    );
    drop(subscriber);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_survives_restarts_that_nobody_comes_back_in() {
    let (store, mut backend) = (Store::new(), Backend::by_hand().await);
    let config = bridge(&backend, "");
    let first = log_and_stop(&store, &mut backend, &config, &["one", "two"]).await;
    for _ in 0..2 {
        store.gate(&config).await.stop().await;
    }
    let gate = store.gate(&config).await;
    let (mut subscriber, open, _gap) = back(&gate, &first).await;
    assert_eq!(open.json()["resumed"], json!(true));
    assert_eq!(subscriber.message().await, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_of_events_goes_on_behind_its_last_id_and_nothing_is_missed() {
    let (store, mut backend) = (Store::new(), Backend::by_hand().await);
    let config = bridge(&backend, "").replace("ws://", "http://");
    let gate = store.gate(&config).await;
    let mut subscriber = Subscriber::open(&gate, "/live/a", None).await;
    let mut source = backend.next().await;
    source.answer_in_chunks("text/event-stream").await;
    subscriber.opened().await;
    source
        .wire
        .send_chunk("id: seven\ndata: before\n\nid: eight\ndata: ha")
        .await;
    let (_, id) = message_at(&mut subscriber).await;
    // It is still there when the program is told to stop.
    gate.stop().await;

    let gate = store.gate(&config).await;
    let (mut subscriber, open, gap) = back(&gate, &id).await;
    assert_eq!((gap, &open.json()["resumed"]), (None, &json!(true)));
    let mut source = backend.next().await;
    assert_eq!(source.request.get("last-event-id"), Some("seven"));
    source.answer_in_chunks("text/event-stream").await;
    source.wire.send_chunk("id: eight\ndata: half\n\n").await;
    assert_eq!(subscriber.message().await, "half", "and no gap before it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_feed_that_can_resume_is_told_where() {
    let (store, mut backend) = (Store::new(), Backend::by_hand().await);
    let resume = "resume = { pointer = \"/n\", send = '{\"from\":{last}}' }";
    let config = bridge(&backend, resume);
    let first = log_and_stop(&store, &mut backend, &config, &[r#"{"n":1}"#, r#"{"n":2}"#]).await;
    let gate = store.gate(&config).await;
    let (mut subscriber, _open, _gap) = back(&gate, &first).await;
    let mut feed = backend.feed().await;
    assert_eq!(feed.next_text().await, r#"{"from":2}"#);
    feed.text(r#"{"n":3}"#).await;
    for expected in [r#"{"n":2}"#, r#"{"n":3}"#] {
        assert_eq!(subscriber.message().await, expected, "and no gap before it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_not_taken_up_for_a_feed_that_is_another() {
    let (store, mut backend) = (Store::new(), Backend::by_hand().await);
    let config = bridge(&backend, "");
    let first = log_and_stop(&store, &mut backend, &config, &["one", "two"]).await;
    let gate = store
        .gate(&bridge(&backend, "event = { name = \"tick\" }"))
        .await;
    let taken_up = gate
        .logged("what was left", |line| {
            line.message() == "bridge logs taken up"
        })
        .await;
    assert_eq!(
        (taken_up.number("channels"), taken_up.number("left")),
        (Some(0), Some(1))
    );
    let mut subscriber = Subscriber::open(&gate, "/live/a", Some(&first)).await;
    let gap = subscriber.next_but_status().await;
    assert_eq!(reason(&gap), "epoch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state_is_set_aside_and_the_program_serves() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change); 5] = [
        ("a flipped bit", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }),
        ("cut off", |bytes| bytes.truncate(bytes.len() - 1)),
        ("something else", |bytes| *bytes = b"what is this?".to_vec()),
        ("empty", |bytes| bytes.clear()),
        ("another version", |bytes| bytes[11] = 99),
    ];
    let (store, mut backend) = (Store::new(), Backend::by_hand().await);
    let config = bridge(&backend, "");
    let first = log_and_stop(&store, &mut backend, &config, &["one"]).await;
    let sound = fs::read(store.state()).unwrap();
    for (what, change) in changes {
        let mut bytes = sound.clone();
        change(&mut bytes);
        fs::write(store.state(), &bytes).unwrap();
        let gate = store.gate(&config).await;
        let line = gate
            .logged("the damage", |line| {
                line.message() == "bridge logs are damaged"
            })
            .await;
        let named = line.text("file").unwrap_or_default();
        assert!(named.ends_with("bridges.state"), "{what}: {line:?}");
        assert_eq!(
            fs::read(store.file("bridges.state.damaged")).unwrap(),
            bytes,
            "{what}"
        );
        assert!(!store.state().exists(), "{what}");
        let mut subscriber = Subscriber::open(&gate, "/live/a", Some(&first)).await;
        let mut feed = backend.feed().await;
        let gap = subscriber.next_but_status().await;
        // Cut off, its one channel was whole.
        if what != "cut off" {
            assert_eq!(reason(&gap), "epoch", "{what}");
        }
        feed.text("served").await;
        while subscriber.next_but_status().await.data != "served" {}
        drop(subscriber);
        // A feed that ended first would be gone back to, and the next round would find that connection.
        gate.stop().await;
        drop(feed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_the_log_is_a_new_one() {
    let (store, mut backend) = (Store::new(), Backend::by_hand().await);
    let config = bridge(&backend, "");
    let first = log_and_stop(&store, &mut backend, &config, &["one"]).await;
    let crashed = {
        let gate = store.gate(&config).await;
        let (mut subscriber, _open, _gap) = back(&gate, &first).await;
        let mut feed = backend.feed().await;
        feed.text("two").await;
        while subscriber.next_but_status().await.data != "two" {}
        let cursor = subscriber.cursor.clone();
        gate.kill().await;
        cursor
    };
    assert_eq!(id_parts(&crashed).0, id_parts(&first).0);
    let gate = store.gate(&config).await;
    for cursor in [first, crashed] {
        let mut subscriber = Subscriber::open(&gate, "/live/a", Some(&cursor)).await;
        assert_eq!(reason(&subscriber.next_but_status().await), "epoch");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_saves_as_well() {
    let (store, mut backend) = (Store::new(), Backend::by_hand().await);
    let config = bridge(&backend, "");
    let server = store.server().replace("5s", "60s");
    let mut gate = Gate::start(&format!("{config}{server}")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("one").await;
    let (_, id) = message_at(&mut subscriber).await;
    gate.signal("TERM");
    gate.logged("the drain", |line| line.message() == "draining")
        .await;
    gate.signal("TERM");
    gate.cut().await;
    let gate = store.gate(&config).await;
    let (_subscriber, open, gap) = back(&gate, &id).await;
    assert_eq!((gap, &open.json()["resumed"]), (None, &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_cut_off_by_a_drain_without_time_is_saved() {
    let (store, mut backend) = (Store::new(), Backend::by_hand().await);
    let config = bridge(&backend, "");
    let server = store.server().replace("5s", "0s");
    let mut gate = Gate::start(&format!("{config}{server}")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("one").await;
    let (_, id) = message_at(&mut subscriber).await;
    gate.signal("TERM");
    gate.cut().await;
    let gate = store.gate(&config).await;
    let (_subscriber, open, gap) = back(&gate, &id).await;
    assert_eq!((gap, &open.json()["resumed"]), (None, &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_the_caps_of_the_next_start_is_left_out() {
    let (store, mut backend) = (Store::new(), Backend::by_hand().await);
    let more = "replay = { events = 20, bytes = \"1MiB\" }\nsnapshot = { keys = 100 }\n\
                key = \"/k\"\non_gap = \"snapshot\"";
    let config = bridge(&backend, more);
    let texts: Vec<String> = (0..50)
        .map(|n| format!(r#"{{"k":{},"n":{n}}}"#, n % 30))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let first = log_and_stop(&store, &mut backend, &config, &texts).await;
    let gate = store.gate(&config).await;
    let (mut subscriber, open, gap) = back(&gate, &first).await;
    assert_eq!(reason(&gap.expect("evicted")), "evicted");
    assert_eq!(
        open.json()["replay"],
        json!(30),
        "the newest of each key, also what had left the log"
    );
    for expected in &texts[20..] {
        assert_eq!(subscriber.message().await, *expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_has_gone_is_told_and_the_program_stops_all_the_same() {
    let (store, mut backend) = (Store::new(), Backend::by_hand().await);
    let mut gate = store.gate(&bridge(&backend, "")).await;
    let (mut subscriber, mut feed) = open(&gate, &mut backend).await;
    feed.text("one").await;
    subscriber.message().await;
    drop(subscriber);
    fs::remove_dir(store.0.path()).unwrap();
    gate.signal("TERM");
    gate.ended().await;
    let lines = gate.log.since(0);
    let told = |line: &Line| line.message() == "bridge logs not saved";
    assert!(lines.iter().any(told), "{}", gate.log);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_set_aside_too() {
    let (store, backend) = (Store::new(), Backend::by_hand().await);
    fs::create_dir(store.state()).unwrap();
    let gate = store.gate(&bridge(&backend, "")).await;
    let line = gate
        .logged("the fault", |line| {
            line.message() == "bridge logs are damaged"
        })
        .await;
    let cause = line.text("cause").unwrap_or_default();
    assert!(cause.contains("cannot be read"), "{line:?}");
    assert_eq!(store.names(), ["bridges.state.damaged"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_another_process_uses_is_left_alone() {
    let (store, mut backend) = (Store::new(), Backend::by_hand().await);
    let config = bridge(&backend, "");
    let first = log_and_stop(&store, &mut backend, &config, &["one"]).await;
    let held = fs::File::open(store.0.path()).unwrap();
    held.try_lock().unwrap();
    let gate = store.gate(&config).await;
    gate.logged("the other one", |line| {
        line.message() == "bridge logs not taken up"
    })
    .await;
    let mut subscriber = Subscriber::open(&gate, "/live/a", Some(&first)).await;
    assert_eq!(reason(&subscriber.next_but_status().await), "epoch");
    let sound = fs::read(store.state()).unwrap();
    drop(subscriber);
    gate.stop().await;
    assert_eq!(fs::read(store.state()).unwrap(), sound);
    drop(held);
    let gate = store.gate(&config).await;
    let (_subscriber, _open, gap) = back(&gate, &first).await;
    assert_eq!(gap, None);
}

//! What systemd hears (sd_notify(3)): in which order, and from whom.

use std::time::Duration;

use tokio::net::UnixDatagram;

use crate::harness::{Backend, Directory, Gate, echo_http, within, within_time};
use crate::tunnel::open_tunnel;

/// systemd's end.
struct Manager {
    socket: UnixDatagram,
    path: String,
    _directory: Directory,
}

impl Manager {
    fn new() -> Self {
        let directory = Directory::new();
        let path = directory.path().join("notify");
        Self {
            socket: UnixDatagram::bind(&path).unwrap(),
            path: path.to_str().unwrap().to_owned(),
            _directory: directory,
        }
    }

    /// The program under this manager, with more in its environment.
    async fn gate(&self, config: &str, env: &[(&str, &str)]) -> Gate {
        let directory = Directory::new();
        crate::harness::leaf(&["localhost"]).write(directory.path(), "gate");
        let mut all = vec![("NOTIFY_SOCKET", self.path.as_str())];
        all.extend(env);
        Gate::start_with(directory, config, &all).await
    }

    async fn next(&self) -> String {
        let mut word = vec![0; 4096];
        let length = within("a word to systemd", self.socket.recv(&mut word)).await;
        word.truncate(length.unwrap());
        String::from_utf8(word).unwrap()
    }

    /// The next word but those that only tell what the process is at, or that all is well.
    async fn next_change(&self) -> String {
        loop {
            let word = self.next().await;
            if !word.starts_with("STATUS=") && !word.starts_with("WATCHDOG=") {
                return word;
            }
        }
    }
}

fn value<'a>(word: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = word.lines().filter_map(|line| line.split_once('='));
    lines.find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_reloading_and_stopping_are_told_in_order() {
    let (manager, backend) = (Manager::new(), Backend::that(echo_http).await);
    let text = format!(
        "{}[server]\ndrain_timeout = \"7s\"\n",
        backend.for_everything()
    );
    let mut gate = manager.gate(&text, &[]).await;
    assert_eq!(value(&manager.next_change().await, "READY"), Some("1"));
    gate.reload_well(&format!("{text}[log]\naccess = false\n"))
        .await;
    let word = manager.next_change().await;
    assert_eq!(value(&word, "RELOADING"), Some("1"));
    assert!(value(&word, "MONOTONIC_USEC").is_some_and(|now| now.parse::<u64>().is_ok()));
    assert_eq!(value(&manager.next_change().await, "READY"), Some("1"));
    gate.signal("TERM");
    let word = manager.next_change().await;
    assert_eq!(value(&word, "STOPPING"), Some("1"));
    let extended: u64 = value(&word, "EXTEND_TIMEOUT_USEC")
        .unwrap()
        .parse()
        .unwrap();
    assert!((7_000_001..60_000_000).contains(&extended), "{extended}");
    gate.ended().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_a_restart_the_old_process_names_the_new_one_and_says_nothing_more() {
    let (manager, backend) = (Manager::new(), Backend::that(echo_http).await);
    let mut gate = manager.gate(&backend.for_everything(), &[]).await;
    assert_eq!(value(&manager.next_change().await, "READY"), Some("1"));
    let mark = gate.log.mark();
    gate.restart().await;
    let named = manager.next_change().await;
    assert_eq!(
        value(&named, "MAINPID"),
        Some(gate.process().to_string().as_str())
    );
    // The new process's first word comes when systemd knows who it is.
    assert_eq!(value(&manager.next_change().await, "READY"), Some("1"));
    gate.log
        .wait(mark, "the old process's end", |line| {
            line.message() == "stopped"
        })
        .await;
    gate.signal("TERM");
    // Of the old one's drain nothing was said: this is the new one's.
    assert_eq!(value(&manager.next_change().await, "STOPPING"), Some("1"));
    gate.ended().await;
    let rest = tokio::time::timeout(Duration::from_millis(1), manager.next_change()).await;
    assert!(rest.is_err(), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_hears_of_a_process_that_is_well_from_before_to_after_a_restart() {
    let (manager, backend) = (Manager::new(), Backend::that(echo_http).await);
    let limit = [("WATCHDOG_USEC", "1000000")];
    let mut gate = manager.gate(&backend.for_everything(), &limit).await;
    let heard = async |words: usize| {
        let mut left = words;
        while left > 0 {
            left -= usize::from(manager.next().await == "WATCHDOG=1\n");
        }
    };
    within_time(Duration::from_secs(10), "three words", heard(3)).await;
    gate.restart().await;
    within_time(Duration::from_secs(10), "three more", heard(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_says_how_many_streams_are_left_and_where() {
    let (manager, mut backend) = (Manager::new(), Backend::by_hand().await);
    let text = format!(
        "{}[server]\ndrain_timeout = \"1h\"\n",
        backend.for_everything()
    );
    let mut gate = manager.gate(&text, &[]).await;
    // Its end is drawn from half an hour.
    let (client, exchange) = open_tunnel(&gate, &mut backend).await;
    gate.signal("TERM");
    let report = gate
        .logged("a report", |line| line.message() == "still draining")
        .await;
    assert_eq!(report.number("tunnels"), Some(1), "{report:?}");
    assert!(report.has("routes", "/*: 1"), "{report:?}");
    let status = loop {
        let word = manager.next().await;
        if word.contains("tunnels") {
            break word;
        }
    };
    assert!(status.contains("1 tunnels"), "{status}");
    let extended: u64 = value(&status, "EXTEND_TIMEOUT_USEC")
        .unwrap()
        .parse()
        .unwrap();
    assert!(extended > 3_500_000_000, "{extended}");
    drop((client, exchange));
    gate.ended().await;
}

//! A route's `resume = true`: a backend that is killed again and again, under streams whose clients see nothing of it.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::harness::{
    Gate, H2Client, NumberedSource, Subscriber, allow_many_files, node, within, within_time,
};

const KILLS: usize = 20;
const STREAMS: usize = 200;
/// Streams within one HTTP/2 connection.
const TOGETHER: usize = 50;

/// A source in a process of its own, whose numbers go on by the clock while it is dead.
struct Mortal {
    child: Child,
    port: u16,
    began: u128,
}

impl Mortal {
    async fn born() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let began = now.as_millis();
        let (child, port) = Self::start(0, began).await;
        Self { child, port, began }
    }

    async fn start(port: u16, began: u128) -> (Child, u16) {
        let mut command = node("numbered_source.js");
        command
            .env("PORT", port.to_string())
            .env("BEGAN", began.to_string())
            .env("PACE", "50")
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = within("the source's first line", lines.next_line()).await;
        let line = line.unwrap().expect("the source listens");
        let port = line.rsplit(' ').next().unwrap().parse().unwrap();
        (child, port)
    }

    /// Ends it by SIGKILL, which its connections learn from the kernel, and starts it again at the same port.
    async fn is_killed_and_born_again(&mut self) {
        within("the source's end", self.child.kill()).await.unwrap();
        (self.child, _) = Self::start(self.port, self.began).await;
    }
}

/// Reads numbers until it is told to end: each has to be the one after that before, and whole.
async fn follow(mut subscriber: Subscriber, newest: watch::Sender<u64>, ending: Arc<AtomicBool>) {
    let mut number = 0;
    while !ending.load(Ordering::Relaxed) {
        let event = subscriber.next().await;
        number += 1;
        assert_eq!(event.id, number.to_string());
        assert_eq!(event.data, NumberedSource::data(number));
        newest.send_replace(number);
    }
}

/// As many streams as there are, half of them over HTTP/1.1 and half over HTTP/2.
async fn subscribe(gate: &Gate) -> (Vec<Subscriber>, Vec<H2Client>) {
    let (mut subscribers, mut connections) = (Vec::new(), Vec::new());
    for _ in 0..STREAMS / 2 {
        subscribers.push(Subscriber::open(gate, "/events", None).await);
    }
    for _ in 0..STREAMS / 2 / TOGETHER {
        let mut connection = H2Client::connect(gate).await;
        for _ in 0..TOGETHER {
            subscribers.push(Subscriber::over_h2(connection.get("/events").await));
        }
        connections.push(connection);
    }
    (subscribers, connections)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_streams_outlive_a_source_that_is_killed_twenty_times() {
    allow_many_files();
    let mut source = Mortal::born().await;
    let gate = Gate::start(&format!(
        "[upstream.app]\nservers = [\"http://127.0.0.1:{}\"]\n\
         [[route]]\nupstream = \"app\"\nresume = true\n",
        source.port
    ))
    .await;
    let (subscribers, _connections) = subscribe(&gate).await;
    let ending = Arc::new(AtomicBool::new(false));
    let (mut clients, mut newest) = (JoinSet::new(), Vec::new());
    for subscriber in subscribers {
        let (send, receive) = watch::channel(0);
        newest.push(receive);
        clients.spawn(follow(subscriber, send, Arc::clone(&ending)));
    }
    let all = async {
        for _ in 0..KILLS {
            source.is_killed_and_born_again().await;
            let mark = newest.iter().map(|number| *number.borrow()).max().unwrap();
            for number in &mut newest {
                let next = number.wait_for(|number| *number > mark);
                let next = within("a number after a kill", next).await;
                next.expect("the client goes on");
            }
        }
    };
    within_time(Duration::from_secs(90), "all of the kills", all).await;
    ending.store(true, Ordering::Relaxed);
    within("the clients' end", clients.join_all()).await;
    // Each went on in the response that it had at the first.
    let lines = gate.log.since(0);
    let opened = lines.iter().filter(|line| line.message() == "stream open");
    assert_eq!(opened.count(), STREAMS);
}

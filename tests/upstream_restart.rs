//! Servers that are killed and started again under load: what it costs the clients.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::harness::{Gate, TlsWire, Wire, silence};

/// Answers every request, and can be killed with all of its connections.
struct Mortal {
    address: SocketAddr,
    life: JoinSet<()>,
}

impl Mortal {
    async fn born(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut life = JoinSet::new();
        life.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                connections.spawn(answer_all(tcp));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, life }
    }

    async fn killed(mut self) -> String {
        self.life.shutdown().await;
        self.address.to_string()
    }
}

async fn answer_all(tcp: TcpStream) {
    let mut wire = Wire::new(tcp);
    while let Some(head) = wire.head_if_any("GET").await {
        if head.get("content-length").is_some() {
            wire.body().await;
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        if wire.try_send(answer).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_under_load_costs_no_idempotent_request() {
    let (steady, mortal) = (
        Mortal::born("127.0.0.1:0").await,
        Mortal::born("127.0.0.1:0").await,
    );
    let gate = Gate::start(&format!(
        "[upstream.app]\nservers = [\"http://{}\", \"http://{}\"]\nretries = 2\n\
         [[route]]\nupstream = \"app\"\n",
        steady.address, mortal.address
    ))
    .await;
    let ending = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for number in 0..8 {
        let (client, ending) = (gate.tls().await, ending.clone());
        let request = match number {
            0..6 => "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            _ => "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi",
        };
        clients.spawn(ask_until(client, request, ending));
    }
    let mut mortal = mortal;
    for _round in 0..5 {
        silence(Duration::from_millis(150)).await;
        let address = mortal.killed().await;
        silence(Duration::from_millis(100)).await;
        mortal = Mortal::born(&address).await;
    }
    silence(Duration::from_millis(150)).await;
    ending.store(true, Ordering::Relaxed);
    let mut gets = BTreeMap::new();
    let mut posts = BTreeMap::new();
    for (request, answers) in clients.join_all().await {
        let sum = if request.starts_with("GET") {
            &mut gets
        } else {
            &mut posts
        };
        for (status, count) in answers {
            *sum.entry(status).or_insert(0) += count;
        }
    }
    println!("GET by status: {gets:?}, POST by status: {posts:?}");
    assert_eq!(gets.keys().collect::<Vec<_>>(), [&200], "{gets:?}");
    // What was under way at the killed server may have been done there: nobody does it twice.
    assert!(
        posts.keys().all(|status| matches!(status, 200 | 502)),
        "{posts:?}"
    );
    assert!(posts[&200] > 100, "{posts:?}");
}

type Answers = (&'static str, BTreeMap<u16, usize>);

async fn ask_until(mut client: TlsWire, request: &'static str, ending: Arc<AtomicBool>) -> Answers {
    let mut answers = BTreeMap::new();
    while !ending.load(Ordering::Relaxed) {
        client.send(request).await;
        let head = client.head().await;
        client.body().await;
        *answers.entry(head.status()).or_insert(0) += 1;
    }
    (request, answers)
}

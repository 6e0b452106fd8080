//! Reloads of what is no route: listeners, limits, the log. Each is in force for whoever comes next.

use crate::harness::{Backend, Gate, Reloaded, Wire, connect, echo_http};

/// An address on loopback that nobody listens on now.
fn free_address() -> std::net::SocketAddr {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

fn listen(address: &str) -> String {
    format!("[[listen]]\naddress = \"{address}\"\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_come_and_go_and_their_connections_stay() {
    let backend = Backend::that(echo_http).await;
    let routes = backend.for_everything() + &listen("systemd:http");
    let gate = Gate::start(&routes).await;
    let address = free_address();
    let more = routes.clone() + &listen(&address.to_string());
    gate.reload_well(&more).await;
    let mut client = Wire::new(connect(address).await);
    let ask = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send(ask).await;
    assert_eq!(client.head().await.status(), 200);
    client.text().await;
    gate.reload_well(&routes).await;
    crate::harness::within("the listener's end", async {
        while tokio::net::TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    client.send(ask).await;
    assert_eq!(client.head().await.status(), 200, "what was accepted stays");
    // And one that cannot be had changes nothing, the route beside it neither.
    let taken = listen(&backend.address().to_string());
    let route = "[[route]]\npath = \"/new\"\nrespond = { status = 204 }\n";
    let refused = gate.reload(&format!("{routes}{taken}{route}")).await;
    let Reloaded::Refused(line) = refused else {
        panic!("an address that is in use was taken");
    };
    let cause = line.text("cause").unwrap();
    assert!(cause.contains(&backend.address().to_string()), "{cause}");
    let mut client = gate.clear().await;
    client
        .send("GET /new HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_the_log_change_and_the_workers_wait_for_the_next_start() {
    let backend = Backend::that(echo_http).await;
    let routes = backend.for_everything();
    let gate = Gate::start(&routes).await;
    let long = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n",
        "x".repeat(10_000)
    );
    for (size, status) in [("32KiB", 200), ("8KiB", 431)] {
        gate.reload_well(&format!("{routes}[limits]\nheader_size = \"{size}\"\n"))
            .await;
        let mut client = gate.tls().await;
        client.send(&long).await;
        assert_eq!(client.head().await.status(), status, "{size}");
    }
    // The access log, off and on again.
    let off = format!("{routes}[log]\naccess = false\n");
    gate.reload_well(&off).await;
    let mark = gate.log.mark();
    gate.get("/unseen").await;
    gate.reload_well(&routes).await;
    gate.get("/seen").await;
    let is_of = |path: &'static str| {
        move |line: &crate::harness::Line| line.text("path").is_some_and(|it| it == path)
    };
    gate.log.wait(mark, "the request", is_of("/seen")).await;
    assert!(!gate.log.since(mark).iter().any(is_of("/unseen")));
    let mark = gate.log.mark();
    let server = "[server]\nworkers = 7\ndrain_timeout = \"5s\"\nwatch = false\n";
    gate.reload_well(&format!("{routes}{server}")).await;
    let told = gate
        .log
        .wait(mark, "the reload", |line| line.message() == "reloaded");
    let changes = told.await.text("changes").unwrap();
    assert_eq!(changes, "server: changed, `workers` with the next start");
}

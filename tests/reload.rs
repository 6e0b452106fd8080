//! Reloads of a running process: what changes, what goes on, what is refused.

use std::sync::Arc;

use crate::bridge::bridge;
use crate::harness::{Backend, Gate, Reloaded, Subscriber, client_config, echo_http, leaf};
use crate::tunnel::open_tunnel;

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_added_and_removed() {
    let backend = Backend::that(echo_http).await;
    let upstream = backend.upstream("app");
    let one = "[[route]]\npath = \"/one\"\nupstream = \"app\"\n";
    let two = "[[route]]\npath = \"/two\"\nupstream = \"app\"\n";
    let gate = Gate::start(&format!("{upstream}{one}")).await;
    assert_eq!(gate.get("/two").await.0.status(), 404);
    gate.reload_well(&format!("{upstream}{one}{two}")).await;
    assert_eq!(gate.get("/two").await.0.status(), 200);
    assert_eq!(gate.get("/one").await.0.status(), 200);
    gate.reload_well(&format!("{upstream}{two}")).await;
    assert_eq!(gate.get("/one").await.0.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_open_sees_the_new_routes() {
    let old = Backend::that(echo_http).await;
    let new = Backend::that(echo_http).await;
    let gate = Gate::start(&old.for_everything()).await;
    let mut client = gate.tls().await;
    let ask = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send(ask).await;
    client.head().await;
    client.text().await;
    gate.reload_well(&new.for_everything()).await;
    client.send(ask).await;
    assert_eq!(client.head().await.status(), 200);
    assert_eq!((old.requests().len(), new.requests().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_is_refused_and_the_old_one_goes_on() {
    let backend = Backend::that(echo_http).await;
    let good = backend.for_everything();
    let gate = Gate::start(&good).await;
    for bad in [
        format!("{good}[[route]]\npath = \"/x\"\nupstream = \"nowhere\"\n"),
        format!("{good}[[route]]\npath = \"/x\"\nupstreem = \"app\"\n"),
        format!("{good}[[tls.certificate]]\ncert = \"none.pem\"\nkey = \"none.key\"\n"),
        "this is not TOML".to_owned(),
    ] {
        let answer = gate.reload(&bad).await;
        let Reloaded::Refused(line) = answer else {
            panic!("accepted: {bad}");
        };
        assert!(
            format!("{line:?}").contains("streamgate.toml"),
            "no place is named: {line:?}"
        );
        assert_eq!(gate.get("/still-here").await.1, "GET /still-here");
    }
    // And a good one after a bad one is taken.
    gate.reload_well(&format!("{good}[log]\naccess = false\n"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_end_with_what_they_started_with() {
    let mut backend = Backend::by_hand().await;
    let other = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut client = gate.tls().await;
    client
        .send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let mut exchange = backend.next().await;
    exchange.answer_in_chunks("text/plain").await;
    exchange.wire.send_chunk("before, ").await;
    gate.reload_well(&other.for_everything()).await;
    exchange.wire.send_chunk("after").await;
    exchange.wire.end_chunks().await;
    client.head().await;
    assert_eq!(client.text().await, "before, after");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identical_reload_keeps_tunnels_and_subscribers() {
    let mut backend = Backend::by_hand().await;
    let mut feeds = Backend::by_hand().await;
    let text = format!("{}{}", backend.for_everything(), bridge(&feeds, ""));
    let gate = Gate::start(&text).await;
    let (mut client, mut exchange) = open_tunnel(&gate, &mut backend).await;
    let (mut subscriber, mut feed) = crate::bridge::open(&gate, &mut feeds).await;
    for _ in 0..5 {
        gate.reload_well(&text).await;
    }
    exchange.wire.send("still open").await;
    assert_eq!(client.raw(10).await, b"still open");
    feed.text("still fed").await;
    assert_eq!(subscriber.message().await, "still fed");
    // A new client joins the same channel: the same feed, the same log.
    let mut back = Subscriber::open(&gate, "/live/a?lastEventId=earliest", None).await;
    back.opened().await;
    assert_eq!(back.message().await, "still fed");
    assert_eq!(feeds.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_a_removed_route_stay() {
    let mut backend = Backend::by_hand().await;
    let mut feeds = Backend::by_hand().await;
    let other = Backend::that(echo_http).await;
    let text = format!("{}{}", backend.for_everything(), bridge(&feeds, ""));
    let gate = Gate::start(&text).await;
    let (mut client, mut exchange) = open_tunnel(&gate, &mut backend).await;
    let (mut subscriber, mut feed) = crate::bridge::open(&gate, &mut feeds).await;
    gate.reload_well(&other.for_everything()).await;
    exchange.wire.send("still open").await;
    assert_eq!(client.raw(10).await, b"still open");
    client.send("indeed").await;
    assert_eq!(exchange.wire.raw(6).await, b"indeed");
    feed.text("still fed").await;
    assert_eq!(subscriber.message().await, "still fed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_swapped() {
    let backend = Backend::that(echo_http).await;
    let text = backend.for_everything();
    let gate = Gate::start(&text).await;
    let mut open = gate.tls().await;
    let fresh = leaf(&["localhost"]);
    fresh.write(gate.directory().path(), "gate");
    let config = Arc::new(client_config(&["http/1.1"], rustls::ALL_VERSIONS));
    let before = gate
        .handshake(Arc::clone(&config), "localhost")
        .await
        .unwrap();
    assert_ne!(
        before.get_ref().1.peer_certificates().unwrap()[0],
        fresh.der
    );
    // The configuration's text is the same: the files it names are not.
    gate.reload_well(&text).await;
    let config = Arc::new(client_config(&["http/1.1"], rustls::ALL_VERSIONS));
    let after = gate.handshake(config, "localhost").await.unwrap();
    assert_eq!(after.get_ref().1.peer_certificates().unwrap()[0], fresh.der);
    open.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(open.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_whose_key_does_not_fit_is_refused() {
    let backend = Backend::that(echo_http).await;
    let text = backend.for_everything();
    let gate = Gate::start(&text).await;
    let stranger = leaf(&["localhost"]);
    gate.directory().write("gate.key", &stranger.key);
    assert!(matches!(gate.reload(&text).await, Reloaded::Refused(_)));
    assert_eq!(gate.get("/still-here").await.0.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_that_only_serves_otherwise_keeps_its_feed_and_its_log() {
    let mut feeds = Backend::by_hand().await;
    let gate = Gate::start(&bridge(&feeds, "heartbeat = \"30s\"")).await;
    let (mut first, mut feed) = crate::bridge::open(&gate, &mut feeds).await;
    feed.text("one").await;
    assert_eq!(first.message().await, "one");
    let cursor = first.cursor.clone();
    let served = "heartbeat = \"1s\"\nlimits = { subscribers = 7 }\nretry = { base = \"5s\" }\npublish = { enabled = true }\n";
    gate.reload_well(&bridge(&feeds, served)).await;
    feed.text("two").await;
    assert_eq!(first.message().await, "two");
    // Who comes back finds the same log, over the same connection to the feed, and is served anew.
    let mut again = Subscriber::open(&gate, "/live/a", Some(&cursor)).await;
    let (open, gap) = again.opened().await;
    assert_eq!(
        (gap, &open.json()["resumed"]),
        (None, &true.into()),
        "{open:?}"
    );
    assert_eq!(again.message().await, "two");
    assert!(again.retry.is_some_and(|retry| retry >= 5_000));
    assert_eq!(feeds.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_worker_hears_of_every_listener_however_many_there_are() {
    let listen = |count: usize| -> String {
        let one = |number: usize| {
            let (high, low) = (number / 200, number % 200 + 1);
            format!("[[listen]]\naddress = \"127.1.{high}.{low}:0\"\n")
        };
        (0..count).map(one).collect()
    };
    let route = "[[route]]\nrespond = { status = 200 }\n";
    let gate = Gate::start(&format!("{route}{}", listen(300))).await;
    gate.reload_well(&format!("{route}{}", listen(600))).await;
    let all = gate.log.since(0);
    let told = |words: &str| all.iter().filter(|line| line.message() == words).count();
    assert_eq!(told("listening"), 600);
    assert_eq!(told("a worker does not take commands any more"), 0);
}

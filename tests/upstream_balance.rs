//! Which server gets a request: every policy, the weights, the cookie, and what is full.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness::{Backend, Checked, Gate, Head, TlsWire, balanced, refusing, stays_pending};
use crate::tunnel::handshake;

const ASK: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// How often each server answers so many requests.
async fn answers(gate: &Gate, count: usize) -> BTreeMap<String, usize> {
    let mut client = gate.tls().await;
    let mut counts = BTreeMap::new();
    for _ in 0..count {
        client.send(ASK).await;
        assert_eq!(client.head().await.status(), 200);
        *counts.entry(client.text().await).or_default() += 1;
    }
    counts
}

fn counts<const N: usize>(expected: [(&str, usize); N]) -> BTreeMap<String, usize> {
    expected
        .map(|(name, count)| (name.to_owned(), count))
        .into()
}

/// A WebSocket that stays open. The servers of these tests echo its bytes.
async fn tunnel(gate: &Gate, fields: &str) -> (TlsWire, Head) {
    let mut client = gate.tls().await;
    client.send(handshake("/ws", fields)).await;
    let head = client.head().await;
    assert_eq!(head.status(), 101);
    (client, head)
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_take_turns_by_their_weights_over_all_workers() {
    let (a, b) = (Checked::named("a").await, Checked::named("b").await);
    let heavy = format!("{{ url = \"{}\", weight = 3 }}", a.url());
    let text = balanced(&[&heavy, &b.url()], "");
    let gate = Gate::start(&format!(
        "{text}[server]\nworkers = 3\ndrain_timeout = \"5s\"\n"
    ))
    .await;
    let mut total = BTreeMap::new();
    for _ in 0..5 {
        for (name, count) in answers(&gate, 8).await {
            *total.entry(name).or_default() += count;
        }
    }
    assert_eq!(total, counts([("a", 30), ("b", 10)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_websocket_counts_and_goes_on_counting_after_a_reload() {
    for policy in ["least_connections", "random_two"] {
        let (a, b) = (Checked::named("a").await, Checked::named("b").await);
        let keys = format!("balance = \"{policy}\"\n");
        let gate = Gate::start(&balanced(&[&a.url(), &b.url()], &keys)).await;
        let (mut client, _) = tunnel(&gate, "").await;
        let free = if a.requests().is_empty() { "a" } else { "b" };
        assert_eq!(answers(&gate, 10).await, counts([(free, 10)]), "{policy}");
        // The upstream is another one now, its servers are not.
        let changed = format!("{keys}retries = 3\n");
        gate.reload_well(&balanced(&[&b.url(), &a.url()], &changed))
            .await;
        assert_eq!(answers(&gate, 10).await, counts([(free, 10)]), "{policy}");
        client.send("still here").await;
        assert_eq!(client.raw(10).await, b"still here");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_keeps_its_server_until_that_leaves() {
    let (a, b) = (Checked::named("a").await, Checked::named("b").await);
    let by_address = "balance = \"ip_hash\"\n";
    let gate = Gate::start(&balanced(&[&a.url(), &b.url()], by_address)).await;
    let before = answers(&gate, 10).await;
    assert_eq!(before.len(), 1, "{before:?}");
    let (own, other) = if before.contains_key("a") {
        (&a, &b)
    } else {
        (&b, &a)
    };
    gate.reload_well(&balanced(&[&own.url()], by_address)).await;
    assert_eq!(answers(&gate, 5).await.keys().next(), before.keys().next());
    gate.reload_well(&balanced(&[&other.url()], by_address))
        .await;
    assert_ne!(answers(&gate, 5).await.keys().next(), before.keys().next());
    // With its server back, so is the client.
    gate.reload_well(&balanced(&[&b.url(), &a.url()], by_address))
        .await;
    assert_eq!(answers(&gate, 10).await, before);
}

const BY_COOKIE: &str = "balance = \"cookie\"\n\
                         cookie = { name = \"place\", secret = \"not so secret as it seems\", max_age = \"1h\" }\n";

/// The answer to a request with these fields.
async fn ask_with(client: &mut TlsWire, fields: &str) -> (Head, String) {
    client
        .send(format!("GET / HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"))
        .await;
    let head = client.head().await;
    (head, client.text().await)
}

fn pair(head: &Head) -> String {
    let field = head.get("set-cookie").expect("a cookie is set");
    field.split(';').next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cookie_keeps_a_client_at_its_server_and_no_server_sees_it() {
    let (a, b) = (Checked::named("a").await, Checked::named("b").await);
    let gate = Gate::start(&balanced(&[&a.url(), &b.url()], BY_COOKIE)).await;
    let mut client = gate.tls().await;
    let (head, own) = ask_with(&mut client, "").await;
    let field = head.get("set-cookie").unwrap();
    assert!(
        field.ends_with("; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600; Secure"),
        "{field}"
    );
    assert!(!field.contains("127.0.0.1"), "{field}");
    let cookie = pair(&head);
    for round in 0..10 {
        let (head, name) = ask_with(&mut client, &format!("Cookie: x=1; {cookie}; y=2\r\n")).await;
        assert_eq!(
            (name, head.get("set-cookie")),
            (own.clone(), None),
            "round {round}"
        );
    }
    for request in a.requests().iter().chain(&b.requests()).skip(1) {
        assert_eq!(request.get("cookie").unwrap_or("x=1; y=2"), "x=1; y=2");
    }
    // On the same secret the value means the same after a reload.
    gate.reload_well(&balanced(
        &[&b.url(), &a.url()],
        &format!("{BY_COOKIE}retries = 2\n"),
    ))
    .await;
    let (head, name) = ask_with(&mut client, &format!("Cookie: {cookie}\r\n")).await;
    assert_eq!((name, head.get("set-cookie")), (own, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_cookie_is_replaced_and_so_is_one_whose_server_is_gone() {
    let (a, b) = (Checked::named("a").await, Checked::named("b").await);
    let gate = Gate::start(&balanced(&[&a.url(), &b.url()], BY_COOKIE)).await;
    let mut client = gate.tls().await;
    let (head, own) = ask_with(&mut client, "").await;
    let cookie = pair(&head);
    let forged = format!("{}AAAA", &cookie[..cookie.len() - 4]);
    for value in [forged.as_str(), "place=", "place=127.0.0.1:80", "place=0"] {
        let (head, _) = ask_with(&mut client, &format!("Cookie: {value}\r\n")).await;
        assert_ne!(pair(&head), value);
    }
    let left = if own == "a" { &b } else { &a };
    gate.reload_well(&balanced(&[&left.url()], BY_COOKIE)).await;
    let (head, name) = ask_with(&mut client, &format!("Cookie: {cookie}\r\n")).await;
    assert_ne!(name, own);
    assert_ne!(pair(&head), cookie);
}

#[tokio::test(flavor = "multi_thread")]
async fn websockets_and_event_streams_get_and_follow_the_cookie() {
    let (a, b) = (Checked::named("a").await, Checked::named("b").await);
    let gate = Gate::start(&balanced(&[&a.url(), &b.url()], BY_COOKIE)).await;
    let (_socket, head) = tunnel(&gate, "").await;
    let cookie = format!("Cookie: {}\r\n", pair(&head));
    let own = if a.requests().is_empty() { &b } else { &a };
    let (_second, head) = tunnel(&gate, &cookie).await;
    assert_eq!(head.get("set-cookie"), None);
    assert_eq!(own.requests().len(), 2);
    let mut events = gate.tls().await;
    events
        .send(format!(
            "GET /events HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n"
        ))
        .await;
    assert_eq!(events.head().await.get("set-cookie"), None);
    assert_eq!(own.requests().len(), 3);
    let mut clear = gate.clear().await;
    clear
        .send("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await;
    let head = clear.head().await;
    assert!(pair(&head) != cookie && !head.get("set-cookie").unwrap().contains("Secure"));
}

fn one_place(backend: &Backend, keys: &str) -> String {
    let server = format!(
        "{{ url = \"http://{}\", max_connections = 1 }}",
        backend.address()
    );
    balanced(&[&server], keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_finds_every_server_full_waits_for_a_place() {
    let mut backend = Backend::by_hand().await;
    let gate = Gate::start(&one_place(&backend, "max_wait = \"10s\"\n")).await;
    let (mut first, mut second) = (gate.tls().await, gate.tls().await);
    first.send(ASK).await;
    let mut held = backend.next().await;
    second.send(ASK).await;
    stays_pending(
        "a request beyond the limit",
        Duration::from_millis(200),
        backend.next(),
    )
    .await;
    held.answer("200 OK", "one").await;
    assert_eq!(first.head().await.status(), 200);
    assert_eq!(first.text().await, "one");
    // Another worker may have the next one, and a connection of its own.
    drop(held);
    let mut next = backend.next().await;
    next.answer("200 OK", "two").await;
    assert_eq!(second.head().await.status(), 200);
    assert_eq!(second.text().await, "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_wait_and_the_number_of_those_who_wait_it_is_503() {
    let mut backend = Backend::by_hand().await;
    let keys = "max_wait = \"500ms\"\nmax_waiting = 1\n";
    let gate = Gate::start(&one_place(&backend, keys)).await;
    // A stream holds its place as long as it lives.
    let mut stream = gate.tls().await;
    stream.send(handshake("/ws", "")).await;
    let tunnel = backend.next().await.into_tunnel().await;
    stream.head().await;
    let (mut waits, mut too_many) = (gate.tls().await, gate.tls().await);
    let (one, other) = tokio::join!(
        async {
            waits.send(ASK).await;
            waits.head().await
        },
        async {
            too_many.send(ASK).await;
            too_many.head().await
        }
    );
    for head in [one, other] {
        assert_eq!(head.status(), 503);
        assert_eq!(head.get("retry-after"), Some("1"));
        let cause = head.get("proxy-status").expect("RFC 9209");
        assert!(cause.contains("destination_unavailable"), "{cause}");
    }
    drop((stream, tunnel));
    gate.logged("the stream's end", |line| line.message() == "stream close")
        .await;
    let mut client = gate.tls().await;
    client.send(ASK).await;
    backend.next().await.answer("200 OK", "free").await;
    assert_eq!(client.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_the_queue_frees_its_place_in_it() {
    let mut backend = Backend::by_hand().await;
    let keys = "max_wait = \"60s\"\nmax_waiting = 1\n";
    let gate = Gate::start(&one_place(&backend, keys)).await;
    let mut first = gate.tls().await;
    first.send(ASK).await;
    let mut held = backend.next().await;
    let mut leaves = gate.tls().await;
    leaves.send(ASK).await;
    stays_pending(
        "an answer while all is full",
        Duration::from_millis(200),
        leaves.head(),
    )
    .await;
    drop(leaves);
    gate.logged("the one who left", |line| {
        line.message() == "request" && line.has("end", "client")
    })
    .await;
    let mut stays = gate.tls().await;
    stays.send(ASK).await;
    held.answer("200 OK", "one").await;
    first.head().await;
    first.text().await;
    // Another worker may have the next one, and a connection of its own.
    drop(held);
    let mut next = backend.next().await;
    next.answer("200 OK", "two").await;
    assert_eq!(stays.head().await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_sends_what_it_cannot_take_to_another() {
    let mut hand = Backend::by_hand().await;
    let other = Checked::named("other").await;
    let full = format!(
        "{{ url = \"http://{}\", max_connections = 1, weight = 100 }}",
        hand.address()
    );
    let gate = Gate::start(&balanced(
        &[&full, &other.url(), &refusing()],
        "retries = 2\n",
    ))
    .await;
    let mut first = gate.tls().await;
    let mut held = loop {
        // Whose turn comes first is left to chance.
        first.send(ASK).await;
        tokio::select! {
            held = hand.next() => break held,
            head = first.head() => assert_eq!(head.status(), 200),
        }
        first.text().await;
    };
    assert_eq!(answers(&gate, 10).await, counts([("other", 10)]));
    held.answer("200 OK", "").await;
    assert_eq!(first.head().await.status(), 200);
}

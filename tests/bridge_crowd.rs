//! A crowd of the bridge's clients whose lines break together, and who come back together.

use futures_util::StreamExt;
use futures_util::stream;

use crate::bridge::{bridge, message_at, open};
use crate::harness::{Backend, Gate, Subscriber};

/// Handshakes under way at once: the test's own tasks take turns beyond that, as a crowd's do in the kernel's queue.
const AT_ONCE: usize = 256;

/// How many clients: `STREAMGATE_TEST_CLIENTS`, else 100.
fn many() -> usize {
    let number = std::env::var("STREAMGATE_TEST_CLIENTS");
    number.map_or(100, |number| number.parse().expect("a number"))
}

/// As many subscribers as there are cursors, their preludes read; and whether any of them was told of a gap.
async fn come(gate: &Gate, cursors: Vec<Option<String>>) -> Vec<Subscriber> {
    let opening = cursors.into_iter().map(|cursor| async move {
        let mut subscriber = Subscriber::open(gate, "/live/a", cursor.as_deref()).await;
        let (_open, gap) = subscriber.opened().await;
        assert!(gap.is_none(), "nothing is missing, but: {gap:?}");
        subscriber
    });
    stream::iter(opening).buffered(AT_ONCE).collect().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_whose_lines_break_comes_back_at_once_and_misses_nothing() {
    let mut backend = Backend::by_hand().await;
    // The feed is played by hand and answers no ping while the crowd is on its way.
    let gate = Gate::start(&bridge(&backend, "idle = { ping = \"10m\" }")).await;
    let (_first, mut feed) = open(&gate, &mut backend).await;
    let mut crowd = come(&gate, vec![None; many()]).await;
    let at_rest = gate.memory();
    feed.text("before").await;
    let mut cursors = Vec::new();
    for subscriber in &mut crowd {
        let (data, id) = message_at(subscriber).await;
        assert_eq!(data, "before");
        cursors.push(Some(id));
    }
    drop(crowd);
    feed.text("missed").await;
    let mut crowd = come(&gate, cursors).await;
    feed.text("after").await;
    for subscriber in &mut crowd {
        assert_eq!(message_at(subscriber).await.0, "missed");
        assert_eq!(message_at(subscriber).await.0, "after");
    }
    let (crowd, after) = (crowd.len() as u64, gate.memory());
    println!(
        "{crowd} clients: {at_rest} bytes before their lines broke, {after} after they were back"
    );
    // The same crowd needs what it needed; handshakes leave some fragments.
    assert!(
        after < at_rest + at_rest / 2 + (8 << 20),
        "{at_rest}, then {after}"
    );
}

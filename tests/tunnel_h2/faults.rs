//! Tunnels within HTTP/2 that end before their time: RST_STREAM and RST, and connections that are lost.

use h2::Reason;
use tokio::task::JoinSet;

use super::{gate, open};
use crate::harness::{Backend, Gate, H2Client, VERSION_13, reset, within};

async fn reason_of_the_end(gate: &Gate) -> Option<String> {
    let close = gate.logged("the close record", |line| line.message() == "stream close");
    close.await.text("reason")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_s_reset_ends_the_backend_s_connection_at_once() {
    for reason in [Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR] {
        let mut backend = Backend::by_hand().await;
        let gate = gate(&backend).await;
        let mut client = H2Client::connect(&gate).await;
        let (mut tunnel, mut exchange) = open(&mut client, &mut backend).await;
        tunnel.send("hello");
        assert_eq!(exchange.wire.raw(5).await, b"hello");
        tunnel.reset(reason);
        // A tunnel that took this for a half-close would wait for the backend's own end.
        assert_eq!(
            reason_of_the_end(&gate).await.as_deref(),
            Some("client"),
            "{reason:?}"
        );
        exchange.wire.raw_until_close_unbounded().await;
    }
}

/// A client's message of this many bytes, all of them its number.
fn message(number: u8, length: u16) -> Vec<u8> {
    let mut frame = vec![0x82, 0xfe];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.resize(8 + usize::from(length), number);
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_before_a_reset_arrives_as_a_beginning_and_is_never_doubled() {
    const LENGTH: u16 = 10_000;
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    let (mut sibling, mut other) = open(&mut client, &mut backend).await;
    let mut heard = JoinSet::new();
    for messages in [0, 1, 2, 10, 40] {
        for flushed in [false, true] {
            let (mut tunnel, mut exchange) = open(&mut client, &mut backend).await;
            let said: Vec<u8> = (0..messages).flat_map(|at| message(at, LENGTH)).collect();
            if !said.is_empty() {
                tunnel.send(said.clone());
            }
            if flushed {
                client.ping().await;
            }
            tunnel.reset(Reason::CANCEL);
            // All at once: each waits a while for the backend's answer to its Close.
            heard.spawn(async move { (said, exchange.wire.raw_until_close().await) });
            sibling.send("unharmed");
            assert_eq!(other.wire.raw(8).await, b"unharmed");
        }
    }
    for (said, heard) in within("the ends", heard.join_all()).await {
        let same = heard.iter().zip(&said).take_while(|(a, b)| a == b).count();
        let behind = &heard[same..];
        // A Close of ours, where a message ended; nothing else.
        assert!(
            behind.is_empty() || behind[0] == 0x88 && same % (8 + usize::from(LENGTH)) == 0,
            "{same} of {} bytes, then {behind:?}",
            said.len()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_s_reset_is_noticed_while_its_backend_reads_nothing() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    let (mut tunnel, exchange) = open(&mut client, &mut backend).await;
    // More than all buffers on the way take.
    tunnel.send(vec![7; 32 << 20]);
    let sent = within("the window to be used up", async {
        loop {
            client.ping().await;
            let free = tunnel.up.capacity();
            if free == 0 {
                return;
            }
        }
    });
    sent.await;
    tunnel.reset(Reason::CANCEL);
    assert_eq!(reason_of_the_end(&gate).await.as_deref(), Some("client"));
    drop(exchange);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_s_reset_behind_its_end_is_noticed_too() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    let (mut tunnel, mut exchange) = open(&mut client, &mut backend).await;
    tunnel.half_close();
    // An end without a Close is none: the backend is told that its client has gone.
    exchange.wire.raw_until_close_unbounded().await;
    tunnel.reset(Reason::CANCEL);
    assert_eq!(reason_of_the_end(&gate).await.as_deref(), Some("client"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_resets_before_the_answer_leaves_nothing_behind() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    let (response, mut send) = client.connect_to("/ws", VERSION_13).await;
    let mut exchange = backend.next().await;
    send.send_reset(Reason::CANCEL);
    drop(response);
    exchange.wire.raw_until_close_unbounded().await;
    // The connection is as good as before.
    open(&mut client, &mut backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resets_that_race_the_answer_leave_nothing_behind() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    for _ in 0..60 {
        let (response, mut send) = client.connect_to("/ws", VERSION_13).await;
        let mut exchange = backend.next().await;
        let answer = exchange.switching_protocols("");
        let _ = exchange.wire.try_send(answer.as_bytes()).await;
        send.send_reset(Reason::CANCEL);
        drop(response);
        // A Close, or the end where there was no tunnel yet.
        exchange.wire.some_raw().await;
    }
    open(&mut client, &mut backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_s_reset_ends_the_stream_with_a_close_and_no_other() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    let (mut sibling, mut other) = open(&mut client, &mut backend).await;
    let (mut tunnel, mut exchange) = open(&mut client, &mut backend).await;
    exchange.wire.send(b"\x81\x05hello").await;
    assert_eq!(tunnel.raw(7).await, b"\x81\x05hello");
    reset(exchange.wire.into_parts().0);
    // 1013, between two frames: try again later.
    let close = tunnel.raw_until_end().await;
    assert_eq!(
        (close[0], &close[2..4]),
        (0x88, &1013_u16.to_be_bytes()[..])
    );
    assert_eq!(
        reason_of_the_end(&gate).await.as_deref(),
        Some("backend_failed")
    );
    sibling.send("unharmed");
    assert_eq!(other.wire.raw(8).await, b"unharmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_ends_all_its_tunnels() {
    let mut backend = Backend::by_hand().await;
    let gate = gate(&backend).await;
    let mut client = H2Client::connect(&gate).await;
    let mut ends = Vec::new();
    let mut exchanges = Vec::new();
    for _ in 0..10 {
        let (tunnel, exchange) = open(&mut client, &mut backend).await;
        ends.push(tunnel);
        exchanges.push(exchange);
    }
    drop(client);
    for mut exchange in exchanges {
        exchange.wire.raw_until_close_unbounded().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_for_stream_idle_ends_a_tunnel_and_not_its_connection() {
    let mut backend = Backend::by_hand().await;
    let text = format!(
        "{}timeouts = {{ stream_idle = \"500ms\" }}\n{}",
        backend.for_everything(),
        super::LISTEN
    );
    let gate = Gate::start(&text).await;
    let mut client = H2Client::connect(&gate).await;
    let (_tunnel, mut exchange) = open(&mut client, &mut backend).await;
    exchange.wire.raw_until_close_unbounded().await;
    assert_eq!(reason_of_the_end(&gate).await.as_deref(), Some("idle"));
    open(&mut client, &mut backend).await;
}

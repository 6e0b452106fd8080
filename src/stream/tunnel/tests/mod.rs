//! A tunnel between two pipes in memory, with the clock in the test's hand.

mod orders;

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use super::*;
use crate::config::model::WebSocket;
use crate::stream::follow::Follower;
use crate::websocket::boundary::{Extensions, Sender};

const PIPE: usize = 256;

/// A tunnel with these rules, the client's and the backend's ends of it.
fn tunnel(
    rules: &WebSocket,
) -> (
    Tunnel<DuplexStream, DuplexStream>,
    DuplexStream,
    DuplexStream,
) {
    let (client, near) = duplex(PIPE);
    let (backend, far) = duplex(PIPE);
    (between(rules, near, far), client, backend)
}

fn between<C, B>(rules: &WebSocket, client: C, backend: B) -> Tunnel<C, B>
where
    C: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let direction = |sender| {
        let follower = Follower::new(sender, Extensions::None, rules);
        Direction::new(sender, follower, Bytes::new(), Bytes::new())
    };
    Tunnel::new(
        (client, backend),
        (direction(Sender::Client), direction(Sender::Server)),
        Lifetime::new(Some(Duration::from_secs(600)), None),
        start::hearts(rules, Instant::now()),
    )
}

fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let key = [1, 2, 3, 4];
    let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8];
    frame.extend_from_slice(&key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k));
    frame
}

fn plain(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, payload.len() as u8];
    frame.extend_from_slice(payload);
    frame
}

fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    plain(8, &[&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

fn beating() -> WebSocket {
    WebSocket {
        heartbeat: Some(Duration::from_secs(15)),
        ..WebSocket::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_goes_without_a_close_is_told_to_the_client() {
    let (mut tunnel, mut client, mut backend) = tunnel(&WebSocket::default());
    let peers = async {
        backend.write_all(&plain(1, b"last")).await.unwrap();
        backend.shutdown().await.unwrap();
        let mut expected = plain(1, b"last");
        expected.extend(close_frame(1013, "try again later"));
        let mut heard = vec![0; expected.len()];
        client.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, expected);
        // The client's answer still reaches who went half.
        client.write_all(&masked(8, b"")).await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        drop(client);
        let mut heard = Vec::new();
        backend.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, masked(8, b""));
    };
    let (end, ()) = tokio::join!(poll_fn(|cx| tunnel.poll(cx)), peers);
    assert_eq!(end, End::BackendFailed);
    assert_eq!(tunnel.close_code(), Some(1013));
    assert_eq!(tunnel.down.follower().messages(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_close_that_nobody_answers_ends_the_tunnel_in_a_minute() {
    let (mut tunnel, mut client, mut backend) = tunnel(&WebSocket::default());
    let begun = Instant::now();
    client.write_all(&masked(8, b"")).await.unwrap();
    client.shutdown().await.unwrap();
    let peers = async {
        let mut heard = Vec::new();
        backend.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, masked(8, b""));
    };
    let (end, ()) = tokio::join!(poll_fn(|cx| tunnel.poll(cx)), peers);
    assert_eq!(end, End::Client);
    let waited = begun.elapsed();
    assert!((60..70).contains(&waited.as_secs()), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_close_right_behind_what_is_forbidden_does_not_stand_for_ours() {
    let limited = WebSocket {
        message_size: Some(3),
        ..WebSocket::default()
    };
    let strict = WebSocket {
        strict: true,
        ..WebSocket::default()
    };
    let too_big = [masked(1, b"more"), masked(8, b"")].concat();
    for (rules, bytes, code) in [(limited, too_big, 1009), (strict, masked(8, b"x"), 1002)] {
        let (mut tunnel, mut client, mut backend) = tunnel(&rules);
        let peers = async {
            client.write_all(&bytes).await.unwrap();
            client.shutdown().await.unwrap();
            let mut heard = Vec::new();
            client.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard[2..4], u16::to_be_bytes(code));
            drop(client);
            let mut heard = Vec::new();
            backend.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard[0], 0x88, "{code}: {heard:?}");
        };
        let (_end, ()) = tokio::join!(poll_fn(|cx| tunnel.poll(cx)), peers);
        assert_eq!(tunnel.close_code(), Some(code));
    }
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_is_half_sent_is_finished_before_the_close() {
    let (mut tunnel, mut client, mut backend) = tunnel(&WebSocket::default());
    let message = plain(2, &[7; 100]);
    backend.write_all(&message[..50]).await.unwrap();
    let mut heard = [0; 50];
    tokio::select! {
        end = poll_fn(|cx| tunnel.poll(cx)) => panic!("{end:?}"),
        read = client.read_exact(&mut heard) => { read.unwrap(); }
    }
    tunnel.cut(
        End::Drain,
        CloseCode::GoingAway,
        Instant::now() + Ending::FINISH,
    );
    let peers = async {
        backend.write_all(&message[50..]).await.unwrap();
        backend.write_all(&plain(1, b"too late")).await.unwrap();
        let mut rest = Vec::new();
        client.write_all(&masked(8, b"")).await.unwrap();
        client.read_to_end(&mut rest).await.unwrap();
        assert_eq!(
            rest,
            [&message[50..], &close_frame(1001, "going away")].concat()
        );
        let mut heard = Vec::new();
        drop(client);
        backend.shutdown().await.unwrap();
        backend.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard[..2], [0x88, 0x8c]);
    };
    let (end, ()) = tokio::join!(poll_fn(|cx| tunnel.poll(cx)), peers);
    assert_eq!(end, End::Drain);
}

#[tokio::test(start_paused = true)]
async fn no_close_stands_within_a_frame_that_is_never_finished() {
    let (mut tunnel, mut client, mut backend) = tunnel(&WebSocket::default());
    backend.write_all(&[0x82, 100, 1, 2, 3]).await.unwrap();
    let mut heard = [0; 5];
    tokio::select! {
        end = poll_fn(|cx| tunnel.poll(cx)) => panic!("{end:?}"),
        read = client.read_exact(&mut heard) => { read.unwrap(); }
    }
    let begun = Instant::now();
    tunnel.cut(End::Drain, CloseCode::GoingAway, begun + Ending::FINISH);
    let mut rest = Vec::new();
    let (end, read) = tokio::join!(poll_fn(|cx| tunnel.poll(cx)), client.read_to_end(&mut rest));
    read.unwrap();
    assert!(rest.is_empty(), "{rest:?}");
    assert_eq!(end, End::Drain);
    assert!(
        begun.elapsed() <= Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn our_pongs_are_swallowed_and_theirs_are_not() {
    let (mut tunnel, mut client, mut backend) = tunnel(&beating());
    let peers = async {
        let mut ping = [0; 10];
        client.read_exact(&mut ping).await.unwrap();
        assert_eq!(ping[..2], [0x89, 8]);
        let mut to_backend = [0; 14];
        backend.read_exact(&mut to_backend).await.unwrap();
        assert_eq!(to_backend[..2], [0x89, 0x88]);
        let theirs = masked(10, b"12345678");
        for byte in [&theirs[..], &masked(10, &ping[2..]), &masked(1, b"hello")].concat() {
            client.write_all(&[byte]).await.unwrap();
        }
        let expected = [&theirs[..], &masked(1, b"hello")].concat();
        let mut heard = vec![0; expected.len()];
        backend.read_exact(&mut heard).await.unwrap();
        assert_eq!(heard, expected);
    };
    tokio::select! {
        end = poll_fn(|cx| tunnel.poll(cx)) => panic!("{end:?}"),
        () = peers => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_answers_no_ping_is_dead_within_ping_and_pong() {
    let begun = Instant::now();
    let (mut tunnel, mut client, mut backend) = tunnel(&beating());
    let peers = async {
        let mut heard = vec![0; 14];
        backend.read_exact(&mut heard).await.unwrap();
        // Any frame will do; the client says nothing.
        backend.write_all(&plain(10, b"")).await.unwrap();
        let mut close = [0; 6];
        backend.read_exact(&mut close).await.unwrap();
        assert_eq!(close[0], 0x88);
        assert!(begun.elapsed() <= Duration::from_millis(26_600));
        let mut pinged = [0; 12];
        client.read_exact(&mut pinged).await.unwrap();
        backend
    };
    let (end, _backend) = tokio::join!(poll_fn(|cx| tunnel.poll(cx)), peers);
    assert_eq!(end, End::ClientDead);
    assert_eq!(tunnel.close_code(), Some(1001));
}

#[tokio::test(start_paused = true)]
async fn a_ping_of_the_other_peer_s_stands_for_ours() {
    let (mut tunnel, mut client, mut backend) = tunnel(&beating());
    let theirs = plain(9, b"theirs");
    let peers = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        backend.write_all(&theirs).await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        // A client that answers the last ping alone would have left the backend without its pong.
        assert_eq!(heard, theirs);
    };
    let begun = Instant::now();
    let (end, ()) = tokio::join!(poll_fn(|cx| tunnel.poll(cx)), peers);
    // It is found all the same.
    assert_eq!(end, End::ClientDead);
    assert!(begun.elapsed() <= Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn pings_are_no_activity() {
    let begun = Instant::now();
    let (mut tunnel, mut client, backend) = tunnel(&WebSocket::default());
    let pinging = async {
        loop {
            tokio::time::sleep(Duration::from_secs(100)).await;
            if client.write_all(&masked(9, b"")).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    let end = tokio::select! {
        end = poll_fn(|cx| tunnel.poll(cx)) => end,
        () = pinging => unreachable!(),
    };
    assert_eq!(end, End::Idle);
    assert!(begun.elapsed() <= Duration::from_secs(604));
    drop(backend);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_talks_on_does_not_hold_a_tunnel_whose_other_end_is_gone() {
    let begun = Instant::now();
    let (mut tunnel, client, mut backend) = tunnel(&WebSocket::default());
    drop(client);
    let talking = async {
        while backend.write_all(&plain(1, b"still here")).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        std::future::pending::<()>().await;
    };
    let end = tokio::select! {
        end = poll_fn(|cx| tunnel.poll(cx)) => end,
        () = talking => unreachable!(),
    };
    assert_eq!(end, End::Client);
    assert!(
        begun.elapsed() <= Duration::from_secs(9),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_tunnel_that_waits_is_small() {
    let size = size_of::<Tunnel<crate::tls::ClientStream, ServerStream>>();
    assert!(size <= 640, "{size} bytes");
    fn of<A, B, F>(_run: impl FnOnce(A, B) -> F) -> usize {
        size_of::<F>()
    }
    // All that is allocated for one, but for what its sockets and clocks hold themselves.
    let size = of(run);
    assert!(size <= 1_400, "{size} bytes");
}

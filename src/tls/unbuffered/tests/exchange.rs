//! What one side says the other hears, however the bytes are split.

use proptest::prelude::*;
use rustls::HandshakeKind;
use rustls::crypto::aws_lc_rs::kx_group::{SECP384R1, X25519};

use super::*;

fn text(length: usize, seed: u8) -> Vec<u8> {
    (0..length)
        .map(|i| (i as u8).wrapping_mul(31) ^ seed)
        .collect()
}

/// Portions of a wire: some of them nothing at all, not every one.
fn portions() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(
        prop_oneof![Just(0_usize), 1..40_usize, 1..30_000_usize],
        0..6,
    )
    .prop_map(|mut sizes| {
        sizes.push(5000);
        sizes
    })
}

fn version() -> impl Strategy<Value = &'static SupportedProtocolVersion> {
    prop::sample::select(BOTH.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_split_of_what_comes_gives_the_same_bytes(
        version in version(),
        gives in portions(),
        room in 1..40_000_usize,
        messages in prop::collection::vec(0..40_000_usize, 1..6),
    ) {
        let mut pair = Meeting::new(version).connect(Wire::new(&gives, &[]));
        let mut expected = Vec::new();
        let mut read = Vec::new();
        for (seed, length) in messages.into_iter().enumerate() {
            let message = text(length, seed as u8);
            pair.says(&message);
            expected.extend(message);
            if seed % 2 == 0 {
                read.extend(pair.read_all(room.max(64)));
            }
        }
        read.extend(pair.read_all(room.max(64)));
        prop_assert!(read == expected);
        pair.assert_holds_nothing();
    }

    #[test]
    fn nothing_is_lost_on_a_socket_that_takes_little(
        version in version(),
        takes in portions(),
        writes in prop::collection::vec(prop::collection::vec(0..70_000_usize, 1..4), 1..5),
    ) {
        let mut pair = Meeting::new(version).connect(Wire::new(&[], &takes));
        let (mut expected, mut heard) = (Vec::new(), Vec::new());
        for lengths in writes {
            let pieces: Vec<_> = lengths.iter().map(|&length| text(length, 7)).collect();
            let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let written = pair.write(&slices).unwrap();
            let all = pieces.concat();
            prop_assert!(written > 0 || all.is_empty());
            expected.extend_from_slice(&all[..written]);
            heard.extend(pair.heard());
        }
        pair.flush();
        heard.extend(pair.heard());
        prop_assert!(heard == expected);
        pair.assert_holds_nothing();
    }
}

#[test]
fn a_handshake_byte_by_byte_is_one_like_any_other() {
    for version in BOTH {
        let mut pair = Meeting::new(version).connect(Wire::new(&[0, 1], &[1]));
        pair.assert_holds_nothing();
        pair.says(b"hello");
        assert_eq!(pair.read_all(64), b"hello");
        pair.write_all(b"hello, too");
        assert_eq!(pair.heard(), b"hello, too");
    }
}

#[test]
fn a_client_that_guessed_the_wrong_key_exchange_is_asked_again() {
    let meeting = Meeting::with_groups(&TLS13, vec![X25519, SECP384R1], vec![SECP384R1]);
    let mut pair = meeting.connect(Wire::new(&[300], &[100]));
    let kind = pair.client.tls.handshake_kind();
    assert_eq!(kind, Some(HandshakeKind::FullWithHelloRetryRequest));
    pair.says(b"hello");
    assert_eq!(pair.read_all(64), b"hello");
}

#[test]
fn what_comes_with_the_last_flight_is_not_lost() {
    for version in BOTH {
        let meeting = Meeting::new(version);
        let mut client = meeting.client();
        // It is sealed as soon as the client may, and goes out with its last flight.
        client.tls.writer().write_all(b"early").unwrap();
        let mut pair = meeting.connect_with(Wire::default(), client).unwrap();
        assert_eq!(pair.read_all(2), b"early");
        pair.assert_holds_nothing();
    }
}

#[test]
fn a_client_s_key_update_is_answered_with_the_next_write() {
    let mut pair = Meeting::new(&TLS13).connect(Wire::default());
    for round in 0..100 {
        pair.client.tls.refresh_traffic_keys().unwrap();
        pair.says(b"under new keys");
        assert_eq!(pair.read_all(64), b"under new keys", "in round {round}");
        pair.write_all(b"under new keys, too");
        assert_eq!(pair.heard(), b"under new keys, too", "in round {round}");
    }
    pair.assert_holds_nothing();
}

#[test]
fn a_peer_that_takes_nothing_is_kept_one_batch_for() {
    let mut pair = Meeting::new(&TLS13).connect(Wire::default());
    pair.wire().stick(true);
    let data = text(1 << 20, 1);
    let mut cx = Context::from_waker(Waker::noop());
    let written = Pin::new(&mut pair.stream).poll_write(&mut cx, &data);
    let Poll::Ready(Ok(written)) = written else {
        panic!("the first batch is taken");
    };
    assert!(
        Pin::new(&mut pair.stream)
            .poll_write(&mut cx, &data[written..])
            .is_pending()
    );
    assert!(pair.stream.session.memory() < 66 * 1024);
    // It is heard all the same.
    pair.says(b"hello");
    assert_eq!(pair.read_all(64), b"hello");
    pair.wire().stick(false);
    pair.write_all(&data[written..]);
    assert!(pair.heard() == data);
    pair.assert_holds_nothing();
}

#[test]
fn a_reader_with_little_room_has_one_record_kept_for_it() {
    let mut pair = Meeting::new(&TLS13).connect(Wire::default());
    let data = text(1 << 20, 2);
    pair.says(&data);
    let mut read = Vec::new();
    while let Some(bytes) = pair.read(1000) {
        read.extend(bytes.unwrap());
        assert!(pair.stream.session.memory() < 3 * LARGEST_RECORD);
    }
    assert!(read == data);
    pair.assert_holds_nothing();
}

/// Both sides write before they read what they were sent: each wakes the other, or nothing moves any more.
#[tokio::test]
async fn full_sockets_in_both_directions_lose_no_wake_up() {
    for version in BOTH {
        let meeting = Meeting::new(version);
        let (near, far) = sockets().await;
        let connector = tokio_rustls::TlsConnector::from(meeting.client.clone());
        let (client, server) = tokio::join!(
            connector.connect("a.test".try_into().unwrap(), far),
            Stream::accept(near, meeting.server.clone())
        );
        let data = text(1 << 20, 3);
        let both = async {
            tokio::join!(
                both_ways(client.unwrap(), &data),
                both_ways(server.unwrap(), &data)
            )
        };
        tokio::time::timeout(std::time::Duration::from_secs(60), both)
            .await
            .expect("it moves on");
    }
}

/// Two ends of a connection with little room in it.
async fn sockets() -> (tokio::net::TcpStream, tokio::net::TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let far = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
    let (far, accepted) = tokio::join!(far, listener.accept());
    let (far, near) = (far.unwrap(), accepted.unwrap().0);
    for socket in [&near, &far] {
        // Not so little that TCP waits for its own timers (a part of a segment, an acknowledgement that is put off).
        socket.set_nodelay(true).unwrap();
        let socket = socket2::SockRef::from(socket);
        socket.set_send_buffer_size(32 * 1024).unwrap();
    }
    (near, far)
}

async fn both_ways<S: AsyncRead + AsyncWrite + Unpin>(stream: S, data: &[u8]) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        writer.write_all(data).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let read = async {
        let mut read = Vec::new();
        reader.read_to_end(&mut read).await.unwrap();
        read
    };
    let ((), read) = tokio::join!(write, read);
    assert!(read == data);
}

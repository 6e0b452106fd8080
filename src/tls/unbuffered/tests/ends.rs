//! How a connection ends: in order, torn, or with a fault.

use rustls::{AlertDescription, Error, InvalidMessage};

use super::*;

fn fault(error: &io::Error) -> &Error {
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    error.get_ref().unwrap().downcast_ref().unwrap()
}

#[test]
fn a_close_notify_ends_the_client_s_direction_alone() {
    for version in BOTH {
        let mut pair = Meeting::new(version).connect(Wire::default());
        pair.says(b"last words");
        pair.client.tls.send_close_notify();
        exchange(&mut pair.client, &pair.stream.io().clone());
        assert_eq!(pair.read(64).unwrap().unwrap(), b"last words");
        for _ in 0..2 {
            assert_eq!(pair.read(64).unwrap().unwrap(), b"", "an end in order");
        }
        pair.write_all(b"an answer");
        assert_eq!(pair.heard(), b"an answer");
        pair.assert_holds_nothing();
    }
}

#[test]
fn a_torn_connection_is_an_error_behind_what_came() {
    let mut pair = Meeting::new(&TLS13).connect(Wire::default());
    pair.says(b"last words");
    pair.wire().end();
    assert_eq!(pair.read(64).unwrap().unwrap(), b"last words");
    for _ in 0..2 {
        let error = pair.read(64).unwrap().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
    pair.write_all(b"an answer");
    assert_eq!(pair.heard(), b"an answer");
}

#[test]
fn an_end_within_a_handshake_is_an_error() {
    let meeting = Meeting::new(&TLS13);
    let wire = Wire::default();
    wire.incoming().write_all(b"\x16\x03\x01").unwrap();
    wire.end();
    let mut accept = pin!(Stream::accept(wire, meeting.server.clone()));
    let Poll::Ready(Err(error)) = poll(accept.as_mut()) else {
        panic!("it is over");
    };
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn shutting_down_tells_the_client_the_end_once() {
    for version in BOTH {
        let mut pair = Meeting::new(version).connect(Wire::new(&[], &[3]));
        pair.write_all(b"last words");
        for _ in 0..2 {
            pair.drive(|stream, cx| Pin::new(stream).poll_shutdown(cx))
                .unwrap();
        }
        assert!(pair.wire().was_shut());
        assert_eq!(pair.heard(), b"last words");
        // `Ok` is an end in order.
        assert_eq!(pair.client.tls.reader().read(&mut [0]).unwrap(), 0);
        let error = pair.write(&[IoSlice::new(b"more")]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        // The client may go on.
        pair.says(b"still there");
        assert_eq!(pair.read_all(64), b"still there");
        pair.assert_holds_nothing();
    }
}

#[test]
fn garbage_is_a_fault_behind_what_came_and_the_client_is_told() {
    let cases: [(&[u8], AlertDescription); 3] = [
        (
            b"\x17\x03\x03\x00\x20aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            AlertDescription::BadRecordMac,
        ),
        (b"GET / HTTP/1.1\r\n\r\n", AlertDescription::DecodeError),
        // A record that is larger than any may be is refused at its head.
        (b"\x17\x03\x03\xff\xff", AlertDescription::DecodeError),
    ];
    for (garbage, alert) in cases {
        let mut pair = Meeting::new(&TLS13).connect(Wire::default());
        pair.says(b"last words");
        pair.wire().incoming().write_all(garbage).unwrap();
        assert_eq!(pair.read(64).unwrap().unwrap(), b"last words");
        for _ in 0..2 {
            fault(&pair.read(64).unwrap().unwrap_err());
        }
        fault(&pair.write(&[IoSlice::new(b"more")]).unwrap_err());
        let told = pair.client.tls.process_new_packets();
        assert_eq!(told.unwrap_err(), Error::AlertReceived(alert));
        pair.drive(|stream, cx| Pin::new(stream).poll_shutdown(cx))
            .unwrap();
        pair.assert_holds_nothing();
    }
}

#[test]
fn garbage_in_place_of_a_handshake_is_a_fault_at_once() {
    let meeting = Meeting::new(&TLS13);
    let wire = Wire::default();
    wire.incoming().write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let mut accept = pin!(Stream::accept(wire.clone(), meeting.server.clone()));
    let Poll::Ready(Err(error)) = poll(accept.as_mut()) else {
        panic!("it is over");
    };
    let expected = Error::InvalidMessage(InvalidMessage::InvalidContentType);
    assert_eq!(fault(&error), &expected);
    // A fatal alert, `decode_error`.
    assert_eq!(wire.take_sent(), b"\x15\x03\x03\x00\x02\x02\x32");
}

#[test]
fn a_client_that_speaks_no_common_version_is_told() {
    let client = Meeting::new(&TLS12).client();
    let meeting = Meeting::new(&TLS13);
    let wire = Wire::default();
    let Err(error) = meeting.connect_with(wire, client) else {
        panic!("they have nothing in common");
    };
    assert!(matches!(fault(&error), Error::PeerIncompatible(_)));
}

//! A client that seals by hand what no library sends.

use ::aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

use super::*;

const HANDSHAKE: u8 = 22;
const ALERT: u8 = 21;
const DATA: u8 = 23;

/// A stream and the keys of its client (TLS 1.3).
struct Hostile {
    stream: Box<Stream<Wire>>,
    key: LessSafeKey,
    iv: [u8; 12],
    number: u64,
}

impl Hostile {
    fn new() -> Self {
        let Pair { client, stream } = Meeting::new(&TLS13).connect(Wire::default());
        let secrets = client.tls.dangerous_extract_secrets().unwrap();
        let (number, ConnectionTrafficSecrets::Aes128Gcm { key, iv }) = secrets.tx else {
            panic!("the suite is AES-128-GCM");
        };
        let key = UnboundKey::new(&AES_128_GCM, key.as_ref()).unwrap();
        Self {
            stream,
            key: LessSafeKey::new(key),
            iv: iv.as_ref().try_into().unwrap(),
            number,
        }
    }

    /// Sends one record (RFC 8446 §5.2).
    fn sends(&mut self, kind: u8, payload: &[u8]) {
        let mut nonce = self.iv;
        for (byte, number) in nonce[4..].iter_mut().zip(self.number.to_be_bytes()) {
            *byte ^= number;
        }
        self.number += 1;
        let mut inner = payload.to_vec();
        inner.push(kind);
        let length = (inner.len() + 16) as u16;
        let mut record = vec![DATA, 3, 3];
        record.extend(length.to_be_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let head = Aad::from(&record[..]);
        self.key
            .seal_in_place_append_tag(nonce, head, &mut inner)
            .unwrap();
        record.extend(inner);
        let wire = self.stream.io().clone();
        wire.incoming().write_all(&record).unwrap();
    }

    /// Reads until nothing is there.
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; 100_000];
        let mut buf = ReadBuf::new(&mut bytes);
        loop {
            let before = buf.filled().len();
            let mut cx = Context::from_waker(Waker::noop());
            match Pin::new(&mut self.stream).poll_read(&mut cx, &mut buf) {
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Ready(Ok(())) if buf.filled().len() > before => {}
                _ => return Ok(buf.filled().to_vec()),
            }
        }
    }

    /// Why it is over.
    fn fault(&mut self) -> rustls::Error {
        let error = self.read().unwrap_err();
        let fault = error.get_ref().unwrap();
        fault.downcast_ref::<rustls::Error>().unwrap().clone()
    }

    fn writes(&mut self, data: &[u8]) {
        let mut cx = Context::from_waker(Waker::noop());
        let written = Pin::new(&mut self.stream).poll_write(&mut cx, data);
        assert!(matches!(written, Poll::Ready(Ok(length)) if length == data.len()));
    }
}

#[test]
fn writing_between_the_halves_of_a_handshake_message_does_no_harm() {
    let mut client = Hostile::new();
    // A key update that wants none in return, in three records.
    for part in [&[24, 0][..], &[0, 1], &[0]] {
        client.writes(b"before");
        client.sends(HANDSHAKE, part);
        assert_eq!(client.read().unwrap(), b"");
        client.writes(b"behind");
    }
    assert_eq!(client.stream.session.memory(), 0);
    // Sealed under the old key.
    client.sends(DATA, b"stale");
    assert_eq!(client.fault(), rustls::Error::DecryptError);
}

#[test]
fn a_handshake_message_that_never_ends_is_kept_so_far_and_no_further() {
    let mut client = Hostile::new();
    client.sends(HANDSHAKE, &[24, 0, 0xff, 0xff]);
    for _ in 0..3 {
        client.sends(HANDSHAKE, &[0; 16_000]);
        assert_eq!(client.read().unwrap(), b"");
        client.writes(b"between");
        assert!(client.stream.session.memory() <= MOST_RECEIVED + LARGEST_RECORD);
    }
    // In many small records, which weigh more.
    for _ in 0..2_000 {
        client.sends(HANDSHAKE, &[0]);
    }
    let error = client.read().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(client.stream.session.memory() <= MOST_RECEIVED + LARGEST_RECORD);
}

#[test]
fn a_handshake_message_that_would_be_too_large_is_a_fault_at_once() {
    let mut client = Hostile::new();
    client.sends(HANDSHAKE, &[24, 1, 0, 0, 0]);
    assert!(matches!(client.fault(), rustls::Error::InvalidMessage(_)));
}

#[test]
fn fruitless_records_without_end_are_a_fault() {
    let mut client = Hostile::new();
    for _ in 0..40 {
        client.sends(DATA, b"");
    }
    assert!(matches!(client.fault(), rustls::Error::PeerMisbehaved(_)));
}

#[test]
fn key_updates_without_end_are_a_fault() {
    let mut pair = Meeting::new(&TLS13).connect(Wire::default());
    for _ in 0..40 {
        pair.client.tls.refresh_traffic_keys().unwrap();
        exchange(&mut pair.client, &pair.stream.io().clone());
    }
    let error = pair.read(64).unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(pair.stream.session.memory() < 1024);
}

#[test]
fn a_fatal_alert_is_a_fault_behind_what_came() {
    let mut client = Hostile::new();
    client.sends(DATA, b"last words");
    // `internal_error`
    client.sends(ALERT, &[2, 80]);
    let mut cx = Context::from_waker(Waker::noop());
    let mut bytes = [0; 64];
    let mut buf = ReadBuf::new(&mut bytes);
    let read = Pin::new(&mut client.stream).poll_read(&mut cx, &mut buf);
    assert!(matches!(read, Poll::Ready(Ok(()))));
    assert_eq!(buf.filled(), b"last words");
    let alert = rustls::AlertDescription::InternalError;
    assert_eq!(client.fault(), rustls::Error::AlertReceived(alert));
}

#[test]
fn what_follows_a_close_notify_is_ignored() {
    let mut client = Hostile::new();
    client.sends(DATA, b"last words");
    client.sends(ALERT, &[1, 0]);
    client.sends(DATA, b"after them");
    assert_eq!(client.read().unwrap(), b"last words");
    assert_eq!(client.read().unwrap(), b"");
    client.writes(b"an answer");
    assert_eq!(client.stream.session.memory(), 0);
}

#[test]
fn padding_is_no_data() {
    let mut client = Hostile::new();
    // The type, and zeros behind it.
    client.sends(0, &[b'x', DATA, 0, 0, 0, 0]);
    assert_eq!(client.read().unwrap(), b"x");
}

#[test]
fn a_record_with_too_much_in_it_is_a_fault() {
    let mut client = Hostile::new();
    client.sends(DATA, &[0; 16_385]);
    assert_eq!(client.fault(), rustls::Error::PeerSentOversizedRecord);
}

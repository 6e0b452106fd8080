//! The few frames that streamgate writes into a tunnel: pings and Closes, whole and short (RFC 6455 §5.5).

use super::boundary::{MAX_CONTROL, Opcode, Sender};

/// Bytes of a ping's payload: enough that no ping of the application has the same.
pub const PING_PAYLOAD: usize = 8;

/// What a ping of ours carries, and its pong brings back.
pub type PingPayload = [u8; PING_PAYLOAD];

/// A ping.
#[must_use]
pub fn ping(sender: Sender, payload: &PingPayload) -> Vec<u8> {
    control(sender, Opcode::Ping, payload)
}

/// The answer to a ping: its payload, as far as a control frame may be long.
#[must_use]
pub fn pong(sender: Sender, payload: &[u8]) -> Vec<u8> {
    let end = payload.len().min(MAX_CONTROL as usize);
    control(sender, Opcode::Pong, &payload[..end])
}

/// A Close with a code and a few words; the words end where a control frame must.
#[must_use]
pub fn close(sender: Sender, code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    let mut end = payload.len().min(MAX_CONTROL as usize);
    while !reason.is_char_boundary(end - 2) {
        end -= 1;
    }
    control(sender, Opcode::Close, &payload[..end])
}

/// Takes a client's masking off, or puts it on: it is the same (RFC 6455 §5.3).
pub fn mask(payload: &mut [u8], key: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
}

fn control(sender: Sender, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(6 + payload.len());
    frame.push(0x80 | opcode.bits());
    let length = payload.len() as u8;
    match sender {
        Sender::Server => {
            frame.push(length);
            frame.extend_from_slice(payload);
        }
        Sender::Client => {
            let key = fastrand::u32(..).to_ne_bytes();
            frame.push(0x80 | length);
            frame.extend_from_slice(&key);
            frame.extend_from_slice(payload);
            mask(&mut frame[6..], key);
        }
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::super::boundary::{Boundary, Event, Extensions};
    use super::*;

    #[test]
    fn own_frames_are_sound_for_both_peers() {
        for sender in [Sender::Client, Sender::Server] {
            for frame in [
                ping(sender, b"12345678"),
                pong(sender, b"12345678"),
                pong(sender, &[b'a'; 300]),
                close(sender, 1001, "going away"),
                close(sender, 1001, &"ü".repeat(100)),
            ] {
                let mut rest = &frame[..];
                let mut boundary = Boundary::new(sender, Extensions::None);
                assert!(matches!(boundary.next(&mut rest), Ok(Some(Event::Head(_)))));
                let mut payload = rest.to_vec();
                assert!(matches!(
                    boundary.next(&mut rest),
                    Ok(Some(Event::End { .. }))
                ));
                assert!(rest.is_empty());
                if sender == Sender::Client {
                    mask(&mut payload, frame[2..6].try_into().unwrap());
                }
                let text = payload
                    .strip_prefix(&1001u16.to_be_bytes())
                    .unwrap_or(&payload);
                assert!(std::str::from_utf8(text).is_ok(), "{text:?}");
            }
        }
    }
}

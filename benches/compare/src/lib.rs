//! What the backend and the load generator must agree on: the clock, the bodies of the fixed resources, and the layout
//! of one timestamped event.

use bytes::Bytes;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

/// Bytes of `/small`.
pub const SMALL_LEN: usize = 200;
/// Bytes of `/big`.
pub const BIG_LEN: usize = 1 << 20;

/// `CLOCK_MONOTONIC` in nanoseconds: the same clock in every process of the machine.
#[must_use]
pub fn now_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid, writable timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// The body of `/small`: printable, not trivially compressible, always the same.
#[must_use]
pub fn small_body() -> Bytes {
    pattern(SMALL_LEN)
}

/// The body of `/big`.
#[must_use]
pub fn big_body() -> Bytes {
    pattern(BIG_LEN)
}

fn pattern(len: usize) -> Bytes {
    let mut x: u32 = 0x2545_f491;
    (0..len)
        .map(|_| {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            b'!' + (x % 90) as u8
        })
        .collect()
}

/// One event: a JSON object of exactly `size` bytes (or the shortest possible, where `size` is too small) with a
/// sequence number and its send time.
#[must_use]
pub fn event(seq: u64, sent_ns: u64, size: usize) -> String {
    let mut text = format!("{{\"seq\":{seq},\"ts\":{sent_ns},\"pad\":\"");
    let pad = size.saturating_sub(text.len() + 2);
    text.extend(std::iter::repeat_n('x', pad));
    text.push_str("\"}");
    text
}

/// Reads an event back: sequence number and send time. `None` where the layout is not that of [`event`].
#[must_use]
pub fn parse_event(data: &[u8]) -> Option<(u64, u64)> {
    let rest = data.strip_prefix(b"{\"seq\":")?;
    let (seq, rest) = number(rest)?;
    let (sent_ns, rest) = number(rest.strip_prefix(b",\"ts\":")?)?;
    rest.strip_prefix(b",\"pad\":\"")?.strip_suffix(b"\"}")?;
    Some((seq, sent_ns))
}

fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|c| c.is_ascii_digit()).count();
    let value = std::str::from_utf8(&text[..digits]).ok()?.parse().ok()?;
    Some((value, &text[digits..]))
}

/// Small buffers, so that ten thousand idle connections stay cheap on our side.
#[must_use]
pub fn ws_config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(64 << 20)
}

/// Raises the limit of open files to `want`, where that is allowed, else as far as it may go.
pub fn raise_nofile(want: u64) {
    let all = libc::rlimit {
        rlim_cur: want,
        rlim_max: want,
    };
    let mut limit = all;
    // SAFETY: plain calls with valid pointers.
    unsafe {
        if libc::setrlimit(libc::RLIMIT_NOFILE, &all) != 0
            && libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0
        {
            limit.rlim_cur = limit.rlim_max.min(want).max(limit.rlim_cur);
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_read_back_and_has_the_size_asked_for() {
        for size in [64, 200, 4096] {
            let event = event(42, 123_456_789, size);
            assert_eq!(event.len(), size);
            assert_eq!(parse_event(event.as_bytes()), Some((42, 123_456_789)));
        }
    }

    #[test]
    fn damaged_events_are_refused() {
        let event = event(1, 2, 100);
        assert_eq!(parse_event(&event.as_bytes()[..99]), None);
        assert_eq!(parse_event(&event.as_bytes()[1..]), None);
        assert_eq!(parse_event(b""), None);
    }
}

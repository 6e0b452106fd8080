//! What the benchmarks read: the same bytes and tables for `micro` and for `instructions`, and the same in each run.

use std::num::NonZeroUsize;
use std::time::Duration;

use http::Method;

use streamgate::config::model::Replay;
use streamgate::route::{HostPattern, PathPattern, Router, Rule};
use streamgate::websocket::boundary::Opcode;
use streamgate::websocket::frame;

/// The hosts that routes are spread over.
const HOSTS: usize = 20;

/// A look-up: host and path.
pub(crate) type Asked = (String, String);

/// A router as a large site has it: `count` routes over twenty hosts, of each four one exact, one with a named segment
/// and two with a prefix.
pub(crate) fn router(count: usize) -> Router<usize> {
    let rule = |index: usize| {
        let host = HostPattern::parse(&host(index)).expect("the name is valid");
        let path = PathPattern::parse(&pattern(index)).expect("the pattern is valid");
        (
            Rule {
                host: Some(host),
                path,
                methods: Vec::new(),
            },
            index,
        )
    };
    Router::new((0..count).map(rule)).expect("no two rules are the same")
}

/// What leads to the route that [`router`] has at `index`.
pub(crate) fn asked(index: usize) -> Asked {
    let path = pattern(index)
        .replace("{id}", "4711")
        .replace('*', "deep/below.html");
    (host(index), path)
}

fn host(index: usize) -> String {
    format!("app-{}.example.org", index % HOSTS)
}

fn pattern(index: usize) -> String {
    match index / HOSTS % 4 {
        0 => format!("/service-{index}/status"),
        1 => format!("/service-{index}/items/{{id}}/events"),
        _ => format!("/service-{index}/*"),
    }
}

/// The head of a request as a browser sends it.
pub(crate) fn request_head() -> Vec<u8> {
    let head = "GET /rooms/lobby/events?after=17 HTTP/1.1\r\n\
        Host: app.example.org\r\n\
        User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
        Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
        Accept-Language: en-US,en;q=0.5\r\n\
        Accept-Encoding: gzip, deflate, br, zstd\r\n\
        Referer: https://app.example.org/rooms\r\n\
        Connection: keep-alive\r\n\
        Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
        Sec-Fetch-Dest: empty\r\n\
        Sec-Fetch-Mode: cors\r\n\
        Sec-Fetch-Site: same-origin\r\n\
        Priority: u=4\r\n\r\n";
    head.as_bytes().to_vec()
}

/// A message of a feed: JSON of `size` bytes or a little more.
pub(crate) fn message(size: usize) -> String {
    let mut text =
        r#"{"type":"tick","symbol":"EURUSD","payload":{"bid":1.0831,"ask":1.0833,"note":""#
            .to_owned();
    let rest = size.saturating_sub(text.len() + 3);
    text.extend(std::iter::repeat_n('x', rest));
    text.push_str("\"}}");
    text
}

/// What a channel's log keeps where nothing else is said.
pub(crate) fn replay() -> Replay {
    Replay {
        events: NonZeroUsize::new(10_000).expect("it is not zero"),
        bytes: 64 << 20,
        age: Duration::from_secs(600),
    }
}

/// One direction of a chatty WebSocket: short and longer text, binary, a message in three frames, pings and pongs.
/// `mask` makes it a client's.
pub(crate) fn frames(mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut out = Vec::new();
    for round in 0..16 {
        put(&mut out, Opcode::Text, true, mask, &message(90));
        put(&mut out, Opcode::Text, true, mask, &message(400));
        put(&mut out, Opcode::Binary, true, mask, &message(200));
        put(&mut out, Opcode::Text, false, mask, "one part, ");
        put(&mut out, Opcode::Ping, true, mask, "alive?");
        put(
            &mut out,
            Opcode::Continuation,
            false,
            mask,
            "another part, ",
        );
        put(&mut out, Opcode::Continuation, true, mask, "and the last");
        put(&mut out, Opcode::Pong, true, mask, "");
        if round == 0 {
            put(&mut out, Opcode::Binary, true, mask, &message(70_000));
        }
    }
    out
}

fn put(out: &mut Vec<u8>, opcode: Opcode, fin: bool, mask: Option<[u8; 4]>, payload: &str) {
    out.push(opcode.bits() | if fin { 0x80 } else { 0 });
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        short @ 0..126 => out.push(masked | short as u8),
        medium @ 126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(masked | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let Some(key) = mask else {
        return out.extend_from_slice(payload.as_bytes());
    };
    out.extend_from_slice(&key);
    let mut payload = payload.as_bytes().to_vec();
    frame::mask(&mut payload, key);
    out.extend_from_slice(&payload);
}

/// The method that all look-ups are for.
pub(crate) const METHOD: Method = Method::GET;

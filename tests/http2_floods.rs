//! HTTP/2 frames as bytes: floods, stalls and violations. Whatever one client sends, memory stays bounded and another client
//! is served.

mod frames;
mod limits;
mod violations;

use crate::harness::{Backend, Gate, H2Client, echo_http};
use frames::{Frames, frame, get};

/// How much more memory a flood may cost. Far below what any of them sends.
const BOUND: u64 = 24 << 20;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const PROTOCOL_ERROR: u32 = 1;
const FLOW_CONTROL_ERROR: u32 = 3;
const COMPRESSION_ERROR: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;

/// Sends `opening`, then `piece` again and again, up to `bytes`; then demands that nobody else is hurt. The reason that
/// the connection was ended for, if it was.
async fn flood(
    opening: Vec<u8>,
    mut piece: impl FnMut(u32) -> Vec<u8>,
    bytes: usize,
) -> Option<u32> {
    let backend = Backend::that(echo_http).await;
    let gate = Gate::start(&backend.for_everything()).await;
    let mut other = H2Client::connect(&gate).await;
    assert_eq!(other.get("/before").await.status(), 200);
    let before = gate.memory();
    let mut client = Frames::connect(&gate).await;
    client.send(&opening).await;
    let reason = client.flood(&mut piece, bytes).await;
    let grown = gate.memory().saturating_sub(before);
    assert!(grown < BOUND, "{grown} bytes of memory more");
    assert_eq!(other.get("/after").await.status(), 200);
    reason
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_reset_at_once_end_the_connection() {
    let pair = |number: u32| {
        let stream = 2 * number + 1;
        [
            get(stream, "/"),
            frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()),
        ]
        .concat()
    };
    assert_eq!(
        flood(Vec::new(), pair, 4 << 20).await,
        Some(ENHANCE_YOUR_CALM)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_never_ends_ends_the_connection() {
    // A literal that is never indexed, with a name and a value of one byte.
    let fields = [0x10, 1, b'x', 1, b'y'].repeat(3000);
    for piece in [fields, Vec::new()] {
        let opening = frame(HEADERS, END_STREAM, 1, &frames::head("/"));
        let more = |_| frame(CONTINUATION, 0, 1, &piece);
        let reason = flood(opening, more, 16 << 20).await;
        assert_eq!(reason, Some(ENHANCE_YOUR_CALM));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_data_frames_end_the_connection() {
    let opening = frame(HEADERS, END_HEADERS, 1, &frames::head("/"));
    let reason = flood(opening, |_| frame(DATA, 0, 1, b""), 4 << 20).await;
    assert_eq!(reason, Some(ENHANCE_YOUR_CALM));
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_want_an_answer_are_not_hoarded() {
    for (kind, payload) in [(SETTINGS, &b""[..]), (PING, b"12345678")] {
        // The client reads nothing of the answers: the server stops reading, or ends it.
        flood(Vec::new(), |_| frame(kind, 0, 0, payload), 8 << 20).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_change_little_cost_nothing() {
    let priority = |number: u32| frame(PRIORITY, 0, 2 * number + 1, &[0, 0, 0, 0, 16]);
    flood(Vec::new(), priority, 4 << 20).await;
    let update = |_| frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes());
    flood(Vec::new(), update, 4 << 20).await;
    let unknown = |_| frame(0xfa, 0xff, 0, &[0; 100]);
    flood(Vec::new(), unknown, 4 << 20).await;
}

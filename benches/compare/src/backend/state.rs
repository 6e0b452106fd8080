//! What all connections share: the fixed bodies, the common feed, the gate, the counters.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};

use bytes::Bytes;
use tokio::sync::{broadcast, watch};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use streamgate_compare::{big_body, small_body};

/// Messages of the common feed that wait for a slow connection at most; what is lost then is counted.
const FEED_QUEUE: usize = 16 << 10;

pub struct State {
    pub small: Bytes,
    pub big: Bytes,
    pub feed: broadcast::Sender<Utf8Bytes>,
    pub feed_seq: AtomicU64,
    pub gate: watch::Sender<u64>,
    pub count: Counters,
}

impl Default for State {
    fn default() -> Self {
        Self {
            small: small_body(),
            big: big_body(),
            feed: broadcast::channel(FEED_QUEUE).0,
            feed_seq: AtomicU64::new(0),
            gate: watch::channel(0).0,
            count: Counters::default(),
        }
    }
}

#[derive(Default)]
pub struct Counters {
    pub accepted: AtomicU64,
    pub small: AtomicU64,
    pub big: AtomicU64,
    pub ws_messages: AtomicU64,
    pub events: AtomicU64,
    pub feed_sent: AtomicU64,
    pub feed_lagged: AtomicU64,
    pub ws_conns: AtomicI64,
    pub sse_conns: AtomicI64,
    pub feed_conns: AtomicI64,
}

impl State {
    /// The counters as JSON.
    pub fn stats(&self) -> String {
        let count = &self.count;
        serde_json::json!({
            "accepted": count.accepted.load(Relaxed),
            "small": count.small.load(Relaxed),
            "big": count.big.load(Relaxed),
            "ws_messages": count.ws_messages.load(Relaxed),
            "events": count.events.load(Relaxed),
            "feed_sent": count.feed_sent.load(Relaxed),
            "feed_lagged": count.feed_lagged.load(Relaxed),
            "ws_conns": count.ws_conns.load(Relaxed),
            "sse_conns": count.sse_conns.load(Relaxed),
            "feed_conns": count.feed_conns.load(Relaxed),
        })
        .to_string()
    }
}

/// Counts one open connection for as long as it lives.
pub struct Held(pub Arc<State>, fn(&Counters) -> &AtomicI64);

impl Held {
    pub fn new(state: Arc<State>, which: fn(&Counters) -> &AtomicI64) -> Self {
        which(&state.count).fetch_add(1, Relaxed);
        Self(state, which)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.1)(&self.0.count).fetch_sub(1, Relaxed);
    }
}

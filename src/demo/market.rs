//! The demo's feed: a market that moves by chance, and says again to everybody what is sent to it.
//!
//! Each message is one JSON object in one text message: `{"type":"price",…}` or `{"type":"notice",…}`. It stands for
//! the WebSocket feed that somebody has already and cannot change.
//!
//! Invariants: what waits for a slow reader is bounded (it skips, for a market has no use for old prices), and prices
//! are whole cents above nothing.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tungstenite::{Message, Utf8Bytes};

use super::backend::{Socket, WRITE_TIMEOUT};

/// One price moves each time.
const TICK: Duration = Duration::from_millis(200);
/// Messages that a slow reader may be behind before it skips.
const BACKLOG: usize = 256;
/// The longest notice, in characters; the rest is cut.
const NOTICE: usize = 280;
/// The lowest price, in cents.
const FLOOR: i64 = 100;

/// Symbols, what they are, and their first price in cents.
const LISTED: [(&str, &str, i64); 6] = [
    ("TIDE", "Harbour Power", 8_412),
    ("LOOM", "Northern Weaving", 2_965),
    ("KILN", "Stone & Glaze", 14_120),
    ("RAIL", "Coastal Lines", 5_307),
    ("SEED", "Field Supply", 1_184),
    ("MOSS", "Quiet Timber", 39_750),
];

/// The market's way out to every connection that reads it.
#[derive(Debug)]
pub(super) struct Market {
    messages: broadcast::Sender<Utf8Bytes>,
}

impl Market {
    /// A market that nobody reads yet.
    pub(super) fn open() -> Self {
        let (messages, _) = broadcast::channel(BACKLOG);
        Self { messages }
    }

    /// Moves prices until the future is dropped.
    pub(super) async fn run(&self) {
        let mut quotes = LISTED.map(Quote::first);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let quote = &mut quotes[fastrand::usize(..LISTED.len())];
            quote.step(fastrand::f64());
            self.say(quote.message());
        }
    }

    /// Serves one reader until it leaves, or takes no byte for [`WRITE_TIMEOUT`].
    pub(super) async fn serve(&self, mut socket: Socket) {
        /// What woke the loop; both sources lose nothing when they are dropped while waiting.
        enum Event {
            Said(Result<Utf8Bytes, RecvError>),
            Heard(Option<Result<Message, tungstenite::Error>>),
        }
        let mut messages = self.messages.subscribe();
        loop {
            let event = tokio::select! {
                said = messages.recv() => Event::Said(said),
                heard = socket.next() => Event::Heard(heard),
            };
            match event {
                Event::Said(Ok(message)) => {
                    let sent = timeout(WRITE_TIMEOUT, socket.send(Message::Text(message))).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        return;
                    }
                }
                Event::Said(Err(RecvError::Lagged(_))) => {}
                Event::Heard(Some(Ok(Message::Text(text)))) => {
                    if let Some(message) = notice(&text, SystemTime::now()) {
                        self.say(message);
                    }
                }
                Event::Heard(Some(Ok(_))) => {}
                Event::Said(Err(RecvError::Closed)) | Event::Heard(None | Some(Err(_))) => return,
            }
        }
    }

    fn say(&self, message: String) {
        // An error means that nobody reads: the market goes on all the same.
        let _ = self.messages.send(message.into());
    }
}

/// One symbol's price.
#[derive(Debug, Clone, PartialEq)]
struct Quote {
    symbol: &'static str,
    name: &'static str,
    first: i64,
    cents: i64,
}

impl Quote {
    fn first((symbol, name, cents): (&'static str, &'static str, i64)) -> Self {
        Self {
            symbol,
            name,
            first: cents,
            cents,
        }
    }

    /// Moves the price by at most 0.6 %, and at least by a cent; `chance` is in `0.0..1.0`.
    fn step(&mut self, chance: f64) {
        let span = (self.cents * 6 / 1000).max(1);
        // A little pull towards the first price keeps a demo that runs for weeks within reason.
        let pull = (self.first - self.cents) / 200;
        // Truncation is meant, and the product is within `span`.
        let moved = ((chance * 2.0 - 1.0) * span as f64) as i64;
        let moved = if moved == 0 { 1 } else { moved };
        self.cents = (self.cents + moved + pull).max(FLOOR);
    }

    fn message(&self) -> String {
        let change = (self.cents - self.first) as f64 * 100.0 / self.first as f64;
        json!({
            "type": "price",
            "symbol": self.symbol,
            "name": self.name,
            "price": self.cents as f64 / 100.0,
            "change": (change * 100.0).round() / 100.0,
        })
        .to_string()
    }
}

/// What is said to everybody when `text` came in: the text itself, or the `text` and `from` of a JSON object.
fn notice(text: &str, now: SystemTime) -> Option<String> {
    let parsed: Option<serde_json::Map<_, _>> = serde_json::from_str(text).ok();
    let member = |name: &str| parsed.as_ref()?.get(name)?.as_str();
    let said: String = member("text")
        .unwrap_or(text)
        .trim()
        .chars()
        .take(NOTICE)
        .collect();
    if said.is_empty() {
        return None;
    }
    let from: String = member("from")
        .unwrap_or("someone")
        .chars()
        .take(40)
        .collect();
    let time = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Some(json!({ "type": "notice", "from": from, "text": said, "time": time }).to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn notice_takes_text_and_json_alike() {
        for (sent, expected) in [
            (
                "hello",
                Some(r#"{"from":"someone","text":"hello","time":7,"type":"notice"}"#),
            ),
            (
                r#"{"from":"tab 2","text":" hi "}"#,
                Some(r#"{"from":"tab 2","text":"hi","time":7,"type":"notice"}"#),
            ),
            (
                "[1,2]",
                Some(r#"{"from":"someone","text":"[1,2]","time":7,"type":"notice"}"#),
            ),
            (" \n ", None),
            ("", None),
        ] {
            let said = notice(sent, UNIX_EPOCH + Duration::from_secs(7));
            assert_eq!(said.as_deref(), expected, "{sent:?}");
        }
    }

    #[test]
    fn notice_is_cut_between_characters() {
        let said = notice(&"ö".repeat(1000), UNIX_EPOCH).expect("not empty");
        assert_eq!(said.matches('ö').count(), NOTICE);
    }

    proptest! {
        #[test]
        fn prices_always_move_and_stay_above_the_floor(
            chances in prop::collection::vec(0.0..1.0_f64, 1..2000),
            first in FLOOR..100_000_i64,
        ) {
            let mut quote = Quote::first(("TEST", "Test", first));
            for chance in chances {
                quote.step(chance);
                prop_assert!(quote.cents >= FLOOR);
                prop_assert!(quote.cents < first * 10 + 1000);
            }
        }
    }
}

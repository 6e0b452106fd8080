//! Events: of a connection's own ticker, and of the feed that all have in common.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use futures_util::{Stream, stream};
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tokio_tungstenite::tungstenite::Utf8Bytes;

use streamgate_compare::{event, now_ns};

use crate::state::{Held, State};

/// The numbers of a query.
pub struct Query(HashMap<String, f64>);

impl Query {
    pub fn read(query: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&');
        let pairs = pairs.filter_map(|pair| pair.split_once('='));
        Self(
            pairs
                .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
                .collect(),
        )
    }

    pub fn number(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    fn whole(&self, name: &str, otherwise: u64) -> u64 {
        self.number(name).map_or(otherwise, |number| number as u64)
    }
}

/// A ticker of one connection's own.
pub struct Ticker {
    rate: f64,
    size: usize,
    count: u64,
    gate: Option<watch::Receiver<u64>>,
    seq: u64,
    timer: Option<Interval>,
}

impl Ticker {
    pub fn new(state: &State, query: &Query) -> Self {
        Self {
            rate: query.number("rate").unwrap_or(1.0),
            size: query.whole("size", 200) as usize,
            count: query.whole("count", 0),
            gate: (query.whole("gate", 0) == 1).then(|| state.gate.subscribe()),
            seq: 0,
            timer: None,
        }
    }

    /// The next event; never, where the rate is 0 and behind the last one: the client ends the stream. Cancel-safe.
    pub async fn next(&mut self) -> String {
        if let Some(gate) = &mut self.gate
            && gate.changed().await.is_ok()
        {
            self.gate = None;
        }
        if self.rate <= 0.0 || (self.count > 0 && self.seq >= self.count) {
            std::future::pending::<()>().await;
        }
        let timer = self
            .timer
            .get_or_insert_with(|| interval(self.rate, now_ns()));
        timer.tick().await;
        self.seq += 1;
        event(self.seq - 1, now_ns(), self.size)
    }
}

/// Ticks at `rate` a second, the first time at a phase that depends on `salt`.
fn interval(rate: f64, salt: u64) -> Interval {
    let period = Duration::from_secs_f64(1.0 / rate);
    let phase = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) % (period.as_nanos() as u64).max(1);
    let mut interval = interval_at(Instant::now() + Duration::from_nanos(phase), period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
    interval
}

/// The events of an own ticker.
pub fn own(state: Arc<State>, query: &Query) -> impl Stream<Item = String> + use<> {
    let ticker = Ticker::new(&state, query);
    let held = Held::new(state, |count| &count.sse_conns);
    stream::unfold((ticker, held), |(mut ticker, held)| async move {
        let event = ticker.next().await;
        held.0.count.events.fetch_add(1, Relaxed);
        Some((event, (ticker, held)))
    })
}

/// The events of the common feed.
pub fn common(state: Arc<State>) -> impl Stream<Item = String> {
    let receiver = state.feed.subscribe();
    let held = Held::new(state, |count| &count.sse_conns);
    stream::unfold((receiver, held), |(mut receiver, held)| async move {
        let message = next_of_common(&mut receiver, &held.0).await?;
        held.0.count.events.fetch_add(1, Relaxed);
        Some((message.to_string(), (receiver, held)))
    })
}

/// The common feed's next message. Cancel-safe.
pub async fn next_of_common(
    receiver: &mut broadcast::Receiver<Utf8Bytes>,
    state: &State,
) -> Option<Utf8Bytes> {
    loop {
        match receiver.recv().await {
            Ok(message) => return Some(message),
            Err(broadcast::error::RecvError::Lagged(lost)) => {
                state.count.feed_lagged.fetch_add(lost, Relaxed);
            }
            Err(broadcast::error::RecvError::Closed) => return None,
        }
    }
}

/// Starts `count` messages at `rate` a second (0: at once) on the common feed, and returns the number of the first.
pub fn start_common(state: Arc<State>, query: &Query) -> u64 {
    let rate = query.number("rate").unwrap_or(10.0);
    let (size, count) = (query.whole("size", 200) as usize, query.whole("count", 1));
    let first = state.feed_seq.fetch_add(count, Relaxed);
    tokio::spawn(async move {
        let mut timer = (rate > 0.0).then(|| interval(rate, 0));
        for seq in first..first + count {
            if let Some(timer) = &mut timer {
                timer.tick().await;
            }
            state.count.feed_sent.fetch_add(1, Relaxed);
            let _ = state.feed.send(event(seq, now_ns(), size).into());
        }
    });
    first
}

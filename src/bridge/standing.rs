//! What a bridge tells the metrics when they are asked for: its counts, and its channels as they are at this moment.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use crate::observe::metrics::{BridgeLogs, BridgeStanding};

use super::Bridge;
use super::counts::{SubscriberKind, Word};
use super::log::{Event, Log};
use super::map::Upstream;
use super::rejected::Reason;

/// Where a channel's feed may stand. A channel whose feed is gone is found by nobody.
const STATES: [(Upstream, &str); 4] = [
    (Upstream::Connecting, "connecting"),
    (Upstream::Up, "up"),
    (Upstream::Reconnecting, "reconnecting"),
    (Upstream::Ended, "ended"),
];

/// The word for where a feed stands.
pub(super) fn word(upstream: Upstream) -> &'static str {
    let known = STATES.iter().find(|(state, _word)| *state == upstream);
    known.map_or("gone", |(_state, word)| word)
}

impl Bridge {
    /// What is counted, and what is there now. `is_draining`: whether all subscribers are to leave.
    #[must_use]
    pub fn standing(&self, is_draining: bool) -> BridgeStanding {
        let counts = self.counts();
        let (channels, mut events) = {
            let channels = self.lock();
            // Under the lock: a channel that is removed meanwhile is counted once.
            let gone = counts.events_of_gone.count();
            (channels.values().cloned().collect::<Vec<_>>(), gone)
        };
        let mut states = STATES.map(|(_state, word)| (word, 0));
        let mut logs = BridgeLogs::default();
        for channel in &channels {
            let upstream = channel.upstream();
            let place = STATES.iter().position(|(state, _)| *state == upstream);
            if let Some(place) = place {
                states[place].1 += 1;
            }
            events += channel.appended();
            add_log(&mut logs, channel.log());
        }
        let dormant = self.dormants().logs();
        dormant.iter().for_each(|log| add_log(&mut logs, log));
        let mut states = Vec::from(states);
        states.push(("dormant", dormant.len() as u64));
        BridgeStanding {
            name: self.config.name.clone(),
            subscribers: self.subscribers_by_kind(),
            drain_left: if is_draining { self.subscribers() } else { 0 },
            channels: states,
            logs,
            events,
            feeds_lost: counts.feeds_lost.all().collect(),
            feeds_refused: counts.feeds_refused.all().collect(),
            replayed: counts.replayed.count(),
            gaps: counts.gaps.all().collect(),
            slow: vec![
                ("disconnect", counts.slow_disconnected.count()),
                ("skip", counts.slow_skipped.count()),
                ("conflate", counts.slow_conflated.count()),
                ("stall", counts.slow_stalled.count()),
            ],
            lag: counts.lag.clone(),
            rejected: Reason::ALL
                .map(|reason| (reason.label(), self.rejected().of(reason)))
                .into(),
            posts: counts.posts.all().collect(),
            unfit: vec![
                ("oversize", counts.oversize.count()),
                ("invalid_utf8", counts.invalid_utf8.count()),
                ("unmapped", counts.unmapped.count()),
                ("binary", counts.rejected.count()),
            ],
            taken_over: counts.taken_over.count(),
        }
    }

    fn subscribers_by_kind(&self) -> Vec<(&'static str, u64)> {
        let counts = self
            .live
            .kinds
            .iter()
            .map(|kind| kind.load(Ordering::Relaxed));
        let labels = SubscriberKind::ALL.iter().map(|kind| kind.label());
        labels.zip(counts.map(|count| count as u64)).collect()
    }
}

fn add_log(logs: &mut BridgeLogs, log: &Log) {
    let view = log.view();
    logs.events += view.head() - view.floor();
    logs.bytes += view.bytes_behind(view.floor());
    let oldest = view.event(view.floor()).map(Event::at);
    let age = oldest.map_or(Duration::ZERO, |at| {
        Instant::now().saturating_duration_since(at)
    });
    logs.oldest = logs.oldest.max(age);
}

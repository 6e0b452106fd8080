//! Where a subscriber stands in its channel's log, and where it goes on, whatever it is written to.
//!
//! Invariant: a position moves forward only, and past an event only when the client was given it, does not want it, or
//! is told that it missed something; `conflate` leaves out what a newer event with the same key replaces.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::bridge::cursor::Gap;
use crate::bridge::log::{Filter, Form, View};
use crate::bridge::map::Upstream;
use crate::config::model::{Slow, SlowPolicy};
use crate::observe::access::End;

use super::gather::{Piece, Ranges, Sparse, Step};
use super::prelude::Prelude;
use super::sweep::Visit;

/// Where a subscriber stands.
#[derive(Debug)]
pub(super) struct Position {
    /// The next event it gets.
    next: u64,
    /// What it knows of the feed.
    pub(super) told: Upstream,
    /// Whether it was ever at the head: until then it replays, and being behind is not being slow.
    has_caught_up: bool,
    /// Which events it gets. Default: all.
    filter: Option<Arc<Filter>>,
    /// Whether it has passed over events that the client was not given, so that the client's cursor is behind.
    owes_id: bool,
    /// Whether it gets only what is newest for each key, until it has caught up.
    sparse: Option<Sparse>,
    /// What it is to be told before the next event.
    owed_gap: Option<Gap>,
    /// Events it was given since that was asked for.
    given: u64,
}

impl Position {
    /// One that is not known yet.
    pub(super) fn unknown(filter: Option<Arc<Filter>>) -> Self {
        Self {
            next: 0,
            told: Upstream::Connecting,
            has_caught_up: false,
            filter,
            owes_id: false,
            sparse: None,
            owed_gap: None,
            given: 0,
        }
    }

    /// Where the prelude has said that it begins.
    pub(super) fn begin(&mut self, opened: &Prelude) {
        self.next = opened.next;
        self.told = opened.told;
        self.sparse = opened.is_snapshot.then_some(Sparse::Snapshot);
    }

    /// Whether there is nothing for it in the log now.
    pub(super) fn is_at_head(&self, view: &View) -> bool {
        self.next >= view.head()
    }

    /// The number of the event that it was given last, or that it passed over; `None`: it has not begun.
    pub(super) fn last(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    /// How old the first event is that it has not got; `None` while it gets the past, which is no lag.
    pub(super) fn lag(&self, view: &View, now: Instant) -> Option<Duration> {
        if !self.has_caught_up {
            return None;
        }
        let first = view.event(self.next.max(view.floor()));
        let age = first.map(|event| now.saturating_duration_since(event.at()));
        Some(age.unwrap_or_default())
    }

    /// Whether it was ever at the head.
    pub(super) fn has_caught_up(&self) -> bool {
        self.has_caught_up
    }

    /// It has got all there is.
    pub(super) fn note_caught_up(&mut self) {
        self.has_caught_up = true;
        self.sparse = None;
    }

    /// How many events it was given since the last call.
    pub(super) fn take_given(&mut self) -> u64 {
        std::mem::take(&mut self.given)
    }

    /// The place right behind the last event, if the client's cursor is to be moved there by a heartbeat.
    pub(super) fn take_owed(&mut self) -> Option<u64> {
        std::mem::take(&mut self.owes_id).then(|| self.next - 1)
    }

    /// The gap it is to be told now, with the place that is the gap's id.
    pub(super) fn take_gap(&mut self) -> Option<(Gap, u64)> {
        self.owed_gap.take().map(|gap| (gap, self.next - 1))
    }

    /// Whether a status is to be told now. That the feed is up comes before its new events, that it is lost after the
    /// last ones.
    pub(super) fn owes_status(&self, upstream: Upstream, view: &View) -> bool {
        let is_news = self.told != upstream && upstream != Upstream::Gone;
        is_news && (upstream == Upstream::Up || self.is_at_head(view))
    }

    /// What comes next; `None`, when the log has it no more.
    pub(super) fn piece<'a>(
        &self,
        view: &'a View,
        ranges: &'a mut Ranges,
        form: Form,
    ) -> Option<Piece<'a>> {
        let filter = self.filter.as_ref();
        match (self.sparse, view.newest()) {
            (Some(sparse), Some(newest)) => {
                Some(ranges.newest(newest, (self.next, sparse), form, filter))
            }
            _ => ranges.piece(view, self.next, form, filter),
        }
    }

    /// The piece was given to the client, or has nothing for it.
    pub(super) fn pass(&mut self, step: Step) {
        self.next = step.next;
        self.owes_id = step.passed_over;
        self.given += step.events;
        if step.is_last {
            self.sparse = None;
        }
        if step.has_forgotten {
            self.owed_gap = Some(Gap::Slow { missed: None });
        }
    }

    /// Whether it is further behind than `slow` allows, or than the log reaches.
    pub(super) fn is_slow(&self, visit: &Visit<'_>) -> bool {
        let (view, slow) = (visit.view, &visit.slow);
        // Who gets the newest only is behind, but nothing of it is lost.
        if self.sparse.is_some() || self.is_at_head(view) {
            return false;
        }
        self.next < view.floor() || (self.has_caught_up && self.is_over(visit, slow))
    }

    fn is_over(&self, visit: &Visit<'_>, slow: &Slow) -> bool {
        let view = visit.view;
        let is_old = |age| {
            let event = view.event(self.next);
            event.is_some_and(|event| visit.now.saturating_duration_since(event.at()) > age)
        };
        view.head() - self.next > slow.events
            || view.bytes_behind(self.next) > slow.bytes
            || slow.age.is_some_and(is_old)
    }

    /// It is too slow: does what the bridge does with such clients.
    ///
    /// # Errors
    /// [`End::Slow`], when it is to be cut off.
    pub(super) fn fall_back(&mut self, visit: &Visit<'_>) -> Result<(), End> {
        let counts = visit.channel.counts();
        match visit.slow.policy {
            SlowPolicy::Skip => {
                counts.slow_skipped.add();
                self.skip(visit.view);
            }
            SlowPolicy::Conflate if visit.view.newest().is_some() && self.sparse.is_none() => {
                counts.slow_conflated.add();
                self.has_caught_up = false;
                self.sparse = Some(Sparse::Conflated);
            }
            SlowPolicy::Disconnect | SlowPolicy::Conflate => {
                counts.slow_disconnected.add();
                return Err(End::Slow);
            }
        }
        Ok(())
    }

    /// Goes on at the newest event. What the filter would have held back was not missed, as far as the log still knows.
    fn skip(&mut self, view: &View) {
        let is_wanted = |seq: &u64| match (view.event(*seq), &self.filter) {
            (Some(event), Some(filter)) => filter.lets_pass(event),
            _ => true,
        };
        // Age may have evicted even the newest.
        let newest = (view.head() - 1).max(view.floor());
        let more = (self.next..newest).filter(is_wanted).count() as u64;
        let before = match self.owed_gap {
            Some(Gap::Slow { missed }) => missed.unwrap_or(0),
            _ => 0,
        };
        let missed = Some(before + more);
        self.owed_gap = Some(Gap::Slow { missed });
        self.next = newest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bridge::log::tests::{fill, writer};

    #[tokio::test(start_paused = true)]
    async fn lag_is_the_age_of_what_it_has_not_got_once_it_had_all() {
        let mut writer = writer(10);
        fill(&mut writer, 3);
        let mut position = Position::unknown(None);
        position.next = 2;
        tokio::time::advance(Duration::from_secs(3)).await;
        let lag = |position: &Position, writer: &crate::bridge::log::Writer| {
            position.lag(&writer.log().view(), Instant::now())
        };
        assert_eq!(lag(&position, &writer), None, "it gets the past");
        position.note_caught_up();
        assert_eq!(lag(&position, &writer), Some(Duration::from_secs(3)));
        position.next = 4;
        assert_eq!(lag(&position, &writer), Some(Duration::ZERO));
        fill(&mut writer, 20);
        tokio::time::advance(Duration::from_secs(1)).await;
        let of_the_oldest = Some(Duration::from_secs(1));
        assert_eq!(
            lag(&position, &writer),
            of_the_oldest,
            "what it lacks is evicted"
        );
    }
}

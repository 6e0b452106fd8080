//! What a drain means for a connection of HTTP/1.1.
//!
//! A client may send its next request just when its connection is closed for being idle, and HTTP/1.1 has no way to tell it that the request
//! was not read (RFC 9112 §9.5). Where the process ends that cannot be helped. Where another one follows, a connection that is kept
//! alive is kept for a moment more, and what comes in that time is answered, with `Connection: close`. So is, at any end, a connection
//! whose first request has not come yet: whoever has connected just now is about to ask.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::idle::Activity;
use crate::lifecycle::drain::{Cause, Guard, Living, Order};

/// How long at least and at most an idle connection is kept when another process follows.
const KEPT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));

/// What is next for the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// It ends with the request under way, or at once where there is none.
    NoMoreRequests,
    /// It is cut.
    NoMoreTime,
}

/// The last part of a connection's life.
pub(super) struct Last<'a> {
    guard: &'a Guard,
    activity: &'a Activity,
    /// When requests are not waited for any more, and when those under way are cut.
    ends: Option<(Option<Instant>, Instant)>,
}

impl<'a> Last<'a> {
    pub(super) fn of(guard: &'a Guard, activity: &'a Activity) -> Self {
        Self {
            guard,
            activity,
            ends: None,
        }
    }

    /// Returns when something ends.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    pub(super) async fn next(&mut self) -> Turn {
        if self.ends.is_none() {
            let order = self.guard.ordered().await;
            let until = kept(order, self.activity.requests() > 0);
            self.ends = Some((Some(until), order.deadline_of(Living::Request)));
        }
        let Some((idle, requests)) = &mut self.ends else {
            return Turn::NoMoreTime;
        };
        if let Some(until) = *idle {
            sleep_until(until).await;
            *idle = None;
            return Turn::NoMoreRequests;
        }
        sleep_until(*requests).await;
        Turn::NoMoreTime
    }
}

/// Until when requests are waited for. At random: the clients come back to the other process.
fn kept(order: Order, has_asked: bool) -> Instant {
    let (least, most) = KEPT;
    match order.cause {
        Cause::Stop if has_asked => order.begun,
        // From now on: its handshake may have ended just now.
        Cause::Stop => order
            .deadline_of(Living::Request)
            .min(Instant::now() + least),
        Cause::Restart => order.begun + least + (most - least).mul_f64(fastrand::f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::DrainTimes;
    use crate::lifecycle::drain::Trigger;

    #[tokio::test(start_paused = true)]
    async fn idle_connections_end_at_once_at_the_end_and_are_kept_for_a_moment_at_a_restart() {
        for (cause, has_asked, least, most) in [
            (Cause::Stop, true, 0, 0),
            (Cause::Stop, false, 1_000, 1_000),
            (Cause::Restart, true, 1_000, 2_000),
        ] {
            let trigger = Trigger::new();
            let guard = trigger.guard();
            let activity = Activity::new();
            if has_asked {
                drop(activity.begin());
            }
            let mut last = Last::of(&guard, &activity);
            let begun = Instant::now();
            trigger.begin(Order {
                cause,
                begun,
                times: DrainTimes::same(Duration::from_secs(30)),
            });
            assert_eq!(last.next().await, Turn::NoMoreRequests);
            let waited = begun.elapsed().as_millis();
            assert!((least..=most).contains(&waited), "{cause:?}: {waited} ms");
            assert_eq!(last.next().await, Turn::NoMoreTime);
            assert_eq!(begun.elapsed().as_secs(), 30);
        }
    }
}

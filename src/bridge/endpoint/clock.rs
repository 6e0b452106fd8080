//! When a subscriber is due for something without an event: a heartbeat, the end of its time.
//!
//! One timer a subscriber. An event costs it nothing: the timer is armed again only when it fires too early.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::bridge::session::Happening;
use crate::config::model::Bridge;
use crate::observe::access::End;

use super::outside::{Awaited, Outside};

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tick {
    /// Nothing was written for the heartbeat's time.
    Heartbeat,
    /// A WebSocket client was silent for a ping's time.
    Ping,
    /// The subscription is to end.
    End(End),
}

/// When a WebSocket client is asked whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ping {
    /// It is to be pinged then.
    Due(Instant),
    /// It was pinged, and is dead if nothing is heard of it until then.
    Awaited(Instant),
}

/// What a subscriber's own state says of its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signs {
    /// When something was last written.
    pub(super) written: Instant,
    /// Since when the client takes nothing.
    pub(super) stalled: Option<Instant>,
    /// Whether a WebSocket client is there; `None` for what is no WebSocket.
    pub(super) ping: Option<Ping>,
}

/// A subscriber's clock.
pub(super) struct Clock {
    heartbeat: Option<Duration>,
    stall: Duration,
    /// The earliest of its age's end, its moment in a drain and what a reload has set.
    end: Option<(Instant, End)>,
    outside: Option<Awaited>,
    /// Another subscriber has taken the session over.
    taken_over: Option<Happening>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Clock {
    /// A clock that starts now. The heartbeat differs by up to a tenth from client to client, and an age is shortened
    /// by up to a tenth, so that what began together is not due together.
    pub(super) fn new(config: &Bridge, outside: Outside, taken_over: Option<Happening>) -> Self {
        let now = Instant::now();
        let jitter = 0.9 + 0.2 * fastrand::f64();
        let age = |age: Duration| now + age.mul_f64(1.0 - 0.1 * fastrand::f64());
        let age = config.limits.max_age.map(|limit| (age(limit), End::Age));
        let expiry = outside.expires().map(|at| (at, End::Expired));
        let ends = age.into_iter().chain(expiry);
        Self {
            heartbeat: config.heartbeat.map(|every| every.mul_f64(jitter)),
            stall: config.slow.stall,
            end: ends.min_by_key(|(at, _why)| *at),
            outside: Some(outside.listen()),
            taken_over,
            timer: None,
        }
    }

    /// The same without heartbeats: for a client that is pinged, and has no words for them.
    pub(super) fn without_heartbeat(self) -> Self {
        Self {
            heartbeat: None,
            ..self
        }
    }

    /// Ready when something is due.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, signs: Signs) -> Poll<Tick> {
        if let Some(taken_over) = &mut self.taken_over
            && taken_over.as_mut().poll(cx).is_ready()
        {
            self.taken_over = None;
            return Poll::Ready(Tick::End(End::TakenOver));
        }
        self.poll_outside(cx);
        let Some((due, tick)) = self.next(signs) else {
            return Poll::Pending;
        };
        if due <= Instant::now() {
            return Poll::Ready(tick);
        }
        let timer = match &mut self.timer {
            Some(timer) => timer,
            empty => empty.insert(Box::pin(sleep_until(due))),
        };
        // A timer that is armed for earlier is left alone: it fires, and this is asked again.
        if timer.is_elapsed() || timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if due <= Instant::now() {
                return Poll::Ready(tick);
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }

    fn poll_outside(&mut self, cx: &mut Context<'_>) {
        while let Some(outside) = &mut self.outside {
            let Poll::Ready((moment, why, still)) = outside.as_mut().poll(cx) else {
                return;
            };
            self.outside = still.map(Outside::listen);
            if self.end.is_none_or(|(end, _)| moment < end) {
                self.end = Some((moment, why));
            }
        }
    }

    /// Of several, the one that is due first. A client that takes nothing gets nothing on top, and its pong may wait
    /// behind what it does not take.
    fn next(&self, signs: Signs) -> Option<(Instant, Tick)> {
        let end = self.end.map(|(end, why)| (end, Tick::End(why)));
        let (silence, ping) = match signs.stalled {
            Some(since) => (Some((since + self.stall, Tick::End(End::Slow))), None),
            None => {
                let heartbeat = |every| (signs.written + every, Tick::Heartbeat);
                let ping = signs.ping.map(|ping| match ping {
                    Ping::Due(at) => (at, Tick::Ping),
                    Ping::Awaited(until) => (until, Tick::End(End::ClientDead)),
                });
                (self.heartbeat.map(heartbeat), ping)
            }
        };
        let all = silence.into_iter().chain(ping).chain(end);
        all.min_by_key(|(due, _)| *due)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use super::*;
    use crate::bridge::tests::config;
    use crate::lifecycle::drain::Trigger;
    use crate::stream::Losses;

    fn begin(config: &Bridge, trigger: &Trigger) -> Clock {
        let bridge = crate::bridge::Bridge::new(Arc::new(config.clone()));
        let losses = Arc::new(Losses::outlived());
        Clock::new(
            config,
            Outside::new(trigger.guard(), &bridge, &losses),
            None,
        )
    }

    fn signs(written: Instant, stalled: Option<Instant>) -> Signs {
        Signs {
            written,
            stalled,
            ping: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_websocket_is_pinged_and_then_dead() {
        let trigger = Trigger::new();
        let mut clock = begin(&config(&[]), &trigger).without_heartbeat();
        let begun = Instant::now();
        for (ping, expected, seconds) in [
            (Ping::Due(begun + Duration::from_secs(20)), Tick::Ping, 20),
            (
                Ping::Awaited(begun + Duration::from_secs(30)),
                Tick::End(End::ClientDead),
                30,
            ),
        ] {
            let signs = Signs {
                ping: Some(ping),
                ..signs(begun, None)
            };
            let tick = poll_fn(|cx| clock.poll(cx, signs)).await;
            assert_eq!(tick, expected);
            assert_eq!(begun.elapsed().as_secs(), seconds);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_counts_from_the_last_write() {
        let trigger = Trigger::new();
        let mut clock = begin(&config(&[]), &trigger);
        let begun = Instant::now();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(clock.poll(&mut cx, signs(begun, None)).is_pending());
        tokio::time::advance(Duration::from_secs(10)).await;
        let written = Instant::now();
        let tick = poll_fn(|cx| clock.poll(cx, signs(written, None))).await;
        assert_eq!(tick, Tick::Heartbeat);
        let silence = written.elapsed().as_secs_f64();
        assert!((13.4..16.6).contains(&silence), "{silence}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_ends_after_the_stall() {
        let trigger = Trigger::new();
        let mut clock = begin(&config(&[]), &trigger);
        let begun = Instant::now();
        let tick = poll_fn(|cx| clock.poll(cx, signs(begun, Some(begun)))).await;
        assert_eq!(tick, Tick::End(End::Slow));
        assert!(begun.elapsed() >= Duration::from_secs(30));
    }

    #[tokio::test(start_paused = true)]
    async fn age_and_drain_end_a_subscription() {
        let mut config = config(&[]);
        config.heartbeat = None;
        config.limits.max_age = Some(Duration::from_secs(100));
        let trigger = Trigger::new();
        let (mut clock, begun) = (begin(&config, &trigger), Instant::now());
        let tick = poll_fn(|cx| clock.poll(cx, signs(begun, None))).await;
        assert_eq!(tick, Tick::End(End::Age));
        assert!(begun.elapsed() >= Duration::from_secs(90));

        let (mut clock, begun) = (begin(&config, &trigger), Instant::now());
        trigger.begin(begun + Duration::from_secs(30));
        let tick = poll_fn(|cx| clock.poll(cx, signs(begun, None))).await;
        assert_eq!(tick, Tick::End(End::Drain));
        assert!(begun.elapsed() <= Duration::from_secs(16));
    }
}

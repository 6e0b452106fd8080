//! When a peer that says nothing is pinged, and when it is dead.
//!
//! No I/O. Whoever asks says what has come; a peer that cannot be heard, for nobody reads what it sends, is not judged.

use std::time::Duration;

use tokio::time::Instant;

/// One peer's heartbeat.
#[derive(Debug)]
pub(super) struct Heartbeat {
    every: Duration,
    pong: Duration,
    /// When it is pinged if it has said nothing: `every`, give or take a tenth.
    wait: Duration,
    heard: Instant,
    pinged: Option<Pinged>,
}

#[derive(Debug, Clone, Copy)]
struct Pinged {
    at: Instant,
    due: Instant,
    /// How far what it is sent had come.
    sent: u64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing yet.
    Wait,
    /// It is to be pinged.
    Ping,
    /// It is dead.
    Dead,
}

/// How a peer can be reached just now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// Whether what it sends is read, and the last ping has gone out.
    pub(super) is_heard: bool,
    /// How far what it is sent has come, in bytes.
    pub(super) sent: u64,
}

/// So many bytes on their way to a peer may keep a ping from it.
const BULK: u64 = 64 * 1024;

/// So many times `pong` is waited at most because of that.
const PATIENCE: u32 = 6;

impl Heartbeat {
    /// A peer that has been heard just now.
    pub(super) fn new(every: Duration, pong: Duration, now: Instant) -> Self {
        Self {
            every,
            pong,
            wait: jittered(every),
            heard: now,
            pinged: None,
        }
    }

    /// It has sent something.
    pub(super) fn hear(&mut self, now: Instant) {
        self.heard = now;
        self.pinged = None;
    }

    /// When [`Heartbeat::beat`] is to be asked next.
    pub(super) fn due(&self) -> Instant {
        self.pinged
            .map_or(self.heard + self.wait, |pinged| pinged.due)
    }

    /// What is to be done now.
    pub(super) fn beat(&mut self, now: Instant, reach: Reach) -> Beat {
        if now < self.due() {
            return Beat::Wait;
        }
        if !reach.is_heard {
            // Its silence says nothing of it. What it owes is counted from now on.
            match &mut self.pinged {
                Some(pinged) => (pinged.at, pinged.due) = (now, now + self.pong),
                None => self.heard = now,
            }
            return Beat::Wait;
        }
        let Some(pinged) = &mut self.pinged else {
            self.wait = jittered(self.every);
            self.pinged = Some(Pinged {
                at: now,
                due: now + self.pong,
                sent: reach.sent,
            });
            return Beat::Ping;
        };
        // The ping stands in a line behind what it is sent, and the line moves.
        let moves = reach.sent.saturating_sub(pinged.sent) > BULK;
        if moves && now.duration_since(pinged.at) < self.pong * PATIENCE {
            pinged.sent = reach.sent;
            pinged.due = now + self.pong;
            return Beat::Wait;
        }
        Beat::Dead
    }
}

/// Give or take a tenth, so that what began together does not beat together.
fn jittered(every: Duration) -> Duration {
    every.mul_f64(0.9 + 0.2 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(15);
    const PONG: Duration = Duration::from_secs(10);

    fn heard(sent: u64) -> Reach {
        Reach {
            is_heard: true,
            sent,
        }
    }

    #[test]
    fn a_silent_peer_is_pinged_and_then_dead() {
        let begun = Instant::now();
        let mut peer = Heartbeat::new(EVERY, PONG, begun);
        let due = peer.due();
        assert!((13_500..=16_500).contains(&(due - begun).as_millis()));
        assert_eq!(peer.beat(begun, heard(0)), Beat::Wait);
        assert_eq!(peer.beat(due, heard(0)), Beat::Ping);
        assert_eq!(peer.due(), due + PONG);
        assert_eq!(peer.beat(due + PONG, heard(10)), Beat::Dead);
    }

    #[test]
    fn whatever_it_sends_keeps_it_alive() {
        let begun = Instant::now();
        let mut peer = Heartbeat::new(EVERY, PONG, begun);
        let due = peer.due();
        assert_eq!(peer.beat(due, heard(0)), Beat::Ping);
        peer.hear(due + PONG / 2);
        assert!(peer.due() > due + PONG);
        assert_eq!(peer.beat(due + PONG, heard(0)), Beat::Wait);
    }

    #[test]
    fn a_peer_that_cannot_be_heard_is_not_judged() {
        let begun = Instant::now();
        let mut peer = Heartbeat::new(EVERY, PONG, begun);
        let deaf = Reach {
            is_heard: false,
            sent: 0,
        };
        let due = peer.due();
        assert_eq!(peer.beat(due, deaf), Beat::Wait);
        let due = peer.due();
        assert_eq!(peer.beat(due, heard(0)), Beat::Ping);
        let due = peer.due();
        assert_eq!(peer.beat(due, deaf), Beat::Wait);
        assert_eq!(peer.due(), due + PONG);
    }

    #[test]
    fn a_ping_behind_much_data_has_more_time_but_not_all() {
        let begun = Instant::now();
        let mut peer = Heartbeat::new(EVERY, PONG, begun);
        assert_eq!(peer.beat(peer.due(), heard(0)), Beat::Ping);
        let mut waited = 0;
        let mut sent = 1 << 20;
        while peer.beat(peer.due(), heard(sent)) != Beat::Dead {
            sent += 1 << 20;
            waited += 1;
            assert!(waited <= PATIENCE);
        }
        assert!(waited > 1);
    }
}

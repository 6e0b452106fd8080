//! What a tunnel tells its record after each poll: how far both directions have come, and what the way through here cost.
//!
//! A few stores into the worker's own memory, and one look at the clock where bytes have come for the client.

use tokio::time::Instant;

use super::direction::Direction;
use crate::observe::access::StreamRecord;
use crate::observe::streams::Moved;

/// What has not been told yet.
#[derive(Debug, Default)]
pub(super) struct Meter {
    /// Since when there are bytes for the client that its socket has not taken.
    on_its_way: Option<Instant>,
    pings: u8,
}

impl Meter {
    /// A ping was sent to one side.
    pub(super) fn pinged(&mut self) {
        self.pings += 1;
    }

    /// Tells of a poll that began at `begun`.
    pub(super) fn tell(
        &mut self,
        record: &mut StreamRecord,
        begun: Instant,
        up: &Direction,
        down: &Direction,
    ) {
        if down.moved() > record.moved().bytes_out {
            self.on_its_way.get_or_insert(begun);
        }
        if let Some(since) = self.on_its_way.take_if(|_since| !down.is_blocked()) {
            record.delayed(since.elapsed());
        }
        record.reached(Moved {
            bytes_in: up.moved(),
            bytes_out: down.moved(),
            messages_in: up.follower().messages(),
            messages_out: down.follower().messages(),
        });
        for _ping in 0..std::mem::take(&mut self.pings) {
            record.heartbeat();
        }
    }
}

//! What a client holds of a bridge: as long as it lives, its channel is open and it counts as a subscriber.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Bridge;
use super::channel::Channel;
use super::counts::SubscriberKind;
use super::session::{Happening, Held};
use crate::limits::StreamPermit;

/// Keeps a channel open.
#[derive(Debug)]
pub(super) struct Lease(pub(super) Arc<Channel>);

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.leave();
    }
}

/// Keeps a channel open, and counts as one of the bridge's subscribers.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) lease: Lease,
    /// In session mode.
    pub(super) held: Option<Held>,
    pub(super) _counted: Counted,
    /// Its place among the route's streams.
    pub(super) _place: Option<StreamPermit>,
}

impl Subscription {
    pub(super) fn channel(&self) -> &Arc<Channel> {
        &self.lease.0
    }

    /// Ready when another subscriber has taken the session over; never in shared mode.
    pub(super) fn taken_over(&self) -> Option<Happening> {
        self.held.as_ref().map(Held::lost)
    }
}

/// One of the bridge's subscribers, as far as they are counted.
#[derive(Debug)]
pub(super) struct Counted {
    bridge: Arc<Bridge>,
    kind: SubscriberKind,
}

impl Counted {
    /// One that [`Bridge::subscribers`] has in it already.
    pub(super) fn new(bridge: Arc<Bridge>, kind: SubscriberKind) -> Self {
        bridge.live.kinds[kind as usize].fetch_add(1, Ordering::Relaxed);
        Self { bridge, kind }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let live = &self.bridge.live;
        live.kinds[self.kind as usize].fetch_sub(1, Ordering::Relaxed);
        live.subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}

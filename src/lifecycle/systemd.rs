//! What systemd is told (sd_notify(3)). Without systemd all of it does nothing.
//!
//! Invariant: once another process is the main one, this one says nothing any more: it would be taken for the service's word.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sd_notify::NotifyState;

/// Whether another process is the main one.
static IS_FOLLOWED: AtomicBool = AtomicBool::new(false);

/// The process serves.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins; [`ready`] ends it. With its time, as `Type=notify-reload` wants it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "no monotonic clock for systemd"),
    }
}

/// The process drains, for so long at most.
pub fn stopping(status: &str, limit: Duration) {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status(status),
        extend(limit),
    ]);
}

/// It still drains, for so long at most.
pub fn draining(status: &str, limit: Duration) {
    tell(&[NotifyState::Status(status), extend(limit)]);
}

/// What it is at.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(status)]);
}

/// Another process is the service's main one from now on. It is the last word of this one.
pub fn followed_by(process: u32) {
    tell(&[NotifyState::MainPid(process)]);
    IS_FOLLOWED.store(true, Ordering::Relaxed);
}

/// How long systemd waits at most for a word of [`alive`]; `None`: it does not wait for any.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// All is well.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// systemd waits as long, whatever its own limit is.
fn extend(limit: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(limit.as_micros()).unwrap_or(u32::MAX))
}

fn tell(state: &[NotifyState<'_>]) {
    if IS_FOLLOWED.load(Ordering::Relaxed) {
        return;
    }
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd could not be told");
    }
}

//! What outlives the process: the logs of the bridges, in `[server] state_dir`.

use crate::bridge::state::{self, file};
use crate::lifecycle::systemd;
use crate::snapshot::Snapshot;

/// Takes up what the last process left. To be called when the addresses are bound, and before anything is accepted.
pub(super) fn take_up(snapshot: &Snapshot) {
    if let Some(directory) = &snapshot.config.server.state_dir {
        file::load(directory, snapshot.bridges());
    }
}

/// Leaves the logs for the next process, once. Feeds that still run, for the process ends in a hurry, are stopped.
pub(super) async fn keep(snapshot: &Snapshot) {
    let Some(directory) = &snapshot.config.server.state_dir else {
        return;
    };
    let late = state::freeze(snapshot.bridges()).await;
    if late > 0 {
        tracing::warn!(channels = late, "feeds did not stop, their logs are lost");
    }
    systemd::status("saving the logs of bridges");
    file::store(directory, snapshot.bridges());
}

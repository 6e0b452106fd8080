//! What outlives the process: the logs of the bridges, in `[server] state_dir`, or handed over to the next one.

use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::bridge::Bridge;
use crate::bridge::state::{self, Damaged, file};
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

/// What writes the logs for the process that takes over, on another thread than the one of `runtime`. The feeds stop before, and go on
/// with [`thaw`].
pub(super) fn hand_over(
    snapshot: &Snapshot,
    runtime: Handle,
) -> impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static {
    let bridges: Vec<Arc<Bridge>> = snapshot.bridges().cloned().collect();
    move |mut to| {
        let late = runtime.block_on(state::freeze(bridges.iter()));
        if late > 0 {
            tracing::warn!(
                channels = late,
                "feeds did not stop, their logs are not handed over"
            );
        }
        let saved = state::save(bridges.iter(), &mut to)?;
        let (channels, events, bytes) = (saved.channels, saved.events, saved.bytes);
        tracing::info!(channels, events, bytes, "bridge logs handed over");
        Ok(())
    }
}

/// The feeds go on: the logs stay here.
pub(super) fn thaw(snapshot: &Snapshot) {
    state::thaw(snapshot.bridges());
}

/// Takes up what the process before hands over. What cannot be read is left: nothing of it keeps the process from serving.
/// The feeds write nothing before [`thaw`]: until it is certain that the other one has stepped back, it may still go on from
/// the same logs, and the same id would be given to two events.
pub(super) fn take_over(snapshot: &Snapshot, from: &mut dyn Read) {
    let restored = match state::restore(snapshot.bridges(), &mut BufReader::new(from)) {
        Ok(restored) => restored,
        Err(Damaged { fault, restored }) => {
            tracing::warn!(error = %fault, "bridge logs were not taken over whole");
            restored
        }
    };
    let (channels, events, left) = (restored.channels, restored.events, restored.left);
    tracing::info!(channels, events, left, "bridge logs taken over");
    state::begin_frozen(snapshot.bridges());
}

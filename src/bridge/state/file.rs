//! The file in which the logs wait for the next start: `bridges.state` in `[server] state_dir`.
//!
//! It is written at the end of a process and read once, at the start of the next. Invariants: it is whole or it is not
//! there, for it is written under another name, brought to the disk, and renamed. It is gone before the first event
//! is appended to a log that was in it: were it still there when the process crashed, the next one would take up the same
//! epoch and give ids again that clients already have for other events. So after a crash there is none, the epochs are
//! new, and clients are told of a gap. Nothing that is wrong with it keeps the process from serving.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use tokio::time::Instant;

use crate::bridge::Bridge;

use super::{Damaged, Saved, restore, save};

/// The file's name.
const NAME: &str = "bridges.state";
/// While it is written.
const UNFINISHED: &str = "bridges.state.new";
/// While it is read: not found by a next process, should reading it end this one.
const TAKEN: &str = "bridges.state.taken";
/// What could not be read is set aside, for somebody to look at.
const DAMAGED: &str = "bridges.state.damaged";
/// Bytes that are read or written at once.
const BUFFER: usize = 64 * 1024;

/// Takes up what the last process left in `directory`, if it left anything, and logs what came of it. To be called once,
/// before anything is served.
pub fn load<'a>(directory: &Path, bridges: impl Iterator<Item = &'a Arc<Bridge>>) {
    let begun = Instant::now();
    let file = directory.join(NAME);
    let taken = match take(directory) {
        Ok(Some(taken)) => taken,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(file = %file.display(), %error, "bridge logs not taken up");
            return;
        }
    };
    match restore(bridges, &mut BufReader::with_capacity(BUFFER, taken)) {
        Ok(restored) => {
            remove(&directory.join(TAKEN));
            tracing::info!(
                channels = restored.channels,
                events = restored.events,
                left = restored.left,
                bytes = restored.bytes,
                ms = begun.elapsed().as_millis() as u64,
                "bridge logs taken up"
            );
        }
        Err(Damaged { fault, restored }) => {
            let aside = directory.join(DAMAGED);
            if let Err(error) = fs::rename(directory.join(TAKEN), &aside) {
                tracing::warn!(file = %aside.display(), %error, "a damaged file was not set aside");
            }
            tracing::warn!(
                file = %file.display(),
                aside = %aside.display(),
                cause = %fault,
                channels = restored.channels,
                events = restored.events,
                "bridge logs are damaged"
            );
        }
    }
}

/// Leaves the logs of `bridges` whose feeds have stopped in `directory`, for the next process, and logs what came of it.
pub fn store<'a>(directory: &Path, bridges: impl Iterator<Item = &'a Arc<Bridge>>) {
    let begun = Instant::now();
    match write(directory, bridges) {
        Ok(saved) => tracing::info!(
            channels = saved.channels,
            events = saved.events,
            bytes = saved.bytes,
            ms = begun.elapsed().as_millis() as u64,
            "bridge logs saved"
        ),
        Err(error) => {
            tracing::error!(directory = %directory.display(), %error, "bridge logs not saved");
        }
    }
}

/// The file, under a name at which nobody looks for it any more.
fn take(directory: &Path) -> io::Result<Option<File>> {
    let held = match hold(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        held => held?,
    };
    // Of a process that was ended while it wrote: it has no end, and may be large.
    remove(&directory.join(UNFINISHED));
    let file = match File::open(directory.join(NAME)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    fs::rename(directory.join(NAME), directory.join(TAKEN))?;
    // Now, and not when the system likes: a machine that loses its power must not find it again either.
    held.sync_all()?;
    Ok(Some(file))
}

/// Writes the file, if there is anything to write.
fn write<'a>(
    directory: &Path,
    bridges: impl Iterator<Item = &'a Arc<Bridge>>,
) -> io::Result<Saved> {
    let held = hold(directory)?;
    let unfinished = directory.join(UNFINISHED);
    remove(&unfinished);
    let mut options = OpenOptions::new();
    // What feeds say may be meant for some eyes only.
    let file = options.write(true).create_new(true).mode(0o600);
    let buffered = BufWriter::with_capacity(BUFFER, file.open(&unfinished)?);
    let saved = fill(buffered, bridges).inspect_err(|_error| remove(&unfinished))?;
    if saved.channels == 0 {
        remove(&unfinished);
        return Ok(saved);
    }
    fs::rename(&unfinished, directory.join(NAME))?;
    held.sync_all()?;
    Ok(saved)
}

/// Writes all, and brings it to the disk.
fn fill<'a>(
    mut file: BufWriter<File>,
    bridges: impl Iterator<Item = &'a Arc<Bridge>>,
) -> io::Result<Saved> {
    let saved = save(bridges, &mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    Ok(saved)
}

/// The directory, held against other processes while its files change: two that were given the same one by mistake must
/// not take up the same logs, nor write into one file. The system lets go of it when the process ends, however it does.
fn hold(directory: &Path) -> io::Result<File> {
    let held = File::open(directory)?;
    match held.try_lock() {
        Err(TryLockError::WouldBlock) => Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            "another process uses the directory",
        )),
        // Where the file system knows no locks, it goes on without.
        Ok(()) | Err(TryLockError::Error(_)) => Ok(held),
    }
}

/// What cannot be removed does no harm: it is overwritten, and nobody reads it.
fn remove(file: &Path) {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::debug!(file = %file.display(), %error, "not removed");
        }
        _ => {}
    }
}

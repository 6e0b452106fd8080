//! Whether files of the configuration have changed.
//!
//! Directories are watched, not files: an editor puts another file in a file's place, Kubernetes another target behind a
//! symlink. So of each file every link on the way to it counts, and what is not there yet is waited for where it would
//! appear. A change is told when nothing more has come for a moment; what it means is for the reload to see.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::Places;

/// A change is told after so much quiet.
const QUIET: Duration = Duration::from_millis(200);

/// And so long after its beginning, quiet or not.
const LONGEST: Duration = Duration::from_secs(2);

/// Links on the way to one file, as in the kernel.
const MAX_LINKS: usize = 40;

/// Watches what a configuration depends on.
#[derive(Debug)]
pub(super) struct Watch {
    is_wanted: bool,
    places: Places,
    shared: Arc<Shared>,
    watched: Option<Watched>,
    /// Not everything is watched that should be, and that was told.
    is_lacking: bool,
    burst: Option<Burst>,
    /// Why the last change was refused, once that was told.
    told: Option<String>,
    /// The same before it is told: the file may have been half written.
    suspected: Option<String>,
}

/// What the watcher's own thread tells.
#[derive(Debug, Default)]
struct Shared {
    changed: Notify,
    /// A directory that was watched is gone, and one of its name may come.
    lost: AtomicBool,
}

#[derive(Debug)]
struct Watched {
    spots: Spots,
    _watcher: RecommendedWatcher,
}

/// Changes that follow upon each other.
#[derive(Debug, Clone, Copy)]
struct Burst {
    begun: Instant,
    last: Instant,
}

/// Where a change is looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Spots {
    /// Directories without a link on their way, with what tells one from another of the same name.
    directories: BTreeSet<(PathBuf, u64, u64)>,
    /// What counts in them.
    entries: BTreeSet<PathBuf>,
    /// Those of them in which everything counts.
    open: BTreeSet<PathBuf>,
}

impl Watch {
    /// Watches nothing yet.
    pub(super) fn new(is_wanted: bool) -> Self {
        Self {
            is_wanted,
            places: Places::default(),
            shared: Arc::default(),
            watched: None,
            is_lacking: false,
            burst: None,
            told: None,
            suspected: None,
        }
    }

    /// Whether it is to be told that a change is refused for this `cause`: not when it was told before, and not before a second
    /// look, which is taken after the usual quiet.
    pub(super) fn is_to_be_told(&mut self, cause: &str) -> bool {
        if self.told.as_deref() == Some(cause) {
            return false;
        }
        if self.suspected.as_deref() != Some(cause) {
            self.suspected = Some(cause.to_owned());
            self.shared.changed.notify_one();
            return false;
        }
        self.suspected = None;
        self.told = Some(cause.to_owned());
        true
    }

    /// A change was refused for this `cause`, and that is told.
    pub(super) fn refused(&mut self, cause: String) {
        self.told = Some(cause);
    }

    /// The files are good. Says whether it was told that they are not.
    pub(super) fn mended(&mut self) -> bool {
        self.suspected = None;
        self.told.take().is_some()
    }

    /// Somebody asks for a reload: what could not be watched may be possible now. (Changes of files would be too many tries.)
    pub(super) fn try_again(&mut self) {
        if self.is_lacking {
            self.watched = None;
        }
    }

    /// Watches, or no longer.
    pub(super) fn set(&mut self, is_wanted: bool) {
        self.is_wanted = is_wanted;
        self.renew();
    }

    /// Watches these from now on. They were read before: where one is new, it is as if it had changed.
    pub(super) fn look_at(&mut self, places: Places) {
        self.places = places;
        self.renew();
    }

    /// Returns when something has changed and is quiet again.
    ///
    /// # Cancel safety
    /// No change is lost when it is dropped.
    pub(super) async fn settled(&mut self) {
        if self.watched.is_none() {
            return std::future::pending().await;
        }
        loop {
            let Some(burst) = &mut self.burst else {
                self.shared.changed.notified().await;
                let now = Instant::now();
                self.burst = Some(Burst {
                    begun: now,
                    last: now,
                });
                continue;
            };
            let due = (burst.last + QUIET).min(burst.begun + LONGEST);
            tokio::select! {
                () = self.shared.changed.notified() => burst.last = Instant::now(),
                () = tokio::time::sleep_until(due) => break,
            }
        }
        self.burst = None;
    }

    fn renew(&mut self) {
        if !self.is_wanted {
            self.watched = None;
            self.burst = None;
            return;
        }
        let lost = self.shared.lost.swap(false, Ordering::AcqRel);
        let spots = Spots::of(&self.places);
        let as_before = |watched: &Watched| watched.spots == spots;
        if !lost && self.watched.as_ref().is_some_and(as_before) {
            return;
        }
        // What it holds may be what the next one lacks. What changes in between is seen too: all is read once more.
        self.watched = None;
        let (watcher, trouble) = match begin(&spots, &self.shared) {
            Ok((watcher, trouble)) => (Some(watcher), trouble),
            Err(error) => (None, Some(error.to_string())),
        };
        if let Some(cause) = &trouble
            && !self.is_lacking
        {
            tracing::warn!(
                cause,
                "not all files of the configuration are watched: SIGHUP reloads"
            );
        }
        self.is_lacking = trouble.is_some();
        self.watched = watcher.map(|watcher| Watched {
            spots,
            _watcher: watcher,
        });
        self.shared.changed.notify_one();
    }
}

/// With what of it cannot be watched, if there is any. The rest is.
fn begin(
    spots: &Spots,
    shared: &Arc<Shared>,
) -> notify::Result<(RecommendedWatcher, Option<String>)> {
    let (counting, shared) = (spots.clone(), shared.clone());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let counts = match &event {
            Ok(event) => {
                if counting.loses(event) {
                    shared.lost.store(true, Ordering::Release);
                }
                counting.count(event)
            }
            Err(_) => true,
        };
        if counts {
            shared.changed.notify_one();
        }
    })?;
    let mut trouble = None;
    for (directory, ..) in &spots.directories {
        // One that has gone since is missed where it would come again.
        if let Err(mut error) = watcher.watch(directory, RecursiveMode::NonRecursive)
            && directory.exists()
        {
            error.paths.clear();
            trouble.get_or_insert_with(|| format!("`{}`: {error}", directory.display()));
        }
    }
    Ok((watcher, trouble))
}

impl Spots {
    fn of(places: &Places) -> Self {
        let mut spots = Self::default();
        for file in &places.files {
            spots.follow(file);
        }
        for directory in &places.directories {
            if let Some(found) = spots.follow(directory) {
                spots.directory(&found);
                spots.open.insert(found);
            }
        }
        spots
    }

    /// Follows a path to what it means in the end, if it is there.
    fn follow(&mut self, path: &Path) -> Option<PathBuf> {
        let path = std::path::absolute(path).ok()?;
        let mut rest: VecDeque<OsString> = parts(&path).collect();
        let mut reached = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            if part == ".." {
                reached.pop();
                continue;
            }
            let entry = reached.join(&part);
            let found = fs::symlink_metadata(&entry);
            let is_link = found.as_ref().is_ok_and(fs::Metadata::is_symlink);
            // A file, the directory that it lies in, and whatever may lead elsewhere.
            if rest.len() <= 1 || is_link || found.is_err() {
                self.directory(&reached);
                self.entries.insert(entry.clone());
            }
            found.ok()?;
            if !is_link {
                reached = entry;
                continue;
            }
            links += 1;
            let target = fs::read_link(&entry).ok().filter(|_| links <= MAX_LINKS)?;
            if target.is_absolute() {
                reached = PathBuf::from("/");
            }
            for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                rest.push_front(part);
            }
        }
        Some(reached)
    }

    fn directory(&mut self, path: &Path) {
        if let Ok(found) = fs::metadata(path)
            && found.is_dir()
        {
            let known = (path.to_owned(), found.dev(), found.ino());
            self.directories.insert(known);
        }
    }

    /// Whether an event may change what the configuration means.
    fn count(&self, event: &notify::Event) -> bool {
        let is_change = match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
            EventKind::Access(_) => false,
            _ => true,
        };
        let counts = |path: &PathBuf| {
            self.entries.contains(path)
                || self.is_watched(path)
                || path
                    .parent()
                    .is_some_and(|parent| self.open.contains(parent))
        };
        event.need_rescan() || is_change && event.paths.iter().any(counts)
    }

    /// Whether a watched directory is gone, or has another name now.
    fn loses(&self, event: &notify::Event) -> bool {
        let is_end = matches!(
            event.kind,
            EventKind::Remove(_) | EventKind::Modify(notify::event::ModifyKind::Name(_))
        );
        is_end && event.paths.iter().any(|path| self.is_watched(path))
    }

    fn is_watched(&self, path: &Path) -> bool {
        self.directories.iter().any(|(known, ..)| known == path)
    }
}

/// The names that a path consists of, and `..`.
fn parts(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests;

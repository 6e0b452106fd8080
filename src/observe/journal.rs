//! What the journal wants of a line: its priority in front (sd-daemon(3)), which journald takes off again, so that
//! `journalctl -p warning` finds what it should.
//!
//! Invariant: nobody but the journal gets it. Whether stdout is the journal is told by systemd in `$JOURNAL_STREAM` and
//! compared with what stdout is (systemd.exec(5)): the variable is inherited by processes whose output goes elsewhere.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Whether what this process writes to stdout goes to the journal.
#[must_use]
pub(super) fn is_stdout() -> bool {
    let named = std::env::var_os("JOURNAL_STREAM");
    named.is_some_and(|named| stdout().is_ok_and(|file| is_named(&named, &file)))
}

fn stdout() -> io::Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

/// Whether `named`, device and inode in decimal with a colon between, is this file.
fn is_named(named: &OsStr, file: &File) -> bool {
    let found = file
        .metadata()
        .map(|file| format!("{}:{}", file.dev(), file.ino()));
    found.is_ok_and(|found| named == OsStr::new(&found))
}

/// A format with each line's priority in front, for the journal; without, for all others.
pub(super) struct Prefixed<F> {
    pub(super) format: F,
    pub(super) is_journal: bool,
}

impl<S, N, F> FormatEvent<S, N> for Prefixed<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.is_journal {
            writer.write_str(priority(*event.metadata().level()))?;
        }
        self.format.format_event(context, writer, event)
    }
}

/// syslog(3)
fn priority(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_known_by_its_inode_and_not_by_a_variable_alone() {
        let (one, other) = (
            File::open("/dev/null").unwrap(),
            File::open("/proc/self/stat").unwrap(),
        );
        let known = one.metadata().unwrap();
        let name = format!("{}:{}", known.dev(), known.ino());
        assert!(is_named(OsStr::new(&name), &one));
        assert!(!is_named(OsStr::new(&name), &other));
        for nonsense in ["", ":", "1", "1:2:3", "x:y"] {
            assert!(!is_named(OsStr::new(nonsense), &one), "{nonsense}");
        }
    }
}

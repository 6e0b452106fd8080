//! `[server] state_dir`: a directory that can be written to, which is tried when the configuration is read and not only
//! when the process stops.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::config::check::Context;
use crate::config::schema::decode::Field;
use crate::config::schema::server::Server;

/// What systemd makes for a unit with `StateDirectory=` (systemd.exec(5)): paths with colons between them.
const OF_SYSTEMD: &str = "STATE_DIRECTORY";

pub(crate) fn check(table: &Field<Server>, context: &mut Context<'_>) -> Option<PathBuf> {
    let named = table.value().and_then(|server| server.state_dir.located());
    let Some(named) = named else {
        // systemd made it, or it is told when it is used: no place in the file is to blame.
        let paths = context.env.var(OF_SYSTEMD)?;
        let first = std::env::split_paths(&paths).next();
        return first.filter(|path| !path.as_os_str().is_empty());
    };
    let path = context.path(named);
    if let Err(error) = probe(&path) {
        let typed = context.typed(named.place);
        let message = format!("`{typed}` cannot be written to: {error}");
        let hint = "name a directory that exists; a path starts from the file that names it";
        context.diagnostics.error(named.place, message).hint(hint);
    }
    Some(path)
}

/// Writes an empty file there and removes it: whether that is allowed only the system knows.
fn probe(directory: &Path) -> io::Result<()> {
    if !fs::metadata(directory)?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    let file = directory.join(format!(".streamgate-{}", std::process::id()));
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&file)?;
    fs::remove_file(file)
}

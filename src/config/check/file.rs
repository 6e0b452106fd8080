//! Files that are answered with: read once, when the configuration is.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;

use crate::config::check::Context;
use crate::config::schema::decode::Located;
use crate::config::schema::scalar::Text;

/// Bytes of a file at most.
const MAX: u64 = 1024 * 1024;

/// Reads a whole file, or tells why not.
pub(crate) fn read(name: &Located<Text>, context: &mut Context<'_>) -> Option<Bytes> {
    let path = context.path(name);
    context.note_read(&path);
    let typed = context.typed(name.place);
    match read_whole(&path) {
        Ok(bytes) if bytes.len() as u64 > MAX => {
            let message = format!("`{typed}` is longer than 1MiB");
            context.diagnostics.error(name.place, message);
            None
        }
        Ok(bytes) => Some(bytes.into()),
        Err(error) => {
            let message = format!("`{typed}` cannot be read: {error}");
            let hint = "a path starts from the file that names it";
            context.diagnostics.error(name.place, message).hint(hint);
            None
        }
    }
}

fn read_whole(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

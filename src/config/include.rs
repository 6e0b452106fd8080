//! Reading the main file and all that it includes.
//!
//! Paths start from the file that names them. A file is read once: a second time is a mistake, and a cycle too. What
//! the files hold is told by the schema; here they are found, parsed and put together.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::config::diagnostic::{Diagnostics, FileId, Place};
use crate::config::env::Env;
use crate::config::redact;
use crate::config::schema::Root;
use crate::config::schema::decode::{Located, Reader};
use crate::config::schema::scalar::Text;
use crate::config::schema::table::{Table, fill};

/// The longest file, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// The most files of one configuration.
const MAX_FILES: usize = 1000;

const NOT_UTF8: &str = "the file is not UTF-8 here";

/// The main file: read from a path, or a text that the program brings along.
pub(crate) enum Main<'a> {
    Path(&'a Path),
    Text {
        name: &'a str,
        text: &'a str,
        directory: &'a Path,
    },
}

/// All files, put together.
pub(crate) struct Files {
    pub(crate) root: Root,
    /// Those that were named, the main file first.
    pub(crate) paths: Vec<PathBuf>,
    /// Where a pattern looks for files.
    pub(crate) directories: Vec<PathBuf>,
    /// The main file.
    pub(crate) main: FileId,
    /// Whether every file was read and parsed. If not, a missing name may stand in what is missing.
    pub(crate) complete: bool,
}

/// Reads the main file and what it includes. Mistakes go to `diagnostics`.
pub(crate) fn read(main: Main<'_>, env: &dyn Env, diagnostics: &mut Diagnostics) -> Files {
    let (file, opened) = match main {
        Main::Path(path) => open(path, diagnostics),
        Main::Text {
            name,
            text,
            directory,
        } => {
            let file =
                diagnostics.add_source(name.to_owned(), directory.to_owned(), text.to_owned());
            (file, Ok(text.to_owned()))
        }
    };
    let mut reading = Reading {
        env,
        diagnostics,
        root: Root::begin(Place::new(file, 0..0)),
        seen: Vec::new(),
        directories: Vec::new(),
        complete: true,
    };
    let mut paths = Vec::new();
    let mut chain = Vec::new();
    if let Main::Path(path) = main {
        paths.push(path.to_owned());
        chain.push(identity(path));
        reading.seen.push((identity(path), Place::new(file, 0..0)));
    }
    match opened {
        Ok(text) => reading.take(file, &text, &mut chain, &mut paths),
        Err(Unusable::Unreadable(why)) => {
            reading.diagnostics.file_error(file, why);
            reading.complete = false;
        }
        Err(Unusable::NotUtf8(place)) => reading.tell(place, NOT_UTF8),
    }
    let Reading {
        root,
        directories,
        complete,
        ..
    } = reading;
    Files {
        root,
        paths,
        directories,
        main: file,
        complete,
    }
}

/// Opens a file and makes it a source; the text, or why there is none.
fn open(path: &Path, diagnostics: &mut Diagnostics) -> (FileId, Result<String, Unusable>) {
    let directory = path.parent().map(Path::to_owned).unwrap_or_default();
    let name = path.display().to_string();
    let bytes = match read_bytes(path) {
        Ok(bytes) => bytes,
        Err(why) => {
            let file = diagnostics.add_source(name, directory, String::new());
            return (file, Err(Unusable::Unreadable(why)));
        }
    };
    let lossy = String::from_utf8_lossy(&bytes);
    let text = lossy.strip_prefix('\u{feff}').unwrap_or(&lossy).to_owned();
    let file = diagnostics.add_source(name, directory, text.clone());
    match std::str::from_utf8(&bytes) {
        Ok(_) => (file, Ok(text)),
        Err(_) => {
            let at = text.find('\u{fffd}').unwrap_or_default();
            let place = Place::new(file, at..at + '\u{fffd}'.len_utf8());
            (file, Err(Unusable::NotUtf8(place)))
        }
    }
}

/// Why a file has no text.
enum Unusable {
    Unreadable(String),
    NotUtf8(Place),
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    File::open(path)
        .map_err(unreadable)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err("is longer than 4MiB".to_owned());
    }
    Ok(bytes)
}

/// What makes two paths the same file.
fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

struct Reading<'a> {
    env: &'a dyn Env,
    diagnostics: &'a mut Diagnostics,
    root: Root,
    /// Every file that was included, with where it was first named.
    seen: Vec<(PathBuf, Place)>,
    directories: Vec<PathBuf>,
    complete: bool,
}

impl Reading<'_> {
    /// Reads one text into the root, then what it includes. `chain` are the files on the way to it.
    fn take(
        &mut self,
        file: FileId,
        text: &str,
        chain: &mut Vec<PathBuf>,
        paths: &mut Vec<PathBuf>,
    ) {
        let (document, errors) = DeTable::parse_recoverable(text);
        redact::cover_table(document.get_ref(), file, self.diagnostics);
        if !errors.is_empty() {
            redact::cover_lines(text, file, self.diagnostics);
            self.tell_syntax_errors(file, &errors);
            // The configuration cannot be used; what could be read of it still says where the process's socket is. Nothing
            // else is taken over, nor told: it would be told of what is not all there.
            let mut unheard = self.diagnostics.clone();
            let mut reader = Reader {
                env: self.env,
                file,
                diagnostics: &mut unheard,
            };
            let mut part = Root::begin(Place::new(file, 0..0));
            fill(&mut part, document.get_ref(), &mut reader);
            if self.root.admin.is_absent() {
                self.root.admin = part.admin;
            }
            return;
        }
        let before = self.includes().len();
        let mut reader = Reader {
            env: self.env,
            file,
            diagnostics: self.diagnostics,
        };
        fill(&mut self.root, document.get_ref(), &mut reader);
        if document.get_ref().contains_key("include") && self.includes().is_empty() {
            self.complete &= self.root.include.value().is_some();
        }
        let patterns: Vec<Located<Text>> = self.includes()[before..].to_vec();
        for pattern in &patterns {
            self.include(pattern, chain, paths);
        }
    }

    fn includes(&self) -> &[Located<Text>] {
        self.root.include.value().map_or(&[], |include| &include.0)
    }

    /// One mistake tends to give several errors: the first in a line is the one that counts.
    fn tell_syntax_errors(&mut self, file: FileId, errors: &[toml::de::Error]) {
        self.complete = false;
        let mut told = Vec::new();
        for error in errors {
            let place = Place::new(file, error.span().unwrap_or(0..0));
            let position = self.diagnostics.position(place);
            let line = position.rsplit_once(':').map(|(line, _)| line.to_owned());
            if told.contains(&line) {
                continue;
            }
            told.push(line);
            let message = error.message().trim_end_matches(", expected nothing");
            let finding = self.diagnostics.error(place, message);
            if message.contains("float")
                || message.contains("integer")
                || message.contains("datetime")
            {
                finding.hint("a text stands in quotes");
            }
        }
    }

    fn include(
        &mut self,
        pattern: &Located<Text>,
        chain: &mut Vec<PathBuf>,
        paths: &mut Vec<PathBuf>,
    ) {
        let directory = self.diagnostics.directory(pattern.place.file).clone();
        let wanted = directory.join(&pattern.value.value);
        if let Some(directory) = wanted.parent()
            && pattern.value.value.contains('*')
        {
            self.directories.push(directory.to_owned());
        }
        match find(&wanted) {
            // Told once, and not for each of them.
            Ok(found) if self.seen.len() + found.len() > MAX_FILES => {
                self.tell(pattern.place, &too_many());
            }
            Ok(found) => {
                for path in found {
                    self.include_file(&path, pattern.place, chain, paths);
                }
            }
            Err(why) => self.tell(pattern.place, &why),
        }
    }

    fn include_file(
        &mut self,
        path: &Path,
        place: Place,
        chain: &mut Vec<PathBuf>,
        paths: &mut Vec<PathBuf>,
    ) {
        let identity = identity(path);
        if chain.contains(&identity) {
            let message = format!("`{}` is included in a circle", path.display());
            return self.tell(place, &message);
        }
        if let Some((_, first)) = self.seen.iter().find(|(seen, _)| *seen == identity) {
            let first = self.diagnostics.position(*first);
            let message = format!("`{}` is included twice", path.display());
            self.diagnostics
                .error(place, message)
                .hint(format!("the first time is at {first}"));
            self.complete = false;
            return;
        }
        if self.seen.len() >= MAX_FILES {
            return self.tell(place, &too_many());
        }
        self.seen.push((identity.clone(), place));
        paths.push(path.to_owned());
        let (file, opened) = open(path, self.diagnostics);
        match opened {
            Ok(text) => {
                chain.push(identity);
                self.take(file, &text, chain, paths);
                chain.pop();
            }
            Err(Unusable::Unreadable(why)) => {
                self.tell(place, &format!("`{}` {why}", path.display()));
            }
            Err(Unusable::NotUtf8(place)) => self.tell(place, NOT_UTF8),
        }
    }

    fn tell(&mut self, place: Place, message: &str) {
        self.complete = false;
        self.diagnostics.error(place, message);
    }
}

fn too_many() -> String {
    format!("more than {MAX_FILES} files are included")
}

/// The files that a pattern means, sorted: one, or with `*` in its last part any number.
fn find(pattern: &Path) -> Result<Vec<PathBuf>, String> {
    let last = pattern
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let directory = pattern.parent().unwrap_or(Path::new(""));
    if directory.to_string_lossy().contains('*') {
        return Err("`*` can stand in a file's name only, not in a directory's".to_owned());
    }
    if !last.contains('*') {
        return Ok(vec![pattern.to_owned()]);
    }
    let listed = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let entries = match fs::read_dir(listed) {
        Ok(entries) => entries,
        // As with a directory that has no such file: it may come later.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("`{}` cannot be read: {error}", directory.display())),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry =
            entry.map_err(|error| format!("`{}` cannot be read: {error}", directory.display()))?;
        let name = entry.file_name();
        let path = directory.join(&name);
        // A link that leads nowhere is opened, and told: what it stands for would else be gone without a word.
        let may_be_read = || fs::metadata(&path).map_or(true, |found| found.is_file());
        if name.to_str().is_some_and(|name| matches(last, name)) && may_be_read() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Whether a file's name fits a pattern with `*`. As in a shell, a leading `.` must be written.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_but_a_leading_dot() {
        let table = [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", false),
            ("*.toml", ".a.toml", false),
            (".*", ".a", true),
            ("*.toml", "a.toml~", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "abc", true),
            ("ab*bc", "abc", false),
            ("a*", "b", false),
            ("a", "a", true),
        ];
        for (pattern, name, expected) in table {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}

//! The configuration: read, parsed, checked.
//!
//!     files -> schema (what was typed) -> check -> model (what is meant)
//!
//! One run finds every mistake, each with its place; see [`Diagnostics`]. Nothing after this parses a string again.
//! Certificates and secrets are read here, addresses are bound elsewhere. A text is never changed by the environment:
//! variables are put into parsed strings.

mod check;
mod diagnostic;
mod env;
mod excerpt;
mod include;
pub mod model;
mod redact;
mod reference;
mod report;
mod schema;
mod spelling;
mod units;

#[cfg(test)]
mod corpus;
#[cfg(test)]
pub(crate) mod scratch;

use std::path::{Path, PathBuf};

use crate::tls::certificates::Certificate;

pub use diagnostic::Diagnostics;
pub use env::{Env, ProcessEnv};
pub use model::Config;
pub use reference::{KeyReference, reference};
pub use report::{Report, report};
pub use units::duration;

/// Reads the main file and what it includes, and checks all of it.
///
/// # Errors
///
/// [`Diagnostics`] with every mistake that was found. What is merely odd is in [`Config::warnings`].
pub fn load(main: &Path, env: &dyn Env) -> Result<Config, Diagnostics> {
    read(main, env).config
}

/// A configuration that was read, or why it cannot be used.
#[derive(Debug)]
pub struct Outcome {
    /// As [`load`] says.
    pub config: Result<Config, Diagnostics>,
    /// On what it depends, as far as that was found.
    pub places: Places,
}

/// Where a change may change a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// Files that were read, or were to be, the main file first.
    pub files: Vec<PathBuf>,
    /// Directories in which an `include` with `*` looks for files.
    pub directories: Vec<PathBuf>,
}

/// The same as [`load`], with what to look at for the next time, also where it fails.
#[must_use]
pub fn read(main: &Path, env: &dyn Env) -> Outcome {
    finish(include::Main::Path(main), Vec::new(), env)
}

/// The Unix socket of the admin listener, however wrong the rest of the configuration may be: whoever asks a process to
/// reload a configuration that has mistakes must find the process.
#[must_use]
pub fn admin_socket(main: &Path, env: &dyn Env) -> Option<PathBuf> {
    let mut diagnostics = Diagnostics::default();
    let files = include::read(include::Main::Path(main), env, &mut diagnostics);
    check::admin_socket(&files.root, env, &mut diagnostics, files.main)
}

/// The same for a text. `name` stands in messages, relative paths start from `base_dir`.
///
/// # Errors
///
/// As [`load`].
pub fn load_str(
    name: &str,
    text: &str,
    base_dir: &Path,
    env: &dyn Env,
) -> Result<Config, Diagnostics> {
    finish(
        include::Main::Text {
            name,
            text,
            directory: base_dir,
        },
        Vec::new(),
        env,
    )
    .config
}

/// A text that the program brings along, with certificates that are in no file.
#[derive(Debug)]
pub struct BuiltIn<'a> {
    /// What stands in messages where a file's name would.
    pub name: &'a str,
    /// The configuration as TOML.
    pub text: &'a str,
    /// Where relative paths start.
    pub base_dir: &'a Path,
    /// Shown before those that the text names.
    pub certificates: Vec<Certificate>,
}

/// The same as [`load_str`] with certificates from memory.
///
/// # Errors
///
/// As [`load`].
pub fn load_built_in(built_in: BuiltIn<'_>, env: &dyn Env) -> Result<Config, Diagnostics> {
    let BuiltIn {
        name,
        text,
        base_dir,
        certificates,
    } = built_in;
    finish(
        include::Main::Text {
            name,
            text,
            directory: base_dir,
        },
        certificates,
        env,
    )
    .config
}

fn finish(main: include::Main<'_>, in_memory: Vec<Certificate>, env: &dyn Env) -> Outcome {
    let mut diagnostics = Diagnostics::default();
    let files = include::read(main, env, &mut diagnostics);
    if !files.complete {
        // A name that seems to be missing may stand in a file that could not be read.
        let places = Places {
            files: files.paths,
            directories: files.directories,
        };
        let config = Err(diagnostics);
        return Outcome { config, places };
    }
    let config = check::config(files, in_memory, env, &mut diagnostics);
    let places = Places {
        files: config.files.clone(),
        directories: config.directories.clone(),
    };
    if !diagnostics.is_empty() {
        let config = Err(diagnostics);
        return Outcome { config, places };
    }
    let config = Ok(Config {
        warnings: diagnostics,
        ..config
    });
    Outcome { config, places }
}

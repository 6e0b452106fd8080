//! `streamgate schema`: the JSON schema of the configuration, on stdout.

use std::process::ExitCode;

use crate::config;

/// Prints it.
#[must_use]
pub fn run() -> ExitCode {
    super::say(&format!("{:#}\n", config::json_schema()));
    ExitCode::SUCCESS
}

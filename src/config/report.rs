//! What `streamgate check` prints: each file is a configuration of its own.

use std::fmt::Write;
use std::path::Path;

use crate::config::env::Env;
use crate::config::model::Config;

/// The outcome of a check.
#[derive(Debug)]
pub struct Report {
    /// What to print: every finding, and one line for each file.
    pub text: String,
    /// Whether any file has an error.
    pub failed: bool,
}

/// Checks each file as a main file.
pub fn report<P: AsRef<Path>>(files: &[P], env: &dyn Env) -> Report {
    let mut report = Report {
        text: String::new(),
        failed: false,
    };
    for file in files {
        let name = file.as_ref().display();
        let line = match super::load(file.as_ref(), env) {
            Ok(config) => {
                report.text.push_str(&config.warnings.to_string());
                format!("{name}: ok, with {}", contents(&config))
            }
            Err(diagnostics) => {
                report.failed = true;
                report.text.push_str(&diagnostics.to_string());
                format!("{name}: {}", counted(diagnostics.len(), "error"))
            }
        };
        // Writing to a string cannot fail.
        let _ = writeln!(report.text, "{line}");
    }
    report
}

fn contents(config: &Config) -> String {
    let mut parts = vec![
        counted(config.listeners.len(), "listener"),
        counted(config.routes.len(), "route"),
    ];
    let rest = [
        (config.upstreams.len(), "upstream"),
        (config.bridges.len(), "bridge"),
        (config.tls.certificates.len(), "certificate"),
        (config.warnings.warnings(), "warning"),
    ];
    parts.extend(
        rest.iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| counted(*count, name)),
    );
    parts.join(", ")
}

fn counted(count: usize, name: &str) -> String {
    match count {
        1 => format!("1 {name}"),
        _ => format!("{count} {name}s"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn each_file_is_reported_and_one_error_fails_all() {
        let missing = report(&["tests/nowhere.toml"], &BTreeMap::new());
        assert!(missing.failed);
        let first = missing.text.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("tests/nowhere.toml: error: cannot be read: "),
            "{first}"
        );
        assert!(
            missing.text.ends_with("\ntests/nowhere.toml: 1 error\n"),
            "{}",
            missing.text
        );
    }
}

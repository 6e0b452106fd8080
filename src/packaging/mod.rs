//! What a package has beside the program: man pages and the shells' completions, made from the command line's and the
//! configuration's own definitions, so that they cannot say anything else.
//!
//! Only built with the feature `packaging`: the program that is installed has none of it.

mod manual;

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::config;

/// The shells, each with the name under which it looks for completions of `streamgate`.
const COMPLETIONS: [(Shell, &str); 3] = [
    (Shell::Bash, "streamgate.bash"),
    (Shell::Zsh, "_streamgate"),
    (Shell::Fish, "streamgate.fish"),
];

/// Writes the pages (`streamgate.1`, one for each subcommand, `streamgate.toml.5`) to `directory/man` and the completions to
/// `directory/completions`. What stands there already is written anew.
///
/// # Errors
/// The folder cannot be made or written to.
pub fn generate(directory: &Path) -> io::Result<()> {
    let pages = directory.join("man");
    fs::create_dir_all(&pages)?;
    let date = date(env::var("SOURCE_DATE_EPOCH").ok().as_deref());
    commands(&pages, &date)?;
    let reference = manual::configuration(&config::reference(), &date);
    fs::write(pages.join("streamgate.toml.5"), reference)?;

    let completions = directory.join("completions");
    fs::create_dir_all(&completions)?;
    for (shell, name) in COMPLETIONS {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "streamgate", &mut script);
        fs::write(completions.join(name), script)?;
    }
    Ok(())
}

fn commands(pages: &Path, date: &str) -> io::Result<()> {
    // `help` has no page of its own, and so is not to be named as one.
    let mut program = Cli::command().disable_help_subcommand(true);
    program.build();
    let of = |command: &Command| {
        clap_mangen::Man::new(command.clone())
            .date(date)
            .source(manual::SOURCE)
    };
    let mut page = Vec::new();
    of(&program).render(&mut page)?;
    page.extend_from_slice(manual::PROGRAM.as_bytes());
    fs::write(pages.join("streamgate.1"), page)?;
    let shown = program
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    for command in shown {
        let name = format!("streamgate-{}", command.get_name());
        let mut page = Vec::new();
        of(command).title(&name).render(&mut page)?;
        fs::write(pages.join(format!("{name}.1")), page)?;
    }
    Ok(())
}

/// The day that the pages are of, as `Nov 06, 1994`: that of `SOURCE_DATE_EPOCH` (seconds), so that the same source makes the
/// same package, else today.
fn date(epoch: Option<&str>) -> String {
    // What is after the year 9999 cannot be formatted.
    let seconds = epoch
        .and_then(|epoch| epoch.parse().ok())
        .filter(|seconds| *seconds < 253_402_300_800);
    let day = seconds.map_or_else(SystemTime::now, |seconds| {
        UNIX_EPOCH + Duration::from_secs(seconds)
    });
    let text = httpdate::fmt_http_date(day);
    let parts: Vec<&str> = text.split(' ').collect();
    match parts[..] {
        [_, day, month, year, ..] => format!("{month} {day}, {year}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::scratch::Scratch;

    #[test]
    fn pages_are_of_the_day_of_their_source() {
        assert_eq!(date(Some("784111777")), "Nov 06, 1994");
        for none in [None, Some("yesterday"), Some("99999999999999999")] {
            assert_eq!(date(none), date(None), "{none:?}");
        }
    }

    #[test]
    fn every_page_and_every_completion_is_written() {
        let scratch = Scratch::new();
        generate(&scratch.0).unwrap();
        let read = |name: &str| fs::read_to_string(scratch.0.join(name)).unwrap();
        for (name, says) in [
            ("man/streamgate.1", "SIGHUP"),
            ("man/streamgate.1", "SIGUSR2"),
            (
                "man/streamgate-reload.1",
                concat!("\"streamgate ", env!("CARGO_PKG_VERSION"), "\""),
            ),
            ("man/streamgate-run.1", "streamgate\\-run"),
            ("man/streamgate.toml.5", "drain_timeout"),
            ("completions/streamgate.bash", "complete -F"),
            ("completions/_streamgate", "#compdef streamgate"),
            ("completions/streamgate.fish", "complete -c streamgate"),
        ] {
            assert!(read(name).contains(says), "{name}: {}", read(name));
            assert!(!read(name).contains("generate DIR"), "{name}");
        }
        assert!(!scratch.0.join("man/streamgate-generate.1").exists());
        assert!(!read("man/streamgate.1").contains("streamgate\\-help"));
    }
}

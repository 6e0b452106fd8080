//! What a package has beside the program: man pages and the shells' completions, made from the command line's and the
//! configuration's own definitions, so that they cannot say anything else.
//!
//! Only built with the feature `packaging`: the program that is installed has none of it.

mod manual;

use std::fs;
use std::io;
use std::path::Path;

use clap::CommandFactory;
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
    commands(&pages)?;
    let reference = manual::configuration(&config::reference());
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

fn commands(pages: &Path) -> io::Result<()> {
    let mut program = Cli::command();
    program.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(program.clone()).render(&mut page)?;
    page.extend_from_slice(manual::PROGRAM.as_bytes());
    fs::write(pages.join("streamgate.1"), page)?;
    let shown = program
        .get_subcommands()
        .filter(|command| !command.is_hide_set() && command.get_name() != "help");
    for command in shown {
        let name = format!("streamgate-{}", command.get_name());
        let mut page = Vec::new();
        clap_mangen::Man::new(command.clone())
            .title(&name)
            .render(&mut page)?;
        fs::write(pages.join(format!("{name}.1")), page)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::scratch::Scratch;

    #[test]
    fn every_page_and_every_completion_is_written() {
        let scratch = Scratch::new();
        generate(&scratch.0).unwrap();
        let read = |name: &str| fs::read_to_string(scratch.0.join(name)).unwrap();
        for (name, says) in [
            ("man/streamgate.1", "SIGHUP"),
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
    }
}

//! The command line: subcommands and flags. What they do is elsewhere, but for those that only ask a running process.

mod ask;
pub mod reload;
pub mod streams;
mod table;

use std::path::PathBuf;
use std::process;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use crate::lifecycle::handover;

/// The exit code for a command line that cannot be understood (`EX_USAGE` of sysexits).
pub const EXIT_USAGE: u8 = 64;

/// A TLS-terminating reverse proxy for WebSocket and server-sent events, and a bridge between them.
#[derive(Debug, Parser, PartialEq)]
#[command(name = "streamgate", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand, PartialEq)]
pub enum Command {
    /// Serve, in the foreground, until SIGTERM or Ctrl-C; SIGHUP reloads.
    Run {
        /// The configuration.
        #[arg(
            long,
            value_name = "FILE",
            default_value = "/etc/streamgate/streamgate.toml"
        )]
        config: PathBuf,
    },
    /// Make the process that runs read its configuration anew, and tell what has changed.
    Reload {
        /// Only tell what would change.
        #[arg(long)]
        plan: bool,
        /// The configuration that the process runs with: where its admin socket is stands there.
        #[arg(
            long,
            value_name = "FILE",
            default_value = "/etc/streamgate/streamgate.toml"
        )]
        config: PathBuf,
    },
    /// Show the live streams of the process that runs, or close some.
    #[command(args_conflicts_with_subcommands = true)]
    Streams {
        /// What else to do than to show them.
        #[command(subcommand)]
        action: Option<streams::Action>,
        /// Which are shown, and how.
        #[command(flatten)]
        shown: streams::Shown,
    },
    /// Read configurations and tell every mistake, with its place and a hint.
    Check {
        /// Configurations, each by itself.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
    },
    /// Show everything on this machine: a small app, and streamgate before it on https://localhost.
    Demo {
        /// The port of streamgate; the app takes a free one.
        #[arg(long, default_value_t = 8443, value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
    },
    /// A part of a restart: starts the program that this one names.
    #[command(name = handover::step::NAME, hide = true)]
    StartSuccessor,
    /// Write man pages and completions, for a package.
    #[cfg(feature = "packaging")]
    #[command(hide = true)]
    Generate {
        /// Where they are written to.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

impl Cli {
    /// Reads this process's arguments; prints help, the version or the mistake, and ends the process, where there is
    /// nothing to run: with 0 if that was asked for, else with [`EXIT_USAGE`].
    #[must_use]
    pub fn parse_or_exit() -> Self {
        let error = match Self::try_parse() {
            Ok(cli) => return cli,
            Err(error) => error,
        };
        // Nobody is left to tell if even this cannot be written.
        let _ = error.print();
        process::exit(i32::from(exit_code(error.kind())))
    }
}

/// clap's own code for a mistake is 2, which says nothing to systemd or to a script.
fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
        _ => EXIT_USAGE,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Command, u8> {
        Cli::try_parse_from(line.split(' '))
            .map(|cli| cli.command)
            .map_err(|error| exit_code(error.kind()))
    }

    #[test]
    fn definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn subcommands_are_understood() {
        for (line, expected) in [
            (
                "streamgate run",
                Command::Run {
                    config: "/etc/streamgate/streamgate.toml".into(),
                },
            ),
            (
                "streamgate run --config a.toml",
                Command::Run {
                    config: "a.toml".into(),
                },
            ),
            (
                "streamgate check a.toml b.toml",
                Command::Check {
                    files: vec!["a.toml".into(), "b.toml".into()],
                },
            ),
            (
                "streamgate reload --plan --config a.toml",
                Command::Reload {
                    plan: true,
                    config: "a.toml".into(),
                },
            ),
            (
                "streamgate streams --kind tunnel --json --config a.toml",
                Command::Streams {
                    action: None,
                    shown: streams::Shown {
                        kind: Some("tunnel".into()),
                        json: true,
                        ..streams::Shown::of("a.toml")
                    },
                },
            ),
            (
                "streamgate streams close 0a1b --config a.toml",
                Command::Streams {
                    action: Some(streams::Action::Close {
                        ids: vec!["0a1b".into()],
                        config: "a.toml".into(),
                    }),
                    shown: streams::Shown::of("/etc/streamgate/streamgate.toml"),
                },
            ),
            ("streamgate start-successor", Command::StartSuccessor),
            ("streamgate demo", Command::Demo { port: 8443 }),
            ("streamgate demo --port 9000", Command::Demo { port: 9000 }),
        ] {
            assert_eq!(parse(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_is_a_usage_error_and_help_is_not() {
        for (line, code) in [
            ("streamgate", EXIT_USAGE),
            ("streamgate serve", EXIT_USAGE),
            ("streamgate check", EXIT_USAGE),
            ("streamgate streams close", EXIT_USAGE),
            ("streamgate streams --route /a close 0a1b", EXIT_USAGE),
            ("streamgate run a.toml", EXIT_USAGE),
            ("streamgate demo --port 0", EXIT_USAGE),
            ("streamgate demo --port 65536", EXIT_USAGE),
            ("streamgate --help", 0),
            ("streamgate demo --help", 0),
            ("streamgate --version", 0),
        ] {
            assert_eq!(parse(line).err(), Some(code), "{line}");
        }
    }
}

//! Flags to configuration to server; errors to exit codes.

use std::path::Path;
use std::process::ExitCode;

use streamgate::cli::{Cli, Command, reload, streams};
use streamgate::config::{self, BuiltIn, Config, ProcessEnv};
use streamgate::lifecycle::handover::step;
use streamgate::observe::log;
use streamgate::respond::chain;
use streamgate::server::{self, Origin};
use streamgate::tls::certificates::Certificate;
use streamgate::{demo, tls};

/// The configuration is wrong (sysexits: EX_CONFIG).
const EXIT_CONFIG: u8 = 78;

/// The process could not start.
const EXIT_START: u8 = 1;

fn main() -> ExitCode {
    tls::use_one_provider();
    match Cli::parse_or_exit().command {
        Command::Run { config } => run(&config),
        Command::Reload { plan, config } => reload::run(&config, plan),
        Command::Streams { action, shown } => streams::run(action.as_ref(), &shown),
        Command::Check { files } => check(&files),
        Command::Demo { port } => run_demo(port),
        Command::StartSuccessor => step::run(),
        #[cfg(feature = "packaging")]
        Command::Generate { directory } => match streamgate::packaging::generate(&directory) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        },
    }
}

fn run(path: &Path) -> ExitCode {
    match config::load(path, &ProcessEnv) {
        Ok(config) => serve(config, Origin::File(path.to_owned()), || {}),
        Err(mistakes) => {
            eprint!("{mistakes}");
            EXIT_CONFIG.into()
        }
    }
}

fn check(files: &[std::path::PathBuf]) -> ExitCode {
    let report = config::report(files, &ProcessEnv);
    print!("{}", report.text);
    if report.failed {
        EXIT_CONFIG.into()
    } else {
        ExitCode::SUCCESS
    }
}

fn run_demo(port: u16) -> ExitCode {
    let demo = match demo::start(port) {
        Ok(demo) => demo,
        Err(error) => return fail(&error),
    };
    let certificate = match Certificate::from_der("the demo's certificate", demo.chain, demo.key) {
        Ok(certificate) => certificate,
        Err(error) => return fail(&error),
    };
    let built_in = BuiltIn {
        name: "conf/demo.toml",
        text: &demo.config_text,
        base_dir: Path::new("."),
        certificates: vec![certificate],
    };
    match config::load_built_in(built_in, &ProcessEnv) {
        Ok(config) => serve(config, Origin::Memory, || println!("{}", demo.banner)),
        Err(mistakes) => {
            eprint!("{mistakes}");
            EXIT_CONFIG.into()
        }
    }
}

fn serve(config: Config, origin: Origin, ready: impl FnOnce()) -> ExitCode {
    let log = log::start(&config.log);
    match server::run(config, origin, log, ready) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("streamgate: {}", chain(error));
    EXIT_START.into()
}

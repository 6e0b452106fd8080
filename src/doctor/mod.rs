//! `streamgate doctor URL`: opens an event stream and a WebSocket through a whole chain of proxies as a browser would, measures,
//! and says what to change.
//!
//! It is a client with no configuration, and needs no streamgate in the chain. In the order of a run:
//!
//! 1. `target` reads what was typed, `connect` goes there, `probe` asks who answers;
//! 2. `sse` and `websocket` listen, side by side and bounded by `--for`; `arrivals` and `frames` are what they see;
//! 3. `chain` recognises proxies, `findings` judges, `advice` has the words for each proxy, `report` prints.
//!
//! `serve` is an app for the other end of the chain, which makes the findings exact.
//!
//! Invariants: what servers send is not trusted: it is bounded, never obeyed, and printed without control characters.
//! Fields that the user gave are never printed, and go to no server that is not trusted, unless it was asked for.

mod advice;
mod arrivals;
mod ask;
mod chain;
mod connect;
mod findings;
mod frames;
mod heard;
mod probe;
mod progress;
mod report;
mod serve;
mod sse;
mod target;
mod tick;
mod websocket;

use std::io::{IsTerminal, Write, stdout};
use std::process::ExitCode;
use std::time::Duration;

use thiserror::Error;
use tokio::runtime;
use tokio::task::LocalSet;

use crate::cli::EXIT_USAGE;
use crate::cli::doctor::Doctor;
use crate::respond;

use ask::AskError;
use connect::{Arrived, ConnectError, Door, arrive};
use findings::{Measured, Socket, Stream, Verdict, judge};
use probe::{Clock, probe};
use progress::Progress;
use report::Colours;
use target::{Patience, Target};
use websocket::Manner;

/// There are problems.
const EXIT_PROBLEMS: u8 = 1;

/// There is no connection, or no socket to serve on.
const EXIT_UNREACHED: u8 = 2;

/// How long an uncompressed stream is listened to where a compressed one was, too.
const PLAIN: Duration = Duration::from_secs(8);

/// The word that makes the served app silent.
const SILENT: &str = "silent";

/// Why nothing was measured.
#[derive(Debug, Error)]
enum DoctorError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Ask(#[from] AskError),
}

/// Does what was asked for, and makes it an exit code: 0 no problem, 1 problems, 2 no connection, 64 a wrong command line.
#[must_use]
pub fn run(typed: &Doctor) -> ExitCode {
    let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error, EXIT_UNREACHED),
    };
    let local = LocalSet::new();
    if let Some(address) = &typed.serve {
        return match local.block_on(&runtime, serve::serve(address)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error, EXIT_UNREACHED),
        };
    }
    let target = match Target::of(typed) {
        Ok(target) => target,
        Err(error) => return failed(&error, EXIT_USAGE),
    };
    let progress = Progress::start();
    let measured = local.block_on(&runtime, measure(target, typed, &progress));
    progress.end();
    match measured {
        Ok(measured) => tell(&measured, typed.json),
        Err(error) => failed(&error, EXIT_UNREACHED),
    }
}

fn failed(error: &dyn std::error::Error, code: u8) -> ExitCode {
    eprintln!("streamgate: {}", report::plain(&respond::chain(error)));
    code.into()
}

fn tell(measured: &Measured, as_json: bool) -> ExitCode {
    let (findings, hops) = judge(measured);
    let text = match as_json {
        true => format!("{:#}\n", report::json(measured, &findings, &hops)),
        false => report::text(measured, &findings, colours()),
    };
    // Who closed stdout does not want to read it; the exit code is still right.
    let _ = stdout().write_all(text.as_bytes());
    match report::worst(&findings) {
        Verdict::Problem => EXIT_PROBLEMS.into(),
        _ => ExitCode::SUCCESS,
    }
}

fn colours() -> Colours {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match stdout().is_terminal() && !is_unwanted {
        true => Colours::On,
        false => Colours::Off,
    }
}

async fn measure(
    target: Target,
    typed: &Doctor,
    progress: &Progress,
) -> Result<Measured, DoctorError> {
    progress.step(&format!("connecting to {}", target.authority));
    let Arrived { way, door } = arrive(&target, typed.ca.as_deref(), typed.insecure).await?;
    let mut measured = Measured {
        target: target.clone(),
        way,
        probe: None,
        stream: None,
        socket: None,
    };
    let Some(door) = door else {
        return Ok(measured);
    };
    progress.step("asking who is there");
    let probed = probe(&door, &target).await?;
    let clock = probed.clock;
    measured.probe = Some(probed);
    let words = match (target.wanted.tries_sse(), target.wanted.tries_websocket()) {
        (true, false) => "listening to the event stream",
        (false, _) => "listening to the WebSocket",
        _ => "listening to the event stream and the WebSocket",
    };
    let listening = Box::pin(async {
        tokio::join!(stream(&door, &target, clock), socket(&door, &target, clock))
    });
    let most = target.patience.limit();
    (measured.stream, measured.socket) = progress.during(words, most, listening).await;
    if let Some(stream) = &mut measured.stream {
        progress.step("coming back to the event stream");
        compare(&door, &target, clock, stream).await;
    }
    Ok(measured)
}

/// The event stream, and at the same time a silent one, if the app can be silent.
async fn stream(door: &Door, target: &Target, clock: Option<Clock>) -> Option<Stream> {
    if !target.wanted.tries_sse() {
        return None;
    }
    let silent = async {
        clock?;
        let target = whole(target.asking_for(SILENT), target.patience.limit());
        Some(sse::listen(door, &target, None, None).await)
    };
    let (usual, silent) = tokio::join!(sse::listen(door, target, None, clock), silent);
    Some(Stream {
        usual,
        plain: None,
        silent,
        resumed: None,
    })
}

/// The WebSocket, and at the same time a silent one, if the app can be silent.
async fn socket(door: &Door, target: &Target, clock: Option<Clock>) -> Option<Socket> {
    if !target.wanted.tries_websocket() {
        return None;
    }
    let silent = async {
        clock?;
        let target = whole(target.asking_for(SILENT), target.patience.limit());
        Some(websocket::listen(door, &target, Manner::Listens, None).await)
    };
    let usual = websocket::listen(door, target, Manner::Pings, clock);
    let (usual, silent) = tokio::join!(usual, silent);
    Some(Socket { usual, silent })
}

fn whole(target: Target, time: Duration) -> Target {
    Target {
        patience: Patience::Whole(time),
        ..target
    }
}

/// What is asked only after a stream was seen: once uncompressed, and once more with an id.
async fn compare(door: &Door, target: &Target, clock: Option<Clock>, stream: &mut Stream) {
    let head = stream
        .usual
        .head
        .as_ref()
        .filter(|_| stream.usual.is_stream());
    let is_compressed = head.is_some_and(|head| head.text("content-encoding").is_some());
    if is_compressed {
        let patience = Patience::AtMost(target.patience.limit().min(PLAIN));
        let target = Target {
            patience,
            ..target.clone()
        };
        stream.plain = Some(sse::listen(door, &target, Some("identity"), clock).await);
    }
    if head.is_some() {
        stream.resumed = sse::resume(door, target, &stream.usual.heard.ids).await;
    }
}

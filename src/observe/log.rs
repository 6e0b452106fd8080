//! The log: to stdout, as text on a terminal and as JSON elsewhere; in the journal each line has its priority.
//!
//! Writing never blocks a worker: lines go through a bounded queue to a thread of their own, and are dropped, and
//! counted, when nobody reads them.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use super::access;
use super::journal::{self, Prefixed};
use crate::config::model::{Log, LogFormat};

/// Lines that wait to be written at most.
const QUEUE: usize = 65_536;

/// The log, while it is held. Dropping it writes what waits.
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
    dropped: ErrorCounter,
    _writer: WorkerGuard,
}

/// Starts the log of the process. To be called once.
#[must_use]
pub fn start(settings: &Log) -> LogHandle {
    let (writer, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(QUEUE)
        .lossy(true)
        .finish(io::stdout());
    let dropped = writer.error_counter();
    let (filter, handle) = reload::Layer::new(targets(settings));
    let terminal = io::stdout().is_terminal();
    let json = match settings.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    // Who asks for JSON gets lines that are nothing else, wherever they go.
    let is_journal = settings.format != LogFormat::Json && journal::is_stdout();
    access::sample(settings.sampling);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(terminal);
    let lines = if json {
        let lines = lines.json().flatten_event(true);
        lines
            .map_event_format(|format| Prefixed { format, is_journal })
            .boxed()
    } else {
        lines
            .map_event_format(|format| Prefixed { format, is_journal })
            .boxed()
    };
    // A second start, in a test, keeps the first one's log.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init();
    report_panics();
    LogHandle {
        filter: handle,
        dropped,
        _writer: guard,
    }
}

impl LogHandle {
    /// Changes what is logged. The format stays as it was at the start.
    pub fn apply(&self, settings: &Log) {
        access::sample(settings.sampling);
        // It fails only when the subscriber is gone, and with it the log.
        let _ = self.filter.reload(targets(settings));
    }

    /// Tells how many lines were dropped.
    #[must_use]
    pub fn dropped(&self) -> DroppedLines {
        DroppedLines(self.dropped.clone())
    }
}

/// Tells how many lines of the log were dropped because nobody read them.
#[derive(Clone)]
pub struct DroppedLines(ErrorCounter);

impl DroppedLines {
    /// Since the start.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.dropped_lines()
    }
}

fn targets(settings: &Log) -> Targets {
    let access = if settings.access {
        LevelFilter::INFO
    } else {
        LevelFilter::OFF
    };
    Targets::new()
        .with_default(settings.level)
        .with_target(access::TARGET, access)
}

/// A panic ends one task; the operator must see it all the same.
fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or("(no message)");
        tracing::error!(place, message, "panic: please report it");
    }));
}

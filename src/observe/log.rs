//! The log: to stdout, as text on a terminal and as JSON elsewhere; in the journal each line has its priority.
//!
//! Writing never blocks a worker: lines go through a bounded queue to a thread of their own, and are dropped, and
//! counted, when nobody reads them.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    verbosity: Verbosity,
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
        verbosity: Verbosity::new(handle, settings),
        dropped,
        _writer: guard,
    }
}

impl LogHandle {
    /// Changes what is logged. The format stays as it was at the start.
    pub fn apply(&self, settings: &Log) {
        access::sample(settings.sampling);
        self.verbosity.configured(settings);
    }

    /// Changes what is logged for a while.
    #[must_use]
    pub fn verbosity(&self) -> Verbosity {
        self.verbosity.clone()
    }

    /// Tells how many lines were dropped.
    #[must_use]
    pub fn dropped(&self) -> DroppedLines {
        DroppedLines(self.dropped.clone())
    }
}

/// What is logged, and a way to change it while the process runs. Clones change the same.
#[derive(Clone)]
pub struct Verbosity {
    filter: reload::Handle<Targets, Registry>,
    levels: Arc<Mutex<Levels>>,
}

/// What is logged, by whose word.
struct Levels {
    /// As the configuration says.
    configured: Log,
    /// As it is.
    level: tracing::Level,
    /// How often that has changed.
    turn: u64,
}

/// Names a change of the level, so that its end does not undo a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn(u64);

impl Verbosity {
    fn new(filter: reload::Handle<Targets, Registry>, settings: &Log) -> Self {
        let levels = Levels {
            configured: *settings,
            level: settings.level,
            turn: 0,
        };
        Self {
            filter,
            levels: Arc::new(Mutex::new(levels)),
        }
    }

    /// The level in a word, as the configuration writes it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.lock().level {
            tracing::Level::ERROR => "error",
            tracing::Level::WARN => "warn",
            tracing::Level::INFO => "info",
            tracing::Level::DEBUG => "debug",
            tracing::Level::TRACE => "trace",
        }
    }

    /// Logs at this level, until it is restored, set anew, or configured.
    #[must_use]
    pub fn set(&self, level: tracing::Level) -> Turn {
        self.change(&mut self.lock(), level)
    }

    /// Goes back to what is configured, unless something else was said since `turn`. Whether it did.
    #[must_use]
    pub fn restore(&self, turn: Turn) -> bool {
        let mut levels = self.lock();
        let is_last = levels.turn == turn.0;
        if is_last {
            let configured = levels.configured.level;
            let _turn = self.change(&mut levels, configured);
        }
        is_last
    }

    fn configured(&self, settings: &Log) {
        let mut levels = self.lock();
        levels.configured = *settings;
        let _turn = self.change(&mut levels, settings.level);
    }

    fn change(&self, levels: &mut Levels, level: tracing::Level) -> Turn {
        levels.level = level;
        levels.turn += 1;
        let settings = Log {
            level,
            ..levels.configured
        };
        // It fails only when the subscriber is gone, and with it the log.
        let _ = self.filter.reload(targets(&settings));
        Turn(levels.turn)
    }

    /// Nothing in here can be left half done by a panic.
    fn lock(&self) -> MutexGuard<'_, Levels> {
        self.levels.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;
    use crate::config::model::Sampling;

    fn settings(level: Level) -> Log {
        Log {
            level,
            format: LogFormat::Auto,
            access: true,
            sampling: Sampling {
                share: 1.0,
                slow: std::time::Duration::from_secs(1),
            },
        }
    }

    #[test]
    fn a_level_for_a_while_ends_with_it_or_with_what_is_said_later() {
        let configured = settings(Level::INFO);
        let (_filter, handle) = reload::Layer::<Targets, Registry>::new(targets(&configured));
        let verbosity = Verbosity::new(handle, &configured);
        let first = verbosity.set(Level::DEBUG);
        assert_eq!(verbosity.word(), "debug");
        let second = verbosity.set(Level::TRACE);
        assert!(!verbosity.restore(first));
        assert_eq!(verbosity.word(), "trace");
        assert!(verbosity.restore(second));
        assert_eq!(verbosity.word(), "info");
        let third = verbosity.set(Level::DEBUG);
        verbosity.configured(&settings(Level::WARN));
        assert_eq!(verbosity.word(), "warn");
        assert!(!verbosity.restore(third));
        assert_eq!(verbosity.word(), "warn");
    }
}

//! What the process is told by signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// SIGHUP: read the configuration anew.
    Reload,
    /// SIGTERM or SIGINT: drain; the second time, at once.
    Stop,
    /// SIGUSR2: hand over to a new process.
    Restart,
}

/// The signals that the process listens to.
pub struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    second_user: Signal,
}

impl Signals {
    /// Takes the signals over from their default, which would end the process.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            second_user: signal(SignalKind::user_defined2())?,
        })
    }

    /// The next request.
    ///
    /// # Cancel safety
    /// No signal is lost when it is dropped.
    pub async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.hangup.recv() => Request::Reload,
            _ = self.terminate.recv() => Request::Stop,
            _ = self.interrupt.recv() => Request::Stop,
            _ = self.second_user.recv() => Request::Restart,
        }
    }
}

//! A restart without a gap (SIGUSR2): a new process takes the listening sockets and the bridges' logs over, then this one drains.
//!
//! Owns what this process does for it; how the two talk is `lifecycle/handover`. Invariant: until the new process has said that it
//! accepts connections, this one serves as if nothing had happened, and it goes on so if the new one fails.

use std::io;

use tokio::runtime::Handle;

use super::{Origin, Server, state};
use crate::lifecycle::drain::Cause;
use crate::lifecycle::handover::{HandoverError, Program, Socket, Successor};
use crate::lifecycle::systemd;
use crate::respond;

/// What a restart needs to know, and the one that is under way.
pub(super) struct Restart {
    /// This process's own program; `None`: the system did not say where it lies.
    program: Option<Program>,
    successor: Option<Successor>,
}

impl Restart {
    /// To be asked for at the process's start, before its program may be replaced.
    pub(super) fn new() -> Self {
        let program = Program::own()
            .inspect_err(|error| tracing::warn!(%error, "this process cannot be restarted"))
            .ok();
        Self {
            program,
            successor: None,
        }
    }

    /// Whether one is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.successor.is_some()
    }

    /// Returns when the new process is ready or has failed; never while there is none.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped and called again.
    pub(super) async fn outcome(&mut self) -> Result<(), HandoverError> {
        match &mut self.successor {
            Some(successor) => successor.outcome().await,
            None => std::future::pending().await,
        }
    }
}

impl Server {
    /// Starts a new process that is to take over, or says why not.
    pub(super) fn restart(&mut self) {
        let started = match (&self.origin, &self.restart.program) {
            (Origin::Memory, _) => Err("the configuration was made in memory".to_owned()),
            // With the first process of a container all others end.
            _ if std::process::id() == 1 => {
                Err("this is process 1, which nobody can follow".to_owned())
            }
            (_, None) => Err("it is not known which program this is".to_owned()),
            _ if self.restart.is_under_way() => Err("one is under way".to_owned()),
            (Origin::File(_), Some(program)) => self
                .start_successor(program)
                .map_err(|error| respond::chain(&error)),
        };
        match started {
            Ok(successor) => {
                tracing::info!(process = successor.process, "restarting");
                systemd::status("restarting");
                self.restart.successor = Some(successor);
            }
            Err(cause) => tracing::error!(cause, "restart refused"),
        }
    }

    fn start_successor(&self, program: &Program) -> io::Result<Successor> {
        let mut sockets: Vec<Socket> = self.inherited.to_hand_over()?;
        sockets.extend(self.listeners.to_hand_over()?);
        sockets.extend(self.admin.to_hand_over()?);
        let save = state::hand_over(&self.shared.load(), Handle::current());
        Successor::start(program, sockets, save)
    }

    /// The new process is ready or has failed. Returns why this one is to drain, if it is.
    pub(super) fn restarted(&mut self, outcome: Result<(), HandoverError>) -> Option<Cause> {
        let mut successor = self.restart.successor.take()?;
        let process = successor.process;
        match outcome {
            Ok(()) => {
                // systemd has to find it to be its own child.
                successor.let_go();
                tracing::info!(process, "handed over");
                // Only the main process may say who is, and it must be said before the new one says anything to systemd.
                systemd::followed_by(process);
                successor.release();
                Some(Cause::Restart)
            }
            Err(error) => {
                let cause = respond::chain(&error);
                tracing::error!(process, cause, "restart failed, serving as before");
                state::thaw(&self.shared.load());
                systemd::status("serving");
                None
            }
        }
    }

    /// Ends a new process that is under way.
    pub(super) async fn abandon_restart(&mut self) {
        if let Some(successor) = self.restart.successor.take() {
            tracing::warn!(process = successor.process, "restart given up");
            successor.abandon().await;
            state::thaw(&self.shared.load());
        }
    }
}
